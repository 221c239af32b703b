"""`pipm push --prune` removes unneeded packs, and no needed ones."""

from __future__ import annotations

import os
import shutil
import time
from typing import TYPE_CHECKING

from pipm.remote.folder_transport import FolderTransport
from pipm.remote.keys import SecretKey, signing_key
from pipm.remote.signed_index import read_index, write_index
from support.pipm import PARTLY, assert_refused
from support.remotes import files_below, key_of, lock_of, person
from support.store import damage
from support.synthetic import package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest
    from pipm.remote.remote_values import RemoteIndex
    from support.pipm import Pipm

DAY = 24 * 3600


def packs_of(remote: str) -> set[str]:
    return {path for path in files_below(remote) if "/packs/" in path}


def made_older(paths: set[str], days: float) -> None:
    for path in paths:
        os.utime(path, (time.time() - days * DAY,) * 2)


def key_from(pipm: Pipm, monkeypatch: pytest.MonkeyPatch) -> SecretKey:
    monkeypatch.setenv("PIPM_SIGNING_KEY", f"{pipm.environ['XDG_CONFIG_HOME']}/pipm/signing.key")
    return signing_key()


def changed(remote: str, key: SecretKey, change: Callable[[RemoteIndex], RemoteIndex]) -> None:
    """Sign another index: that of a push some time ago."""
    transport = FolderTransport(remote)
    write_index(transport, key, read_index(transport, key.public), change)


def test_what_no_index_names_is_removed_when_it_is_old(tmp_path: Path) -> None:
    remote, pusher = f"{tmp_path}/remote", person(str(tmp_path), "pusher")
    key_of(pusher)
    lock_of(str(tmp_path), {"alpha==1.0": package("alpha", modules=1)}, pusher)
    pusher("push", remote, "--all").expect()
    needed = packs_of(remote)
    folder = os.path.dirname(min(needed))
    torn, old, new = f"{folder}/.pack.{'0' * 16}", f"{folder}/{'0' * 64}", f"{folder}/{'1' * 64}"
    for path in (torn, old, new):
        with open(path, "wb") as stream:
            stream.write(b"12345")
    made_older({torn, old, *needed}, 8)
    made_older({new}, 6)
    done = pusher("push", remote, "--all", "--prune", "90", "--json").expect().json
    assert (done["pruned"], done["serial"]) == ({"packs": 2, "size": 10}, 1)
    assert packs_of(remote) == {*needed, new}
    # Another signer's index that cannot be read may name anything.
    made_older({new}, 8)
    with open(f"{remote}/v1/index/{'0' * 32}", "wb") as stream:
        stream.write(bytes(100))
    assert_refused(pusher("push", remote, "--all", "--prune", "90", "--json"), "index")
    assert packs_of(remote) == {*needed, new}


def test_what_no_push_names_is_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """First the index forgets it; its packs stay for pulls that read the index before."""
    remote, pusher = f"{tmp_path}/remote", person(str(tmp_path), "pusher")
    key_of(pusher)
    key = key_from(pusher, monkeypatch)
    old = lock_of(str(tmp_path), {"alpha==1.0": package("alpha", modules=1)}, pusher)
    pusher("push", remote, "--all").expect()
    first = packs_of(remote)
    changed(
        remote,
        key,
        lambda index: index._replace(entries=tuple(row._replace(day=row.day - 91) for row in index.entries)),
    )
    later = lock_of(str(tmp_path), {"beta==1.0": package("beta", modules=1)}, pusher)
    push = ("push", remote, later, "--env", f"{tmp_path}/none", "--prune", "90", "--json")
    pusher(*push).expect()
    made_older(packs_of(remote), 8)
    assert pusher(*push).expect().json["pruned"]["packs"] == 0
    puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key.public.text)
    pull = ("pull", remote, old, "--env", f"{tmp_path}/none", "--json")
    assert [row["name"] for row in puller(*pull).expect(PARTLY).json["left"]] == ["alpha"]
    assert first < packs_of(remote)
    changed(
        remote,
        key,
        lambda index: index._replace(unused={pack: day - 8 for pack, day in index.unused.items()}),
    )
    assert pusher(*push).expect().json["pruned"]["packs"] == len(first)
    assert not first & packs_of(remote)
    # Pushed again it is there again.
    assert pusher("push", remote, "--all", "--json").expect().json["uploaded"] > 0
    puller("pull", remote, "--all").expect()
    assert damage(puller.store) == []


def test_a_push_uses_no_pack_that_may_be_removed(tmp_path: Path) -> None:
    """A broken push left packs; some days later somebody prunes while the push is run again."""
    remote, pusher = f"{tmp_path}/remote", person(str(tmp_path), "pusher")
    key = key_of(pusher)
    lock_of(str(tmp_path), {"alpha==1.0": package("alpha", modules=1)}, pusher)
    push = ("push", remote, "--all", "--json")
    pusher(*push).expect()
    left = packs_of(remote)
    (index,) = (path for path in files_below(remote) if "/index/" in path)
    for days, uploaded in ((0.5, False), (2, True)):
        os.unlink(index)
        shutil.rmtree(f"{pusher.store}/v1/remotes")
        made_older(left, days)
        assert (pusher(*push).expect().json["uploaded"] > 0) == uploaded
    for path in left:
        os.unlink(path)
    puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key)
    puller("pull", remote, "--all").expect()
    assert damage(puller.store) == []

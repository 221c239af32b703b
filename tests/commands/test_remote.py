"""`pipm push` and `pipm pull` copy distributions between stores; hostile ones are refused."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from support.pipm import PARTLY, USAGE, Pipm, assert_refused, assert_says
from support.remotes import files_below, key_of, lock_of, person, web_server
from support.store import damage, entry_names, object_names
from support.synthetic import Environment, import_all, package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WHEELS = {"alpha==1.0": package("alpha"), "beta==2.0": package("beta", modules=3)}
BIG = {"alpha/large.bin": os.urandom(5 << 20)}  # more than one frame


def pushed(folder: str, wheels: dict[str, dict[str, bytes]]) -> tuple[str, str, str]:
    """A remote that has *wheels* with bytecode; returns its path, their lock and the signer's key."""
    pusher = person(folder, "pusher")
    key = key_of(pusher)
    lock = lock_of(folder, wheels, pusher)
    pusher("sync", lock, "--env", f"{folder}/pusher/env", "--python", sys.executable).expect()
    done = pusher("push", f"{folder}/remote", f"{folder}/pusher/env", "--json").expect().json
    assert (done["entries"], len(done["new"]), done["serial"]) == (len(wheels), len(wheels), 1)
    return f"{folder}/remote", lock, key


def test_what_was_pushed_is_pulled(tmp_path: Path) -> None:
    """Over a path and over HTTP: files, archives' hashes and bytecode; twice moves nothing."""
    remote, lock, key = pushed(str(tmp_path), WHEELS | {"alpha==1.0": WHEELS["alpha==1.0"] | BIG})
    with web_server(remote) as server:
        for name, place in (("path", remote), ("url", f"file://{remote}"), ("web", server.url)):
            puller = person(str(tmp_path), name, PIPM_TRUSTED_KEYS=key)
            pull = (
                "pull",
                place,
                lock,
                "--python",
                sys.executable,
                "--env",
                f"{tmp_path}/{name}/env",
                "--json",
            )
            done = puller(*pull).expect().json
            assert (done["entries"], len(done["new"]), done["left"]) == (2, 2, [])
            assert damage(puller.store) == []
            assert object_names(puller.store) == object_names(f"{tmp_path}/pusher/store")
            # Nothing is fetched, and nothing compiled.
            synced = puller(
                "sync", lock, "--env", f"{tmp_path}/{name}/env", "--python", sys.executable, "--json"
            )
            assert synced.expect().json["fetched"] == 0
            environment = Environment(path=f"{tmp_path}/{name}/env")
            assert os.path.exists(environment.bytecode("alpha/module_1.py"))
            import_all(environment)
            puller("verify", "--full").expect()
            again = puller(*pull).expect().json
            assert (again["new"], again["files"], again["downloaded"]) == ([], 0, 0)
        # The index, the manifests, the packs: not a request a file.
        assert len(server.requests) <= 8


def test_only_what_is_new_moves(tmp_path: Path) -> None:
    big = {"alpha/large.bin": os.urandom(2 << 20), "alpha/other.bin": os.urandom(200_000)}
    remote, lock, key = pushed(str(tmp_path), {"alpha==1.0": package("alpha") | big})
    pusher = person(str(tmp_path), "pusher")
    changed = big | {"alpha/other.bin": os.urandom(200_000)}
    later = lock_of(str(tmp_path), {"alpha==1.1": package("alpha") | changed}, pusher)
    push = ("push", remote, later, "--env", f"{tmp_path}/pusher/env", "--json")
    done = pusher(*push).expect().json
    assert 200_000 < done["uploaded"] < 220_000
    assert pusher(*push).expect().json["uploaded"] == 0
    puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key)
    python = ("--python", sys.executable, "--env", f"{tmp_path}/none", "--json")
    puller("pull", remote, lock, *python).expect()
    assert 200_000 < puller("pull", remote, later, *python).expect().json["downloaded"] < 220_000
    assert damage(puller.store) == []
    # A new store gets all of it out of the packs of both versions.
    other = person(str(tmp_path), "other", PIPM_TRUSTED_KEYS=key)
    other("pull", remote, later, *python).expect()
    assert damage(other.store) == []
    assert len(entry_names(other.store)) == 1


def test_equal_stores_push_equal_packs(tmp_path: Path) -> None:
    """Whatever the order of distributions and files in wheels: files are packed by name."""
    packs = []
    for number in (0, 1):
        folder = f"{tmp_path}/{number}"
        pusher = person(folder, "pusher")
        key_of(pusher)
        wheels = {spec: dict(sorted(files.items(), reverse=bool(number))) for spec, files in WHEELS.items()}
        lock_of(folder, dict(sorted(wheels.items(), reverse=bool(number))), pusher)
        pusher("push", f"{folder}/remote", "--all").expect()
        packs.append({os.path.basename(path) for path in files_below(f"{folder}/remote/v1/packs")})
    assert packs[0] == packs[1]
    assert len(packs[0]) == 2  # of files and of manifests


def test_what_is_not_signed_is_refused(tmp_path: Path) -> None:
    remote, lock, _ = pushed(str(tmp_path), WHEELS)
    pull = ("pull", remote, lock, "--env", f"{tmp_path}/pusher/env", "--json")
    puller = person(str(tmp_path), "puller")
    assert_refused(puller(*pull), "trust", code=USAGE)
    key_of(puller)  # of another signer
    assert_refused(puller(*pull), "signed")
    # Another signer's index under the name of a trusted key.
    (index,) = (path for path in files_below(remote) if "/index/" in path)
    other = person(str(tmp_path), "other", XDG_CONFIG_HOME=puller.environ["XDG_CONFIG_HOME"])
    lock_of(str(tmp_path), {"gamma==1.0": package("gamma", modules=1)}, other)
    other("push", remote, "--all").expect()
    (mine,) = (path for path in files_below(remote) if "/index/" in path and path != index)
    shutil.copy(index, mine)
    assert_refused(puller(*pull), "did not sign")
    assert entry_names(puller.store) == set()
    assert_says(puller(*pull[:-1]))


def flipped(path: str, place: float) -> None:
    with open(path, "r+b") as stream:
        size = os.path.getsize(path)
        stream.seek(int(place * (size - 1)))
        byte = stream.read(1)
        stream.seek(-1, os.SEEK_CUR)
        stream.write(bytes([byte[0] ^ 0x41]))


def cut(path: str, _: float) -> None:
    os.truncate(path, os.path.getsize(path) // 2)


def gone(path: str, _: float) -> None:
    os.unlink(path)


def piped(path: str, _: float) -> None:
    """A pipe, which nobody writes to."""
    os.unlink(path)
    os.mkfifo(path)


@pytest.mark.parametrize("change", [flipped, cut, gone, piped])
def test_what_was_changed_is_refused(tmp_path: Path, change: Callable[[str, float], None]) -> None:
    """A byte in each part of each file of the remote: refused, and the store is as before."""
    remote, lock, key = pushed(str(tmp_path), WHEELS)
    files = [path for path in files_below(remote) if not path.endswith("/lock")]
    assert {path.split("/v1/")[1].split("/")[0] for path in files} == {"index", "packs"}
    puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key)
    for path in files:
        shutil.copy(path, f"{tmp_path}/kept")
        for place in (0, 0.04, 0.5, 1) if change is flipped else (0,):
            change(path, place)
            done = puller("pull", remote, lock, "--env", f"{tmp_path}/pusher/env", "--json", timeout=60)
            assert_refused(done)
            assert done.error["kind"] == "remote"
            assert entry_names(puller.store) == set()
            assert object_names(puller.store) == set()
            if change is piped:
                os.unlink(path)
            shutil.copy(f"{tmp_path}/kept", path)
    puller("pull", remote, lock, "--env", f"{tmp_path}/pusher/env").expect()
    assert damage(puller.store) == []


def test_an_older_index_is_refused(tmp_path: Path) -> None:
    remote, lock, key = pushed(str(tmp_path), WHEELS)
    (index,) = (path for path in files_below(remote) if "/index/" in path)
    shutil.copy(index, f"{tmp_path}/old")
    pusher = person(str(tmp_path), "pusher")
    lock_of(str(tmp_path), {"gamma==1.0": package("gamma")}, pusher)
    pusher("push", remote, "--all").expect()
    puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key)
    pull = ("pull", remote, lock, "--env", f"{tmp_path}/pusher/env", "--json")
    puller(*pull).expect()
    shutil.copy(f"{tmp_path}/old", index)
    for pipm, words in ((puller, pull), (pusher, ("push", remote, "--all", "--json"))):
        assert_refused(pipm(*words), "older")


def test_a_damaged_file_of_the_store_is_not_pushed(tmp_path: Path) -> None:
    pusher = person(str(tmp_path), "pusher")
    key_of(pusher)
    lock_of(str(tmp_path), WHEELS, pusher)
    (entry,) = (name for name in entry_names(pusher.store) if name.startswith("alpha/"))
    path = f"{pusher.store}/v1/wheels/{entry}/site/alpha/data/table.bin"
    flipped(path, 0.5)
    done = pusher("push", f"{tmp_path}/remote", "--all", "--json").expect(PARTLY).json
    assert [row["name"] for row in done["left"]] == [entry]
    assert [name.split("/")[0] for name in done["new"]] == ["beta"]


def test_a_pull_goes_on_after_the_network_failed(tmp_path: Path) -> None:
    """The connection is cut at each request: the store is clean, and the next pull does it."""
    remote, lock, key = pushed(str(tmp_path), {"beta==2.0": WHEELS["beta==2.0"]})
    with web_server(remote) as server:
        server.allowed = 0
        puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key)
        for allowed in range(2):
            server.allowed, server.requests = allowed, []
            done = puller("pull", server.url, lock, "--env", f"{tmp_path}/pusher/env", "--json")
            assert_refused(done, "network")
            assert entry_names(puller.store) == set()
        server.allowed = None
        puller("pull", server.url, lock, "--env", f"{tmp_path}/pusher/env").expect()
        assert damage(puller.store) == []
        assert_refused(person(str(tmp_path), "pusher")("push", server.url, "--all", "--json"), code=USAGE)


def test_an_index_that_did_not_change_is_not_sent_again(tmp_path: Path) -> None:
    remote, _, key = pushed(str(tmp_path), {"alpha==1.0": package("alpha")})
    puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key)
    with web_server(remote) as server:
        puller("pull", server.url, "--all").expect()
        server.requests, server.sent = [], 0
        puller("pull", server.url, "--all").expect()
        assert (len(server.requests), server.sent) == (1, 0)
        # Another index is read, and so is one whose cached copy is damaged.
        pusher = person(str(tmp_path), "pusher")
        lock_of(str(tmp_path), {"beta==2.0": package("beta")}, pusher)
        pusher("push", remote, "--all").expect()
        assert puller("pull", server.url, "--all", "--json").expect().json["entries"] == 2
        for path in files_below(puller.environ["XDG_CACHE_HOME"]):
            os.truncate(path, 40)
        assert puller("pull", server.url, "--all", "--json").expect().json["entries"] == 2
        assert server.sent > 0


def test_pushes_at_once_lose_nothing(tmp_path: Path) -> None:
    pushers = [person(str(tmp_path), f"pusher-{number}") for number in range(3)]
    key_of(pushers[0])
    secret = f"{tmp_path}/pusher-0/config/pipm/signing.key"
    running = []
    for number, pusher in enumerate(pushers):
        lock_of(str(tmp_path), {f"name{number}==1.0": package(f"name{number}")}, pusher)
        signer = Pipm(store=pusher.store, environ={**pusher.environ, "PIPM_SIGNING_KEY": secret})
        running.append(signer.start("push", f"{tmp_path}/remote", "--all"))
    for process in running:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    puller = Pipm(store=f"{tmp_path}/store", environ=pushers[0].environ)
    assert puller("pull", f"{tmp_path}/remote", "--all", "--json").expect().json["entries"] == 3
    assert damage(puller.store) == []


def test_what_the_remote_lacks_is_told(tmp_path: Path) -> None:
    remote, _, key = pushed(str(tmp_path), WHEELS)
    lock = lock_of(str(tmp_path), {"gamma==1.0": package("gamma")})
    puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key)
    words = ("pull", remote, lock, "--env", f"{tmp_path}/pusher/env", "--json")
    assert puller(*words).expect(PARTLY).json["left"] == [{"name": "gamma", "reason": "is not in the remote"}]
    assert_refused(puller("pull", "ftp://host/x", lock, "--json"), "s3://", code=USAGE)
    assert_refused(puller("pull", f"{tmp_path}/nothing", "--all", "--json"), "no folder")
    assert_refused(puller("pull", str(tmp_path), "--all", "--json"), "signed")


def test_sync_takes_what_the_remote_has(tmp_path: Path) -> None:
    """No index is asked. If the remote is down or lies, a note says so, and the index is used."""
    remote, lock, key = pushed(str(tmp_path), WHEELS)
    puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key, PIPM_REMOTE=remote)
    sync = ("sync", lock, "--python", sys.executable, "--env")
    done = puller(*sync, f"{tmp_path}/env", "--json").expect().json
    assert (done["fetched"], len(done["added"])) == (0, 2)
    environment = Environment(path=f"{tmp_path}/env")
    assert os.path.exists(environment.bytecode("alpha/module_1.py"))
    import_all(environment)
    puller("verify", "--full").expect()
    for place in ("http://127.0.0.1:9", f"{tmp_path}/pusher"):
        wheels = {"PIPM_REMOTE": place, "PIP_FIND_LINKS": f"{tmp_path}/wheels"}
        other = person(str(tmp_path), "other", PIPM_TRUSTED_KEYS=key, **wheels)
        shutil.rmtree(other.store, ignore_errors=True)
        told = other(*sync, f"{tmp_path}/{len(place)}").expect().err
        assert told.count("PIPM_REMOTE") == 1
        assert ("Connection refused" in told) is place.startswith("http")
    assert_refused(
        person(str(tmp_path), "none", PIPM_REMOTE=remote)(*sync, f"{tmp_path}/x", "--json"),
        "trust",
        code=USAGE,
    )

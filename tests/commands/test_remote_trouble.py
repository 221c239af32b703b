"""`pipm pull` with errors and changes meanwhile: the store stays sound; the next pull finishes."""

from __future__ import annotations

import functools
import http.server
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.pipm import Pipm, assert_refused
from support.remotes import files_below, key_of, lock_of, person, served, web_server
from support.store import damage, entry_names, object_names
from support.synthetic import package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.disks import Disks

RANDOM = {"alpha/large.bin": os.urandom(300_000)}
"""What does not compress lies in a frame as it is: another byte there gives a good frame of other content."""


def pushed(folder: str) -> tuple[str, Pipm, str]:
    """A remote with one distribution, the user that pushed it, and the key."""
    pusher = person(folder, "pusher")
    key = key_of(pusher)
    lock_of(folder, {"alpha==1.0": package("alpha", modules=2) | RANDOM}, pusher)
    pusher("push", f"{folder}/remote", "--all").expect()
    return f"{folder}/remote", pusher, key


@pytest.fixture
def small_disk(disks: Disks, tmp_path: Path) -> Iterator[str]:
    """A file system in memory, in this process's namespace."""
    assert disks.folder  # entered its own namespace, or the test was skipped
    path = f"{tmp_path}/small"
    os.mkdir(path)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "none", path], check=True)
    yield path
    subprocess.run(["umount", "--lazy", path], check=False)


@pytest.mark.mounts
def test_a_pull_to_a_full_disk(small_disk: str, tmp_path: Path) -> None:
    """The disk is full after each number of files; with free space again, the pull continues."""
    remote, _, key = pushed(str(tmp_path))
    environ = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key).environ
    puller = Pipm(store=f"{small_disk}/store", environ=environ)
    puller("pull", remote, "--all", "--json")
    used = os.statvfs(small_disk).f_files - os.statvfs(small_disk).f_ffree
    failed = 0
    for inodes in range(used - 12, used + 4, 5):
        subprocess.run(["rm", "-rf", puller.store], check=True)
        subprocess.run(["mount", "-o", f"remount,nr_inodes={inodes}", small_disk], check=True)
        done = puller("pull", remote, "--all", "--json")
        if done.code:
            failed += 1
            assert_refused(done)
            assert not os.path.exists(puller.store) or entry_names(puller.store) == set()
        subprocess.run(["mount", "-o", "remount,nr_inodes=10000", small_disk], check=True)
        puller("pull", remote, "--all").expect()
        assert damage(puller.store) == []
        puller("verify", "--full").expect()
    assert failed > 1


def test_a_push_in_the_middle_of_a_pull(tmp_path: Path) -> None:
    """Before each request of the pull another version is pushed: the pull gets what its index named."""
    remote, pusher, key = pushed(str(tmp_path))
    versions = iter(range(1, 9))

    def push_another(_: int) -> None:
        wheel = {f"alpha==1.{next(versions)}": package("alpha", modules=2) | RANDOM}
        lock_of(str(tmp_path), wheel, pusher)
        pusher("push", remote, "--all", "--prune", "0").expect()

    with web_server(remote) as server:
        server.meanwhile = push_another
        puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key)
        done = puller("pull", server.url, "--all", "--json").expect().json
        assert done["entries"] == 2  # the first push was before the index was read
        assert 2 < len(server.requests) < 8
    assert damage(puller.store) == []
    puller("pull", remote, "--all").expect()
    assert object_names(puller.store) == object_names(pusher.store)


def test_a_good_frame_of_other_content_is_refused(tmp_path: Path) -> None:
    remote, _, key = pushed(str(tmp_path))
    for path in (path for path in files_below(remote) if "/packs/" in path):
        with open(path, "rb") as stream:
            data = stream.read()
        place = data.find(RANDOM["alpha/large.bin"][1000:1100])
        if place >= 0:
            with open(path, "wb") as stream:
                stream.write(data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :])
            break
    else:
        pytest.fail("no pack holds the file as it is")
    puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key)
    assert_refused(puller("pull", remote, "--all", "--json"), "sha256")
    assert entry_names(puller.store) == set()
    assert object_names(puller.store) == set()


def test_a_server_without_range_requests(tmp_path: Path) -> None:
    """Python's own web server ignores them."""
    remote, _, key = pushed(str(tmp_path))

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            """Say nothing."""

    puller = person(str(tmp_path), "puller", PIPM_TRUSTED_KEYS=key)
    handler = functools.partial(Quiet, directory=remote)
    with served(http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)) as server:
        done = puller("pull", f"http://127.0.0.1:{server.server_port}", "--all", "--json")
    assert_refused(done, "range requests")
    assert "http.server" in done.error["hint"]

"""`pipm sync` on a full disk, interrupted, and beside other syncs."""

from __future__ import annotations

import glob
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.file_server import FileServer, Script
from support.locks import assert_holds, pylock
from support.pipm import FAILED, INTERRUPTED, Pipm
from support.remotes import served
from support.snapshot import file_digest
from support.store import damage
from support.synthetic import Environment, make_wheel, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disks


def wheels_in(folder: str, count: int = 4) -> list[str]:
    return [
        make_wheel(folder, f"large{number}==1.0", package(f"large{number}", modules=40))
        for number in range(count)
    ]


@pytest.mark.mounts
@pytest.mark.parametrize("left", [60_000, 1_500_000])
def test_a_full_disk(disks: Disks, tmp_path: object, left: int) -> None:
    """With next to nothing left, and with enough to begin."""
    wheels = wheels_in(f"{tmp_path}/wheels")
    lock = pylock(str(tmp_path), wheels)
    with disks.small("ext4", size="60M", name=f"sync-full-{left}") as disk:
        pipm, env = Pipm(store=disk / "store"), Environment(path=disk / "env")
        pipm("sync", pylock(f"{tmp_path}/one", wheels[:1]), "--env", env.path).expect()
        free = os.statvfs(disk.path)
        with open(disk / "ballast", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - left)
        failed = pipm("sync", lock, "--env", env.path, "--json").expect(FAILED)
        assert "space" in failed.error["message"].lower(), failed.error
        assert_holds(env, wheels[:1])
        os.unlink(disk / "ballast")
        assert pipm("sync", lock, "--env", env.path, "--json").expect().json["unchanged"] >= 1
        assert_holds(env, wheels)
        assert damage(pipm.store) == []


@pytest.mark.mounts
def test_a_disk_that_is_full_while_it_fetches(disks: Disks, tmp_path: Path) -> None:
    """What is whole stays, and is not fetched again; nothing of the rest takes room."""
    contents = {"small": b"", "large": os.urandom(12 << 20)}
    script, rows = Script(), ['lock-version = "1.0"\ncreated-by = "test"\n']
    with (
        served(FileServer(script)) as server,
        disks.small("ext4", size="40M", name="fetch-full") as disk,
    ):
        for name, content in contents.items():
            files = {f"{name}.py": b"", f"{name}.bin": content}
            wheel = make_wheel(f"{tmp_path}/wheels", f"{name}==1.0", files)
            path = f"/{os.path.basename(wheel)}"
            with open(wheel, "rb") as file:
                script.files[path] = file.read()
            rows.append(
                f'[[packages]]\nname = "{name}"\nversion = "1.0"\n[[packages.wheels]]\nname = "{path[1:]}"\n'
                f'url = "{server.url}{path}"\nsize = {os.stat(wheel).st_size}\n'
                f'hashes = {{ sha256 = "{file_digest(wheel)}" }}\n'
            )
        lock = tmp_path / "pylock.toml"
        lock.write_text("".join(rows))
        pipm = Pipm(store=disk / "store", environ={"PIP_NO_CACHE_DIR": "1"})
        pipm("store", "add", make_wheel(f"{tmp_path}/first", "first==1.0", {"first.py": b""})).expect()
        free = os.statvfs(disk.path)
        with open(disk / "ballast", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, free.f_bavail * free.f_frsize - (8 << 20))
        for _ in range(2):
            failed = pipm("sync", str(lock), "--env", disk / "env", "--json").expect(FAILED)
            assert failed.error["message"].startswith("Cannot fetch large into ")
            assert "free some space" in failed.error["hint"]
            assert os.listdir(f"{pipm.store}/v1/tmp") == []
        os.unlink(disk / "ballast")
        assert pipm("sync", str(lock), "--env", disk / "env", "--json").expect().json["fetched"] == 1
        assert [asked.path for asked in script.asked].count("/small-1.0-py3-none-any.whl") == 1
        assert damage(pipm.store) == []


@pytest.mark.timing
def test_ctrl_c(pipm: Pipm, tmp_path: object) -> None:
    wheels = wheels_in(f"{tmp_path}/wheels")
    lock, env = pylock(str(tmp_path), wheels), Environment(path=f"{tmp_path}/env")
    interrupted = 0
    for wait in (0, 0.2, 0.4, 0.9):
        process = pipm.start("sync", lock, "--env", env.path)
        while not wait and process.poll() is None and not glob.glob(f"{pipm.store}/v1/tmp/run-*"):
            time.sleep(0.001)  # until it begins to work
        time.sleep(wait)
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=60)
        # Before there is a handler, the interpreter itself ends by the signal.
        assert process.returncode in (0, INTERRUPTED, -signal.SIGINT), err
        interrupted += process.returncode == INTERRUPTED
        assert "Traceback" not in err
        assert not os.path.isdir(f"{pipm.store}/v1") or damage(pipm.store) == []
    assert interrupted
    pipm("sync", lock, "--env", env.path).expect()
    assert_holds(env, wheels)


def test_many_at_once(pipm: Pipm, tmp_path: object) -> None:
    """Two syncs of one environment, two of another, one store: what comes second finds it done."""
    wheels = wheels_in(f"{tmp_path}/wheels")
    lock = pylock(str(tmp_path), wheels)
    places = [f"{tmp_path}/a", f"{tmp_path}/a", f"{tmp_path}/b", f"{tmp_path}/b"]
    with ThreadPoolExecutor(len(places)) as pool:
        results = list(pool.map(lambda place: pipm("sync", lock, "--env", place, "--json"), places))
    for result in results:
        result.expect()
    for place in ("a", "b"):
        assert_holds(Environment(path=f"{tmp_path}/{place}"), wheels)
    assert damage(pipm.store) == []

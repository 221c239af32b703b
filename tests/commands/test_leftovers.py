"""The next command with the lock removes the files of killed writes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.synthetic import make_wheel, write

if TYPE_CHECKING:
    from pathlib import Path

    from support.pipm import Pipm

TORN = "0123456789abcdef"


def torn(folder: str, name: str, *, old: bool = True) -> str:
    """Leave a torn write of *name* in *folder*."""
    path = f"{folder}/.{name}.{TORN}"
    write(path, b"half")
    os.utime(path, (1_600_000_000, 1_600_000_000) if old else None)
    return path


def test_torn_writes_go(tmp_path: Path, pipm: Pipm) -> None:
    wheel = make_wheel(str(tmp_path), "demo==1.0", {"demo/__init__.py": b"x = 1\n"})
    write(str(tmp_path / "requirements.txt"), f"demo @ file://{wheel}\n".encode())
    environment = str(tmp_path / "env")
    sync = ("sync", str(tmp_path / "requirements.txt"), "--env", environment, "--link-mode", "finder")
    pipm(*sync).expect()
    finder = f"{environment}/.pipm/finder"
    # The next run of the environment's own, at once.
    left = [torn(finder, name, old=False) for name in ("_pipm_finder_metadata.py", "receipt.json", "table")]
    left.append(torn(f"{finder}/__pycache__", "_pipm_finder.cpython-311.pyc", old=False))
    (root,) = os.listdir(f"{pipm.store}/v1/roots")
    left += [torn(f"{pipm.store}/v1/{folder}", root, old=False) for folder in ("roots", "originals")]
    unexpected = [torn(f"{pipm.store}/v1/roots", "0" * 32)]  # another environment's, which may be at work
    unexpected += [f"{finder}/.hidden", f"{finder}/.a.0123", f"{environment}/.x.{TORN}"]
    for path in unexpected[1:]:
        write(path, b"somebody's")
    pipm(*sync).expect()
    assert not any(map(os.path.exists, left))
    assert all(map(os.path.exists, unexpected))
    (entry,) = (tmp_path / "store/v1/wheels/demo/1.0").iterdir()
    left = [
        torn(str(entry), "compiled-cpython-311-3495"),
        torn(str(entry), "blueprint"),
        torn(f"{pipm.store}/v1/roots", "0" * 32),
        torn(f"{pipm.store}/v1/by-wheel", "0" * 64),
    ]
    pipm("gc").expect()
    assert not any(map(os.path.exists, left))
    pipm(*sync).expect()
    killed = f"{pipm.store}/v1/tmp/run-{TORN}"
    os.mkdir(killed)
    left = [torn(f"{pipm.store}/v1/{folder}", "0" * 32, old=False) for folder in ("roots", "by-wheel")]
    pipm("verify", "--repair").expect()
    assert not any(map(os.path.exists, (killed, *left)))


def test_torn_writes_in_the_cache_go(tmp_path: Path, pipm: Pipm) -> None:
    cache = str(tmp_path / "cache/pipm")
    left, young = torn(cache, "environment-ab"), torn(cache, "environment-cd", old=False)
    write(str(tmp_path / "pylock.toml"), b'lock-version = "1.0"\ncreated-by = "test"\npackages = []\n')
    os.environ["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    try:
        pipm("sync", str(tmp_path / "pylock.toml"), "--env", str(tmp_path / "env")).expect()
        pipm("list").expect()
    finally:
        del os.environ["XDG_CACHE_HOME"]
    assert not os.path.exists(left)
    assert os.path.exists(young)  # somebody may be writing it just now


@pytest.mark.parametrize("mode", ["hardlink", "finder"])
@pytest.mark.parametrize("command", ["sync", "adopt", "release"])
def test_temporary_names_of_a_killed_pip_go(tmp_path: Path, pipm: Pipm, command: str, mode: str) -> None:
    wheel = make_wheel(str(tmp_path), "demo==1.0", {"demo/__init__.py": b"x = 1\n"})
    write(str(tmp_path / "requirements.txt"), f"demo @ file://{wheel}\n".encode())
    environment = str(tmp_path / "env")
    sync = ("sync", str(tmp_path / "requirements.txt"), "--env", environment, "--link-mode", mode)
    pipm(*sync).expect()
    left = [f"{environment}/.pipm-tmp", f"{pipm.store}/v1/tmp/run-{TORN}"]
    for folder in left:
        write(f"{folder}/0/1", b"half")
    os.utime(environment, (1_600_000_000, 1_600_000_000))
    words = {
        "sync": sync,
        "adopt": ("adopt", environment, "--link-mode", mode),
        "release": ("release", environment),
    }
    pipm(*words[command]).expect()
    assert not any(map(os.path.exists, left))
    if command != "release" or mode != "finder":  # which takes .pipm away
        assert os.stat(environment).st_mtime == 1_600_000_000

"""Machine programs in ``bin`` are shared; scripts contain a path and are not."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from support.pipm import Pipm
from support.store import damage
from support.synthetic import Environment, install, make_environment, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk

PROGRAM = b"\x7fELF" + bytes(range(256)) * 400
SCRIPT = b"#!python\nprint(1)\n"
TOOL = "../../../bin/tool"
SCRIPTS = {TOOL: PROGRAM, "../../../bin/say": b"#!/old/bin/python\nprint(1)\n"}


def with_tool(path: str) -> Environment:
    """An environment with a program and a script."""
    environment = make_environment(path)
    files = {"tool/__init__.py": b"NAME = 'tool'\n"} | SCRIPTS
    install(environment, "tool==1.0", files, executable=tuple(SCRIPTS))
    return environment


def in_bin(environment: Environment, name: str) -> os.stat_result:
    """The stat of a file in ``bin``."""
    return os.lstat(os.path.join(environment.path, "bin", name))


def test_adopt_and_release(filesystem: Disk) -> None:
    environments = [with_tool(filesystem / name) for name in ("one", "two")]
    os.utime(os.path.join(environments[1].path, "bin/tool"), (1e9, 1e9))
    pipm = Pipm(store=filesystem / "store")
    before = [in_bin(environment, "tool") for environment in environments]
    planned = pipm("adopt", "-n", "--json", *(one.path for one in environments)).expect().json
    done = pipm.adopt(*(environment.path for environment in environments)).json
    freed = [max(row["bytes_freed"] for row in found["environments"]) for found in (planned, done)]
    assert freed[0] > len(PROGRAM) // 2
    assert freed[1] > len(PROGRAM) // 2
    left = [row["path"] for found in done["environments"] for row in found["files_left"]]
    assert "bin/tool" not in left
    assert "bin/say" in left
    inodes = {in_bin(environment, "tool").st_ino for environment in environments}
    assert len(inodes) == (2 if filesystem.reflinks else 1)
    assert in_bin(environments[0], "say").st_nlink == 1
    for environment in environments:
        assert stat.S_IMODE(in_bin(environment, "tool").st_mode) == 0o755
        told = pipm("why", os.path.join(environment.path, "bin/tool")).expect().out
        assert f"shared with the store by {filesystem.link_mode}" in told
    assert "Nothing to do" in pipm("adopt", environments[0].path).expect().out
    assert pipm("verify", "--full", "--json").expect().json["damaged"] == []
    assert damage(pipm.store) == []
    pipm("release", *(environment.path for environment in environments)).expect()
    for environment, earlier in zip(environments, before, strict=True):
        now = in_bin(environment, "tool")
        assert (now.st_mode, now.st_mtime_ns, now.st_nlink) == (earlier.st_mode, earlier.st_mtime_ns, 1)


@pytest.mark.parametrize("mode", ["hardlink", "finder"])
def test_sync_takes_it_from_the_store(tmp_path: Path, mode: str) -> None:
    """The program is linked, but never by a symlink: it looks for files beside itself."""
    files = {"tool/__init__.py": b"NAME = 'tool'\n", "tool-1.0.data/scripts/tool": PROGRAM}
    files["tool-1.0.data/scripts/say"] = SCRIPT
    wheel = make_wheel(str(tmp_path), "tool==1.0", files)
    pipm = Pipm(store=str(tmp_path / "store"))
    pipm("store", "add", wheel).expect()
    lock = tmp_path / "requirements.txt"
    lock.write_text("tool==1.0\n")
    words = ("sync", str(lock), "--env", str(tmp_path / "env"), "--link-mode", mode)
    pipm(*words).expect()
    environment = Environment(path=str(tmp_path / "env"))
    status = in_bin(environment, "tool")
    assert stat.S_ISREG(status.st_mode)
    assert stat.S_IMODE(status.st_mode) & 0o111 == 0o111
    assert in_bin(environment, "say").st_nlink == 1
    with open(os.path.join(environment.path, "bin/tool"), "rb") as file:
        assert file.read() == PROGRAM
    assert "Nothing to do" in pipm(*words).expect().out
    os.unlink(os.path.join(environment.path, "bin/tool"))
    pipm(*words).expect()
    assert in_bin(environment, "tool").st_size == len(PROGRAM)
    assert damage(pipm.store) == []

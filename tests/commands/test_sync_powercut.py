"""Power cuts during sync: finished work is on disk, and the next sync finishes the rest."""

from __future__ import annotations

import functools
import json
import os
from typing import TYPE_CHECKING

import pytest
from pipm.env.base_interpreter import find_interpreter
from pipm.env.create_environment import create_environment
from support.locks import pylock
from support.pipm import USAGE, assert_refused
from support.powercut import CommandCut
from support.process import check
from support.snapshot import difference, snapshot, sources
from support.sync_kills import SyncGround
from support.synthetic import make_wheel, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk
    from support.kills import Ground
    from support.pipm import Pipm

_NEW, _CHANGED = "new", "changed"


@pytest.mark.mounts
@pytest.mark.parametrize(
    ("kind", "mode", "environment"),
    [
        ("ext4", "links", _NEW),
        ("ext4", "copies", _CHANGED),
        ("xfs", "links", _NEW),
        ("xfs", "finder", _CHANGED),
        ("xfs", "hidden", _NEW),
    ],
)
def test_a_finished_sync_is_on_disk(
    kind: str, mode: str, environment: str, images: Disk, tmp_path: Path
) -> None:
    def prepare(context: Ground) -> None:
        assert isinstance(context, SyncGround)
        context.prepare_state(mode, there=environment == _CHANGED)

    make = functools.partial(SyncGround, modules=12)
    cut = CommandCut(kind, images=images, point=str(tmp_path / "mount"), make=make, prepare_state=prepare)
    outcome = cut.run(cut.start, most=6)
    assert outcome.faults == []
    assert outcome.checked >= 4


@pytest.mark.parametrize("mode", ["auto", "copy", "finder"])
def test_after_an_interrupted_sync_bytes_are_compared(mode: str, pipm: Pipm, tmp_path: Path) -> None:
    """A power cut may leave a file with its size, its time and zeros."""
    program = {"alpha-1.0.dist-info/entry_points.txt": b"[console_scripts]\nalpha = alpha:NAME.strip\n"}
    wheel = make_wheel(str(tmp_path), "alpha==1.0", package("alpha") | program)
    env = tmp_path / "env"
    command = ("sync", pylock(str(tmp_path), [wheel]), "--env", str(env), "--link-mode", mode, "--json")
    pipm(*command).expect()
    right = snapshot(str(env))
    (root,) = (tmp_path / "store/v1/roots").iterdir()
    root.write_text(json.dumps(json.loads(root.read_text()) | {"state": "syncing"}))
    own = [
        path
        for path in (*env.glob("bin/alpha"), *env.rglob("*.dist-info/*"), *env.rglob("alpha/**/*.py*"))
        if path.is_file() and not path.is_symlink() and path.stat().st_nlink == 1
    ]
    assert len(own) > 2
    for path in own:
        status = path.stat()
        path.chmod(0o644)
        path.write_bytes(bytes(status.st_size))
        path.chmod(status.st_mode & 0o7777)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    pipm(*command).expect()
    changed = difference(sources(right), sources(snapshot(str(env))))
    assert [row for row in changed if ".table: " not in row] == []  # it has the time of site-packages
    assert not any(path.stat().st_size and not path.read_bytes().strip(b"\0") for path in own)


@pytest.mark.parametrize("torn", ["pyvenv.cfg", "bin/activate", "bin/python"])
@pytest.mark.parametrize("written", ["", ".pipm/finder"], ids=["plain", "finder"])
def test_an_environment_cut_short_is_made_anew(torn: str, written: str, pipm: Pipm, tmp_path: Path) -> None:
    """btrfs may have written what a sync put into it, and not yet the name of an older file."""
    wheel = make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))
    env, lock = tmp_path / "env", pylock(str(tmp_path), [wheel])
    create_environment(str(env), find_interpreter(None))
    right = snapshot(str(env))
    (env / torn).unlink()
    (env / written).mkdir(parents=True, exist_ok=True)
    if torn == "bin/activate":
        (env / torn).touch()
    pipm("sync", lock, "--env", str(env)).expect()
    now = snapshot(str(env))
    assert {path: now[path] for path in right} == right


def test_an_environment_that_somebody_put_something_into_stays(pipm: Pipm, tmp_path: Path) -> None:
    env = tmp_path / "env"
    lock = pylock(str(tmp_path), [make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))])
    create_environment(str(env), find_interpreter(None))
    (env / "pyvenv.cfg").unlink()
    (env / "bin/mine").write_text("mine")
    assert_refused(pipm("sync", lock, "--env", str(env), "--json"), "not empty", code=USAGE)
    assert (env / "bin/mine").read_text() == "mine"


def test_two_syncfs_make_an_environment_and_one_changes_it(pipm: Pipm, tmp_path: Path) -> None:
    """The cost of durability, in system calls: of a directory without and with an environment."""
    wheels = [make_wheel(str(tmp_path), f"{name}==1.0", package(name)) for name in ("alpha", "beta")]
    locks = [pylock(str(tmp_path / name), wheels[:count]) for count, name in ((2, "both"), (1, "one"))]
    pipm("sync", locks[0], "--env", str(tmp_path / "warm")).expect()
    command = [*pipm.command("sync", locks[0], "--env", str(tmp_path / "env"))[0]]
    variables = pipm.command()[1]
    counts = []
    for lock in locks:
        trace = tmp_path / "trace"
        command[4] = lock
        check("strace", "-f", "-o", str(trace), "-e", "trace=syncfs", *command, environ=variables)
        counts.append(trace.read_text().count("syncfs("))
    assert counts == [2, 1]


def test_new_metadata_folders_are_on_disk_before_the_table_that_serves_by_them(
    pipm: Pipm, tmp_path: Path
) -> None:
    """btrfs keeps the order of changes only across a sync of the whole file system."""
    wheels = [make_wheel(str(tmp_path), f"alpha=={version}", package("alpha")) for version in ("1.0", "2.0")]
    locks = [pylock(str(tmp_path / name), [wheel]) for name, wheel in zip("ab", wheels, strict=True)]
    options = ("--env", str(tmp_path / "env"), "--link-mode", "finder")
    pipm("sync", locks[0], *options).expect()
    trace = tmp_path / "trace"
    command, variables = pipm.command("sync", locks[1], *options)
    calls = "trace=syncfs,rename,renameat,renameat2"
    check("strace", "-f", "-o", str(trace), "-e", calls, *command, environ=variables)
    rows = trace.read_text().splitlines()
    placed = [n for n, row in enumerate(rows) if row.count("alpha-2.0.dist-info") == 2 and "rename" in row]
    switched = [n for n, row in enumerate(rows) if '.table"' in row]
    assert any("syncfs(" in row for row in rows[placed[-1] : switched[0]])

"""Many pipm processes at once, some killed or stopped: a short run of scripts/campaign-crowd."""

from __future__ import annotations

import os
import random
import shutil
import signal
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.crowd import Crowd, start_and_stop
from support.pipm import FAILED
from support.places import fresh_folder
from support.process import needs_root
from support.snapshot import assert_kept, snapshot
from support.store import damage
from support.synthetic import import_all, install, make_environment, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disks
    from support.pipm import Pipm


@pytest.mark.mounts
def test_a_crowd(disks: Disks) -> None:
    needs_root()
    for disk in fresh_folder(disks, "xfs"):
        crowd = Crowd(disk=disk, seed=1)
        crowd.run(seconds=3, processes=4)
        assert crowd.faults(random.Random(1)) == []
        assert crowd.left_at_the_end() == []


@pytest.mark.parametrize(
    ("number", "words", "others"),
    [
        (30, "adopt ENV", ("adopt ENV", "release ENV", "verify --repair")),
        (20, "release ENV", ("adopt ENV", "release ENV", "gc")),
        (3, "gc --keep 0", ("adopt ENV", "release ENV", "gc", "verify --full")),
    ],
    ids=["adopt", "release", "gc"],
)
def test_a_stopped_process_is_named_and_goes_on(
    pipm: Pipm, tmp_path: Path, number: int, words: str, others: tuple[str, ...]
) -> None:
    first, second = (make_environment(str(tmp_path / name)) for name in ("first", "second"))
    for environment in (first, second):
        install(environment, f"{environment.path[-5:]}==1.0", package(environment.path[-5:]))
        environment.compile()
    before = snapshot(first.path)
    if words != "adopt ENV":
        pipm.adopt(first.path, second.path, mode="hardlink")
    shutil.rmtree(second.path)
    holder = start_and_stop(pipm, number, *words.replace("ENV", first.path).split())
    assert holder.poll() is None, holder.communicate()
    try:
        hurried = replace(pipm, cwd=str(tmp_path), environ={"PIPM_LOCK_TIMEOUT": "0.3"})
        for other in others:
            done = hurried(*other.replace("ENV", first.path).split()).expect(FAILED)
            assert f" is in use by process {holder.pid} (" in done.err
            assert "stopped): waiting at most 0.3 s" in done.err
            assert "stopped): gave up after 0.3 s" in done.err
            assert f"hint: kill -CONT {holder.pid} lets it go on, or wait" in done.err
        for look in ("list", "df", "report", "why first"):
            assert "Traceback" not in hurried(*look.split()).expect(*range(2)).err
        waiting = pipm.start("adopt", first.path)
    finally:
        os.killpg(holder.pid, signal.SIGCONT)
    for process in (holder, waiting):
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    assert_kept(before, first.path)
    import_all(first)
    assert damage(pipm.store) == []

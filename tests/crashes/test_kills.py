"""Interrupted and killed commands: nothing is lost, and the same command finishes the work."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest
from support.kills import (
    TEMPORARY,
    GcGround,
    Ground,
    KillGround,
    ReleaseGround,
    end_of_group,
    without_temporaries,
)
from support.pipm import DONE, INTERRUPTED, Pipm
from support.readers import wait_for
from support.snapshot import assert_kept, snapshot, sources
from support.store import damage, unshared
from support.synthetic import install, make_environment, package

if TYPE_CHECKING:
    from support.disks import Disk
    from support.synthetic import Environment

KILLS = 6  # scripts/campaign-kill does 200


def assert_survives(context: Ground, *, kills: int) -> None:
    """Kill so often; a few runs more where a machine was done before each of the moments."""
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    done = [context.kill(chance) for _ in range(kills)]
    while not any(kill.amid for kill in done) and len(done) < 10 * kills:
        done.append(context.kill(chance))
    faults = [(kill.moment, fault) for kill in done for fault in kill.faults]
    assert faults == [], f"seed {seed}"
    assert any(kill.amid for kill in done)


def test_adopt_killed_at_random_moments(filesystem: Disk) -> None:
    assert_survives(KillGround(filesystem), kills=KILLS)


def test_release_killed_at_random_moments(either_mode: Disk) -> None:
    assert_survives(ReleaseGround(either_mode, modules=40), kills=KILLS // 2)


def test_gc_killed_at_random_moments(either_mode: Disk) -> None:
    assert_survives(GcGround(either_mode, modules=40), kills=KILLS // 2)


def interrupt(pipm: Pipm, environment: Environment, *, times: int) -> tuple[int, str]:
    """Adopt and send SIGINT once the work is under way; return the exit code and what was said.

    A machine may finish the work before the signal comes; then it is undone and tried again.
    """
    for _ in range(8):
        process = pipm.start("adopt", environment.path)
        wait_for(f"{environment.path}/{TEMPORARY}", at_least=0)
        for _ in range(times):
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert end_of_group(process.pid)
        if process.returncode != DONE:
            return process.returncode, err
        assert "Adopted" in out
        pipm.release(environment.path)
    pytest.fail("adopt was done before the signal, eight times")


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c(filesystem: Disk, times: int) -> None:
    environment = make_environment(filesystem / "env")
    install(environment, "alpha==1.0", package("alpha", modules=1500))
    before = snapshot(environment.path)
    pipm = Pipm(store=filesystem / "store")
    code, err = interrupt(pipm, environment, times=times)
    assert code == INTERRUPTED or (times == 2 and code == -signal.SIGINT), err
    assert "Traceback" not in err, err
    assert "interrupted" in err.lower() or code == -signal.SIGINT
    assert sources(without_temporaries(snapshot(environment.path))) == sources(before)
    pipm.adopt(environment.path)
    assert_kept(before, environment.path)
    assert unshared(environment.site, pipm.store) == []
    assert damage(pipm.store) == []


def test_ctrl_c_at_random_moments(filesystem: Disk) -> None:
    chance = random.Random(2)
    context = KillGround(filesystem)
    kills = [context.kill(chance, signal.SIGINT) for _ in range(4)]
    assert [fault for kill in kills for fault in kill.faults] == []
    # Before pipm's first line runs, Python itself answers Ctrl-C: it ends from the signal, or with 1 where
    # that comes while it imports `site`.
    assert {kill.code for kill in kills if kill.amid} <= {DONE, INTERRUPTED}
    assert {kill.code for kill in kills} <= {DONE, INTERRUPTED, -signal.SIGINT, 1}

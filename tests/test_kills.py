"""Interrupted and killed: nothing lost, nothing torn, the next adopt finishes (D16)."""

from __future__ import annotations

import random
import signal
from typing import TYPE_CHECKING

import pytest
from support.kills import (
    TEMPORARY,
    KillGround,
    campaign,
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


def test_kill_at_random_moments(filesystem: Disk) -> None:
    seed = random.randrange(10**6)
    done = campaign(filesystem, kills=KILLS, seed=seed)
    for again in range(1, 5):  # a fast machine is done before the first few come
        if not any(kill.hit for kill in done):
            done += campaign(filesystem, kills=KILLS, seed=seed + again)
    faults = [(kill.moment, fault) for kill in done for fault in kill.faults]
    assert faults == [], f"seed {seed}"
    assert any(kill.hit for kill in done)


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
    ground = KillGround(filesystem)
    kills = [ground.kill(chance, signal.SIGINT) for _ in range(4)]
    assert [fault for kill in kills for fault in kill.faults] == []
    # Before pipm's first line runs, Python itself answers Ctrl-C by ending from the signal.
    assert {kill.code for kill in kills} <= {DONE, INTERRUPTED, -signal.SIGINT}

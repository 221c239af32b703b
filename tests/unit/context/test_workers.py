"""Forked workers: their answers, their errors and their end."""

from __future__ import annotations

import os
from typing import NamedTuple

import pytest
from pipm.context.workers import SharedState, WorkerPool
from pipm.errors import PipmError, StoreError


class _Worker(NamedTuple):
    number: int

    def run(self, stage: str) -> tuple[int, str, int]:
        if stage == "die" and self.number == 1:
            os._exit(3)
        if stage == "fail" and self.number == 1:
            raise StoreError("it is gone", hint="bring it back")
        return (self.number, stage, os.getpid())

    def close(self) -> None:
        """Nothing is open."""


def pool(count: int) -> WorkerPool:
    return WorkerPool([_Worker(number) for number in range(count)], SharedState(), lambda: None)


@pytest.mark.parametrize("count", [1, 2, 5])
def test_stages_are_answered_in_order(count: int) -> None:
    workers = pool(count)
    try:
        answers = [workers.run(stage) for stage in ("one", "x" * 1_000_000)]
    finally:
        workers.close()
    assert [[row[:2] for row in stage] for stage in answers] == [
        [(number, stage) for number in range(count)] for stage in ("one", "x" * 1_000_000)
    ]
    pids = {row[2] for stage in answers for row in stage}
    assert len(pids) == count
    assert (os.getpid() in pids) is (count == 1)
    for pid in pids - {os.getpid()}:
        with pytest.raises(ChildProcessError):  # it ended, and nobody has to wait for it
            os.waitpid(pid, 0)


@pytest.mark.parametrize(("stage", "message"), [("die", "ended unexpectedly"), ("fail", "it is gone")])
def test_what_happens_to_one_is_raised(stage: str, message: str) -> None:
    workers = pool(3)
    try:
        with pytest.raises(PipmError, match=message):
            workers.run(stage)
    finally:
        workers.close()

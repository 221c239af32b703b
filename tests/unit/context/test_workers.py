"""Forked workers: their answers, their errors and their end."""

from __future__ import annotations

import os
import resource
from typing import NamedTuple

import pytest
from pipm.context.workers import ItemPipe, SharedState, WorkerPool
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


@pytest.mark.parametrize("stage", ["die", "fail"])
def test_the_others_continue_if_they_are_asked_to(stage: str) -> None:
    shared = SharedState()
    workers = WorkerPool([_Worker(number) for number in range(3)], shared, lambda: None)
    try:
        answers = workers.run_all(stage)
    finally:
        workers.close()
    assert isinstance(answers[1], PipmError)
    assert [answers[number][:2] for number in (0, 2)] == [(0, stage), (2, stage)]
    assert not shared.stopping


def test_each_item_of_a_pipe_goes_to_one_process() -> None:
    pipe = ItemPipe()
    items = [(number, "x" * number) for number in range(300)]

    class Reader:
        def run(self, _stage: str) -> list[object]:
            pipe.end()
            return list(pipe.items(lambda: False))

        def close(self) -> None:
            """Nothing is open."""

    class Writer:
        def run(self, _stage: str) -> list[object]:
            assert all(pipe.put(item, lambda: False) for item in items)
            pipe.end()
            return []

        def close(self) -> None:
            """Nothing is open."""

    pool = WorkerPool([Writer(), Reader(), Reader()], SharedState(), lambda: None)
    pipe.end()
    try:
        answers = pool.run("")
    finally:
        pool.close()
        pipe.close()

    assert sorted(item for part in answers for item in part) == items


def test_readers_end_if_the_writing_process_fails() -> None:
    """It keeps its end of the pipe open: the system may refuse the thread that would close it."""
    pipe, shared = ItemPipe(), SharedState()

    class Writer:
        def run(self, _stage: str) -> None:
            raise StoreError("it cannot begin", hint="wait")

        def close(self) -> None:
            """Nothing is open."""

    class Reader:
        def run(self, _stage: str) -> list[object]:
            pipe.end()
            return list(pipe.items(lambda: shared.stopping))

        def close(self) -> None:
            """Nothing is open."""

    pool = WorkerPool([Writer(), Reader(), Reader()], shared, lambda: None)
    pipe.end()
    try:
        with pytest.raises(StoreError, match="it cannot begin"):
            pool.run("")
    finally:
        pool.close()
        pipe.close()


def test_a_pipe_that_nobody_reads_stops_on_request() -> None:
    pipe = ItemPipe()
    asked: list[bool] = []

    def stopping() -> bool:
        asked.append(True)
        return True

    try:
        while pipe.put(1, stopping):
            assert not asked
        assert asked == [True]
    finally:
        pipe.end()
        pipe.close()


def test_a_pipe_without_readers_is_an_error() -> None:
    pipe = ItemPipe()
    pipe.close()
    with pytest.raises(BrokenPipeError):
        pipe.put("x", lambda: False)
    pipe.end()


def test_a_pipe_takes_no_item_larger_than_its_page() -> None:
    pipe = ItemPipe()
    try:
        assert not pipe.put("x" * 5000, lambda: False)
        assert pipe.put("x", lambda: False)
        assert next(pipe.items(lambda: False)) == "x"
    finally:
        pipe.end()
        pipe.close()


def test_a_pipe_with_large_descriptors() -> None:
    """select(2) knows none above 1023."""
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    taken = [os.open("/", os.O_PATH)]
    try:
        while taken[-1] < 1024:
            taken.append(os.dup(taken[0]))
        pipe = ItemPipe()
    finally:
        for file in taken:
            os.close(file)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
    try:
        assert pipe.put("x", lambda: False)
        assert next(pipe.items(lambda: False)) == "x"
    finally:
        pipe.end()
        pipe.close()

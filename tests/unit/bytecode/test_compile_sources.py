"""How sources are divided between the processes that compile them."""

from __future__ import annotations

import os
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, cast

from pipm.bytecode.compile_sources import SourceFile, compile_sources
from pipm.core.digest import digest_of
from pipm.fs.opened import opened_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipm.bytecode.compiler_process import CompilerProcess, CompileTask

DIGEST = digest_of([b""])


class Worker:
    """Stands in for a process; *work* answers a batch."""

    def __init__(self, work: Callable[[Sequence[CompileTask]], list[int | None]]) -> None:
        self.compile = work


def _compiled(folder: Path, sizes: Sequence[int], *workers: Worker) -> tuple[set[str], list[str]]:
    """Return the made files and the hopeless sources, which are named by their number."""
    sources = {f"{number}": SourceFile("", DIGEST, size, 0, "") for number, size in enumerate(sizes)}
    with opened_folder(str(folder)) as run:
        done = compile_sources(cast("list[CompilerProcess]", workers), sources, (run, str(folder)))
    return set(done.made), done.hopeless


def test_no_process_waits_for_another(tmp_path: Path) -> None:
    rest_done = Event()
    names: list[str] = []

    def slow(tasks: Sequence[CompileTask]) -> list[int | None]:
        assert rest_done.wait(30)
        return [False] * len(tasks)

    def quick(tasks: Sequence[CompileTask]) -> list[int | None]:
        names.extend(os.path.basename(task.target) for task in tasks)
        if len(names) == 7:
            rest_done.set()
        return [False] * len(tasks)

    _compiled(tmp_path, [1 << 20] * 8, Worker(slow), Worker(quick))

    assert len(names) == 7


def test_the_largest_come_first(tmp_path: Path) -> None:
    names: list[str] = []

    def work(tasks: Sequence[CompileTask]) -> list[int | None]:
        names.extend(os.path.basename(task.target) for task in tasks)
        return [False] * len(tasks)

    _compiled(tmp_path, [2 << 20, 1, 3 << 20, 2], Worker(work))

    assert names == ["2", "0", "3", "1"]


def test_a_source_that_does_not_compile_alone_is_hopeless(tmp_path: Path) -> None:
    def work(tasks: Sequence[CompileTask]) -> list[int | None]:
        good = [os.path.basename(task.target) != "0" for task in tasks]
        for task, is_good in zip(tasks, good, strict=True):
            if is_good:
                Path(task.target).write_bytes(b"")
        return list(good)

    assert _compiled(tmp_path, [1 << 20, 1, 2], Worker(work)) == ({"1", "2"}, ["0"])


def test_an_interpreter_that_compiles_nothing_makes_no_source_hopeless(tmp_path: Path) -> None:
    assert _compiled(tmp_path, [1, 2], Worker(lambda tasks: [False] * len(tasks))) == (set(), [])

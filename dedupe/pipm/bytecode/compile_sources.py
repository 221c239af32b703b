"""Compiling sources into a run's folder."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, NamedTuple

from pipm.bytecode.compiler_process import CompilerProcess, CompileTask
from pipm.fs.bytecode_header import finish
from pipm.fs.share_file import NewFile

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipm.core.digest import Digest
    from pipm.env.interpreter import Interpreter

MODE = 0o444
"""The mode of bytecode in the store."""
_BATCH = 64
"""Sources that one process compiles between two calls of *advance*."""


class SourceFile(NamedTuple):
    """The file ``path`` with the content ``digest`` and ``size`` bytes; the header gets ``time`` (seconds).

    ``filename`` is the name in tracebacks, which Python corrects at import; ``level`` is the optimisation.
    """

    path: str
    digest: Digest
    size: int
    time: int
    filename: str
    level: int = 0


class Compiled(NamedTuple):
    """New bytecode by name, and the sources without new bytecode.

    ``changed`` have other bytes than their digest, ``hopeless`` do not compile, and for ``failed`` the disk
    did not take the bytecode. A source in no list may be good: the interpreter failed for all sources.
    """

    made: dict[str, NewFile]
    changed: list[str]
    hopeless: list[str]
    failed: list[str]


def compile_in_processes(
    interpreter: Interpreter,
    sources: Mapping[str, SourceFile],
    run: tuple[int, str],
    advance: Callable[[int], None],
) -> Compiled:
    """Compile as `compile_sources` does, in several processes of *interpreter* if there are many sources."""
    count = min(_processors(), 1 + len(sources) // _BATCH)
    with ExitStack() as stack:
        workers = [stack.enter_context(closing(CompilerProcess(interpreter))) for _ in range(count)]
        return compile_sources(workers, sources, run, advance)


def compile_sources(
    workers: Sequence[CompilerProcess],
    sources: Mapping[str, SourceFile],
    run: tuple[int, str],
    advance: Callable[[int], None] = lambda _: None,
) -> Compiled:
    """Compile *sources* (by the name of the new file) into the folder *run* (open, and its path).

    *advance* is called with the number of finished sources; an exception that it raises ends the work.
    """
    compiled = Compiled({}, [], [], [])
    names, step = list(sources), _BATCH * len(workers)
    for start in range(0, len(names), step):
        advance(start)
        parts = [names[start + number : start + step : len(workers)] for number in range(len(workers))]
        tasks = [[_task(sources[name], f"{run[1]}/{name}") for name in part] for part in parts]
        for part, answers in zip(parts, _answers(workers, tasks), strict=True):
            for name, good in zip(part, answers, strict=True):
                if good:
                    compiled.made[name] = NewFile(run[0], name)
                    finish(run[0], name, MODE, sources[name].time)
                elif good is None:
                    compiled.changed.append(name)
                elif good is not False:
                    compiled.failed.append(name)
                elif any(answers):
                    compiled.hopeless.append(name)
    return compiled


def _answers(workers: Sequence[CompilerProcess], tasks: list[list[CompileTask]]) -> list[list[int | None]]:
    if len(workers) == 1:
        return [workers[0].compile(tasks[0])]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - most runs compile little

    with ThreadPoolExecutor(len(workers)) as pool:
        return list(pool.map(CompilerProcess.compile, workers, tasks))


def _task(source: SourceFile, target: str) -> CompileTask:
    path, digest, size, time, filename, level = source
    return CompileTask(path, digest.hex(), filename, target, time, size, level)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

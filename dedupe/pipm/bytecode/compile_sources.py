"""Compiling sources into a run's folder."""

from __future__ import annotations

import os
from contextlib import ExitStack, closing

from pipm.bytecode.compiler_process import CompilerProcess, CompileTask
from pipm.core.named_tuple import NamedTuple
from pipm.fs.bytecode_header import finish
from pipm.fs.share_file import NewFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from pipm.core.digest import Digest
    from pipm.env.interpreter import Interpreter

MODE = 0o444
"""The mode of bytecode in the store."""
_BATCH, _BATCH_SIZE = 64, 256 << 10
"""Sources, and bytes of them, that one process compiles between two calls of *advance*."""


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
    refused: list[str] = []
    done = 0
    with closing(_answers(workers, sources, run[1])) as answered:
        for names, answers in answered:
            done += len(names)
            advance(done)
            for name, good in zip(names, answers, strict=True):
                if good:
                    compiled.made[name] = NewFile(run[0], name)
                    finish(run[0], name, MODE, sources[name].time)
                elif good is None:
                    compiled.changed.append(name)
                elif good is not False:
                    compiled.failed.append(name)
                else:
                    refused.append(name)
    if compiled.made:
        compiled.hopeless.extend(refused)
    return compiled


def _batches(sources: Mapping[str, SourceFile]) -> Iterator[list[str]]:
    """Divide *sources*, the largest first: then no process is left with much work at the end."""
    batch: list[str] = []
    size = 0
    for name in sorted(sources, key=lambda name: -sources[name].size):
        batch.append(name)
        size += sources[name].size
        if len(batch) == _BATCH or size >= _BATCH_SIZE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch


def _answers(
    workers: Sequence[CompilerProcess], sources: Mapping[str, SourceFile], folder: str
) -> Generator[tuple[list[str], list[int | None]]]:
    """Yield each batch with its answers; a process that finished one takes the next."""

    def tasks(batch: list[str]) -> list[CompileTask]:
        return [_task(sources[name], f"{folder}/{name}") for name in batch]

    if len(workers) == 1:
        for batch in _batches(sources):
            yield batch, workers[0].compile(tasks(batch))
        return
    from concurrent.futures import ThreadPoolExecutor, as_completed  # noqa: PLC0415 - most runs compile little
    from queue import SimpleQueue  # noqa: PLC0415 - likewise

    idle: SimpleQueue[CompilerProcess] = SimpleQueue()
    for worker in workers:
        idle.put(worker)

    def compiled(batch: list[str]) -> list[int | None]:
        worker = idle.get()
        try:
            return worker.compile(tasks(batch))
        finally:
            idle.put(worker)

    pool = ThreadPoolExecutor(len(workers))
    try:
        futures = {pool.submit(compiled, batch): batch for batch in _batches(sources)}
        for future in as_completed(futures):
            yield futures[future], future.result()
    finally:
        pool.shutdown(cancel_futures=True)


def _task(source: SourceFile, target: str) -> CompileTask:
    path, digest, size, time, filename, level = source
    return CompileTask(path, digest.hex(), filename, target, time, size, level)


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

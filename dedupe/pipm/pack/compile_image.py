"""Bytecode for images: compiled again with fixed names and times, so that it is equal wherever it is made.

What the store has names the place where it was compiled.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, NamedTuple

from pipm.bytecode.compiler_process import CompilerProcess, CompileTask
from pipm.errors import FileSystemError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.progress import Progress
    from pipm.core.digest import Digest
    from pipm.env.interpreter import Interpreter

_BATCH = 64


class ImageModule(NamedTuple):
    """A module: where it lies on this disk, what it holds, and the name that tracebacks show."""

    path: str
    digest: Digest
    size: int
    filename: str


def compile_sources(
    sources: Sequence[ImageModule], interpreter: Interpreter, folder: str, time: int, progress: Progress
) -> dict[ImageModule, str]:
    """Compile *sources* into *folder*; returns where the bytecode is of each that compiles."""
    progress.phase("Compiling", len(sources))
    tasks = [
        CompileTask(one.path, one.digest.hex(), one.filename, f"{folder}/pyc-{number}", time, one.size, 0)
        for number, one in enumerate(sources)
    ]
    batches = [tasks[start : start + _BATCH] for start in range(0, len(tasks), _BATCH)]
    count = min(os.cpu_count() or 1, len(batches)) or 1
    workers = [CompilerProcess(interpreter) for _ in range(count)]

    def compile_part(number: int) -> list[list[int | None]]:
        answers = []
        for batch in batches[number::count]:
            answers.append(workers[number].compile(batch))
            progress.advance(len(batch), 0)
        return answers

    try:
        with ThreadPoolExecutor(count) as pool:
            parts = list(pool.map(compile_part, range(count)))
    finally:
        for worker in workers:
            worker.close()
    good = [answer for number in range(len(batches)) for answer in parts[number % count][number // count]]
    for one, done in zip(sources, good, strict=True):
        if done is not True and done is not False:  # the disk or the interpreter failed, not the source
            raise FileSystemError(
                f"Cannot compile {one.path}",
                hint="look at the disk's free space, then run the same command again",
            )
    return {one: task.target for one, task, done in zip(sources, tasks, good, strict=True) if done}

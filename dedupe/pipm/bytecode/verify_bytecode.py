"""Checking the store's bytecode, and compiling it again.

Bytecode is compared with a new compilation of its source. If the source is damaged, its bytecode cannot be
checked.
"""

from __future__ import annotations

import os
import stat
from contextlib import closing
from typing import TYPE_CHECKING, NamedTuple

from pipm.bytecode.compile_sources import MODE, SourceFile, compile_sources
from pipm.bytecode.compiler_process import CompareTask, CompilerProcess
from pipm.core.bytecode import bytecode_mtime_ns, parse_bytecode_key
from pipm.core.digest import EMPTY
from pipm.core.plan.verify_plan import Flaw
from pipm.env.interpreter import ask_interpreter
from pipm.env.permission import refusal
from pipm.fs.durability import sync_file_system
from pipm.fs.restore_files import rename_over
from pipm.fs.share_file import NewFile, forget
from pipm.fs.walk_tree import named_inodes
from pipm.fs.xattrs import has_attributes
from pipm.store.layout import VERSION
from pipm.store.objects import find_object, trusted_owners

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from pipm.core.digest import Digest
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store

_BATCH = 256


class PoolFile(NamedTuple):
    """A file of the pool: its path below ``v1/``, its source's digest and time, its inode and its flaw."""

    name: str
    digest: Digest
    time: int
    inode: int
    flaw: Flaw | None

    @property
    def pool(self) -> str:
        """The name of its pool: an interpreter and an optimisation level."""
        return self.name.split("/")[1]


class _Reader(NamedTuple):
    interpreter: Interpreter
    level: int


class PoolCheck:
    """Checks the bytecode of all interpreters, with the interpreters of *environments*.

    ``not_run`` names the interpreters that were not run, with the reason.
    """

    def __init__(self, store: Store, environments: Iterable[Environment]) -> None:
        self._store = store
        self._readers: dict[str, _Reader] = {}
        self.not_run: list[str] = []
        for environment in environments:
            python = environment.interpreter
            refused = None if python is None else refusal(python)
            if refused is not None:
                self.not_run.append(f"{refused.message} ({refused.hint})")
                continue
            interpreter = ask_interpreter(python)
            if interpreter is not None:
                for level, suffix in enumerate(("", ".opt-1", ".opt-2")):
                    self._readers.setdefault(interpreter.pool(suffix), _Reader(interpreter, level))

    def check(self, *, full: bool, advance: Callable[[int], None]) -> tuple[int, list[PoolFile]]:
        """Check all bytecode by a stat, with *full* also by compiling; return number and flawed files."""
        count = 0
        flawed: list[PoolFile] = []
        sound: dict[str, list[PoolFile]] = {}
        for found in self._files():
            count += 1
            advance(0)
            file = found._replace(flaw=self._flaw(found))
            (flawed if file.flaw else sound.setdefault(file.pool, [])).append(file)
        if full:
            for pool, files in sound.items():
                flawed += self._compared(pool, files)
        return count, flawed

    def of_sources(self, digests: Collection[Digest]) -> list[PoolFile]:
        """List all bytecode of the sources with these *digests*."""
        return [file for file in self._files() if file.digest in digests] if digests else []

    def _files(self) -> Iterator[PoolFile]:
        for name, inode in named_inodes(f"{self._store.path}/{VERSION}/bytecode", 2, "bytecode/"):
            try:
                digest, time = parse_bytecode_key("".join(name.split("/")[2:]))
            except ValueError:
                continue  # not a name that pipm gives
            yield PoolFile(name, digest, time, inode, None)

    def _flaw(self, file: PoolFile) -> Flaw | None:
        name, time = file.name, file.time
        status = os.stat(name, dir_fd=self._store.v1, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return Flaw.KIND
        if status.st_uid not in trusted_owners():
            return Flaw.OWNER
        if status.st_mtime_ns != bytecode_mtime_ns(time):
            return Flaw.CONTENT
        if has_attributes(self._path(name)):
            return Flaw.ATTRIBUTES
        return Flaw.MODE if stat.S_IMODE(status.st_mode) != MODE else None

    def _compared(self, pool: str, files: list[PoolFile]) -> list[PoolFile]:
        reader = self._readers.get(pool)
        if reader is None:
            return []
        worker = CompilerProcess(reader.interpreter)
        wrong = []
        try:
            for start in range(0, len(files), _BATCH):
                batch = [(file, self._source(file.digest)) for file in files[start : start + _BATCH]]
                known = [(file, source) for file, source in batch if source is not None]
                tasks = [
                    CompareTask(self._path(file.name), path, file.digest.hex(), file.time, size, reader.level)
                    for file, (path, size) in known
                ]
                answers = worker.compare(tasks)
                wrong += [
                    file._replace(flaw=Flaw.CONTENT)
                    for (file, _), good in zip(known, answers, strict=True)
                    if good is False
                ]
        finally:
            worker.close()
        return wrong

    def make_anew(self, files: Iterable[PoolFile], run: int, run_path: str) -> dict[int, NewFile | None]:
        """Compile the sources of *files* again and replace the files in their pools.

        Returns the new file of each old inode. If the interpreter or an undamaged source is missing, the old
        file is removed, and the new one is None.
        """
        pools: dict[str, list[PoolFile]] = {}
        for file in files:
            pools.setdefault(file.pool, []).append(file)
        made: dict[int, NewFile | None] = {}
        for pool, several in pools.items():
            fresh = self._compiled(pool, several, run, run_path)
            if fresh:
                sync_file_system(run)  # the pool must get only files whose bytes are on disk
            for file in several:
                new = made[file.inode] = fresh.get(file.name)
                if new is None:
                    forget(self._store.v1, file.name)
                else:
                    rename_over(new, self._store.v1, file.name)
        return made

    def _compiled(self, pool: str, files: list[PoolFile], run: int, run_path: str) -> dict[str, NewFile]:
        """Compile *files* into the run's folder; return the new files by name in the pool."""
        reader = self._readers.get(pool)
        if reader is None:
            return {}
        names: dict[str, str] = {}
        sources: dict[str, SourceFile] = {}
        for file in files:
            found = self._source(file.digest)
            if found is not None:
                names[f"pyc-{file.inode}"] = file.name
                sources[f"pyc-{file.inode}"] = SourceFile(
                    found[0], file.digest, found[1], file.time, "", reader.level
                )
        with closing(CompilerProcess(reader.interpreter)) as worker:
            made = compile_sources([worker], sources, (run, run_path)).made
        return {names[name]: new for name, new in made.items()}

    def _source(self, digest: Digest) -> tuple[str, int] | None:
        if digest == EMPTY:
            return os.devnull, 0
        for executable in (False, True):
            for writable in (False, True):
                name = digest.object_name(executable=executable, writable=writable)
                status = find_object(self._store.objects, name)
                if status is not None:
                    return self._path(f"objects/{name}"), status.st_size
        return None

    def _path(self, name: str) -> str:
        return f"{self._store.path}/{VERSION}/{name}"

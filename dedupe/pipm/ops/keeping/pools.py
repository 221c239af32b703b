"""Checking the store's bytecode, and making it anew."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.digest import EMPTY, Digest
from pipm.env.interpreter import ask_interpreter
from pipm.fs.bytecode import finish
from pipm.fs.restore import rename_over
from pipm.fs.share import NewFile, forget
from pipm.fs.walk import named_inodes
from pipm.plan.verify import Flaw
from pipm.store.layout import VERSION
from pipm.store.objects import find_object, trusted_owners
from pipm.wheel.bytecode import BytecodeWorker, Comparison, Compilation

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.store.layout import Store

_MODE = 0o444
_BATCH = 256


class Compiled(NamedTuple):
    """A file of the pool: its path below ``v1/``, its source's digest, what is wrong with it."""

    name: str
    digest: Digest
    inode: int
    flaw: Flaw | None


class _Reader(NamedTuple):
    interpreter: Interpreter
    level: int


class Pools:
    """The bytecode of all interpreters; those of *environments* can say whether theirs is right."""

    def __init__(self, store: Store, environments: Iterable[Environment]) -> None:
        self._store = store
        self._readers: dict[str, _Reader] = {}
        for environment in environments:
            interpreter = ask_interpreter(environment.interpreter)
            if interpreter is not None:
                for level, suffix in enumerate(("", ".opt-1", ".opt-2")):
                    self._readers.setdefault(interpreter.pool(suffix), _Reader(interpreter, level))

    def check(self, *, full: bool, advance: Callable[[int], None]) -> tuple[int, list[Compiled]]:
        """Check all bytecode: stat, and with *full* by a fresh compile; returns how many, and the flawed."""
        count = 0
        flawed: list[Compiled] = []
        sound: dict[str, list[Compiled]] = {}
        for name, inode in named_inodes(f"{self._store.path}/{VERSION}/bytecode", 2, "bytecode/"):
            _, pool, *rest = name.split("/")
            try:
                digest = Digest.from_hex("".join(rest))
            except ValueError:
                continue  # not a name of ours
            count += 1
            advance(0)
            file = Compiled(name, digest, inode, self._flaw(name, digest))
            (flawed if file.flaw else sound.setdefault(pool, [])).append(file)
        if full:
            for pool, files in sound.items():
                flawed += self._compared(pool, files)
        return count, flawed

    def _flaw(self, name: str, digest: Digest) -> Flaw | None:
        status = os.stat(name, dir_fd=self._store.v1, follow_symlinks=False)
        if not stat.S_ISREG(status.st_mode):
            return Flaw.KIND
        if status.st_uid not in trusted_owners():
            return Flaw.OWNER
        if status.st_mtime_ns != digest.mtime_ns:
            return Flaw.CONTENT
        return Flaw.MODE if stat.S_IMODE(status.st_mode) != _MODE else None

    def _compared(self, pool: str, files: list[Compiled]) -> list[Compiled]:
        reader = self._readers.get(pool)
        if reader is None:
            return []
        worker = BytecodeWorker(reader.interpreter)
        wrong = []
        try:
            for start in range(0, len(files), _BATCH):
                batch = [(file, self._source(file.digest)) for file in files[start : start + _BATCH]]
                known = [(file, source) for file, source in batch if source is not None]
                tasks = [
                    Comparison(self._path(file.name), path, file.digest.mtime, size, reader.level)
                    for file, (path, size) in known
                ]
                answers = worker.compare(tasks)
                wrong += [
                    file._replace(flaw=Flaw.CONTENT)
                    for (file, _), good in zip(known, answers, strict=True)
                    if not good
                ]
        finally:
            worker.close()
        return wrong

    def make_anew(self, file: Compiled, run: int, run_path: str) -> NewFile | None:
        """Compile the source of *file* again and replace it; without interpreter the pool forgets it."""
        pool = file.name.split("/")[1]
        reader, source = self._readers.get(pool), self._source(file.digest)
        if reader is not None and source is not None:
            path, size = source
            new = NewFile(run, f"pyc-{file.inode}")
            worker = BytecodeWorker(reader.interpreter)
            task = Compilation(path, "", f"{run_path}/{new.name}", file.digest.mtime, size, reader.level)
            try:
                (good,) = worker.compile([task])
            finally:
                worker.close()
            if good:
                finish(run, new.name, _MODE, file.digest.mtime)
                rename_over(new, self._store.v1, file.name)
                return new
        forget(self._store.v1, file.name)
        return None

    def _source(self, digest: Digest) -> tuple[str, int] | None:
        if digest == EMPTY:
            return os.devnull, 0
        for executable in (False, True):
            name = digest.object_name(executable=executable)
            status = find_object(self._store.objects, name)
            if status is not None:
                return self._path(f"objects/{name}"), status.st_size
        return None

    def _path(self, name: str) -> str:
        return f"{self._store.path}/{VERSION}/{name}"

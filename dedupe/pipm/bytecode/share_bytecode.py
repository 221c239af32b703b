"""Sharing the bytecode of sources with verified content.

Theory of operation. The store has one time for each content, so all environments of an interpreter can use
the same ``.pyc``. If the pool lacks it, the environment's own file is linked into the pool, after the
environment's interpreter checked it. If sharing changed the time of the source, pipm writes the new time into
the header. Those four bytes are the only ones that pipm writes into a file of an environment, and only if its
inode has no other name. This is safe: no process maps a ``.pyc``, Python itself replaces it by rename, and
after a crash the file is at worst stale. If the file has further names (in a backup), the pool gets a copy.

If neither the pool nor the environment has valid bytecode, the source is compiled. New bytecode is synced
before it is linked.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pipm.bytecode.compile_sources import MODE, SourceFile, compile_sources
from pipm.bytecode.compiled_files import CACHE, match_bytecode
from pipm.bytecode.compiler_process import BytecodeCheck
from pipm.core.bytecode import bytecode_mtime_ns
from pipm.core.plan.adopt_plan import is_usual_mode
from pipm.core.reasons import Reason
from pipm.fs.beneath import directory_beneath, status_beneath
from pipm.fs.bytecode_header import (
    Header,
    copy_with_time,
    give_bytecode,
    own_reason,
    patch_time,
)
from pipm.fs.folder_time import same_cache_time
from pipm.fs.link_modes import LinkMode
from pipm.fs.os_errors import stops_everything
from pipm.fs.share_file import LeaveAloneError, NewFile, ensure_folder, give_name, set_time

if TYPE_CHECKING:
    from collections.abc import Iterable
    from contextlib import AbstractContextManager

    from pipm.bytecode.compiled_files import ProvenSource
    from pipm.bytecode.compiler_process import CompilerProcess
    from pipm.context.adopt_context import AdoptContext
    from pipm.context.statistics import Statistics
    from pipm.fs.staging import Staging
    from pipm.store.bytecode_pool import Pool

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class _UnpooledBytecode(NamedTuple):
    """A ``.pyc`` that the pool lacks; ``status`` is the stat of the environment's file, None if missing."""

    source: ProvenSource
    name: str
    level: int
    status: os.stat_result | None = None


class _NewBytecode(NamedTuple):
    """New bytecode in the run's folder, to be linked after a sync."""

    source: ProvenSource
    name: str
    level: int
    new: NewFile


class CompilerPools(NamedTuple):
    """A process of an interpreter, and its pools by optimisation level."""

    worker: CompilerProcess
    pools: list[Pool]


class BytecodeSharer:
    """Shares the bytecode of one environment and counts in *statistics*; *compiler* has its interpreter."""

    def __init__(
        self, context: AdoptContext, staging: Staging, statistics: Statistics, compiler: CompilerPools | None
    ) -> None:
        self.context = context
        self.staging = staging
        self.statistics = statistics
        self._base = f"{context.store.path}/v1/"
        self._fresh: list[_NewBytecode] = []
        self._worker = None if compiler is None else compiler.worker
        self._pools = [] if compiler is None else compiler.pools

    def close(self) -> None:
        """End the interpreter."""
        if self._worker is not None:
            self._worker.close()

    def share(self, sources: Iterable[ProvenSource]) -> None:
        """Share the bytecode of *sources*, the modules of one distribution."""
        folders: dict[str, dict[str, ProvenSource]] = {}
        for source in sources:
            folders.setdefault(source.directory, {})[source.name[:-3]] = source
        candidates = [
            candidate
            for directory, modules in folders.items()
            for candidate in self._share_known(directory, modules)
        ]
        if self.context.tight:
            for candidate in candidates:
                self._leave(candidate.source, candidate.name, Reason.NO_ROOM)
        elif candidates:
            self._take_over(candidates)

    def finish_bytecode(self) -> None:
        """Link the new bytecode; the caller has synced it."""
        for fresh in self._fresh:
            self.context.shared_state.check()
            pool = self._pools[fresh.level]
            pool.make_room(fresh.source.digest)
            if give_name(fresh.new, pool.folder, _name(pool, fresh.source)):
                self.statistics.created(os.stat(fresh.new.name, dir_fd=fresh.new.directory))
            if self.context.compile_missing:
                with directory_beneath(self.context.root, fresh.source.directory) as folder:
                    if folder is not None:
                        ensure_folder(folder, CACHE)
            with self._open(fresh.source.directory) as cache:
                if cache is not None:
                    old = status_beneath(cache, fresh.name)
                    with same_cache_time(cache):
                        self._place(cache, fresh.name, old, fresh.source, pool)
        self._fresh = []

    @property
    def unfinished(self) -> int:
        """The number of files that wait for `finish_bytecode`."""
        return len(self._fresh)

    def _share_known(self, directory: str, modules: dict[str, ProvenSource]) -> list[_UnpooledBytecode]:
        """Share the bytecode of one folder, as far as the pool has it; return the rest."""
        candidates: list[_UnpooledBytecode] = []
        with self._open(directory) as cache:
            if cache is None:
                return self._uncompiled(modules.values(), set())
            present = set()
            with same_cache_time(cache):
                for name in os.listdir(cache):
                    found = match_bytecode(name, self.context.interpreter)
                    if found is None or found[0] not in modules:
                        if found is None and name.endswith(".pyc") and name.partition(".")[0] in modules:
                            self.statistics.files += 1
                            self.statistics.leave(f"{directory}/{CACHE}/{name}", Reason.OTHER_BYTECODE)
                        continue
                    source, level = modules[found[0]], found[1]
                    present.add((source.name, level))
                    self.statistics.files += 1
                    status = status_beneath(cache, name)
                    if status is not None and not self._share_one(cache, name, source, level, status):
                        candidates.append(_UnpooledBytecode(source, name, level, status))
        return candidates + self._uncompiled(modules.values(), present)

    def _uncompiled(
        self, sources: Iterable[ProvenSource], present: set[tuple[str, int]]
    ) -> list[_UnpooledBytecode]:
        if not self.context.compile_missing or self.context.interpreter is None:
            return []
        tag = self.context.interpreter.cache_tag
        missing = [source for source in sources if (source.name, 0) not in present]
        self.statistics.files += len(missing)
        return [_UnpooledBytecode(source, f"{source.name[:-3]}.{tag}.pyc", 0) for source in missing]

    def _share_one(
        self, cache: int, name: str, source: ProvenSource, level: int, status: os.stat_result
    ) -> bool:
        """Share one file with the pool, or leave it alone; return False if the pool has none."""
        if self._is_done(cache, name, source, status):
            return True
        pool = self._pools[level]
        stored = pool.find(source.digest, source.time)
        if stored is not None and stored.st_ino == status.st_ino:
            self._touch_empty(source)
            self._count_already(status)
            return True
        if stored is None:
            return False
        if self._must_stay(cache, name, source, status):
            return True
        self._place(cache, name, status, source, pool)
        return True

    def _must_stay(self, cache: int, name: str, source: ProvenSource, status: os.stat_result) -> bool:
        """Return whether a file must not be shared; count it then."""
        usual = is_usual_mode(status.st_mode)
        reason = own_reason(cache, name) if usual else Reason.SPECIAL_MODE
        if reason is not None:
            self._leave(source, name, reason)
        return reason is not None

    def _is_done(self, cache: int, name: str, source: ProvenSource, status: os.stat_result) -> bool:
        """Return whether a stat shows that a file is already shared or must not be shared; count it then."""
        if stat.S_ISLNK(status.st_mode) and os.readlink(name, dir_fd=cache).startswith(self._base):
            self._count_already(status)
            return True
        if not stat.S_ISREG(status.st_mode) or status.st_uid != self.context.user:
            symlinked = stat.S_ISLNK(status.st_mode)
            self._leave(source, name, Reason.SYMLINK if symlinked else Reason.OTHER_OWNER)
            return True
        if self._says_shared(status, source):
            self._count_already(status)
            return True
        return False

    def _says_shared(self, status: os.stat_result, source: ProvenSource) -> bool:
        return (
            self.context.trusted
            and status.st_mtime_ns == bytecode_mtime_ns(source.time)
            and (status.st_nlink > 1 or not self.context.hardlinks)
        )

    def _take_over(self, candidates: list[_UnpooledBytecode]) -> None:
        """Link the environment's bytecode into the pool; compile invalid bytecode again."""
        assert self._worker is not None
        base = self.context.environment.path
        checks = [
            BytecodeCheck(f"{base}/{source.directory}/{CACHE}/{name}", source.before, source.size)
            for source, name, *_ in candidates
        ]
        sound = self._worker.check(checks)
        rest: list[_UnpooledBytecode] = []
        good: dict[str, list[_UnpooledBytecode]] = {}
        for candidate, is_sound in zip(candidates, sound, strict=True):
            if is_sound and self.context.hardlinks:
                good.setdefault(candidate.source.directory, []).append(candidate)
            else:
                rest.append(candidate)
        for directory, several in good.items():
            with self._open(directory) as cache:
                for candidate in several:
                    self.context.shared_state.check()
                    if cache is None or not self._give(cache, candidate):
                        rest.append(candidate)
        self._compile([candidate for candidate in rest if self._may_replace(candidate)])

    def _give(self, cache: int, candidate: _UnpooledBytecode) -> bool:
        """Link the environment's file into the pool; return False if it must be compiled."""
        source, name, level, old = candidate
        pool = self._pools[level]
        header = Header(source.time, source.before, source.size)
        if old is None or not is_usual_mode(old.st_mode):
            return False
        pool.make_room(source.digest)
        try:
            if old.st_nlink != 1:
                return self._copy(cache, candidate, header)
            whole = self.context.copies_on_write
            stored = _name(pool, source)
            status, given = give_bytecode(
                NewFile(cache, name), pool.folder, stored, header, MODE, whole=whole
            )
        except OSError as error:
            if stops_everything(error):
                raise
            return False
        except LeaveAloneError as refusal:
            if refusal.reason is not Reason.NO_LINK:
                return False
            self._leave(source, name, Reason.NO_LINK)
            return True
        if given:
            self.statistics.names += 1
            self._touch_empty(source)
            self._count_shared(status)
        else:
            with same_cache_time(cache):
                self._place(cache, name, status, source, pool)
        return True

    def _copy(self, cache: int, candidate: _UnpooledBytecode, header: Header) -> bool:
        """Copy a file with further names for the pool; return False if it must be compiled."""
        new = self.context.new_file()
        own = own_reason(cache, candidate.name) is not None
        if own or not copy_with_time(cache, candidate.name, new, header, MODE):
            return False
        self._fresh.append(_NewBytecode(candidate.source, candidate.name, candidate.level, new))
        return True

    def _may_replace(self, candidate: _UnpooledBytecode) -> bool:
        """Return whether a file that could not be linked may be replaced."""
        source, name = candidate.source, candidate.name
        with self._open(source.directory) as cache:
            status = None if cache is None else status_beneath(cache, name)
            if cache is None or status is None:
                return self.context.compile_missing
            return not self._must_stay(cache, name, source, status)

    def _compile(self, candidates: list[_UnpooledBytecode]) -> None:
        assert self._worker is not None
        fresh = [(candidate, self.context.new_file()) for candidate in candidates]
        sources = {new.name: self._compiled_from(candidate) for candidate, new in fresh}
        run = (self.context.run, self.context.run_path)
        compiled = compile_sources([self._worker], sources, run)
        for candidate, new in fresh:
            if new.name in compiled.made:
                source, name, level, _ = candidate
                self._fresh.append(_NewBytecode(source, name, level, new))
            else:
                changed = new.name in compiled.changed
                reason = Reason.CHANGING if changed else Reason.STALE_BYTECODE
                self._leave(candidate.source, candidate.name, reason)

    def _compiled_from(self, candidate: _UnpooledBytecode) -> SourceFile:
        source = candidate.source
        path = f"{source.directory}/{source.name}"
        whole = f"{self.context.environment.path}/{path}"
        return SourceFile(whole, source.digest, source.size, source.time, path, candidate.level)

    def _open(self, directory: str) -> AbstractContextManager[int | None]:
        return directory_beneath(self.context.root, f"{directory}/{CACHE}")

    def _touch_empty(self, source: ProvenSource) -> None:
        """Set the time of an empty source, which is never shared, to that in its shared bytecode."""
        if not source.size and source.before_ns != source.mtime_ns:
            with directory_beneath(self.context.root, source.directory) as folder:
                if folder is not None:
                    set_time(folder, source.name, source.mtime_ns)

    def _place(
        self, cache: int, name: str, old: os.stat_result | None, source: ProvenSource, pool: Pool
    ) -> None:
        stored = _name(pool, source)
        try:
            self._put(cache, name, stored, pool)
        except OSError as error:
            if stops_everything(error):
                raise
            self._keep_valid(cache, name, source)
            self._leave(source, name, Reason.NO_LINK)
            return
        self._touch_empty(source)
        if old is not None:
            self.statistics.replaced(old)
            self._count_shared(old)
        else:
            self.statistics.shared += 1

    def _put(self, cache: int, name: str, stored: str, pool: Pool) -> None:
        mode = LinkMode.HARDLINK if self.context.hardlinks else self.context.mode
        path = f"{self.context.store.path}/v1/bytecode/{stored}"
        try:
            self.staging.put(mode, pool.folder, path if mode is LinkMode.SYMLINK else stored, cache, name)
        except OSError as error:
            if error.errno != errno.EMLINK:
                raise
            with open(os.open(stored, _READ, dir_fd=pool.folder), "rb") as stream:
                status = os.fstat(stream.fileno())
                temporary = self.staging.link_identical(stream.fileno(), MODE, status.st_mtime_ns)
            self.staging.move(temporary, cache, name)

    def _keep_valid(self, cache: int, name: str, source: ProvenSource) -> None:
        """Write the new time of the source into the header of bytecode that is not shared."""
        header = Header(source.time, source.before, source.size)
        try:
            if source.size and source.time != source.before:  # an empty source kept its time
                patch_time(cache, name, header, whole=self.context.copies_on_write)
        except (OSError, LeaveAloneError):
            return  # Python compiles it again

    def _leave(self, source: ProvenSource, name: str, reason: Reason) -> None:
        self.statistics.leave(f"{source.directory}/{CACHE}/{name}", reason)

    def _count_shared(self, status: os.stat_result) -> None:
        self.statistics.shared += 1
        self.statistics.bytes_shared += status.st_size

    def _count_already(self, status: os.stat_result) -> None:
        self.statistics.already += 1
        self.statistics.bytes_shared += status.st_size


def _name(pool: Pool, source: ProvenSource) -> str:
    return pool.name(source.digest, source.time)

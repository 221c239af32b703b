"""Syncing a file system again and again while several processes write to it."""

from __future__ import annotations

import mmap
import struct
import threading
import time
from typing import TYPE_CHECKING, Self

from pipm.errors import FileSystemError
from pipm.fs.durability import sync_file_system

if TYPE_CHECKING:
    from types import TracebackType

_COUNTERS = struct.Struct("QQ")
"""Begun and ended syncs; in native format each is written at once, so that no process reads a half of one."""
_URGENT, _ENDED = _COUNTERS.size, _COUNTERS.size + 1
_PAUSE, _TICK = 0.7, 0.005
"""Seconds."""


class BackgroundSync:
    """Syncs the file system of the open *file* while the with block runs, with pauses unless a process waits.

    It is made before the processes are forked: what they see is in shared memory.
    """

    def __init__(self, file: int) -> None:
        self._file = file
        self._memory = mmap.mmap(-1, mmap.PAGESIZE)
        self._thread = threading.Thread(target=self._run, name="syncing", daemon=True)
        self._error: OSError | None = None

    def next(self) -> int:
        """Return the number of the first sync that will write all that was written until now."""
        return self._counters()[0] + 1

    def is_done(self, number: int) -> bool:
        """Return whether the sync with that number has ended."""
        return self._counters()[1] >= number

    def wait(self, number: int) -> None:
        """Wait for the sync with that number; raise FileSystemError if there will be none."""
        while not self.is_done(number):
            if self._memory[_ENDED]:
                raise FileSystemError("The disk could not be written", hint="look at the kernel's messages")
            self._memory[_URGENT] = 1
            time.sleep(_TICK)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> None:
        self._memory[_ENDED] = 1
        self._thread.join()
        if self._error is not None:
            raise self._error from error

    def _counters(self) -> tuple[int, int]:
        begun, ended = _COUNTERS.unpack_from(self._memory)
        return begun, ended

    def _run(self) -> None:
        """Sync until the with block ends. syncfs(2) reports an error only once: it is the end, too."""
        number, last = 0, time.monotonic()
        while not self._memory[_ENDED]:
            if not self._memory[_URGENT] and time.monotonic() < last + _PAUSE:
                time.sleep(_TICK)
                continue
            self._memory[_URGENT] = 0
            _COUNTERS.pack_into(self._memory, 0, number + 1, number)
            try:
                sync_file_system(self._file)
            except OSError as error:
                self._error = error
                self._memory[_ENDED] = 1
                return
            number, last = number + 1, time.monotonic()
            _COUNTERS.pack_into(self._memory, 0, number, number)

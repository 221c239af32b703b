"""Reading the directories in which a shared library searches for others: DT_RPATH and DT_RUNPATH (elf(5))."""

from __future__ import annotations

import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO

_PT_LOAD, _PT_DYNAMIC = 1, 2
_DT_STRTAB, _DT_RPATH, _DT_RUNPATH = 5, 15, 29
_ORIGINS = ("$ORIGIN", "${ORIGIN}")
_MOST = 1 << 20
"""Maximum size in bytes of a dynamic section and of a run path."""


def run_paths(file: IO[bytes]) -> list[str]:
    """Return the part after ``$ORIGIN/`` of each entry in an ELF file's run path; empty for other files."""
    try:
        return _Elf(file).run_paths()
    except (struct.error, ValueError, IndexError):
        return []  # damaged, or not an ELF file


class _Elf:
    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        head = self._read(0, 64)
        if head[:4] != b"\x7fELF":
            raise ValueError("not an ELF file")
        self.wide = head[4] == 2
        self.order = "<" if head[5] == 1 else ">"
        if self.wide:
            offset, size, count = self._unpack("32xQ14xHH", head)
        else:
            offset, size, count = self._unpack("28xI10xHH", head)
        data = self._read(offset, size * count)
        self.segments = [self._segment(data[n * size : (n + 1) * size]) for n in range(count)]

    def run_paths(self) -> list[str]:
        dynamic = next((row for row in self.segments if row[0] == _PT_DYNAMIC), None)
        if dynamic is None:
            return []
        _, offset, _, size = dynamic
        data = self._read(offset, size)
        form = self.order + ("qQ" if self.wide else "iI")
        whole = len(data) - len(data) % struct.calcsize(form)
        rows = list(struct.iter_unpack(form, data[:whole]))
        strings = next((value for tag, value in rows if tag == _DT_STRTAB), None)
        if strings is None:
            return []
        found = []
        for tag, value in rows:
            if tag in (_DT_RPATH, _DT_RUNPATH):
                text = self._read_text(self._in_file(strings) + value)
                found += [rest for entry in text.split(":") for rest in _below_origin(entry)]
        return found

    def _segment(self, data: bytes) -> tuple[int, int, int, int]:
        """Return a segment's type, offset in the file, address, and size in the file."""
        if self.wide:
            kind, offset, address, size = self._unpack("I4xQQ8xQ", data)
        else:
            kind, offset, address, size = self._unpack("III4xI", data)
        return kind, offset, address, size

    def _in_file(self, address: int) -> int:
        for kind, offset, start, size in self.segments:
            if kind == _PT_LOAD and start <= address < start + size:
                return offset + address - start
        raise ValueError("an address in no segment")

    def _read_text(self, offset: int) -> str:
        text = b""
        while b"\0" not in text and len(text) < _MOST:
            more = self._read(offset + len(text), 4096)
            if not more:
                break
            text += more
        return text.partition(b"\0")[0].decode("utf-8", "replace")

    def _unpack(self, form: str, data: bytes) -> tuple[int, ...]:
        return struct.unpack_from(self.order + form, data)

    def _read(self, offset: int, size: int) -> bytes:
        if size > _MOST or offset >> 48:
            raise ValueError("a part is too large")
        self.file.seek(offset)
        return self.file.read(size)


def _below_origin(entry: str) -> list[str]:
    for origin in _ORIGINS:
        if entry == origin:
            return ["."]
        if entry.startswith(f"{origin}/"):
            return [entry[len(origin) + 1 :] or "."]
    return []

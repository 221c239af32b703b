"""Reading the members of an archive, most of them by one pread(2).

`zipfile` reads only the archive's directory, because its stream for each member takes longer than inflating
most modules. This module has the checks of `ZipFile.open`, for each Python that of overlapping members, too.
"""

from __future__ import annotations

import os
import struct
import zipfile
from typing import TYPE_CHECKING

try:
    from isal import isal_zlib as zlib  # the extra ``fast``: inflates in half the time
except ImportError:
    import zlib  # type: ignore[no-redef]

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_CHUNK = 1 << 20
_HEADER = struct.Struct("<4s2xH18xHH")
"""A local header: signature, flags, lengths of name and extra field, which follow the header."""
_SIGNATURE = b"PK\3\4"
_UTF_8 = 0x800
_NOT_READ = 0x20 | 0x40
"""Flags of patches and of strong encryption."""


class MemberReader:
    """Reads members of *wheel*, whose open file is *file*."""

    def __init__(self, wheel: zipfile.ZipFile, file: int) -> None:
        self._file = file
        begins = sorted({member.header_offset for member in wheel.filelist})
        self._ends = dict(zip(begins, [*begins[1:], wheel.start_dir], strict=False))

    def chunks(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the content of *member*; damage raises BadZipFile, EOFError or ValueError."""
        pieces = self._pieces(member)
        crc = 0
        for chunk in pieces if member.compress_type == zipfile.ZIP_STORED else _inflated(pieces):
            crc = zlib.crc32(chunk, crc)
            yield chunk
        if crc != member.CRC:
            raise zipfile.BadZipFile("Bad CRC-32")

    def _pieces(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        """Yield the compressed bytes of *member*."""
        begin = member.header_offset
        end = self._ends[begin]
        data = self._read(min(_CHUNK, end - begin), begin)
        if len(data) < _HEADER.size:
            raise EOFError("its header is cut off")
        signature, flags, name_size, extra_size = _HEADER.unpack_from(data)
        if signature != _SIGNATURE or (flags | member.flag_bits) & _NOT_READ:
            raise zipfile.BadZipFile("its header is not one of a wheel")
        first = 30 + name_size
        if data[30:first].decode("utf-8" if flags & _UTF_8 else "cp437") != member.orig_filename:
            raise zipfile.BadZipFile("its header has another name")
        first += extra_size
        left = member.compress_size
        if begin + first + left > end:
            raise zipfile.BadZipFile("it overlaps the next member")
        data, position = data[first : first + left], begin + len(data)
        left -= len(data)
        yield data
        while left:
            data = self._read(min(_CHUNK, left), position)
            position += len(data)
            left -= len(data)
            yield data

    def _read(self, size: int, position: int) -> bytes:
        data = os.pread(self._file, size, position) if size > 0 and position >= 0 else b""
        if not data:
            raise EOFError("the archive ends before it")
        return data


def _inflated(pieces: Iterable[bytes]) -> Iterator[bytes]:
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    for piece in pieces:
        rest, full = piece, True
        while (rest or full) and not inflater.eof:
            try:
                chunk = inflater.decompress(rest, _CHUNK)
            except zlib.error as error:  # type: ignore[misc] # isal has it as a value of its class
                raise zipfile.BadZipFile(str(error)) from error
            rest, full = inflater.unconsumed_tail, len(chunk) == _CHUNK
            if chunk:
                yield chunk
    if not inflater.eof:
        raise EOFError("its data are cut off")

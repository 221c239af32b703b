"""The name of a source's bytecode in the store: the source's sha256, and its time in the bytecode's header.

A header has 32 bits for the source's modification time in seconds (PEP 552), so bytecode fits a source of
one content and one time.
"""

from __future__ import annotations

from pipm.core.digest import Digest

_DIGITS = 64
_NANOSECONDS = 1_000_000_000
_MASK = 0xFFFFFFFF


def header_time(mtime_ns: int) -> int:
    """Return the header's time for a source with the modification time *mtime_ns*: 32 bits of its seconds.

    Python takes the integer part of `os.stat_result.st_mtime`, a float. In the last tenth of a microsecond of
    a second that is the next second.
    """
    seconds, rest = divmod(mtime_ns, _NANOSECONDS)
    return int(seconds + 1e-9 * rest) & _MASK


def bytecode_key(source: Digest, time: int) -> str:
    """Return the name of the bytecode of *source* whose header has *time*.

    A store of manifest format 1 gave each content one time and named its bytecode by the content alone;
    such files keep their names.
    """
    if time * _NANOSECONDS == source.legacy_mtime_ns:
        return source.hex()
    return f"{source.hex()}-{time:08x}"


def parse_bytecode_key(key: str) -> tuple[Digest, int]:
    """Return the source and the header's time that *key* names; ValueError for another name."""
    digest, suffix = Digest.from_hex(key[:_DIGITS]), key[_DIGITS:]
    if not suffix:
        return digest, digest.legacy_mtime_ns // _NANOSECONDS
    if len(suffix) != 9 or suffix[0] != "-":
        raise ValueError(f"not the name of bytecode: {key!r}")
    return digest, int(suffix[1:], 16)


def key_path(key: str) -> str:
    """Return the path of the bytecode *key* below the folder of an interpreter."""
    return f"{key[:2]}/{key[2:]}"


def bytecode_mtime_ns(time: int) -> int:
    """Return the modification time (ns) of stored bytecode whose header has *time*.

    It has whole seconds. A file that another program wrote there hardly ever has such a time, so pipm can
    tell the two apart.
    """
    return time * _NANOSECONDS

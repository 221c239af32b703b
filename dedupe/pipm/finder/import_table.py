"""The table that the hook reads at every start, and the path file that starts the hook."""

from __future__ import annotations

import marshal
import posixpath
import re
import zlib
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.import_names import PATH_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipm.core.import_names import Module

    LockRow = tuple[str, int, int, str, str] | tuple[()]

FORMAT = 4
"""The hook's FORMAT; both change together."""
HOOK = "_pipm_finder"
SOURCES = {
    f"{HOOK}_seldom.py": "hook_rare.py",
    f"{HOOK}_metadata.py": "hook_metadata.py",
    f"{HOOK}_adapt.py": "hook_adapt.py",
    f"{HOOK}.py": "hook.py",
}
"""What lies beside the table, and which file of `runtime/` it is a copy of; the hook needs the others."""
_CHECKSUM = 4
_MARSHAL = 4
"""Strings that occur twice are written once; CPython 3.4 and later and PyPy read it."""
_LINE = f'import sys; exec("try:\\n import {HOOK}; {HOOK}.start()\\nexcept ImportError: pass")\n'
"""Guarded: whoever removes the hook by hand is not told of it at every start."""
START_FILE = "000_pipm_boot.start"
"""Starts the hook from Python 3.18 on (PEP 829); of another stem than the path file, which it would mute.

Python 3.15 to 3.17 read start files as well, but import pkgutil for them: a start takes nearly twice as long.
"""
_IMPORT_LINES_UNTIL = (3, 18)
_MOST_BYTES = 60_000
"""Of one path file: pyright's own reader passes over files of 64 KiB and more."""


class ImportTable(NamedTuple):
    """What the hook needs to know of one environment.

    ``site`` is site-packages relative to the environment, ``site_time`` its modification time (ns) when the
    table fits it; ``infos`` are the metadata folders of ``entries``, in the same order; ``no_dist_info``:
    only the finder knows them. ``leaf`` is the name of the folder in an entry that stands for site-packages
    (`served_folder`). ``remedy`` is the command that brings a distribution back whose entry is gone, with
    ``{name}`` and ``{version}``. ``lock`` tells by which lock file it was synced: its path, modification time
    (ns), size and sha256, and the command that syncs again; empty where it follows none.
    """

    environment: str
    store: str
    site: str
    site_time: int
    entries: Sequence[str]
    modules: Mapping[str, Module]
    infos: Sequence[str]
    remedy: str
    lock: LockRow = ()
    leaf: str = "site-packages"
    no_dist_info: bool = False

    def to_bytes(self) -> bytes:
        """Serialise for the hook."""
        modules = {}
        for name, (kind, distributions, file) in self.modules.items():
            where = distributions[0] if file else distributions
            modules[name] = (kind.value, where, file)
        document = (
            FORMAT,
            self.environment,
            self.store,
            self.site,
            self.site_time,
            tuple(self.entries),
            modules,
            marshal.dumps(tuple(self.infos), _MARSHAL),  # a plain start does not unpack them
            self.no_dist_info,
            self.leaf,
            self.remedy,
            self.lock,
        )
        data = marshal.dumps(document, _MARSHAL)
        # Unmarshalling ends before the checksum, which is for who looks whether all of it came to the disk.
        return data + zlib.crc32(data).to_bytes(_CHECKSUM, "little")

    @staticmethod
    def from_bytes(data: bytes) -> ImportTable | None:
        """The table without its ``modules`` and ``infos``; None where *data* is torn or of another format."""
        text, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:]
        if not text or zlib.crc32(text).to_bytes(_CHECKSUM, "little") != checksum:
            return None
        form, *fields = marshal.loads(text)  # noqa: S302 - our own, by its checksum
        if form != FORMAT:
            return None
        environment, store, site, site_time, entries, _, _, no_dist_info, leaf, remedy, lock = fields
        return ImportTable(
            environment=environment,
            store=store,
            site=site,
            site_time=site_time,
            entries=entries,
            modules={},
            infos=(),
            remedy=remedy,
            lock=lock,
            leaf=leaf,
            no_dist_info=no_dist_info,
        )

    @staticmethod
    def name(cache_tag: str) -> str:
        """The file's name; a hook of another format passes over it."""
        return f"{cache_tag}.{FORMAT}.table"

    @property
    def _release(self) -> tuple[int, int]:
        """The version of Python that reads ``site``."""
        found = re.search(r"/(?:python|pypy)(\d+)\.(\d+)", f"/{self.site}")
        return (int(found[1]), int(found[2])) if found else (3, 0)

    def path_files(self, folder: str) -> Iterator[tuple[str, bytes]]:
        """Yield the path files: those that start the hook, which is in *folder*, then a line for each entry.

        The lines are for tools that read path files
        themselves; where the hook runs, site passes over their files, whose names sort behind the first.
        """
        up = "/".join(".." for _ in self.site.split("/"))
        by_line = self._release < _IMPORT_LINES_UNTIL
        yield PATH_FILE, f"{up}/{folder}\n{_LINE if by_line else ''}".encode()
        if not by_line:
            yield START_FILE, f"{HOOK}:start\n".encode()
        part, count = b"", 0
        for entry in self.entries:
            path = posixpath.join(self.store, "v1/wheels", entry, self.leaf)
            row = f"{path}\n".encode("utf-8", "surrogateescape")
            if len(part) + len(row) > _MOST_BYTES:
                count += 1
                yield PATH_FILE.replace(".", f"_{count}."), part
                part = b""
            part += row
        if part:
            yield PATH_FILE.replace(".", f"_{count + 1}."), part

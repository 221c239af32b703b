"""The table that the hook reads at each start, and the path file that starts the hook."""

from __future__ import annotations

import marshal
import posixpath
import re
import zlib

from pipm.core.import_names import PATH_FILE
from pipm.core.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from pipm.core.import_names import Module

    LockRow = tuple[str, int, int, str, str] | tuple[()]

FORMAT = 5
"""The hook's FORMAT; both change together."""
HOOK = "_pipm_finder"
SOURCES = {
    f"{HOOK}_rare.py": "hook_rare.py",
    f"{HOOK}_metadata.py": "hook_metadata.py",
    f"{HOOK}_adapt.py": "hook_adapt.py",
    f"{HOOK}.py": "hook.py",
}
"""Files beside the table, with the file of `runtime/` that each is a copy of; the hook comes last."""
_CHECKSUM = 4
_MARSHAL = 4
"""The version of marshal: it stores equal strings once; CPython 3.4 and later and PyPy read it."""
_LINE = f'import sys; exec("try:\\n import {HOOK}; {HOOK}.start()\\nexcept ImportError: pass")\n'
"""Catches ImportError, so that a hook removed by hand causes no message at each start."""
START_FILE = "000_pipm_boot.start"
"""Starts the hook from Python 3.18 on (PEP 829). A start file with the path file's stem would disable that.

Python 3.15 to 3.17 read start files, too, but import pkgutil for them, which nearly doubles the start time.
"""
_IMPORT_LINES_UNTIL = (3, 18)
_MOST_BYTES = 60_000
"""Maximum size of one path file: pyright skips path files of 64 KiB and more."""


class ImportTable(NamedTuple):
    """The hook's data about one environment.

    ``site`` is site-packages relative to the environment; the table is right while ``site_time`` is its
    modification time (ns). ``entries`` are paths below the store's ``wheels/``, absolute for those of layers;
    ``infos`` are their metadata folders, in the same order. With ``no_dist_info`` the environment does not
    have these folders. ``leaf`` is the name of the folder in an
    entry that replaces site-packages (`served_folder`). ``remedy`` is the command that installs a
    distribution with a missing entry again, with ``{name}`` and ``{version}``. ``lock`` describes the lock
    file of the last sync: its path, modification time (ns), size and sha256, and the command that syncs
    again; it is empty without a lock.
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
            marshal.dumps(tuple(self.infos), _MARSHAL),  # most starts do not unpack them
            self.no_dist_info,
            self.leaf,
            self.remedy,
            self.lock,
        )
        data = marshal.dumps(document, _MARSHAL)
        # marshal.loads ignores the checksum behind the data; `from_bytes` detects an incomplete table by it.
        return data + zlib.crc32(data).to_bytes(_CHECKSUM, "little")

    @staticmethod
    def from_bytes(data: bytes) -> ImportTable | None:
        """Return the table without ``modules`` and ``infos``; None if damaged or of another format."""
        text, checksum = data[:-_CHECKSUM], data[-_CHECKSUM:]
        if not text or zlib.crc32(text).to_bytes(_CHECKSUM, "little") != checksum:
            return None
        form, *fields = marshal.loads(text)  # noqa: S302 - pipm wrote it: the checksum is right
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
        """Return the table's file name; it contains FORMAT, so hooks of other formats ignore it."""
        return f"{cache_tag}.{FORMAT}.table"

    @property
    def _release(self) -> tuple[int, int]:
        """The version of Python that uses ``site``."""
        found = re.search(r"/(?:python|pypy)(\d+)\.(\d+)", f"/{self.site}")
        return (int(found[1]), int(found[2])) if found else (3, 0)

    def path_files(self, folder: str) -> Iterator[tuple[str, bytes]]:
        """Yield the path files: first that of the hook in *folder*, then files with the paths of entries.

        The paths are for tools that read path files themselves. The hook makes `site` skip these files; its
        own path file comes first.
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

"""The table that the hook reads at every start, and the path file that starts the hook."""

from __future__ import annotations

import marshal
import posixpath
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dedupe.core.modules import PATH_FILE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dedupe.core.modules import Module

    LockRow = tuple[str, int, int, str, str] | tuple[()]

FORMAT = 2
"""The hook's FORMAT; both change together."""
HOOK = "_pipm_finder"
SOURCES = {f"{HOOK}.py": "hook.py", f"{HOOK}_seldom.py": "seldom.py"}
"""What lies beside the table, and which file of this room it is a copy of."""
_MARSHAL = 4
"""Strings that occur twice are written once; CPython 3.4 and later and PyPy read it."""
_LINE = (
    f'import sys; exec("try:\\n import {HOOK}\\n {HOOK}.spare(known_paths)'
    '\\nexcept (ImportError, NameError): pass")\n'
)
"""Guarded: whoever removes the hook by hand is not told of it at every start."""
_MOST_BYTES = 60_000
"""Of one path file: pyright's own reader passes over files of 64 KiB and more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Table:
    """What the hook needs to know of one environment.

    ``site`` is site-packages relative to the environment, ``site_time`` its modification time (ns) when
    the table fits it; ``infos`` give for each metadata folder the number of its entry in ``entries``.
    ``mend`` is the command that brings a distribution back whose entry is gone, with ``{name}`` and
    ``{version}``. ``lock`` tells by which lock file it was synced: its path, modification time (ns), size
    and sha256, and the command that syncs again; empty where it follows none.
    """

    environment: str
    store: str
    site: str
    site_time: int
    entries: Sequence[str]
    modules: Mapping[str, Module]
    infos: Mapping[str, int]
    mend: str
    lock: LockRow = ()

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
            dict(self.infos),
            self.mend,
            self.lock,
        )
        return marshal.dumps(document, _MARSHAL)

    def path_files(self, folder: str) -> Iterator[tuple[str, bytes]]:
        """Yield the path files: the hook's *folder*, the start of the hook, and a line for each entry.

        The lines are for tools that read path files themselves; where the hook runs, site passes over them.
        Further files have names that sort behind the first one.
        """
        up = "/".join(".." for _ in self.site.split("/"))
        part = f"{up}/{folder}\n{_LINE}".encode()
        name, count = PATH_FILE, 0
        for entry in self.entries:
            path = posixpath.join(self.store, "v1/wheels", entry, "site")
            line = f"{path}\n".encode("utf-8", "surrogateescape")
            if len(part) + len(line) > _MOST_BYTES:
                yield name, part
                count += 1
                name, part = PATH_FILE.replace(".", f"_{count}."), b""
            part += line
        yield name, part

"""A cache of environments' figures.

Theory of operation. Walking a thousand environments takes minutes, so each one's figures are kept (in the
user's cache folder, they may be lost) with a stamp: the times of its folder, of ``pyvenv.cfg`` and of each
site-packages, and its root. Installers change these, and so do adopt, sync and release: the environments
that they change are always measured again. Bytecode that a program wrote and files that a user edited below
a package change none of these times. Therefore each run also measures some environments again, up to a
fixed number of files: the environments in use first, then those measured longest ago. With few environments
all figures are new; with a thousand the output says when the oldest were measured, and ``--exact`` measures
all.
"""

from __future__ import annotations

import json
import os
import stat
import time
from dataclasses import dataclass, field
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.disk_usage import DiskUsage
from pipm.env.places import CONFIGURATION, marker_of
from pipm.fs.cache_files import read_cache, write_cache

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.store.roots import Root

_FORMAT = 2
_SIZES = ("apparent", "on_disk", "exclusive", "files", "estimated")
_RECHECKED_FILES = 100_000
"""Files that a run measures again without a sign of change; about half a second."""
_FEWER_EACH = 75
_RECHECKED_AT_LEAST = 25_000
"""The least number of such files: with many environments, which take time too, it is smaller."""


class EnvironmentStamp(NamedTuple):
    """A text that changes with an environment, and the time of its last use (seconds since the epoch)."""

    text: str
    used: float


class Figures(NamedTuple):
    """The figures of an environment at the time ``when`` (seconds since the epoch).

    ``stored`` and ``outside`` are those of `TreeUsage`; ``outside`` has texts as keys.
    """

    stamp: str
    sites: tuple[str, ...]
    when: float
    python: str
    distributions: int
    usage: DiskUsage
    stored: int
    outside: dict[str, int]


def stamp_of(path: str, sites: Iterable[str], root: Root | None) -> EnvironmentStamp | None:
    """Return the stamp of the environment at *path*, or None if it or one of its *sites* is gone."""
    try:
        marker = os.stat(f"{path}/{marker_of(path) or CONFIGURATION}")
        times = [os.stat(path).st_mtime_ns, *(os.stat(f"{path}/{site}").st_mtime_ns for site in sites)]
    except OSError:
        return None
    facts: list[object] = [marker.st_dev, marker.st_ino, marker.st_mtime_ns, *times]
    if root is not None:
        facts += [root.state, root.link_mode, hash_of(root.entries)]
    return EnvironmentStamp(" ".join(map(str, facts)), _used(path, marker))


def _used(path: str, marker: os.stat_result) -> float:
    """Return when Python last read its configuration, or conda's Python started; 0 if unknown."""
    if stat.S_ISREG(marker.st_mode):
        return marker.st_atime
    try:
        return os.stat(f"{path}/bin/python").st_atime
    except OSError:
        return 0.0


def hash_of(names: Iterable[str]) -> str:
    """Return a short digest of *names*."""
    return sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()[:16]


@dataclass(kw_only=True, slots=True)
class UsageCache:
    """The cached figures of one store's environments, by path."""

    name: str
    rows: dict[str, Figures]
    changed: bool = False
    now: float = field(default_factory=time.time)

    def note(self, path: str, figures: Figures) -> None:
        """Store new figures."""
        self.rows[path] = figures
        self.changed = True

    def known(self, path: str, root: Root | None) -> tuple[Figures, EnvironmentStamp] | None:
        """Return the figures of the environment at *path*, unless it changed since; and its stamp."""
        figures = self.rows.get(path)
        if figures is None:
            return None
        stamp = stamp_of(path, figures.sites, root)
        return None if stamp is None or stamp.text != figures.stamp else (figures, stamp)

    def due(self, known: dict[str, tuple[Figures, EnvironmentStamp]]) -> set[str]:
        """Choose which of the *known* to measure again without a sign of change."""

        def order(path: str) -> tuple[bool, float]:
            figures, stamp = known[path]
            return stamp.used < figures.when, figures.when

        chosen: set[str] = set()
        left = max(_RECHECKED_FILES - _FEWER_EACH * len(known), _RECHECKED_AT_LEAST)
        for path in sorted(known, key=order):
            left -= known[path][0].usage.files
            if left < 0 and chosen:
                break
            chosen.add(path)  # even a large one: each has its turn
        return chosen

    def save(self, paths: Iterable[str]) -> None:
        """Write the cache, if it changed; keep the figures of paths that are not in *paths*."""
        if self.changed:
            kept = {path: self.rows[path] for path in set(paths) | self._recent() if path in self.rows}
            write_cache(self.name, _to_json(kept))

    def _recent(self) -> set[str]:
        month = self.now - 30 * 86400
        return {path for path, figures in self.rows.items() if figures.when > month}


def open_usage_cache(store_path: str) -> UsageCache:
    """Read the cache for the store at *store_path*; a damaged or missing cache is empty."""
    name = f"usage-{sha256(os.fsencode(store_path)).hexdigest()[:16]}.json"
    data = read_cache(name)
    try:
        rows = {} if data is None else _from_json(data)
    except (ValueError, TypeError, KeyError):
        rows = {}
    return UsageCache(name=name, rows=rows)


def _to_json(rows: dict[str, Figures]) -> bytes:
    listed = {
        path: [
            *figures[:5],
            [getattr(figures.usage, name) for name in _SIZES],
            figures.stored,
            figures.outside,
        ]
        for path, figures in rows.items()
    }
    return json.dumps({"version": _FORMAT, "rows": listed}, separators=(",", ":")).encode("ascii")


def _from_json(data: bytes) -> dict[str, Figures]:
    document = json.loads(data)
    if document["version"] != _FORMAT:
        return {}
    rows = {}
    for path, (stamp, sites, when, python, count, sizes, stored, outside) in document["rows"].items():
        usage = DiskUsage(**dict(zip(_SIZES, sizes, strict=True)))
        rows[path] = Figures(stamp, tuple(sites), when, python, count, usage, stored, outside)
    return rows

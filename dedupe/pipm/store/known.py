"""Reading what the store's manifests record about the files of one release."""

from __future__ import annotations

import contextlib
from functools import cached_property
from typing import TYPE_CHECKING

from pipm.core.digest import EMPTY
from pipm.core.manifest import entry_of, row_of
from pipm.errors import StoreError
from pipm.store.entries import entry_names, recorded_rows, versions_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipm.core.digest import Digest
    from pipm.core.manifest import FileEntry, Row
    from pipm.store.layout import Store


class KnownFiles:
    """The rows of a release's manifests; if several have a row for a path, the first one counts."""

    def __init__(self, rows: Sequence[Row], others: Callable[[], Sequence[Row]] = tuple) -> None:
        """*others* reads the rows of another version, which usually has many of the same files."""
        self._all = rows
        self._others = others
        self._rows: dict[str, Row] = {}
        for row in rows:
            self._rows.setdefault(row[0], row)

    def entry(self, path: str) -> FileEntry | None:
        """Return the row of *path*; None if it is missing or damaged."""
        try:
            return entry_of(self._rows[path])
        except (KeyError, ValueError, TypeError):
            return None

    def add(self, entry: FileEntry) -> None:
        """Add a file of an unpublished entry; existing rows for its path and its object stay."""
        row = row_of(entry)
        self._rows.setdefault(row[0], row)
        self._objects.setdefault((row[1], row[3]), row[5])

    def time_at(self, path: str, digest: Digest) -> int | None:
        """Return the recorded time (ns) of *path*; None if it has no row or another digest."""
        row = self._rows.get(path)
        return None if row is None or row[1] != digest.hex() else row[5]

    def object_time(self, digest: Digest, *, executable: bool, writable: bool) -> int | None:
        """Return the recorded time (ns) of an object."""
        return self._objects.get((digest.hex(), executable | writable << 1))

    def has_time(self, digest: Digest, mtime_ns: int, *, executable: bool, writable: bool) -> bool:
        """Return whether a manifest of this or of the other version records this time (ns) for an object."""
        key = (digest.hex(), executable | writable << 1)
        return self._objects.get(key) == mtime_ns or self._objects_of_others.get(key) == mtime_ns

    def content_time(self, digest: Digest) -> int | None:
        """Return the recorded time (ns) of an object with this content, with any mode."""
        return self._contents.get(digest.hex())

    @property
    def empty_times(self) -> frozenset[int]:
        """The times (ns) of the empty files."""
        return frozenset(row[5] for row in self._rows.values() if row[1] == EMPTY.hex())

    @cached_property
    def _objects(self) -> dict[tuple[str, int], int]:
        return {(row[1], row[3]): row[5] for row in reversed(self._all)}

    @cached_property
    def _objects_of_others(self) -> dict[tuple[str, int], int]:
        return {(row[1], row[3]): row[5] for row in self._others()}

    @cached_property
    def _contents(self) -> dict[str, int]:
        return {row[1]: row[5] for row in reversed(self._all)}


class Releases:
    """Looks up releases in *store*; caches the last one, because several environments need it in turn."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._key = ("", "", "")
        self._known = KnownFiles([])

    def known(self, name: str, version: str, preferred: str = "") -> KnownFiles:
        """Return the rows of a release's entries; if two entries differ, the *preferred* one counts."""
        key = (name, version, preferred)
        if self._store is None or key == self._key:
            return self._known
        names = entry_names(self._store, name, version)
        order = sorted(names, key=lambda one: (one != preferred, one))
        rows = [row for entry in order for row in recorded_rows(self._store, entry)]
        self._key, self._known = key, KnownFiles(rows, lambda: self._of_another(name, version))
        return self._known

    def _of_another(self, name: str, version: str) -> list[Row]:
        """Read the rows of one other version; [] if one of its manifests is damaged."""
        assert self._store is not None
        rows: list[Row] = []
        others = [one for one in versions_of(self._store, name) if one != version]
        with contextlib.suppress(StoreError):
            for entry in entry_names(self._store, name, max(others)) if others else ():
                rows += recorded_rows(self._store, entry)
        return rows

"""Reading what the store's manifests record about the files of one release."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipm.store.entries import entry_names, load_manifest

if TYPE_CHECKING:
    from pipm.core.digest import Digest
    from pipm.core.manifest import FileEntry
    from pipm.store.layout import Store

Kind = tuple["Digest", bool, bool]
"""The key of an object: content, executable, writable."""


class KnownFiles(NamedTuple):
    """The rows of a release's manifests by path, and the recorded time (ns) of each object and content."""

    rows: dict[str, FileEntry]
    objects: dict[Kind, int]
    contents: dict[Digest, int]


class Releases:
    """Looks up releases in *store*; caches the last one, because several environments ask for it in turn."""

    def __init__(self, store: Store | None) -> None:
        self._store = store
        self._key = ("", "", "")
        self._known = KnownFiles({}, {}, {})

    def known(self, name: str, version: str, preferred: str = "") -> KnownFiles:
        """Return what the entries of a release record; if two differ, what the *preferred* one does."""
        key = (name, version, preferred)
        if self._store is None or key == self._key:
            return self._known
        self._key, self._known = key, KnownFiles({}, {}, {})
        rows, objects, contents = self._known
        names = entry_names(self._store, name, version)
        for entry in sorted(names, key=lambda one: (one != preferred, one)):
            for row in load_manifest(self._store, entry).files:
                rows.setdefault(row.path, row)
                objects.setdefault((row.digest, row.executable, row.writable), row.mtime_ns)
                contents.setdefault(row.digest, row.mtime_ns)
        return self._known

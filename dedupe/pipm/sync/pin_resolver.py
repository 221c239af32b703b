"""Finding the store's entries for pins, without network."""

from __future__ import annotations

import os

from pipm.core.digest import Digest
from pipm.core.named_tuple import NamedTuple
from pipm.core.pins import Archive, Repository, SourceFolder, is_editable
from pipm.errors import FetchError
from pipm.project.project_state import decided_by, folder_state
from pipm.store.entries import (
    entry_names,
    entry_of_wheel,
    has_complete_entry,
    is_editable_entry,
    load_manifest,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.project.project_state import Decided
    from pipm.store.layout import Store


class Trust(NamedTuple):
    """Entries that pipm may use instead of the archive in a lock.

    ``stored``: any compatible wheel, not only the best. ``adopted``: an entry that comes from an environment,
    so that its archive is unknown.
    """

    stored: bool = False
    adopted: bool = False


class PinResolver:
    """Finds the store's entries for pins, for one interpreter."""

    def __init__(self, store: Store, target: Target, trust: Trust) -> None:
        self.store = store
        self._trust = trust
        self._ranks = {tag: rank for rank, tag in enumerate(target.tags)}
        self._target = target
        self.states: dict[Decided, str] = {}
        """The states of editable projects when they were first looked at."""

    def find(self, pin: Pin) -> str | None:
        """Return the entry (below ``wheels/``) for *pin*; None if it must be fetched.

        Raises FetchError if the archive that the lock names is another distribution.
        """
        entry = self._find(pin)
        if entry is not None:
            check_release(pin, entry)
        return entry

    def _find(self, pin: Pin) -> str | None:
        if pin.origin is not None:
            return self._of_origin(pin, pin.origin)
        for wheel in pin.wheels if self._trust.stored else pin.wheels[:1]:
            entry = self._of_wheel(pin, wheel)
            if entry is not None:
                return entry
        if pin.wheels:
            return None
        if pin.sdist is not None:
            return self.of_key(self.built_key(pin.sdist)) or self._adopted(pin)
        if pin.hashes:
            return self._of_hashes(pin)
        # An entry of the release may be a build, or come from another index: look for the same request.
        asked = self.of_key(self.request_key(pin))
        return asked or (self._best(self.of_release(pin)) if pin.archives == "any" else None)

    def _of_hashes(self, pin: Pin) -> str | None:
        """Return the entry of an archive with one of the hashes of *pin*, or of a build from one."""
        if pin.archives != "source":
            entries = [self.of_key(archive_key(*hashed)) for hashed in pin.hashes]
            known = self._best(entry for entry in entries if entry)
            if known or pin.archives == "wheel":
                return known
        return self.of_key(self.release_key(pin)) or (self._adopted(pin) if pin.archives == "any" else None)

    def _of_editable(self, key: Digest) -> str | None:
        entry = self.of_key(key)
        # What another build of the same modules replaced is not what this key had.
        return entry if entry is not None and key in load_manifest(self.store, entry).wheels else None

    def editable_key(self, pin: Pin) -> Digest:
        """The key of what an editable *pin* builds to, as its files were when they were first looked at."""
        decided = decided_by(pin)
        state = self.states.get(decided)
        if state is None:
            state = self.states[decided] = folder_state(decided)
        return Digest.of(f"editable {state} for {self._target.tags[0]}".encode())

    def built_key(self, origin: Archive | Repository | SourceFolder) -> Digest | None:
        """Return the store's key for the build of *origin* on this interpreter and machine.

        None if the source may have changed: a folder is always built again.
        """
        if isinstance(origin, SourceFolder) or (isinstance(origin, Archive) and not origin.hashes):
            return None
        where = origin.subdirectory
        if isinstance(origin, Archive):
            source = ":".join(origin.hashes[0])
        else:
            source = f"{origin.vcs}:{origin.url}@{origin.commit}"
        # The first tag has interpreter, ABI and machine.
        return Digest.of(f"built {source}#{where or ''} for {self._target.tags[0]}".encode())

    def release_key(self, pin: Pin) -> Digest:
        """Return the key for a build from one of the archives that *pin* allows by hash."""
        hashes = " ".join(sorted(f"{name}:{value}" for name, value in pin.hashes))
        return Digest.of(f"built {pin.name} from {hashes} for {self._target.tags[0]}".encode())

    def request_key(self, pin: Pin) -> Digest:
        """Return the key for pip's choice for a name and version from the indexes in *pin*."""
        request = (pin.name, pin.version, pin.archives, pin.index_url, pin.options, self._target.tags[0])
        return Digest.of(f"requested {request}".encode("utf-8", "surrogateescape"))

    def keys(self, pin: Pin, archive: Digest) -> list[Digest]:
        """Return the keys by which `find` will find the fetched wheel *archive* for *pin*."""
        origin = pin.origin
        if isinstance(origin, Archive) and origin.file_name.endswith(".whl"):
            return [archive_key(*hashed) for hashed in origin.hashes]
        if origin is not None or (not pin.wheels and pin.sdist is not None):
            source = origin or pin.sdist
            assert source is not None
            key = self.built_key(source)
            return [] if key is None else [key]
        if pin.wheels:
            return [archive_key(*hashed) for hashed in pin.wheels[0].hashes]
        if not pin.hashes:
            return [self.request_key(pin)]
        return [] if ("sha256", archive.hex()) in pin.hashes else [self.release_key(pin)]

    def _of_origin(self, pin: Pin, origin: Archive | Repository | SourceFolder) -> str | None:
        if isinstance(origin, Archive) and origin.file_name.endswith(".whl"):
            return self._of_wheel(pin, origin)
        if is_editable(pin):
            return self._of_editable(self.editable_key(pin))
        return self.of_key(self.built_key(origin))

    def _of_wheel(self, pin: Pin, wheel: Archive) -> str | None:
        for hashed in wheel.hashes:
            entry = self.of_key(archive_key(*hashed))
            if entry is not None:
                return entry
        if wheel.hashes and not self._trust.adopted:
            return None
        if pin.origin is not None and not wheel.hashes:
            return None  # without a hash the archive at that place may have changed
        tags = _tags(wheel.file_name.removesuffix(".whl"))
        return next((entry for entry in self.of_release(pin) if _tags(_tag(entry)) == tags), None)

    def _adopted(self, pin: Pin) -> str | None:
        return self._best(self.of_release(pin)) if self._trust.adopted else None

    def of_key(self, key: Digest | None) -> str | None:
        """Return the complete entry with *key*, or None."""
        entry = None if key is None else entry_of_wheel(self.store, key)
        return entry if entry is not None and has_complete_entry(self.store, entry) else None

    def of_release(self, pin: Pin) -> list[str]:
        """Return all complete entries of the release; those with a known archive come first."""
        if pin.version is None:
            return []
        found = [
            entry
            for entry in sorted(entry_names(self.store, pin.name, pin.version))
            if has_complete_entry(self.store, entry) and not is_editable_entry(entry)
        ]
        return sorted(found, key=lambda entry: not load_manifest(self.store, entry).wheels)

    def _best(self, entries: Iterable[str]) -> str | None:
        """Return the entry with the interpreter's best tag; None if none is compatible."""
        ranked = [(self._rank(_tag(entry)), entry) for entry in entries]
        fitting = [(rank, entry) for rank, entry in ranked if rank is not None]
        return min(fitting, key=lambda row: row[0])[1] if fitting else None

    def _rank(self, tag: str) -> int | None:
        return min((self._ranks[one] for one in _tags(tag) if one in self._ranks), default=None)


def check_release(pin: Pin, entry: str) -> None:
    """Raise FetchError if *entry* is of another distribution or version than *pin*.

    Like pip, accept a local version (PEP 440) if the lock has the same public version. The version of an
    editable project changes without its lock.
    """
    name, version, _ = entry.split("/")
    if name != pin.name:
        raise FetchError(
            f"{pin.name} ({pin.where or 'the lock'}) is another distribution:"
            f" its archive is {name} {version}",
            hint="check that this is the project's own name; if the lock has it so, do not trust the lock",
        )
    if pin.version not in (None, version, version.partition("+")[0]) and not is_editable(pin):
        raise FetchError(
            f"{pin.name} has version {version}, but the lock says {pin.version} ({pin.where})",
            hint="lock again",
        )


def archive_key(algorithm: str, value: str) -> Digest:
    """Return the name in ``by-wheel/`` of an archive with this hash; a sha256 is its own name."""
    return Digest.from_hex(value) if algorithm == "sha256" else Digest.of(f"{algorithm}:{value}".encode())


def _tag(entry: str) -> str:
    """Return the tag in the name of an entry, without the identity's eight digits."""
    return os.path.basename(entry)[:-9]


def _tags(tag: str) -> frozenset[str]:
    """Return all tags of a compressed tag set, without the build number."""
    parts = tag.split("-")[-3:]
    if len(parts) != 3:
        return frozenset()
    python, abi, platform = (part.split(".") for part in parts)
    return frozenset(f"{one}-{two}-{three}" for one in python for two in abi for three in platform)

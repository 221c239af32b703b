"""Pins: the distributions that a lock file of any format names for one interpreter."""

from __future__ import annotations

from pipm.core.addresses import (
    checked_line,
    checked_repository,
    checked_revision,
    checked_subdirectory,
    checked_system,
    checked_url,
)
from pipm.core.digest import Digest
from pipm.core.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Literal, Self

    Archives = Literal["any", "wheel", "source"]
    """The archives allowed for a pin by ``--only-binary`` (wheel) and ``--no-binary`` (source)."""


class _Archive(NamedTuple):
    file_name: str
    url: str | None
    path: str | None
    size: int | None
    hashes: tuple[tuple[str, str], ...]
    subdirectory: str | None


class Archive(_Archive):
    """A wheel or source archive that a lock names.

    Without ``url`` and ``path`` (absolute) an index has it. ``size`` is in bytes; ``hashes`` are
    ``(algorithm, hexadecimal digest)``, none where the lock has no hash. ``subdirectory`` is where
    the project lies in a source archive, when not at its top. Raises AddressError.
    """

    __slots__ = ()

    def __new__(
        cls,
        file_name: str,
        url: str | None = None,
        path: str | None = None,
        size: int | None = None,
        hashes: tuple[tuple[str, str], ...] = (),
        subdirectory: str | None = None,
    ) -> Self:
        """Make one whose values are safe to pass on."""
        if url is not None:
            checked_url(url)
        if subdirectory:
            checked_subdirectory(subdirectory)
        return super().__new__(cls, file_name, url, path, size, hashes, subdirectory)

    @property
    def sha256(self) -> Digest | None:
        """The sha256 of the lock, if it has one."""
        return next((Digest.from_hex(text) for name, text in self.hashes if name == "sha256"), None)


class _Repository(NamedTuple):
    vcs: str
    url: str
    commit: str
    requested_revision: str | None
    subdirectory: str | None


class Repository(_Repository):
    """A commit of a version control system (PEP 610). Raises AddressError."""

    __slots__ = ()

    def __new__(
        cls,
        vcs: str,
        url: str,
        commit: str,
        requested_revision: str | None = None,
        subdirectory: str | None = None,
    ) -> Self:
        """Make one whose values are safe to pass on."""
        checked_system(vcs)
        checked_repository(url)
        checked_revision(commit)
        checked_line(requested_revision or "")
        if subdirectory:
            checked_subdirectory(subdirectory)
        return super().__new__(cls, vcs, url, commit, requested_revision, subdirectory)


class _Folder(NamedTuple):
    path: str
    editable: bool
    subdirectory: str | None


class SourceFolder(_Folder):
    """A project on this disk; ``path`` is absolute. Raises AddressError."""

    __slots__ = ()

    def __new__(cls, path: str, editable: bool = False, subdirectory: str | None = None) -> Self:  # noqa: FBT001, FBT002
        """Make one whose values are safe to pass on."""
        if subdirectory:
            checked_subdirectory(subdirectory)
        return super().__new__(cls, path, editable, subdirectory)

    @property
    def project(self) -> str:
        """The folder of the project itself."""
        return f"{self.path}/{self.subdirectory}" if self.subdirectory else self.path


_OF_ADDRESSES = frozenset({"--index-url", "--extra-index-url", "--find-links"})


class _Pin(NamedTuple):
    name: str
    version: str | None
    wheels: tuple[Archive, ...]
    sdist: Archive | None
    origin: Archive | Repository | SourceFolder | None
    hashes: tuple[tuple[str, str], ...]
    index_url: str | None
    options: tuple[str, ...]
    where: str
    archives: Archives


class Pin(_Pin):
    """One distribution that an environment shall have.

    ``name`` and ``version`` are normalised (PEP 503, PEP 440); ``version`` is None if only a build tells
    it. ``wheels`` fit the interpreter, the best first. ``origin`` is its source if that is not an index.
    ``hashes`` are the allowed ``(algorithm, hexadecimal digest)`` of its archives, in formats that name no
    files (then ``wheels`` and ``sdist`` are empty). If the lock names them, ``index_url`` is the only index
    for it, and ``options`` are further arguments for pip. ``where`` is the place in the lock file, for
    messages. Raises AddressError.
    """

    __slots__ = ()

    def __new__(  # noqa: PLR0913, PLR0917 - the fields
        cls,
        name: str,
        version: str | None,
        wheels: tuple[Archive, ...] = (),
        sdist: Archive | None = None,
        origin: Archive | Repository | SourceFolder | None = None,
        hashes: tuple[tuple[str, str], ...] = (),
        index_url: str | None = None,
        options: tuple[str, ...] = (),
        where: str = "",
        archives: Archives = "any",
    ) -> Self:
        """Make one whose values are safe to pass on."""
        if index_url is not None:
            checked_url(index_url)
        before = ""
        for option in options:
            checked_line(option)
            if before in _OF_ADDRESSES and "://" in option:
                checked_url(option)
            before = option
        return super().__new__(
            cls, name, version, wheels, sdist, origin, hashes, index_url, options, where, archives
        )


def is_editable(pin: Pin) -> bool:
    """Return whether *pin* is a folder that is not copied."""
    return isinstance(pin.origin, SourceFolder) and pin.origin.editable

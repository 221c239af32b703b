"""Pins: what a lock file asks for on one interpreter, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass

from dedupe.core.digest import Digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Archive:
    """A wheel or source archive that a lock names.

    Without ``url`` and ``path`` (absolute) an index has it. ``size`` is in bytes; ``hashes`` are
    ``(algorithm, hexadecimal digest)``, none where the lock promises nothing.
    """

    file_name: str
    url: str | None = None
    path: str | None = None
    size: int | None = None
    hashes: tuple[tuple[str, str], ...] = ()

    @property
    def sha256(self) -> Digest | None:
        """The promised sha256, if there is one."""
        return next((Digest.from_hex(text) for name, text in self.hashes if name == "sha256"), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Repository:
    """A commit of a version control system (PEP 610)."""

    vcs: str
    url: str
    commit: str
    requested_revision: str | None = None
    subdirectory: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Folder:
    """A project on this disk; ``path`` is absolute."""

    path: str
    editable: bool = False
    subdirectory: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Pin:
    """One distribution that an environment shall have.

    ``name`` and ``version`` are normalised (PEP 503, PEP 440); ``version`` is None where only building
    tells it. ``wheels`` fit the interpreter, the best first. ``origin`` is where it comes from when that
    is no index; ``hashes`` are sha256 that any archive of it may have, in formats which name no files.
    ``where`` is the place in the lock file, for messages.
    """

    name: str
    version: str | None
    wheels: tuple[Archive, ...] = ()
    sdist: Archive | None = None
    origin: Archive | Repository | Folder | None = None
    hashes: tuple[Digest, ...] = ()
    index: str | None = None
    where: str = ""

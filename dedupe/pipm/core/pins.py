"""Pins: what a lock file asks for on one interpreter, whatever its format."""

from __future__ import annotations

from typing import NamedTuple

from pipm.core.digest import Digest


class Archive(NamedTuple):
    """A wheel or source archive that a lock names.

    Without ``url`` and ``path`` (absolute) an index has it. ``size`` is in bytes; ``hashes`` are
    ``(algorithm, hexadecimal digest)``, none where the lock promises nothing. ``subdirectory`` is where
    the project lies in a source archive, when not at its top.
    """

    file_name: str
    url: str | None = None
    path: str | None = None
    size: int | None = None
    hashes: tuple[tuple[str, str], ...] = ()
    subdirectory: str | None = None

    @property
    def sha256(self) -> Digest | None:
        """The promised sha256, if there is one."""
        return next((Digest.from_hex(text) for name, text in self.hashes if name == "sha256"), None)


class Repository(NamedTuple):
    """A commit of a version control system (PEP 610)."""

    vcs: str
    url: str
    commit: str
    requested_revision: str | None = None
    subdirectory: str | None = None


class Folder(NamedTuple):
    """A project on this disk; ``path`` is absolute."""

    path: str
    editable: bool = False
    subdirectory: str | None = None


class Pin(NamedTuple):
    """One distribution that an environment shall have.

    ``name`` and ``version`` are normalised (PEP 503, PEP 440); ``version`` is None where only building
    tells it. ``wheels`` fit the interpreter, the best first. ``origin`` is where it comes from when that
    is no index. ``hashes`` are ``(algorithm, hexadecimal digest)`` that any archive of it may have, in
    formats which name no files (then ``wheels`` and ``sdist`` are empty). ``index_url`` is the index that has
    it and ``options`` are further arguments for pip, where the lock says so. ``where`` is the place in the
    lock file, for messages.
    """

    name: str
    version: str | None
    wheels: tuple[Archive, ...] = ()
    sdist: Archive | None = None
    origin: Archive | Repository | Folder | None = None
    hashes: tuple[tuple[str, str], ...] = ()
    index_url: str | None = None
    options: tuple[str, ...] = ()
    where: str = ""


class Selection(NamedTuple):
    """What a person asks for out of a lock.

    ``extras`` are optional dependencies of the project, ``groups`` dependency groups (PEP 735) besides
    those that are installed by default. ``project`` says whether the project itself is installed, where
    the lock belongs to one that can be.
    """

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    default_groups: bool = True
    project: bool = True

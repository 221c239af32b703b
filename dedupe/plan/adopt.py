"""Deciding what becomes of each file of an environment that is adopted (design D6)."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from dedupe.core.digest import EMPTY, Digest
from dedupe.core.reasons import Reason
from dedupe.core.record import Location, Place, is_bytecode, is_installers_own

if TYPE_CHECKING:
    from dedupe.core.record import RecordRow

_NANOSECONDS = 1_000_000_000


class FileFact(NamedTuple):
    """What is known of one RECORD row before anything is read.

    ``directory`` is relative to the environment; ``status`` is None where nothing is there. ``digest``
    and ``size`` are what RECORD promises, or (not ``promised``) what the store knows of this release.
    ``stored`` is the object of that content, ``sound`` whether its metadata speak for it.
    """

    directory: str
    name: str
    place: Place
    path: str
    status: os.stat_result | None
    digest: Digest | None
    size: int | None
    promised: bool
    stored: os.stat_result | None
    sound: bool
    contested: bool

    @property
    def executable(self) -> bool:
        """Whether its owner may execute it."""
        return self.status is not None and bool(self.status.st_mode & stat.S_IXUSR)

    @property
    def shown(self) -> str:
        """The path that a person is told, relative to the environment."""
        return f"{self.directory}/{self.name}" if self.directory else self.name

    @property
    def entry_path(self) -> str:
        """Its path in a wheel entry of the store, scheme first."""
        return f"{self.place.value}/{self.path}"


class Leave(NamedTuple):
    """Leave the file as it is."""

    fact: FileFact
    reason: Reason


class AlreadyShared(NamedTuple):
    """The store has it and the environment shares it."""

    fact: FileFact
    digest: Digest


class Ingest(NamedTuple):
    """The store does not have it: prove its content and let the store share it."""

    fact: FileFact


class IngestCopy(NamedTuple):
    """The store gets a copy, the environment keeps its own (``.pth`` files)."""

    fact: FileFact
    reason: Reason


class Share(NamedTuple):
    """The store has it: prove the bytes equal and share them."""

    fact: FileFact
    digest: Digest


Action = Leave | AlreadyShared | Ingest | IngestCopy | Share


def private_reason(location: Location) -> Reason | None:
    """Why a file of this place and name is an environment's own; None when it may be shared."""
    if location.place is Place.SCRIPT:
        return Reason.SCRIPT
    if location.place is Place.CONFIGURATION:
        return Reason.CONFIGURATION
    if location.place is Place.OUTSIDE:
        return Reason.OUTSIDE
    if location.place is Place.SITE:
        path = location.path
        if is_installers_own(path):
            return Reason.INSTALLERS_OWN
        if "/" not in path and (path.endswith(".pth") or path.startswith("_virtualenv")):
            return Reason.PATH_FILE
    return None


def wanted_row(row: RecordRow, location: Location) -> bool:
    """Whether a row is planned as a file; bytecode is planned with its source."""
    return not (location.place is Place.SITE and is_bytecode(row.path))


def decide(fact: FileFact, *, user: int, by_inode: bool, trusted: bool) -> Action:  # noqa: PLR0911
    """Decide what becomes of one file.

    *user* owns what may be shared. *by_inode*: sharing means one inode (hard links), else one set of
    blocks. *trusted*: a finished run of this store stands behind times that say "shared".
    """
    reason = private_reason(Location(fact.place, fact.path))
    status = fact.status
    if reason is Reason.OUTSIDE:
        return Leave(fact, reason)
    if status is None:
        return Leave(fact, Reason.MISSING)
    if not stat.S_ISREG(status.st_mode):
        symlink = stat.S_ISLNK(status.st_mode)
        return Leave(fact, Reason.SYMLINK if symlink else Reason.NOT_REGULAR)
    if reason is Reason.PATH_FILE and not fact.contested and status.st_size:
        return IngestCopy(fact, reason)
    if reason is not None:
        return Leave(fact, reason)
    own = _own_reason(fact, status, user)
    if own is not None:
        return Leave(fact, own)
    if fact.stored is not None and by_inode and fact.stored.st_ino == status.st_ino:
        return _same_inode(fact, status)
    if fact.size is not None and fact.size != status.st_size:
        return Leave(fact, Reason.MODIFIED) if fact.promised else Ingest(fact)
    if fact.digest is None:
        return Ingest(fact)
    if trusted and says_shared(fact, status, by_inode=by_inode):
        return AlreadyShared(fact, fact.digest)
    return Share(fact, fact.digest) if fact.sound else Ingest(fact)


def says_shared(fact: FileFact, status: os.stat_result, *, by_inode: bool) -> bool:
    """Whether a stat alone says that a file is shared: the mtime of its promised content and its size."""
    return (
        fact.digest is not None
        and status.st_mtime_ns == fact.digest.mtime * _NANOSECONDS
        and status.st_size == fact.size
        and (not by_inode or status.st_nlink > 1)
    )


def _own_reason(fact: FileFact, status: os.stat_result, user: int) -> Reason | None:
    if fact.contested:
        return Reason.CONTESTED
    if status.st_uid != user:
        return Reason.OTHER_OWNER
    if status.st_mode & (stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX):
        return Reason.SPECIAL_MODE
    if not status.st_size:
        return Reason.EMPTY if fact.digest in (None, EMPTY) else Reason.MODIFIED
    return None


def _same_inode(fact: FileFact, status: os.stat_result) -> Action:
    # One inode is shared, whatever it holds; its mtime tells whether it still holds what it should.
    digest = fact.digest
    if digest is None:
        return Ingest(fact)
    if status.st_mtime_ns == digest.mtime * _NANOSECONDS:
        return AlreadyShared(fact, digest)
    return Leave(fact, Reason.CHANGED_SHARED)

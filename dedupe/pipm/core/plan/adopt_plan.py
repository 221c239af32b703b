"""Deciding for each file of an environment whether it is shared."""

from __future__ import annotations

import stat
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.digest import EMPTY, Digest
from pipm.core.reasons import Reason
from pipm.core.record import RecordPlace, entry_path, is_installers_own

if TYPE_CHECKING:
    import os

_SPECIAL = stat.S_ISUID | stat.S_ISGID | stat.S_ISVTX
_READABLE, _EXECUTABLE, OWNER_WRITES = 0o444, 0o111, 0o200


def is_usual_mode(mode: int) -> bool:
    """Return True if all users may read a file of this *mode*, and all or none may execute it."""
    return not mode & _SPECIAL and mode & _READABLE == _READABLE and mode & _EXECUTABLE in (0, _EXECUTABLE)


class FileFact(NamedTuple):
    """The facts about one RECORD row before its file is read.

    ``directory`` is relative to the environment; ``status`` is None for a missing file. ``digest``
    and ``size`` are what RECORD says, or (not ``has_record_digest``) what the store knows of this release.
    ``writable``: Python does not import it, and its owner may write to it. ``recorded`` is the time (ns) that
    the store's manifests of this release give that content. ``object`` names the store's object of it,
    ``stored`` is its stat, ``sound`` says that it has the recorded time; ``says_shared`` that the file's own
    time and size say "shared", and this is reliable; ``readable`` that its folder is accessible;
    ``program`` that it is a machine program in ``bin``, and the link mode can share those.
    """

    directory: str
    name: str
    place: RecordPlace
    path: str
    status: os.stat_result | None
    executable: bool
    writable: bool
    digest: Digest | None
    size: int | None
    has_record_digest: bool
    recorded: int | None
    object: str
    stored: os.stat_result | None
    sound: bool
    says_shared: bool
    contested: bool
    readable: bool = True
    program: bool = False

    @property
    def shown(self) -> str:
        """The path in messages, relative to the environment."""
        return f"{self.directory}/{self.name}" if self.directory else self.name

    @property
    def entry_path(self) -> str:
        """Its path in a wheel entry of the store, scheme first."""
        return entry_path(self.place, self.path)


class Leave(NamedTuple):
    """Leave the file as it is."""

    fact: FileFact
    reason: Reason


class AlreadyShared(NamedTuple):
    """The environment already shares the store's file."""

    fact: FileFact
    digest: Digest


class Ingest(NamedTuple):
    """The store lacks the content: hash the file and share it with the store."""

    fact: FileFact


class IngestCopy(NamedTuple):
    """The store gets a copy, the environment keeps its own (``.pth`` files)."""

    fact: FileFact
    reason: Reason


class Share(NamedTuple):
    """The store has the content: prove that the bytes are equal and share them."""

    fact: FileFact
    digest: Digest


Action = Leave | AlreadyShared | Ingest | IngestCopy | Share


def plan_file(fact: FileFact, *, user: int, by_inode: bool) -> Action:  # noqa: PLR0911
    """Choose the action for one file.

    *user* owns what may be shared. *by_inode*: sharing means one inode (hard links), else one set of
    blocks.
    """
    status = fact.status
    if status is None:
        outside = fact.place is RecordPlace.OUTSIDE
        return Leave(fact, Reason.OUTSIDE if outside else _absence(fact))
    if not stat.S_ISREG(status.st_mode):
        symlink = stat.S_ISLNK(status.st_mode)
        return Leave(fact, Reason.SYMLINK if symlink else Reason.NOT_REGULAR)
    private = _private_reason(fact)
    if private is not None:
        if private is Reason.PATH_FILE and not fact.contested and status.st_size:
            return IngestCopy(fact, private)
        return Leave(fact, private)
    digest = fact.digest
    if fact.says_shared and digest is not None and status.st_uid == user and status.st_size:
        return AlreadyShared(fact, digest)
    own = _own_reason(fact, status, user)
    if own is not None:
        return Leave(fact, own)
    if digest is None:
        return Ingest(fact)
    if by_inode and fact.stored is not None and fact.stored.st_ino == status.st_ino:
        # The inode is already shared; it is read only if it lacks the recorded time.
        return AlreadyShared(fact, digest) if fact.sound else Ingest(fact)
    if fact.size is not None and fact.size != status.st_size:
        return Leave(fact, Reason.MODIFIED) if fact.has_record_digest else Ingest(fact)
    return Share(fact, digest) if fact.sound else Ingest(fact)


def _absence(fact: FileFact) -> Reason:
    return Reason.MISSING if fact.readable else Reason.UNREADABLE


def _private_reason(fact: FileFact) -> Reason | None:
    """Return why a file of this place and name is an environment's own; None when it may be shared."""
    place, path = fact.place, fact.path
    if place is RecordPlace.SITE:
        if is_installers_own(path):
            return Reason.INSTALLERS_OWN
        if "/" not in path and (path.endswith(".pth") or path.startswith("_virtualenv")):
            return Reason.PATH_FILE
        return None
    if place is RecordPlace.SCRIPT:
        return None if fact.program else Reason.SCRIPT
    if place is RecordPlace.CONFIGURATION:
        return Reason.CONFIGURATION
    return Reason.OUTSIDE if place is RecordPlace.OUTSIDE else None


def _own_reason(fact: FileFact, status: os.stat_result, user: int) -> Reason | None:
    if fact.contested:
        return Reason.CONTESTED
    if status.st_uid != user:
        return Reason.OTHER_OWNER
    if not is_usual_mode(status.st_mode):
        return Reason.SPECIAL_MODE
    if not status.st_size:
        return Reason.EMPTY if fact.digest in (None, EMPTY) else Reason.MODIFIED
    return None

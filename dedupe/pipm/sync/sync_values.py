"""The values of a sync: its request and its result."""

from __future__ import annotations

from pipm.core.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.fs.link_modes import LinkMode
    from pipm.wheel.record_hashes import RecordMismatch


class SyncOptions(NamedTuple):
    """Options: ``link_mode`` None tries the modes in order; ``python`` is for a new environment.

    Without ``compiled`` there is no bytecode; ``compiled_later`` leaves much bytecode to `compile_later`.
    ``dist_info``: True if a finder environment shall have metadata folders; None keeps that as it is.
    """

    link_mode: LinkMode | None = None
    python: str | None = None
    compiled: bool = True
    compiled_later: bool = False
    clobber: bool = False
    prefer_stored: bool = False
    trust_adopted: bool = False
    dist_info: bool | None = None
    dry_run: bool = False


class LockStamp(NamedTuple):
    """A lock file's modification time (ns), size and sha256, to detect changes."""

    time: int
    size: int
    digest: str


class Lock(NamedTuple):
    """A lock file at the absolute ``path``; ``pins`` reads it for an interpreter.

    ``fingerprint`` is the digest of the lock and of all options that affect files, ``content`` that of the
    lock only. ``words`` are the options that repeat the sync. Without a ``stamp`` later changes of the lock
    are not detected.
    """

    path: str
    fingerprint: str
    pins: Callable[[Target], Sequence[Pin]]
    content: str = ""
    words: tuple[str, ...] = ()
    stamp: LockStamp | None = None


class SyncResult(NamedTuple):
    """The result of a sync, real or (dry run) predicted; ``seconds`` of wall time.

    Distributions are (name, version); ``replaced`` are (name, old version, new version). ``stuck`` cannot be
    removed, because their files are unknown. ``copied`` is the number of files that could not be linked;
    ``collisions`` are files that another distribution's file replaced. ``pending``: bytecode will be compiled
    later. ``mismatches`` are rows of RECORD that differ from fetched wheels with the hash in the lock.
    """

    path: str
    link_mode: str
    created: bool = False
    added: tuple[tuple[str, str], ...] = ()
    replaced: tuple[tuple[str, str, str], ...] = ()
    repaired: tuple[tuple[str, str], ...] = ()
    removed: tuple[tuple[str, str], ...] = ()
    stuck: tuple[tuple[str, str], ...] = ()
    unchanged: int = 0
    fetched: int = 0
    files: int = 0
    copied: int = 0
    pending: bool = False
    collisions: tuple[str, ...] = ()
    mismatches: tuple[RecordMismatch, ...] = ()
    seconds: float = 0.0

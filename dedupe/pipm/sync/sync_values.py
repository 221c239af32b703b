"""The values of a sync: what is asked for and what was done."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.fs.link_modes import LinkMode
    from pipm.wheel.record_hashes import RecordMismatch


class SyncOptions(NamedTuple):
    """How to sync; no ``link_mode`` means the ladder, ``python`` is for an environment that is to be made.

    Without ``compiled`` there is no bytecode; ``compiled_later`` leaves much of it to `compile_later`.
    ``dist_info``: whether a finder environment has metadata folders; None leaves that as it is.
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
    """A lock file's modification time (ns), size and sha256: what tells that it changed since."""

    time: int
    size: int
    digest: str


class Lock(NamedTuple):
    """A lock file at the absolute ``path``; ``pins`` reads it for an interpreter.

    ``fingerprint`` is the digest of the lock and of all options that decide about files, ``content`` that of
    the lock alone. ``words`` are the options that repeat the sync. Without a ``stamp`` later changes of the
    lock are not noticed.
    """

    path: str
    fingerprint: str
    pins: Callable[[Target], Sequence[Pin]]
    content: str = ""
    words: tuple[str, ...] = ()
    stamp: LockStamp | None = None


class SyncResult(NamedTuple):
    """What a sync did, or (dry run) would do; distributions as (name, version), ``seconds`` of wall time.

    ``replaced`` have the old version in between. ``stuck`` cannot be removed: nobody knows their files.
    ``copied`` files were copied, as a link was refused; ``collisions`` are files that another took over.
    ``pending``: there is bytecode to be compiled later.
    ``mismatches``: fetched wheels, whose hash the lock has, hold something else than their RECORD says.
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

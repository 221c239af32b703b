"""Deciding what a collection removes from the store.

Theory of operation. Environments keep entries, entries keep objects (one inode under several names),
objects keep the bytecode of their content. A link count of one does not prove garbage: reflinks and
the finder add no links. More links than the store's own prove use: removing such a name
frees nothing, so it stays while the store knows any environment.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

DAY = 86400.0


class Fate(Enum):
    """The state of an environment that the store knows."""

    ALIVE = "alive"
    GONE = "gone"
    """It was deleted or moved: the file system above it is mounted."""
    REPLACED = "replaced"
    """Another environment has its path."""
    UNREACHABLE = "unreachable"
    """Unknown; its disk may not be mounted."""


class RootFact(NamedTuple):
    """The facts about an environment; ``seen`` is when it was last seen, in seconds.

    ``marker`` are device and inode of its ``pyvenv.cfg``. ``borrows``: it reads files below the store's own
    path (finder, symlinks), and so it is the only kind that can lose any. ``noted``: an earlier collection
    did not find it.
    """

    path: str
    marker: tuple[int, int]
    entries: tuple[str, ...]
    fate: Fate
    seen: float
    borrows: bool
    noted: bool = False


class EntryFact(NamedTuple):
    """An entry and when it was last used, in seconds; ``mapped``: a process has files of it in its memory."""

    name: str
    used: float
    mapped: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Which unneeded data to keep: ``keep`` in seconds since its last use.

    With ``max_size`` (bytes) more unneeded entries are removed while the store is larger. ``forget`` are
    paths of environments that will not come back; ``missing``: no missing one will. Entries that only these
    needed are removed at once. ``retired`` are environments that this run removes. Without ``trash`` nothing
    waits there.
    """

    keep: float = 14 * DAY
    max_size: int | None = None
    forget: tuple[str, ...] = ()
    missing: bool = False
    retired: tuple[str, ...] = ()
    trash: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class GcPlan:
    """The decision about roots and entries.

    ``missing`` are roots that stay although their environment is missing, ``returned`` those whose
    environment exists again, ``needed`` the entries that the remaining roots name. Of the ``kept`` entries
    the ``needless`` stay only because they are recent, the least recently used first, and the ``busy``
    because a process has them in memory. ``alive``: some root stays; ``borrowed``: some environment reads
    the store's files.
    """

    dropped: tuple[RootFact, ...]
    missing: tuple[RootFact, ...]
    returned: tuple[RootFact, ...]
    needed: frozenset[str]
    kept: tuple[str, ...]
    needless: tuple[EntryFact, ...]
    busy: tuple[str, ...]
    condemned: tuple[str, ...]
    alive: bool
    borrowed: bool


def plan_gc(roots: Sequence[RootFact], entries: Iterable[EntryFact], limits: Limits, now: float) -> GcPlan:
    """Decide which roots and entries stay."""
    living = {root.marker for root in roots if root.fate is Fate.ALIVE}
    dropped = [root for root in roots if _is_dropped(root, living, limits, now)]
    paths = {root.path for root in dropped}
    staying = [root for root in roots if root.path not in paths]
    needed = {entry for root in staying for entry in root.entries}
    seen: dict[str, float] = {}
    forgotten: set[str] = set()
    for root in dropped:
        if _is_forgotten(root, limits):
            forgotten.update(root.entries)
            continue
        for name in root.entries:
            seen[name] = max(root.seen, seen.get(name, 0.0))
    kept, needless, busy, condemned = [], [], [], []
    for entry in entries:
        used = max(entry.used, seen.get(entry.name, 0.0))
        if entry.name not in needed:
            if entry.mapped:
                busy.append(entry.name)
            elif entry.name not in forgotten and limits.keep and used > now - limits.keep:
                needless.append(EntryFact(entry.name, used))
            else:
                condemned.append(entry.name)
                continue
        kept.append(entry.name)
    return GcPlan(
        dropped=tuple(dropped),
        missing=tuple(root for root in staying if root.fate is not Fate.ALIVE),
        returned=tuple(root for root in staying if root.fate is Fate.ALIVE and root.noted),
        needed=frozenset(needed),
        kept=tuple(kept),
        needless=tuple(sorted(needless, key=lambda entry: (entry.used, entry.name))),
        busy=tuple(busy),
        condemned=tuple(condemned),
        alive=bool(staying),
        borrowed=any(root.borrows for root in roots),
    )


def _is_dropped(root: RootFact, living: set[tuple[int, int]], limits: Limits, now: float) -> bool:
    if root.path in limits.retired:
        return True
    if root.fate is Fate.ALIVE:
        return False
    if _is_forgotten(root, limits):
        return True
    if root.fate is Fate.UNREACHABLE:
        return False
    moved = root.marker in living  # it is known at its new place
    return moved or not limits.keep or root.seen <= now - limits.keep


def _is_forgotten(root: RootFact, limits: Limits) -> bool:
    if limits.missing and root.fate in (Fate.GONE, Fate.REPLACED):
        return True
    return any(root.path == path or root.path.startswith(f"{path}/") for path in limits.forget)


def evict(
    verdict: GcPlan, inodes: Mapping[str, Iterable[int]], sizes: Mapping[int, int], most: int
) -> tuple[str, ...]:
    """Choose needless entries to remove until the store has at most *most* bytes, or none is left.

    *inodes* are those of each kept entry, *sizes* the bytes on disk of everything that would stay.
    """
    users = Counter(inode for name in verdict.kept for inode in set(inodes[name]))
    total = sum(sizes.values())
    chosen = []
    for entry in verdict.needless:
        if total <= most:
            break
        chosen.append(entry.name)
        for inode in set(inodes[entry.name]):
            users[inode] -= 1
            if not users[inode]:
                total -= sizes.get(inode, 0)
    return tuple(chosen)


class UnusedFile(NamedTuple):
    """An object or bytecode that no kept entry has: link count and time of its stat, our own names of it."""

    name: str
    links: int
    names: int
    used: float


def is_garbage(file: UnusedFile, *, condemned: bool, alive: bool, limits: Limits, now: float) -> bool:
    """Return whether to remove a stored file that no kept entry has.

    *condemned*: an entry that gc removes has it; *alive*: there are environments.
    """
    if alive and file.links > file.names:
        return False
    return condemned or not limits.keep or file.used <= now - limits.keep

"""Finding what a collection removes and the bytes that this frees; it only reads."""

from __future__ import annotations

import contextlib
import os
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.context.liveness import root_facts
from pipm.context.progress import Progress
from pipm.core.digest import EMPTY
from pipm.core.plan.gc_plan import DAY, EntryFact, UnusedFile, evict, is_garbage, plan_gc
from pipm.fs.leftovers import is_torn_write
from pipm.fs.measure import block_sizes
from pipm.fs.processes import mapped_paths
from pipm.fs.walk_tree import inodes_below, named_inodes
from pipm.gc.freed_bytes import FreedBytes
from pipm.store.entries import MANIFEST, all_entries
from pipm.store.layout import VERSION
from pipm.store.objects import parse_object
from pipm.store.roots import ORIGINALS, root_name
from pipm.store.trash import trashed
from pipm.store.unexpected_files import find_unexpected

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.core.plan.gc_plan import GcPlan, Limits, RootFact
    from pipm.store.layout import Store
    from pipm.store.trash import Trashed
    from pipm.store.unexpected_files import UnexpectedFile

_DIGEST = re.compile(r'"([0-9a-f]{64})"')
_DIGITS = 64
_BELOW_WHEELS = f"/{VERSION}/wheels/"


@dataclass(frozen=True, kw_only=True, slots=True)
class Garbage:
    """The files to remove. ``entries`` and ``busy`` are paths below ``wheels/``, ``files`` below ``v1/``.

    ``restored`` returns from the trash, ``due`` is removed from it; with ``grace`` the entries stay in
    it for a while. ``busy`` stays because a process has it in memory. ``aside`` is data that programs
    left in entries, and that moves out of them. ``freed`` are bytes on disk, an estimate on
    some file systems; ``solid`` of them are always exact.
    """

    roots: tuple[RootFact, ...]
    missing: tuple[RootFact, ...]
    returned: tuple[RootFact, ...]
    entries: tuple[str, ...]
    busy: tuple[str, ...]
    restored: tuple[Trashed, ...]
    due: tuple[Trashed, ...]
    grace: bool
    files: tuple[str, ...]
    objects: int
    aside: tuple[UnexpectedFile, ...]
    freed: int
    solid: int


def find_garbage(store: Store, limits: Limits, now: float, progress: Progress | None = None) -> Garbage:
    """Decide what a collection removes; *now* is in seconds since the epoch."""
    v1 = f"{store.path}/{VERSION}"
    entries = list(_entries(store))
    verdict = plan_gc(root_facts(store), entries, limits, now)
    stored = _StoredInodes(v1)
    evicted = () if limits.max_size is None else stored.evicted(verdict, limits.max_size)
    kept = [name for name in verdict.kept if name not in evicted]
    condemned = (*verdict.condemned, *evicted)
    # Only environments that read the store's own files can miss them: without any, no entry needs the trash.
    wait = min(limits.keep, DAY) if verdict.borrowed and limits.trash else 0.0
    restored, inventory, due = _sorted_trash(store, verdict, kept, now - wait)
    staying = [f"wheels/{name}" for name in kept] + [one.path for one in (*restored, *inventory)]
    going = [one.path for one in due]
    (staying if wait else going).extend(f"wheels/{name}" for name in condemned)
    freed_bytes = FreedBytes(v1)
    for path in going:
        freed_bytes.tree(path)
    marked = _marked(v1, staying, progress or Progress())
    known = {*kept, *(one.entry for one in (*restored, *inventory)), *(condemned if wait else ())}
    sweep = _GarbageFinder(v1, marked, staying, freed_bytes, limits, now, verdict.alive)
    objects = sweep.objects(stored.objects)
    bytecode = sweep.bytecode(stored.bytecode, anything=bool(staying))
    own = {inode for _, inode in (*stored.objects, *stored.bytecode)}
    caches, data = find_unexpected(store, kept, own)
    files = (*objects, *bytecode, *caches, *_leftovers(store, known))
    names = [root_name(root.path) for root in verdict.dropped]
    recorded = [path for path in (f"{ORIGINALS}/{name}" for name in names) if os.path.exists(f"{v1}/{path}")]
    freed_bytes.files((*files, *(f"roots/{name}" for name in names), *recorded))
    freed = freed_bytes.total(marked | sweep.staying)
    return Garbage(
        roots=verdict.dropped,
        missing=verdict.missing,
        returned=verdict.returned,
        entries=condemned,
        busy=verdict.busy,
        restored=restored,
        due=due,
        grace=wait > 0,
        files=files,
        objects=len(objects),
        aside=tuple(data),
        freed=freed,
        solid=freed_bytes.solid,
    )


def _marked(v1: str, staying: list[str], progress: Progress) -> set[int]:
    """Return the inodes of the trees that stay."""
    marked: set[int] = set()
    progress.phase("Looking at distributions", len(staying))
    for number, path in enumerate(staying):
        progress.advance(number, 0)
        marked.update(inodes_below(f"{v1}/{path}"))
    return marked


def _entries(store: Store) -> Iterator[EntryFact]:
    paths = (path.rpartition(_BELOW_WHEELS)[2] for path in mapped_paths(_BELOW_WHEELS))
    mapped = {"/".join(path.split("/")[:3]) for path in paths}
    for name in all_entries(store):
        status = os.stat(f"wheels/{name}", dir_fd=store.v1, follow_symlinks=False)
        yield EntryFact(name, status.st_mtime, name in mapped)


def _sorted_trash(
    store: Store, verdict: GcPlan, kept: list[str], before: float
) -> tuple[tuple[Trashed, ...], tuple[Trashed, ...], tuple[Trashed, ...]]:
    """Divide the trash into files to restore, to keep there, and to remove."""
    here = set(kept)
    restored: list[Trashed] = []
    inventory: list[Trashed] = []
    due: list[Trashed] = []
    for one in trashed(store):
        if one.entry in verdict.needed and one.entry not in here:
            here.add(one.entry)
            restored.append(one)
        else:
            (due if one.since <= before else inventory).append(one)
    return tuple(restored), tuple(inventory), tuple(due)


class _StoredInodes:
    """Objects and bytecode with their inodes, by path below ``v1/``."""

    def __init__(self, v1: str) -> None:
        self._v1 = v1
        self.objects = list(named_inodes(f"{v1}/objects", 1, "objects/"))
        self.bytecode = list(named_inodes(f"{v1}/bytecode", 2, "bytecode/"))

    def evicted(self, verdict: GcPlan, most: int) -> tuple[str, ...]:
        """Choose unneeded entries to remove, so that the store has at most *most* bytes."""
        trees = {name: block_sizes(f"{self._v1}/wheels/{name}") for name in verdict.kept}
        sizes = {inode: size for tree in trees.values() for inode, size in tree.items()}
        compiled: dict[str, list[int]] = {}
        for path, inode in self.bytecode:
            compiled.setdefault(_source_of(path), []).append(inode)
            sizes[inode] = os.lstat(f"{self._v1}/{path}").st_blocks * 512
        digests = {inode: _digest_of(path) for path, inode in self.objects}
        inodes = {
            name: [*tree, *(one for inode in tree for one in compiled.get(digests.get(inode, ""), ()))]
            for name, tree in trees.items()
        }
        return evict(verdict, inodes, sizes, most)


@dataclass(frozen=True, slots=True)
class _GarbageFinder:
    """Chooses the stored files to remove: no remaining tree has their inode (*marked*) or names them."""

    v1: str
    marked: set[int]
    trees: list[str]
    freed_bytes: FreedBytes
    limits: Limits
    now: float
    alive: bool
    sources: set[str] = field(default_factory=set)
    staying: set[int] = field(default_factory=set)

    def objects(self, stored: Iterable[tuple[str, int]]) -> tuple[str, ...]:
        """Return the objects to remove; the others keep their bytecode."""
        gone = []
        named: frozenset[str] | None = None
        for path, inode in stored:
            stays = inode in self.marked or not self._is_garbage(path, inode)
            if parse_object(path) is None:
                gone.append(path)  # another program left it here
                continue
            if not stays:
                # A tree may have another inode (a damaged one, or the last of too many links) and need the
                # object only by its manifest.
                named = self._named() if named is None else named
                stays = _digest_of(path) in named
            if stays:
                self.sources.add(_digest_of(path))
                self.staying.add(inode)
            else:
                gone.append(path)
        return tuple(gone)

    def _named(self) -> frozenset[str]:
        """Return every digest that a remaining tree's manifest names."""
        found: set[str] = set()
        for path in self.trees:
            try:
                with open(f"{self.v1}/{path}/{MANIFEST}", encoding="ascii", errors="replace") as stream:
                    found.update(_DIGEST.findall(stream.read()))
            except OSError:  # `verify` reports unreadable ones
                continue
        return frozenset(found)

    def bytecode(self, stored: Iterable[tuple[str, int]], *, anything: bool) -> tuple[str, ...]:
        """Return the bytecode to remove; that of empty sources stays while there is *anything*."""
        if anything or self.sources:
            self.sources.add(EMPTY.hex())
        gone = []
        for path, inode in stored:
            if _source_of(path) in self.sources or inode in self.marked or not self._is_garbage(path, inode):
                self.staying.add(inode)
            else:
                gone.append(path)
        return tuple(gone)

    def _is_garbage(self, path: str, inode: int) -> bool:
        status = os.lstat(f"{self.v1}/{path}")
        condemned = self.freed_bytes.names_of(inode)
        file = UnusedFile(path, status.st_nlink, 1 + condemned, status.st_ctime)
        return is_garbage(file, condemned=condemned > 0, alive=self.alive, limits=self.limits, now=self.now)


def _digest_of(path: str) -> str:
    """Return the hexadecimal digest of ``objects/ab/cdef…``, of any kind."""
    return path.removeprefix("objects/").replace("/", "")[:_DIGITS]


def _source_of(path: str) -> str:
    """Return the hexadecimal digest of the source of ``bytecode/<interpreter>/ab/cdef…``, of any time."""
    return "".join(path.split("/")[2:])[:_DIGITS]


def _leftovers(store: Store, known: set[str]) -> Iterator[str]:
    """Find unfinished writes (``.name.<hex>``) and index rows of entries that are not *known*."""
    v1 = f"{store.path}/{VERSION}"
    for folder in ("roots", "by-wheel"):
        for name in sorted(os.listdir(f"{v1}/{folder}")):
            path = f"{folder}/{name}"
            if name.startswith(".") or (folder == "by-wheel" and _entry_in(f"{v1}/{path}") not in known):
                yield path
    originals = os.listdir(f"{v1}/{ORIGINALS}") if os.path.isdir(f"{v1}/{ORIGINALS}") else ()
    yield from (f"{ORIGINALS}/{name}" for name in originals if not os.path.exists(f"{v1}/roots/{name}"))
    for entry in sorted(known):
        with contextlib.suppress(OSError), os.scandir(f"{v1}/wheels/{entry}") as names:
            yield from (f"wheels/{entry}/{one.name}" for one in names if is_torn_write(one.name))


def _entry_in(path: str) -> str:
    with open(path, encoding="ascii", errors="replace") as stream:
        return stream.read().strip()

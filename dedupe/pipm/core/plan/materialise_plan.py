"""Merging the install plans of an environment's distributions into one plan.

Each folder is made once, with the files of all distributions; a folder comes after the one
that contains it. Metadata folders come last.
"""

from __future__ import annotations

from collections import Counter, defaultdict

from pipm.core.install_plan import scheme_path
from pipm.core.named_tuple import NamedTuple
from pipm.core.record import RecordPlace, locate, parse_record

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from collections.abc import Set as AbstractSet

    from pipm.core.install_plan import InstallPlan, PlanFolder
    from pipm.core.scheme import Scheme

    Sources = tuple[str, tuple[tuple[str, str], ...]]


FOLDER_WORK = 3
"""The work for a folder, in files."""


class Wanted(NamedTuple):
    """A distribution that an environment shall have, and its entry (below ``wheels/``).

    ``load`` returns its install plan, which is read when it is needed. ``direct_url`` are the bytes of PEP
    610's file, if it is not from an index; ``served``: its modules come from the store by the finder, and its
    install plan has none. ``uv_note``: see `pipm.sync.uv_note`.
    """

    entry: str
    load: Callable[[], InstallPlan]
    direct_url: bytes | None = None
    served: bool = False
    uv_note: bytes | None = None

    @property
    def install_plan(self) -> InstallPlan:
        """The files of the entry, in the order in which they are made."""
        return self.load()

    @property
    def name(self) -> str:
        """The normalised name."""
        return self.entry.split("/")[0]

    @property
    def version(self) -> str:
        """The normalised version."""
        return self.entry.split("/")[1]

    @property
    def shown(self) -> str:
        """Name and version for people."""
        return f"{self.name} {self.version}"


def at_hand(install_plan: InstallPlan) -> Callable[[], InstallPlan]:
    """Return `Wanted.load` for an install plan that was read already."""
    return lambda: install_plan


class Links(NamedTuple):
    """Files of one store folder (below ``v1/``) that are linked into one folder, with their times (ns)."""

    source: str
    names: tuple[str, ...]
    times: tuple[int, ...]


class PlannedFolder:
    """One folder, ``path`` relative to the environment. ``copies`` are private and not linked.

    ``empty`` are (name, time, whether it is executable). ``sources`` are the modules that each folder of the
    store gives: their names without ``.py``, and the names of their bytecode in the store.
    """

    __slots__ = ("copies", "empty", "links", "owners", "path", "sources")

    def __init__(
        self,
        path: str,
        *,
        links: list[Links] | None = None,
        copies: list[Links] | None = None,
        empty: list[tuple[str, int, bool]] | None = None,
        sources: list[Sources] | None = None,
    ) -> None:
        self.path = path
        self.links, self.copies, self.empty = links or [], copies or [], empty or []
        self.sources = sources or []
        self.owners: list[Wanted] = []

    def count(self) -> int:
        """Return the number of its files."""
        number = len(self.empty)
        for part in self.links:
            number += len(part.names)
        for part in self.copies:
            number += len(part.names)
        return number

    def names(self) -> set[str]:
        """Return the names of all its files."""
        found = {name for name, _, _ in self.empty}
        for part in (*self.links, *self.copies):
            found.update(part.names)
        return found

    def drop(self, names: set[str]) -> None:
        """Remove *names* from the planned files."""
        for kind in (self.links, self.copies):
            kind[:] = [_without(part, names) for part in kind]
        self.empty = [row for row in self.empty if row[0] not in names]
        rest = [
            (source, tuple(row for row in rows if f"{row[0]}.py" not in names))
            for source, rows in self.sources
        ]
        self.sources = [row for row in rest if row[1]]


def _without(part: Links, names: set[str]) -> Links:
    rows = [row for row in zip(part.names, part.times, strict=True) if row[0] not in names]
    kept, times = zip(*rows, strict=True) if rows else ((), ())
    return Links(part.source, kept, times)


class Collision(NamedTuple):
    """Two distributions with different files at one path (relative to the environment)."""

    path: str
    one: Wanted
    other: Wanted


class PlanPart(NamedTuple):
    """A part of a plan: one worker makes its ``folders``, and later its ``metadata_folders``."""

    folders: Iterable[PlannedFolder]
    metadata_folders: Iterable[tuple[Wanted, tuple[PlannedFolder, ...]]]


class MaterialisePlan(NamedTuple):
    """``folders`` are in an order in which they can be made; ``metadata_folders`` follow them."""

    folders: tuple[PlannedFolder, ...]
    metadata_folders: tuple[tuple[Wanted, tuple[PlannedFolder, ...]], ...]
    collisions: tuple[Collision, ...]

    @property
    def files(self) -> int:
        """The number of files from wheels."""
        rest = [folder.count() for _, folders in self.metadata_folders for folder in folders]
        return sum(rest) + sum(folder.count() for folder in self.folders)

    def parts(self, count: int) -> list[PlanPart]:
        """Divide it into at most *count* parts with about the same work."""
        costs = [FOLDER_WORK + folder.count() for folder in self.folders]
        enough = sum(costs) / count
        ends: list[int] = []
        done = 0
        for end, cost in enumerate(costs, 1):
            done += cost
            if done >= enough * (len(ends) + 1) or end == len(costs):
                ends.append(end)
        return [
            PlanPart(self.folders[begin:end], self.metadata_folders[number :: len(ends)])
            for number, (begin, end) in enumerate(zip([0, *ends], ends, strict=False))
        ]


class SeparatePlans(NamedTuple):
    """The plans of *wanted* distributions, no two of which have a file at one path.

    Each is made by the worker that links its files. ``costs`` is the work for each, in files.
    """

    wanted: Sequence[Wanted]
    costs: Sequence[int]
    scheme: Scheme

    @property
    def files(self) -> int:
        """The work for all, in files."""
        return sum(self.costs)

    def parts(self, count: int) -> list[PlanPart]:
        """Return the parts, large ones first; those of the largest distributions are divided."""
        enough = self.files / count
        parts = []
        for cost, one in sorted(zip(self.costs, self.wanted, strict=True), key=lambda row: -row[0]):
            several = 1 + int(cost / enough)
            parts += [
                PlanPart(self._folders(one, number, several), () if number else self._metadata_folders(one))
                for number in range(several)
            ]
        return parts

    def _folders(self, one: Wanted, number: int, count: int) -> Iterator[PlannedFolder]:
        """Yield the folders of the part *number* of *count*; what has files of other schemes comes first."""
        planner = _Planner(self.scheme, _data_folders([one], self.scheme) | {self.scheme.site})
        planner.add(one)
        if number == 0:
            yield from planner.ordered()
        folders = one.install_plan.folders
        for folder in folders[len(folders) * number // count : len(folders) * (number + 1) // count]:
            planned = planner.planned(folder, f"wheels/{one.entry}")
            if planned.path not in planner.folders:
                yield planned

    def _metadata_folders(self, one: Wanted) -> Iterator[tuple[Wanted, tuple[PlannedFolder, ...]]]:
        planner, base = _Planner(self.scheme), f"wheels/{one.entry}"
        yield one, tuple(planner.planned(folder, base) for folder in one.install_plan.metadata_folders)


def plan_materialisation(wanted: list[Wanted], scheme: Scheme) -> MaterialisePlan:
    """Merge all *wanted* distributions into one tree; of two files with one path the later one wins."""
    planner = _Planner(scheme)
    for one in wanted:
        planner.add(one)
    return MaterialisePlan(
        folders=tuple(planner.ordered()),
        metadata_folders=tuple(planner.metadata_folders),
        collisions=tuple(planner.collisions),
    )


def find_collisions(wanted: list[Wanted], scheme: Scheme) -> tuple[Collision, ...]:
    """Return the collisions of `plan_materialisation`, which needs five times as long."""
    return tuple(_shared(wanted, scheme).collisions)


def are_separate(wanted: list[Wanted], scheme: Scheme) -> bool:
    """Return True if no two files of *wanted* have the same path, not even files with the same content."""
    return not _shared(wanted, scheme).overlap


def _shared(wanted: list[Wanted], scheme: Scheme) -> _Planner:
    """Return the plan of the folders that several of *wanted* may have."""
    numbers = Counter(folder.path for one in wanted for folder in one.install_plan.folders)
    site = f"{scheme.site}/"
    several = {f"{site}{path}" for path, number in numbers.items() if number > 1}
    planner = _Planner(scheme, several | _data_folders(wanted, scheme) | {scheme.site})
    for one in wanted:
        planner.add(one)
    return planner


def _data_folders(wanted: list[Wanted], scheme: Scheme) -> set[str]:
    """Return the folders of data files in the environment."""
    return {
        scheme_path(other, one.install_plan.name, scheme).rpartition("/")[0]
        for one in wanted
        for other in one.install_plan.data_files
    }


class _Planner:
    """Plans all folders, or for collisions only the folders *several* of site-packages."""

    def __init__(self, scheme: Scheme, several: AbstractSet[str] | None = None) -> None:
        self.scheme, self._several = scheme, several
        self.folders: dict[str, PlannedFolder] = {}
        self.metadata_folders: list[tuple[Wanted, tuple[PlannedFolder, ...]]] = []
        self.collisions: list[Collision] = []
        self.overlap = False
        """True if two files have the same path."""
        self._rows: dict[str, dict[str, str]] = {}

    def add(self, one: Wanted) -> None:
        install_plan, base = one.install_plan, f"wheels/{one.entry}"
        self._above(self.scheme.site)
        site, several = f"{self.scheme.site}/", self._several
        for folder in install_plan.folders:
            if several is None or not folder.path or f"{site}{folder.path}" in several:
                self._add_folder(one, self.planned(folder, base))
        if install_plan.copies:
            names, _, times = zip(*install_plan.copies, strict=True)
            copies = [Links(f"{base}/site", names, times)]
            self._add_folder(one, PlannedFolder(self.scheme.site, copies=copies))
        self._add_others(one, base)
        if several is None:
            folders = tuple(self.planned(folder, base) for folder in install_plan.metadata_folders)
            self.metadata_folders.append((one, folders))

    def planned(self, folder: PlanFolder, base: str) -> PlannedFolder:
        """Return the plan of *folder* of the entry at *base*."""
        path, source = folder.path, f"{base}/site/{folder.path}" if folder.path else f"{base}/site"
        return PlannedFolder(
            f"{self.scheme.site}/{path}" if path else self.scheme.site,
            links=[Links(source, folder.names, folder.times)] if folder.names else [],
            empty=list(folder.empty),
            sources=[(source, folder.sources)] if folder.sources else [],
        )

    def ordered(self) -> list[PlannedFolder]:
        """Return the folders, each after the one that it lies in."""
        return sorted(self.folders.values(), key=lambda folder: folder.path.replace("/", "\0"))

    def _add_others(self, one: Wanted, base: str) -> None:
        """Data files and headers; what configures or runs is the environment's own, as with adopt."""
        planned: dict[str, PlannedFolder] = {}
        linked: defaultdict[tuple[str, str], list[tuple[str, int]]] = defaultdict(list)
        for other in one.install_plan.data_files:
            if other.scheme == "scripts":
                continue
            path = scheme_path(other, one.install_plan.name, self.scheme)
            folder, _, name = path.rpartition("/")
            new = planned.setdefault(folder, PlannedFolder(folder))
            if other.size:
                below = other.path.rpartition("/")[0]
                source = f"{base}/{other.scheme}/{below}" if below else f"{base}/{other.scheme}"
                linked[folder, source].append((name, other.mtime_ns))
            else:
                new.empty.append((name, other.mtime_ns, other.executable))
        for (folder, source), rows in linked.items():
            names, times = zip(*rows, strict=True)
            shared = self._is_shared(f"{folder}/{names[0]}" if folder else names[0])
            kind = planned[folder].links if shared else planned[folder].copies
            kind.append(Links(source, names, times))
        for folder, new in planned.items():
            self._above(folder)
            self._add_folder(one, new)

    def _is_shared(self, path: str) -> bool:
        """Return whether the file at *path*, outside of site-packages, is linked, like all of its folder."""
        place = locate(self.scheme.recorded(path), self.scheme.site).place
        return place in (RecordPlace.DATA, RecordPlace.HEADERS)

    def _above(self, path: str) -> None:
        while path and path not in self.folders:
            self.folders[path] = PlannedFolder(path)
            path = path.rpartition("/")[0]
        self.folders.setdefault("", PlannedFolder(""))

    def _add_folder(self, one: Wanted, new: PlannedFolder) -> None:
        known = self.folders.get(new.path)
        if known is None:
            new.owners.append(one)
            self.folders[new.path] = new
            return
        taken = known.names() & new.names()
        if taken:
            self.overlap = True
            self._resolve(one, known, new, taken)
        known.links += new.links
        known.copies += new.copies
        known.empty += new.empty
        known.sources += new.sources
        known.owners.append(one)

    def _resolve(self, one: Wanted, known: PlannedFolder, new: PlannedFolder, taken: set[str]) -> None:
        """Let the later file win; note a collision if the two differ."""
        for name in sorted(taken):
            path = f"{new.path}/{name}" if new.path else name
            mine = self._hash(one, path)
            for other in dict.fromkeys(owner.entry for owner in known.owners):
                owner = next(owner for owner in known.owners if owner.entry == other)
                theirs = self._hash(owner, path)
                if owner is not one and theirs is not None and theirs != mine:
                    self.collisions.append(Collision(path, owner, one))
        known.drop(taken)

    def _hash(self, one: Wanted, path: str) -> str | None:
        """Return the hash in the RECORD of *one* for *path*; None if it has none."""
        rows = self._rows.get(one.entry)
        if rows is None:
            site = f"{self.scheme.site}/"
            rows = {site + row.path: row.hash for row in parse_record(one.install_plan.record)}
            rows |= {
                scheme_path(other, one.install_plan.name, self.scheme): other.record
                for other in one.install_plan.data_files
            }
            self._rows[one.entry] = rows
        return rows.get(path)

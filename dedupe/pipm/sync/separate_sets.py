"""Sets of entries that an earlier sync put into a new environment, where no two had a file at one path.

Another new environment gets the same set without a plan of the whole: each worker plans what it links, and
the first process reads no install plan. An install plan that was written anew makes the set unknown.
"""

from __future__ import annotations

import os

from pipm import __version__
from pipm.core.named_tuple import NamedTuple
from pipm.core.plan.materialise_plan import FOLDER_WORK, are_separate
from pipm.fs.cache_files import packed, read_value, unpacked, write_value
from pipm.store.entries import is_editable_entry
from pipm.store.layers import home_of
from pipm.wheel.stored_install_plans import INSTALL_PLAN

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipm.core.install_plan import InstallPlan
    from pipm.core.plan.materialise_plan import Wanted
    from pipm.core.scheme import Scheme
    from pipm.store.layout import Store
    from pipm.sync.change_cache import Groups

_FORMAT = 1
_KIND = "separate"


class SeparateSet(NamedTuple):
    """What is known of a set: the work for each distribution, in files and in the set's order.

    ``scheme`` is what a plan depends on; ``rows`` are the entries, each with the number of its paths in
    ``text`` (see `pipm.sync.full_check.entry_paths`).
    """

    scheme: tuple[str, str]
    costs: Sequence[int]
    rows: Sequence[tuple[str, int]]
    text: bytes

    def paths(self) -> Groups:
        """Return the paths of each entry for the change cache."""
        paths = list(map(os.fsdecode, unpacked(self.text)))
        found, begin = {}, 0
        for entry, count in self.rows:
            found[entry] = paths[begin : begin + count]
            begin += count
        return found


def read_set(store: Store, wanted: Sequence[Wanted], target: str) -> SeparateSet | None:
    """Return what is known of the entries of *wanted* in environments of *target*, or None."""
    state = _state(store, wanted, target)
    value = read_value(_KIND, state) if state else None
    if value is None:
        return None
    known = SeparateSet(*value)
    rows = [(one.entry, count) for one, (_, count) in zip(wanted, known.rows, strict=True)]
    return known._replace(rows=rows)  # an editable project has another entry in each folder


def note_set(store: Store, wanted: list[Wanted], target: str, scheme: Scheme, paths: Groups) -> None:
    """Record *wanted*, which came into a new environment of *target*, if no two have a file at one path."""
    state = _state(store, wanted, target)
    if state and are_separate(wanted, scheme):
        costs = [_cost(one) for one in wanted]
        rows = [(entry, len(several)) for entry, several in paths.items()]
        text = packed(path for several in paths.values() for path in several)
        write_value(_KIND, state, (scheme_key(scheme), costs, rows, text))


def scheme_key(scheme: Scheme) -> tuple[str, str]:
    """Return the parts of *scheme* that a plan depends on."""
    return scheme.site, scheme.cache_tag


def _paths(plan: InstallPlan) -> Iterator[object]:
    """Yield all that decides the paths of *plan*'s files."""
    for folder in (*plan.folders, *plan.metadata_folders):
        yield (
            folder.path,
            folder.names,
            [name for name, *_ in folder.empty],
            [name for name, _ in folder.sources],
        )
    yield plan.metadata, [name for name, *_ in plan.copies], [name for name, _ in plan.scripts]
    yield [(file.scheme, file.path) for file in plan.data_files]


def _cost(one: Wanted) -> int:
    plan = one.install_plan
    return sum(
        FOLDER_WORK + len(folder.names) + len(folder.empty)
        for folder in (*plan.folders, *plan.metadata_folders)
    )


def _state(store: Store, wanted: Sequence[Wanted], target: str) -> str:
    """Return the key of a set: its entries with the state of their install plans; "" if one has none.

    Of an editable project the paths count, which are the same in each git worktree.
    """
    rows: list[tuple[object, ...]] = []
    try:
        for one in wanted:
            if is_editable_entry(one.entry):
                rows.append((one.name, one.version, *_paths(one.install_plan)))
                continue
            path = f"wheels/{one.entry}/{INSTALL_PLAN}"
            status = os.stat(path, dir_fd=home_of(store, one.entry).v1, follow_symlinks=False)
            rows.append((one.entry, status.st_ino, status.st_mtime_ns))
    except OSError:
        return ""
    return f"{_FORMAT} {__version__} {store.path} {target} {rows}"

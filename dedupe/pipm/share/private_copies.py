"""`pipm release`: give an environment its own copies of shared files."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from pipm.context.environment_lock import checked_environment, locked_environment
from pipm.core.plan.release_plan import needed_bytes, plan_release
from pipm.core.record import RecordPlace, source_of_bytecode
from pipm.core.size_text import size_text
from pipm.env.installed import installed_distributions, place_in_environment
from pipm.errors import FileSystemError, StoreError, UsageError
from pipm.fs.compression import compresses
from pipm.fs.free_space import accounting, file_system_type, free_space, stable_free_space
from pipm.fs.os_errors import explain_os_error
from pipm.pip_wrapper.install_wrapper import uninstall_wrapper
from pipm.share.give_copies import give_copies
from pipm.share.shared_files import SharedFileSearch
from pipm.store.layout import open_store
from pipm.store.roots import ADOPTED, ADOPTING, PARTLY, find_root, remove_root, write_root
from pipm.store.stored_originals import record_blocks

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from pipm.context.progress import Progress
    from pipm.context.statistics import SkippedFile
    from pipm.core.plan.release_plan import Release
    from pipm.env.environment import Environment
    from pipm.env.installed import InstalledDistribution
    from pipm.store.layout import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class Released:
    """The result of a release, or of a dry run.

    ``files_released`` counts the files that are no longer shared; ``bytes_used`` is the space that they need.
    ``files_kept`` stay shared with other files than the store's. ``read_only`` counts read-only modules that
    the store does not have: perhaps a store that no longer exists made them read-only.
    """

    path: str
    python: str
    link_mode: str
    distributions: int
    files: int
    files_released: int
    left: tuple[SkippedFile, ...]
    bytes_used: int
    seconds: float
    files_kept: int = 0
    read_only: int = 0


def release_shared(
    store_path: str,
    path: str,
    names: list[str],
    progress: Progress,
    *,
    dry_run: bool,
    kept: frozenset[int] = frozenset(),
) -> Released:
    """Give the environment at *path* (or only its distributions *names*) private copies.

    No file of the environment changes before all copies are on disk. Raises PipmError.
    """
    started = time.monotonic()
    environment = checked_environment(store_path, path)
    store = open_store(store_path, create=False)
    try:
        with locked_environment(store, environment, progress) as root:
            there = installed_distributions(environment, root)
            chosen, distributions = _chosen(environment, there, names)
            finder = SharedFileSearch(store, environment, there, kept)
            releases = plan_release(list(finder.files(chosen)))
            _refuse_lost(environment, finder.lost_links)
            record = 0 if names or store is None else record_blocks(store, environment.path)
            _say_unknown(store, environment, progress, finder)
            before = None if dry_run or not compresses(environment.path) else stable_free_space(root)
            given = sum(not one.file.private for one in releases)
            left = finder.broken
            if not dry_run:
                _refuse_full_disk(environment, releases)
                given, skipped = give_copies(root, releases, progress)
                left = [*left, *skipped]
            used = needed_bytes(releases, accounting(file_system_type(environment.path)))
            if before is not None:
                used = _used(root, before, used)
            if not dry_run and not names:
                uninstall_wrapper(environment)
            if not dry_run and store is not None:
                _forget(store, environment, names, complete=not left)
    except OSError as error:
        raise explain_os_error(error, f"release {path}") from error
    finally:
        progress.done()
    known = None if store is None else find_root(store, environment.path)
    return Released(
        path=environment.path,
        python=environment.python,
        link_mode="copy" if known is None else known.link_mode,
        distributions=distributions,
        files=finder.total,
        files_released=given,
        left=tuple(left),
        bytes_used=max(used - record, 0),
        seconds=time.monotonic() - started,
        files_kept=finder.kept,
        read_only=0 if names else len(finder.read_only),
    )


def _used(root: int, before: int, most: int) -> int:
    """Return the bytes of the copies on a file system that compresses, at *most* their sizes."""
    after = stable_free_space(root)
    used = most if after is None else before - after
    return used if 0 <= used <= most else most


def _refuse_lost(environment: Environment, lost: Counter[str]) -> None:
    """Raise StoreError if symlinks point into a missing store, so that the store's root is not removed."""
    for store, count in lost.items():
        raise StoreError(
            f"{count} files of {environment.path} are symlinks into the store {store}, which does not exist",
            hint=f"if it was moved, name its new place: pipm release --store DIR {environment.path}",
        )


def _chosen(
    environment: Environment, distributions: list[InstalledDistribution], names: list[str]
) -> tuple[Callable[[str], bool] | None, int]:
    """Return a test for paths of the distributions *names* (None: all paths), and their number."""
    if not names:
        return None, len(distributions)
    wanted = {canonicalize_name(name) for name in names}
    found = [distribution for distribution in distributions if distribution.name in wanted]
    unknown = wanted - {distribution.name for distribution in found}
    if unknown:
        raise UsageError(
            f"{environment.path} has no distribution {min(unknown)}",
            hint="`pip list` there names them",
        )
    paths = {
        _bytecode_key(place_in_environment(distribution, location))
        for distribution in found
        for _, location in distribution.located
        if location.place is not RecordPlace.OUTSIDE
    }
    return lambda path: _bytecode_key(path) in paths, len(found)


def _bytecode_key(path: str) -> str:
    """Return one key for a source and its bytecode: ``a/b.py`` and ``a/__pycache__/b.cpython-312.pyc``."""
    folder, _, name = path.rpartition("/")
    if folder.endswith("/__pycache__") and name.endswith(".pyc"):
        return f"{folder[: -len('/__pycache__')]}/{source_of_bytecode(name) or name}"
    return path


def _refuse_full_disk(environment: Environment, releases: list[Release]) -> None:
    """Raise FileSystemError before anything changes if there is no space for the copies."""
    free = free_space(environment.path)
    need = needed_bytes(releases, accounting(file_system_type(environment.path)))
    files = sum(not one.file.private for one in releases)
    if free.size < need:
        raise FileSystemError(
            f"{environment.path} needs {size_text(need)} for its own copies, {size_text(free.size)} are free",
            hint="free some space there, or release one distribution: pipm release --dist NAME",
        )
    if free.inodes is not None and free.inodes < files:
        raise FileSystemError(
            f"{environment.path} needs {files} inodes for its own copies, {free.inodes} are free",
            hint="free some space there, or release one distribution: pipm release --dist NAME",
        )


def _say_unknown(
    store: Store | None, environment: Environment, progress: Progress, finder: SharedFileSearch
) -> None:
    """Print a note if the original modes and times of files are not recorded."""
    if finder.lost:
        progress.note(
            f"{finder.lost} files are hard links to another store's files. Name that store (--store DIR) to"
            " restore their modes and times; otherwise they only become writable for their owner"
        )
    known = None if store is None else find_root(store, environment.path)
    adopted = known is not None and known.state in (ADOPTING, ADOPTED, PARTLY)
    if adopted and not finder.has_originals:
        progress.note(
            "the modes and times of files before they were adopted were not recorded (by an earlier pipm),"
            " or are lost: files keep those of the store, and become writable for their owner"
        )


def _forget(store: Store, environment: Environment, names: list[str], *, complete: bool) -> None:
    """Remove the root, or the entries of the released distributions from it."""
    known = find_root(store, environment.path)
    if known is None or not complete:
        return
    if not names:
        remove_root(store, environment.path)
        return
    own = {canonicalize_name(name) for name in names}
    entries = tuple(entry for entry in known.entries if entry.partition("/")[0] not in own)
    released = tuple(sorted(own.union(known.released)))
    write_root(store, known._replace(entries=entries, state=PARTLY, released=released))

"""`pipm adopt --dry-run`: gather the same facts and make the same decisions as adopt; change nothing."""

from __future__ import annotations

import os
import re
import time
from typing import TYPE_CHECKING, NamedTuple

from pipm.adopt.expected_growth import ExpectedGrowth
from pipm.context.environment_lock import checked_environment, is_unchanged
from pipm.context.statistics import Statistics, count_folders, count_freed_inodes
from pipm.core.bytecode import header_time
from pipm.core.plan.adopt_plan import AlreadyShared, IngestCopy, Leave, Share, plan_file
from pipm.core.reasons import Reason
from pipm.core.record import RecordPlace
from pipm.env.installed import contested_paths, installed_distributions
from pipm.env.places import paths_of_others
from pipm.errors import PipmError, UsageError
from pipm.fs.beneath import directory_beneath, is_there
from pipm.fs.compression import compresses
from pipm.fs.free_space import accounting, file_system_type, has_reflinks
from pipm.fs.link_modes import LinkMode
from pipm.fs.measure import own_bytes
from pipm.fs.opened import opened_folder
from pipm.fs.os_errors import explain_os_error
from pipm.fs.walk_tree import named_inodes, names_in
from pipm.share.adoption import Adoption, AdoptOptions, adoption_of
from pipm.share.file_facts import FactGatherer
from pipm.share.prepare_adopt import released_names, without_released
from pipm.store.bytecode_pool import Pool
from pipm.store.known import Releases
from pipm.store.layout import VERSION, open_store
from pipm.store.roots import find_root

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.core.plan.adopt_plan import Action, FileFact
    from pipm.env.environment import Environment
    from pipm.env.installed import InstalledDistribution
    from pipm.store.layout import Store

_LIBRARY = re.compile(r"(python|pypy)(\d+\.\d+t?)/site-packages")


class _Planned(NamedTuple):
    """The plan for an environment, made in so many ``seconds``."""

    environment: Environment
    statistics: Statistics
    distributions: int
    seconds: float


class Preview:
    """Plans adoptions in sequence: the next one finds in the store what the one before would add."""

    def __init__(self, store_path: str, options: AdoptOptions) -> None:
        if options.link_mode is LinkMode.COPY:
            raise UsageError("Copies share nothing", hint="choose reflink, hardlink or symlink")
        self._store_path = store_path
        self._store = open_store(store_path, create=False)
        self._mode = options.link_mode
        self._again = options.again
        self._planned: set[str] = set()
        self._objects: frozenset[int] | None = None
        self._by_blocks = False
        self._place = ""
        self._growth = ExpectedGrowth(self._store)

    def together(self, paths: Sequence[str]) -> dict[str, Adoption | PipmError]:
        """Return what adopting the environments *paths* in one run would do, or an error.

        Bytes freed are an estimate: an upper limit on a file system with compression.
        """
        outcomes: dict[str, Adoption | PipmError] = {}
        planned: dict[str, _Planned] = {}
        for path in paths:
            try:
                planned[path] = self._plan_environment(path)
            except PipmError as error:
                outcomes[path] = error
        every = [one.statistics for one in planned.values()]
        count_folders(every, self._growth.take_grown())
        count_freed_inodes(every)
        link_mode = "auto" if self._mode is None else self._mode.value
        for path, one in planned.items():
            outcomes[path] = adoption_of(
                one.environment, link_mode, one.distributions, one.statistics, one.seconds
            )
        return outcomes

    def _plan_environment(self, path: str) -> _Planned:
        started = time.monotonic()
        environment = checked_environment(self._store_path, path)
        try:
            with opened_folder(environment.path) as root:
                statistics, count = self._statistics(environment, root)
        except OSError as error:
            raise explain_os_error(error, f"look at {path}") from error
        return _Planned(environment, statistics, count, time.monotonic() - started)

    def _statistics(self, environment: Environment, root: int) -> tuple[Statistics, int]:
        distributions = installed_distributions(environment, root)
        known = None if self._store is None else find_root(self._store, environment.path)
        released = released_names(known, environment, distributions, self._again)
        distributions = without_released(distributions, released)
        by_inode = known is None or known.link_mode == LinkMode.HARDLINK.value
        observer = FactGatherer(
            root=root,
            store=self._store,
            releases=Releases(self._store),
            trusted=known is not None and is_unchanged(known, environment),
            by_inode=by_inode,
            contested=contested_paths(distributions, paths_of_others(environment.path, root)),
        )
        bytecode = _Bytecode.of(environment, root, self._store, self._growth)
        self._place = environment.path
        kind = file_system_type(environment.path)
        statistics = Statistics(accounting(kind), at_most=compresses(environment.path))
        self._by_blocks = self._mode is LinkMode.REFLINK or (self._mode is None and has_reflinks(kind))
        for distribution in distributions:
            self._plan(distribution, observer, bytecode, statistics)
        if statistics.shared or statistics.ingested:
            self._growth.count_environment(statistics.files, statistics)
        return statistics, len(distributions)

    def _plan(
        self,
        distribution: InstalledDistribution,
        observer: FactGatherer,
        bytecode: _Bytecode,
        statistics: Statistics,
    ) -> None:
        if distribution.refusal is not None:
            statistics.files += 1
            statistics.leave(f"{distribution.site}/{distribution.metadata}", distribution.refusal)
            return
        known, folders, count = statistics.ingested, set(), statistics.files
        for _, directory, facts in observer.folders(distribution):
            folders.add(directory)
            planned: dict[str, FileFact] = {}
            for fact in facts:
                action = plan_file(fact, user=os.geteuid(), by_inode=observer.by_inode)
                statistics.files += 1
                self._count(action, statistics)
                private = isinstance(action, Leave) and action.reason is not Reason.EMPTY
                if fact.place is RecordPlace.SITE and fact.name.endswith(".py") and not private:
                    planned[fact.name[:-3]] = fact
            bytecode.count(directory, planned, self._planned, statistics)
        if statistics.ingested > known:
            added = statistics.files - count
            self._growth.count_entry(observer.root, distribution.site, folders, added, statistics)

    def _count(self, action: Action, statistics: Statistics) -> None:
        fact = action.fact
        if isinstance(action, Leave | IngestCopy):
            statistics.leave(fact.shown, action.reason)
            return
        assert fact.status is not None
        statistics.bytes_shared += fact.status.st_size
        if isinstance(action, AlreadyShared) or fact.status.st_ino in self._inodes_of(fact.status):
            statistics.already += 1
            return
        statistics.shared += 1
        name = fact.object
        if isinstance(action, Share) or name in self._planned or self._is_stored(name):
            if not self._by_blocks:
                statistics.replaced(fact.status)
            else:
                # Blocks that another file shares, too (uv's cache), stay in use.
                freed = own_bytes(f"{self._place}/{fact.shown}")
                statistics.freed += freed
                statistics.references += freed > 0
        else:
            statistics.ingested += 1
            if name:
                self._planned.add(name)
                self._growth.count_object(name, statistics)
            if self._by_blocks:
                statistics.made += 1
                statistics.references += 1

    def _inodes_of(self, status: os.stat_result) -> frozenset[int]:
        """Return the inodes of the objects, for a file with several names on their file system.

        RECORD may have no digest of it (virtualenv's pip), then only the inode tells that it is shared.
        """
        if (
            self._store is None
            or status.st_nlink == 1
            or status.st_dev != os.fstat(self._store.objects).st_dev
        ):
            return frozenset()
        if self._objects is None:
            objects = named_inodes(f"{self._store.path}/{VERSION}/objects", 1, "")
            self._objects = frozenset(inode for _, inode in objects)
        return self._objects

    def _is_stored(self, name: str) -> bool:
        """Return whether the store already has the object *name*."""
        return bool(name) and self._store is not None and is_there(self._store.objects, name)


class _Bytecode:
    """Counts what sharing bytecode would free."""

    def __init__(self, root: int, tag: str, pool: Pool | None, growth: ExpectedGrowth) -> None:
        self._root = root
        self._growth = growth
        self._tag = tag
        self._pool = pool

    @classmethod
    def of(
        cls, environment: Environment, root: int, store: Store | None, growth: ExpectedGrowth
    ) -> _Bytecode:
        """Choose tag and pool by names: a dry run does not start the environment's interpreter."""
        match = _LIBRARY.search(f"{environment.path}/{environment.sites[-1]}")
        if match is None and not environment.python:
            return cls(root, "", None, growth)
        name, version = ("python", environment.python) if match is None else match.groups()
        tag = f"{'cpython-' if name == 'python' else name}{version.replace('.', '')}"
        pools = (
            [] if store is None else [one for one in names_in(store.bytecode) if one.startswith(f"{tag}-")]
        )
        pool = Pool(folder=store.bytecode, interpreter=max(pools)) if store is not None and pools else None
        return cls(root, tag, pool, growth)

    def count(
        self, directory: str, sources: dict[str, FileFact], expected: set[str], statistics: Statistics
    ) -> None:
        """Count the bytecode of *sources*, by module name, in one folder."""
        if not sources or not self._tag:
            return
        with directory_beneath(self._root, f"{directory}/__pycache__") as cache:
            if cache is None:
                return
            for name in os.listdir(cache):
                fact = sources.get(name.removesuffix(f".{self._tag}.pyc"))
                if fact is not None and fact.digest is not None:
                    self._count_one(os.stat(name, dir_fd=cache), fact, expected, statistics)

    def _count_one(
        self, status: os.stat_result, fact: FileFact, expected: set[str], statistics: Statistics
    ) -> None:
        assert fact.digest is not None
        statistics.files += 1
        statistics.bytes_shared += status.st_size
        assert fact.status is not None
        mtime_ns = fact.status.st_mtime_ns if fact.recorded is None else fact.recorded
        stored = None if self._pool is None else self._pool.find(fact.digest, header_time(mtime_ns))
        key = f"{self._tag} {fact.digest.hex()}"
        if stored is not None and stored.st_ino == status.st_ino:
            statistics.already += 1
            return
        statistics.shared += 1
        if stored is not None or key in expected:
            statistics.replaced(status)
        else:
            self._growth.count_bytecode(fact.digest.hex(), statistics)
        expected.add(key)

"""One worker of an adoption: takes distributions from a queue and runs the stages for them.

Theory of operation.

- note: read modes and times of the files. The parent writes them, writes the environments' roots, and syncs
  the file systems, before any file changes.
- adopt: hash content that the store lacks and give it to the store without copying; build the entry's tree
  in the run's folder; share the bytecode of those sources.
- share: compare content that the store has and share it, then its bytecode. For each distribution this comes
  directly after "adopt". Only in mode symlink the parent first syncs and publishes all entries, because
  symlinks point to them.
- (the parent syncs)
- finish_bytecode: link bytecode that had to be compiled.

After a kill at any point each file is old or new, and the next run continues.
"""

from __future__ import annotations

import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Literal, NamedTuple, assert_never

from pipm.bytecode.compiled_files import ProvenSource
from pipm.bytecode.share_bytecode import BytecodeSharer
from pipm.context.statistics import Statistics
from pipm.core.digest import EMPTY
from pipm.core.manifest import FileEntry
from pipm.core.plan.adopt_plan import AlreadyShared, Ingest, IngestCopy, Leave, Share, plan_file
from pipm.core.reasons import Reason
from pipm.core.record import RecordPlace, is_installers_own
from pipm.fs.beneath import directory_beneath
from pipm.fs.file_content import prefetch
from pipm.fs.free_space import accounting
from pipm.fs.link_modes import LinkMode
from pipm.fs.share_file import LeaveAloneError, Stored
from pipm.share.build_entry import BuiltEntry, EntryContents, prepare_entry
from pipm.share.fast_share import FastSharer, OrdinaryFiles
from pipm.share.file_facts import FactGatherer
from pipm.share.file_sharer import FileSharer, Shared, mode_of_object
from pipm.store.entries import has_complete_entry

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipm.bytecode.share_bytecode import CompilerPools
    from pipm.context.adopt_context import AdoptContext
    from pipm.core.digest import Digest
    from pipm.core.plan.adopt_plan import Action, FileFact
    from pipm.env.installed import InstalledDistribution
    from pipm.fs.share_file import NewFile
    from pipm.fs.staging import Staging
    from pipm.share.keep_originals import OriginalsShare
    from pipm.store.known import Releases

Stage = Literal["note", "adopt", "share", "finish_bytecode"]
_OF_A_WHEEL = (RecordPlace.SITE, RecordPlace.DATA, RecordPlace.HEADERS)


class AdoptResult(NamedTuple):
    """The result of a worker after a stage, with all its work so far.

    ``pending`` are copies that the parent renames into the store after a sync; ``unfinished`` is the number
    of bytecode files that "finish_bytecode" will link.
    """

    statistics: Statistics
    prepared: list[BuiltEntry]
    entries: list[str]
    pending: dict[str, NewFile]
    unfinished: int


@dataclass(slots=True)
class _AdoptWork:
    """A distribution being adopted: the files of its wheel that the environment has, or lacks.

    ``ordinary`` are the files that `FastSharer` shares in several environments together. ``changed`` is
    false while no file differs from the result of an earlier run.
    """

    distribution: InstalledDistribution
    ordinary: OrdinaryFiles | None = None
    entry: str | None = None
    to_share: dict[str, list[Share]] = field(default_factory=dict)
    have: list[FileEntry] = field(default_factory=list)
    lacking: list[FileFact] = field(default_factory=list)
    sources: list[ProvenSource] = field(default_factory=list)
    changed: bool = False

    def prove(self, fact: FileFact, digest: Digest, mtime_ns: int) -> None:
        """Record that a source has *digest* and the time *mtime_ns*: its bytecode may be shared."""
        if fact.name.endswith(".py") and fact.place is RecordPlace.SITE:
            status = fact.status
            assert status is not None
            source = ProvenSource(
                fact.directory, fact.name, digest, status.st_size, status.st_mtime_ns, mtime_ns
            )
            self.sources.append(source)

    def keep(self, fact: FileFact, shared: Shared) -> None:
        """Record that the environment has this file of the wheel unchanged."""
        assert fact.status is not None
        size = fact.status.st_size
        row = FileEntry(fact.entry_path, shared.digest, size, fact.executable, fact.writable, *shared.stored)
        self.have.append(row)

    def contents(self) -> EntryContents:
        """Return the files that the environment has of the distribution, and the rows of its identity."""
        files = list({entry.path: entry for entry in self.have}.values())  # a path may have two rows
        rows = [
            (path.removeprefix("site/"), digest, executable)
            for path, digest, _, executable, *_ in files
            if path.startswith("site/")
        ]
        identified = True
        for fact in self.lacking:
            if fact.place is RecordPlace.SITE:
                if fact.digest is None or not fact.has_record_digest:
                    identified = False  # the wheel's content of this file is unknown
                else:
                    rows.append((fact.path, fact.digest, fact.executable))
        missing = [fact.entry_path for fact in self.lacking]
        return EntryContents(files, rows if identified else None, missing)


class AdoptWorker:
    """Adopts distributions of several environments; the *queue* yields indexes of *turns*.

    A turn lists (index of the environment, index of the distribution there).
    """

    def __init__(
        self,
        environments: Sequence[EnvironmentWorker],
        turns: Sequence[Sequence[tuple[int, int]]],
        queue: Iterable[int],
        releases: Releases,
        originals: OriginalsShare,
    ) -> None:
        self._environments = environments
        self._turns = turns
        self._queue = queue
        self._originals = originals
        self._fast = FastSharer(environments[0].context, releases)

    def run(self, stage: Stage) -> list[AdoptResult] | list[bytes]:
        """Run one stage; raise InterruptedRunError between two files if the run was interrupted."""
        match stage:
            case "note":
                return self._originals.read()
            case "adopt":
                for index in self._queue:
                    self._adopt(self._turns[index])
            case "share":
                for one in self._environments:
                    one.share()
            case "finish_bytecode":
                for one in self._environments:
                    one.finish_bytecode()
            case _:
                assert_never(stage)
        return [one.answer() for one in self._environments]

    def _adopt(self, turn: Sequence[tuple[int, int]]) -> None:
        """Run the stage "adopt" for the distributions of one turn."""
        started = time.monotonic()
        begun = [(self._environments[one], self._environments[one].begin(number)) for one, number in turn]
        works = [(one, work) for one, work in begun if work is not None]
        for _, group in groupby(works, lambda pair: pair[1].ordinary and pair[1].ordinary.context.mode):
            together = list(group)
            self._fast.share([work.ordinary for _, work in together if work.ordinary is not None])
            for one, work in together:
                one.finish(work)
        for one, _ in begun:
            one.took((time.monotonic() - started) / len(begun))

    def close(self) -> None:
        """Stop the compiler processes."""
        for one in self._environments:
            one.close()


class EnvironmentWorker:
    """Adopts *distributions* of the context's environment in one worker."""

    def __init__(
        self,
        context: AdoptContext,
        staging: Staging,
        distributions: Sequence[InstalledDistribution],
        compiler: CompilerPools | None,
        releases: Releases,
    ) -> None:
        """*releases* caches manifests for all environments of the run."""
        self.context = context
        self._staging = staging
        self._distributions = distributions
        self._prepared: list[BuiltEntry] = []
        self._entries: list[str] = []
        self._work: list[_AdoptWork] = []
        self._statistics = Statistics(accounting(context.file_system))
        self._files = FileSharer(context, staging, self._statistics)
        self._bytecode = BytecodeSharer(context, staging, self._statistics, compiler)
        sharing = context.mode in (LinkMode.HARDLINK, LinkMode.REFLINK)
        self._has_ordinary = sharing and not (context.trusted or context.tight or context.contested)
        self._observer = FactGatherer(
            root=context.root,
            store=context.store,
            releases=releases,
            trusted=context.trusted,
            by_inode=context.by_inode,
            contested=context.contested,
            entries=context.entries,
            seen_ns=context.seen_ns,
            # A program behind a symlink would use the files beside it in the store, not in the environment.
            programs=context.mode is not LinkMode.SYMLINK,
        )

    def answer(self) -> AdoptResult:
        """Return all work so far."""
        self.context.shared_state.tell()
        return AdoptResult(
            self._statistics, self._prepared, self._entries, self._files.pending, self._bytecode.unfinished
        )

    def close(self) -> None:
        """Stop the compiler process."""
        self._bytecode.close()

    def took(self, seconds: float) -> None:
        """Add *seconds* of work to the statistics."""
        self._statistics.seconds += seconds

    def share(self) -> None:
        """Replace files by symlinks to the published entries."""
        for work in self._work:
            self._share(work)

    def finish_bytecode(self) -> None:
        """Link the bytecode that was compiled."""
        self._bytecode.finish_bytecode()

    def begin(self, number: int) -> _AdoptWork | None:
        """Return the work for one distribution; None if it is skipped as a whole."""
        distribution = self._distributions[number]
        if distribution.refusal is not None:
            self._refuse(distribution, distribution.refusal)
            return None
        work = _AdoptWork(distribution)
        if self._has_ordinary and b",sha256=" in distribution.record:
            work.ordinary = OrdinaryFiles(
                self.context, self._staging, self._statistics, distribution, work.have, work.sources
            )
        return work

    def finish(self, work: _AdoptWork) -> None:
        """Run the stage "adopt" for the files of a distribution that `FastSharer` left."""
        distribution = work.distribution
        if work.ordinary is not None:
            distribution = distribution.narrowed(b"\n".join(work.ordinary.left))
            work.ordinary = None
            work.changed = bool(work.have)
        for folder, _, facts in self._observer.folders(distribution):
            if folder is not None and not self.context.trusted:
                prefetch(folder, [fact.name for fact in facts if fact.status is not None])
            with nullcontext() if folder is None else self._staging.keeping_time(folder):
                for fact in facts:
                    action = plan_file(fact, user=self.context.user, by_inode=self.context.by_inode)
                    self._first(work, folder, action)
        self._bytecode.share(work.sources)
        work.sources = []
        work.entry = None if work.changed else self._known_entry(distribution)
        if work.entry is None and not self.context.tight:
            work.entry, prepared = prepare_entry(
                self.context, distribution, work.contents(), self._files.pending, self._statistics
            )
            if prepared is not None:
                self._prepared.append(prepared)
        if work.entry is not None:
            self._entries.append(work.entry)
        if self.context.mode is LinkMode.SYMLINK:
            self._work.append(work)
        else:
            self._share(work)

    def _refuse(self, distribution: InstalledDistribution, reason: Reason) -> None:
        """Skip a distribution; one that the finder serves keeps its entry."""
        self._statistics.files += 1
        self._statistics.leave(f"{distribution.site}/{distribution.metadata}", reason)
        entry = self.context.entries.get((distribution.name, distribution.version))
        if reason is Reason.IMPORTED and entry is not None:
            self._entries.append(entry)

    def _known_entry(self, distribution: InstalledDistribution) -> str | None:
        """Return the entry that an earlier run used for this distribution, if it exists and is complete."""
        entry = self.context.entries.get((distribution.name, distribution.version))
        return entry if entry is not None and has_complete_entry(self.context.store, entry) else None

    def _first(self, work: _AdoptWork, folder: int | None, action: Action) -> None:
        """Run the stage "adopt" for one file."""
        fact = action.fact
        self.context.shared_state.check()
        self._statistics.files += 1
        try:
            match action:
                case Leave():
                    self._leave(work, action)
                case AlreadyShared():
                    assert fact.status is not None
                    self._statistics.already += 1
                    self._statistics.bytes_shared += fact.status.st_size
                    stored = Stored.of(fact.status)
                    if not self.context.by_inode:  # the mode of the environment's inode can differ
                        stored = stored._replace(mode=mode_of_object(fact))
                    work.keep(fact, Shared(action.digest, stored))
                    work.prove(fact, action.digest, fact.status.st_mtime_ns)
                case Share():
                    assert fact.stored is not None
                    work.changed = True
                    work.to_share.setdefault(fact.directory, []).append(action)
                    work.keep(fact, Shared(action.digest, Stored.of(fact.stored)))
                    return  # `_share_one` counts it
                case Ingest() | IngestCopy() if self.context.tight:
                    raise LeaveAloneError(Reason.NO_ROOM)  # noqa: TRY301 - counted like other reasons
                case Ingest():
                    work.changed = True
                    shared = self._files.ingest(_present(folder), action)
                    work.keep(fact, shared)
                    self._observer.known(work.distribution).add(work.have[-1])  # for the next environment
                    if self.context.mode is LinkMode.SYMLINK:
                        work.to_share.setdefault(fact.directory, []).append(Share(fact, shared.digest))
                        return
                    self._prove_shared(work, fact, shared)
                case IngestCopy():
                    work.keep(fact, self._files.ingest_copy(_present(folder), action))
                    self._statistics.leave(fact.shown, action.reason)
                case _:
                    assert_never(action)
        except LeaveAloneError as refusal:
            self._statistics.leave(fact.shown, refusal.reason)
            work.lacking.append(fact)
        self.context.shared_state.advance(fact.status.st_size if fact.status else 0)

    def _leave(self, work: _AdoptWork, action: Leave) -> None:
        fact, reason = action
        self._statistics.leave(fact.shown, reason)
        if reason is Reason.EMPTY:
            self._keep_empty(work, fact)
        elif fact.place in _OF_A_WHEEL and not is_installers_own(fact.path):
            work.lacking.append(fact)

    def _keep_empty(self, work: _AdoptWork, fact: FileFact) -> None:
        """Record an empty file: it is never shared, but its bytecode is, and that contains its time."""
        status = fact.status
        assert status is not None
        known = self._observer.known(work.distribution)
        row = known.entry(fact.entry_path)
        mtime_ns = status.st_mtime_ns if row is None or row.digest != EMPTY else row.mtime_ns
        work.keep(fact, Shared(EMPTY, Stored(mode_of_object(fact), mtime_ns)))
        known.add(work.have[-1])  # the next environment with this release gets the same time
        if status.st_nlink == 1 or status.st_mtime_ns == mtime_ns:
            work.prove(fact, EMPTY, mtime_ns)

    def _prove_shared(self, work: _AdoptWork, fact: FileFact, shared: Shared) -> None:
        """Record a shared source, unless its inode has other names and so keeps a different time."""
        assert fact.status is not None
        keeps = self.context.mode is LinkMode.REFLINK and fact.status.st_nlink > 1
        if not keeps or fact.status.st_mtime_ns == shared.stored.mtime_ns:
            work.prove(fact, shared.digest, shared.stored.mtime_ns)

    def _share(self, work: _AdoptWork) -> None:
        stored = [action.fact.object for actions in work.to_share.values() for action in actions]
        prefetch(self.context.store.objects, [name for name in stored if name])
        for directory, actions in work.to_share.items():
            with directory_beneath(self.context.root, directory) as folder:
                if folder is not None:
                    with self._staging.keeping_time(folder):
                        for action in actions:
                            self._share_one(work, folder, action)
        self._bytecode.share(work.sources)
        work.sources = []

    def _share_one(self, work: _AdoptWork, folder: int, action: Share) -> None:
        fact = action.fact
        self.context.shared_state.check()
        try:
            self._prove_shared(work, fact, self._files.share(folder, action, work.entry))
        except LeaveAloneError as refusal:
            self._statistics.leave(fact.shown, refusal.reason)
        self.context.shared_state.advance(fact.status.st_size if fact.status else 0)


def _present(folder: int | None) -> int:
    if folder is None:  # it existed when the facts were gathered
        raise LeaveAloneError(Reason.CHANGING)
    return folder

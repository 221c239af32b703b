"""A worker that materialises part of a plan; several run in parallel processes."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pipm.bytecode.sync_bytecode import SyncBytecode
from pipm.core.install_plan import record_rows, scheme_path
from pipm.env.receipt import StoredMetadataFile
from pipm.fs.folder_filler import FOLDER, FolderFiller, FolderStack, written_in_place
from pipm.fs.staging import Staging
from pipm.store.objects import altered
from pipm.sync.private_files import compiled_rows, damaged_file_error, private_metadata, scripts_of
from pipm.wheel.environment_files import record_digest_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pipm.bytecode.sync_bytecode import MissingBytecode
    from pipm.context.sync_context import SyncContext
    from pipm.context.workers import WorkQueue
    from pipm.core.plan.materialise_plan import Links, PlannedFolder, Wanted
    from pipm.fs.folder_filler import FolderState

    Away = Mapping[str, Mapping[str, StoredMetadataFile]]
    Described = tuple[Wanted, tuple[PlannedFolder, ...]]
    Row = tuple[str, str, int | str]

FOLDERS, RECORDS = "folders", "records"
"""The stages."""
RECORD = "RECORD"
_MODE = 0o644
_NONE: Mapping[str, Any] = {}


class StageResult(NamedTuple):
    """What one did in a stage: see `Materialised`; ``missing`` and ``uncompiled`` are `Compiler`'s."""

    files: int
    copied: int
    left: FolderState
    missing: Mapping[str, list[MissingBytecode]] = _NONE
    uncompiled: AbstractSet[str] = frozenset()
    records: Mapping[str, bytes] = _NONE
    away: Away = _NONE


class MaterialiseWorker:
    """Fills folders: of the *parts* those whose numbers it draws, and the metadata folders of *described*."""

    def __init__(
        self,
        context: SyncContext,
        parts: Sequence[Sequence[PlannedFolder]],
        described: Sequence[Described],
        number: int,
        queue: WorkQueue,
    ) -> None:
        self._ground, self._parts, self._described, self._tickets = context, parts, described, queue
        self._number = number

    def run(self, stage: tuple[str, AbstractSet[str]]) -> StageResult:
        """Make the folders, or then the metadata; *stage* comes with the sources that have no bytecode."""
        name, uncompiled = stage
        area = Staging(self._ground.staging, f"{name}-{self._number}")
        filler, folders = FolderFiller(self._ground.mode, area), FolderStack(self._ground.root)
        try:
            if name == FOLDERS:
                return self._make(filler, folders)
            return self._describe(filler, folders, uncompiled)
        finally:
            folders.close()
            area.close()

    def close(self) -> None:
        """Nothing stays open."""

    def _make(self, filler: FolderFiller, folders: FolderStack) -> StageResult:
        shared_state = self._ground.shared_state
        compiler = SyncBytecode(self._ground, filler)
        try:
            for number in self._tickets:
                before = filler.placed
                for folder in self._parts[number]:
                    target = folders.enter(folder.path)
                    self._fill(filler, folder, target)
                    if folder.sources:
                        compiler.link(folder, target)
                shared_state.advance(0, filler.placed - before)
                shared_state.tell()
            folders.close()
        finally:
            compiler.close()
        left = folders.left | compiler.left
        return StageResult(files=filler.placed, copied=filler.copied, left=left, missing=compiler.missing)

    def _describe(
        self, filler: FolderFiller, folders: FolderStack, uncompiled: AbstractSet[str]
    ) -> StageResult:
        records, away = {}, {}
        for wanted, described in self._described:
            self._ground.shared_state.check()
            metadata, rows = wanted.install_plan.metadata, self._scripts(filler, folders, wanted)
            files = self._metadata(wanted, rows, uncompiled)
            if wanted.served and self._ground.hidden:
                away[metadata] = _put_away(described, files)
            else:
                self._describe_one(filler, folders, wanted, described, files)
            if wanted.served:
                records[metadata] = files[RECORD]
        folders.close()
        done = StageResult(files=filler.placed, copied=filler.copied, left=folders.left)
        return done._replace(records=records, away=away)

    def _fill(self, filler: FolderFiller, folder: PlannedFolder, target: int, *, real: bool = False) -> None:
        self._ground.shared_state.check()
        fill = filler.fill_real if real else filler.fill
        for source, path, names in self._sources(folder.links):
            fill(source, path, target, names)
        for source, _, names in self._sources(folder.copies):
            filler.copy(source, target, names)
        for name, mtime_ns, executable in folder.empty:
            filler.create_empty(target, name, mtime_ns, executable=executable)

    def _sources(self, links: Iterable[Links]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
        """Open the store's folders one after the other."""
        store = self._ground.store
        for relative, names, times in links:
            try:
                source = os.open(relative, FOLDER, dir_fd=store.v1)
            except FileNotFoundError as error:
                raise damaged_file_error(relative) from error
            try:
                changed = written_in_place(source, names, times)
                if changed is not None:
                    raise altered(f"{relative}/{changed}")
                yield source, f"{store.path}/v1/{relative}", names
            except FileNotFoundError as error:
                raise damaged_file_error(f"{relative}/{error.filename}") from error
            finally:
                os.close(source)

    def _scripts(self, filler: FolderFiller, folders: FolderStack, wanted: Wanted) -> list[Row]:
        """Write the scripts of *wanted*; returns the rows of RECORD for all that is not in site-packages."""
        scheme, install_plan = self._ground.scheme, wanted.install_plan
        rows: list[Row] = [
            (scheme.recorded(scheme_path(other, install_plan.name, scheme)), other.record, other.size)
            for other in install_plan.others
            if other.scheme != "scripts"
        ]
        scripts = list(scripts_of(self._ground.store, scheme, wanted))
        if scripts:
            target = folders.enter("bin")
            for name, content in scripts:
                filler.write(target, name, content, executable=True)
                rows.append((scheme.recorded(f"bin/{name}"), record_digest_of(content), len(content)))
        return rows

    def _metadata(self, wanted: Wanted, rows: list[Row], uncompiled: AbstractSet[str]) -> dict[str, bytes]:
        """What an installer writes into the metadata folder of *wanted*, RECORD last."""
        install_plan = wanted.install_plan
        files = dict(private_metadata(wanted))
        rows += [
            (f"{install_plan.metadata}/{name}", record_digest_of(data), len(data))
            for name, data in files.items()
        ]
        record = install_plan.record + record_rows(rows)
        record += compiled_rows(self._ground.scheme, install_plan, uncompiled)
        return files | {RECORD: record + record_rows([(f"{install_plan.metadata}/{RECORD}", "", "")])}

    def _describe_one(
        self,
        filler: FolderFiller,
        folders: FolderStack,
        wanted: Wanted,
        described: Sequence[PlannedFolder],
        files: Mapping[str, bytes],
    ) -> None:
        """Fill the metadata folder: what the wheel brings, then *files* in their order."""
        for folder in described:
            self._fill(filler, folder, folders.enter(folder.path), real=wanted.served)
        target = folders.enter(described[0].path)
        for name, data in files.items():
            write = filler.write_alike if wanted.served and name != RECORD else filler.write
            write(target, name, data)


def _put_away(
    described: Sequence[PlannedFolder], files: Mapping[str, bytes]
) -> dict[str, StoredMetadataFile]:
    """The same as `hiding.hide` leaves of a folder: the store has what the wheel brings."""
    brought = (name for folder in described for part in folder.links for name in part.names)
    kept = {name: StoredMetadataFile(_MODE, None) for name in brought}
    return kept | {name: StoredMetadataFile(_MODE, data) for name, data in files.items()}

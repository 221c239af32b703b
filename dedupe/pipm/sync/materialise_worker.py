"""A worker that materialises part of a plan; several run in parallel processes."""

from __future__ import annotations

import os
from functools import cache, partial
from itertools import chain

from pipm.bytecode.sync_bytecode import SyncBytecode
from pipm.core.install_plan import record_rows, scheme_path
from pipm.core.named_tuple import NamedTuple
from pipm.core.plan.materialise_plan import Links
from pipm.env.receipt import StoredMetadataFile
from pipm.fs.folder_filler import FolderFiller, written_in_place
from pipm.fs.folder_stack import FOLDER, FolderStack
from pipm.fs.staging import Staging
from pipm.store.layers import home_of
from pipm.store.objects import altered
from pipm.sync.installer_files import (
    compiled_rows,
    damaged_file_error,
    installer_metadata,
    programs_of,
    scripts_of,
)
from pipm.wheel.environment_files import record_digest_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet
    from typing import Any

    from pipm.bytecode.sync_bytecode import MissingBytecode
    from pipm.context.sync_context import SyncContext
    from pipm.context.workers import WorkQueue
    from pipm.core.plan.materialise_plan import PlannedFolder, PlanPart, Wanted
    from pipm.fs.folder_stack import FolderState

    Away = Mapping[str, Mapping[str, StoredMetadataFile]]
    Row = tuple[str, str, int | str]

FOLDERS, RECORDS = "folders", "records"
"""The stages."""
RECORD = "RECORD"
_MODE = 0o644
_NONE: Mapping[str, Any] = {}


class StageResult(NamedTuple):
    """A worker's result of a stage (see `Materialised`); ``missing`` and ``uncompiled`` are `Compiler`'s."""

    files: int
    copied: int
    left: FolderState
    missing: Mapping[str, list[MissingBytecode]] = _NONE
    uncompiled: AbstractSet[str] = frozenset()
    records: Mapping[str, bytes] = _NONE
    away: Away = _NONE


class MaterialiseWorker:
    """Makes the *parts* whose indexes come from *queue*: first their folders, then their metadata folders."""

    def __init__(
        self,
        context: SyncContext,
        parts: Sequence[PlanPart],
        number: int,
        queue: WorkQueue,
    ) -> None:
        self._context, self._parts, self._queue = context, parts, queue
        self._number = number
        self._mine: list[PlanPart] = []
        self._home_of = cache(partial(home_of, context.store))  # there are many folders for each entry

    def run(self, stage: tuple[str, AbstractSet[str]]) -> StageResult:
        """Make the folders, or the metadata; *stage* also has the sources without bytecode."""
        name, uncompiled = stage
        area = Staging(self._context.staging, f"{name}-{self._number}")
        filler, folders = FolderFiller(self._context.mode, area), FolderStack(self._context.root)
        try:
            if name == FOLDERS:
                return self._make(filler, folders)
            return self._write_metadata(filler, folders, uncompiled)
        finally:
            folders.close()
            area.close()

    def close(self) -> None:
        """Do nothing: nothing is open."""

    def _make(self, filler: FolderFiller, folders: FolderStack) -> StageResult:
        shared_state = self._context.shared_state
        compiler = SyncBytecode(self._context, filler)
        try:
            for number in self._queue:
                before, part = filler.placed, self._parts[number]
                self._mine.append(part)
                for folder in part.folders:
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

    def _write_metadata(
        self, filler: FolderFiller, folders: FolderStack, uncompiled: AbstractSet[str]
    ) -> StageResult:
        records, away = {}, {}
        for wanted, metadata_folders in chain.from_iterable(part.metadata_folders for part in self._mine):
            self._context.shared_state.check()
            metadata, rows = wanted.install_plan.metadata, self._scripts(filler, folders, wanted)
            files = self._metadata(wanted, rows, uncompiled)
            if wanted.served and self._context.no_dist_info:
                away[metadata] = _put_away(metadata_folders, files)
            else:
                self._fill_metadata(filler, folders, wanted, metadata_folders, files)
            if wanted.served:
                records[metadata] = files[RECORD]
        folders.close()
        done = StageResult(files=filler.placed, copied=filler.copied, left=folders.left)
        return done._replace(records=records, away=away)

    def _fill(self, filler: FolderFiller, folder: PlannedFolder, target: int, *, real: bool = False) -> None:
        self._context.shared_state.check()
        self._link(filler, folder.links, target, real=real)
        for source, _, names in self._sources(folder.copies):
            filler.copy(source, target, names)
        for name, mtime_ns, executable in folder.empty:
            filler.create_empty(target, name, mtime_ns, executable=executable)

    def _link(self, filler: FolderFiller, links: Iterable[Links], target: int, *, real: bool) -> None:
        """Link the files of *links* into *target*; copy those of a layer, which may be another user's."""
        for source, path, names in self._sources(links):
            if not path.startswith(f"{self._context.store.path}/"):
                filler.copy(source, target, names)
            elif real:
                filler.fill_real(source, path, target, names)
            else:
                filler.fill(source, path, target, names)

    def _sources(self, links: Iterable[Links]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
        """Open the store's folders one after the other."""
        for relative, names, times in links:
            store = self._home_of("/".join(relative.split("/")[1:4]))
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
        """Write the scripts of *wanted*; return the rows of RECORD for files outside of site-packages."""
        scheme, install_plan = self._context.scheme, wanted.install_plan
        rows: list[Row] = [
            (scheme.recorded(scheme_path(other, install_plan.name, scheme)), other.record, other.size)
            for other in install_plan.data_files
            if other.scheme != "scripts"
        ]
        programs = programs_of(self._context.store, wanted)
        scripts = list(scripts_of(self._context.store, scheme, wanted, programs))
        if programs or scripts:
            target = folders.enter("bin")
            rows += [(scheme.recorded(f"bin/{one.path}"), one.record, one.size) for one in programs]
            links = [
                Links(
                    f"wheels/{wanted.entry}/scripts",
                    tuple(one.path for one in programs),
                    tuple(one.mtime_ns for one in programs),
                )
            ]
            self._link(filler, links if programs else (), target, real=True)
            for name, content in scripts:
                filler.write(target, name, content, executable=True)
                rows.append((scheme.recorded(f"bin/{name}"), record_digest_of(content), len(content)))
        return rows

    def _metadata(self, wanted: Wanted, rows: list[Row], uncompiled: AbstractSet[str]) -> dict[str, bytes]:
        """Return the installer's files for the metadata folder of *wanted*, RECORD last."""
        install_plan = wanted.install_plan
        files = dict(installer_metadata(wanted))
        rows += [
            (f"{install_plan.metadata}/{name}", record_digest_of(data), len(data))
            for name, data in files.items()
        ]
        record = install_plan.record + record_rows(rows)
        record += compiled_rows(self._context.scheme, install_plan, uncompiled)
        return files | {RECORD: record + record_rows([(f"{install_plan.metadata}/{RECORD}", "", "")])}

    def _fill_metadata(
        self,
        filler: FolderFiller,
        folders: FolderStack,
        wanted: Wanted,
        metadata_folders: Sequence[PlannedFolder],
        files: Mapping[str, bytes],
    ) -> None:
        """Make the metadata folder: the wheel's files, then *files* in their order."""
        for folder in metadata_folders:
            self._fill(filler, folder, folders.enter(folder.path), real=wanted.served)
        target = folders.enter(metadata_folders[0].path)
        for name, data in files.items():
            write = filler.write_alike if wanted.served and name != RECORD else filler.write
            write(target, name, data)


def _put_away(
    metadata_folders: Sequence[PlannedFolder], files: Mapping[str, bytes]
) -> dict[str, StoredMetadataFile]:
    """Return the saved files of a metadata folder, like `store_metadata`; the store has the wheel's files."""
    brought = (name for folder in metadata_folders for part in folder.links for name in part.names)
    kept = {name: StoredMetadataFile(_MODE, None) for name in brought}
    return kept | {name: StoredMetadataFile(_MODE, data) for name, data in files.items()}

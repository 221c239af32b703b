"""One of those who carry out a plan, in a process of its own where there are several."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, NamedTuple

from pipm.bytecode.sync_bytecode import Compiler
from pipm.core.install_plan import placed, record_rows
from pipm.env.receipt import PutAway
from pipm.fs.folder_filler import FOLDER, Filler, FolderStack, written_in_place
from pipm.fs.staging import Staging
from pipm.store.objects import altered
from pipm.sync.private_files import compiled_rows, damaged, private_metadata, scripts_of
from pipm.wheel.environment_files import hashed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from collections.abc import Set as AbstractSet

    from pipm.bytecode.sync_bytecode import Missing
    from pipm.context.sync_context import Ground
    from pipm.context.workers import Tickets
    from pipm.core.plan.materialise_plan import Links, PlannedFolder, Wanted
    from pipm.fs.folder_filler import Left

    Away = Mapping[str, Mapping[str, PutAway]]
    Described = tuple[Wanted, tuple[PlannedFolder, ...]]
    Row = tuple[str, str, int | str]

FOLDERS, RECORDS = "folders", "records"
"""The stages."""
RECORD = "RECORD"
_MODE = 0o644
_NONE: Mapping[str, Any] = {}


class Done(NamedTuple):
    """What one did in a stage: see `Materialised`; ``missing`` and ``uncompiled`` are `Compiler`'s."""

    files: int
    fallen: int
    left: Left
    missing: Mapping[str, list[Missing]] = _NONE
    uncompiled: AbstractSet[str] = frozenset()
    records: Mapping[str, bytes] = _NONE
    away: Away = _NONE


class Hand:
    """Fills folders: of the *parts* those whose numbers it draws, and the metadata folders of *described*."""

    def __init__(
        self,
        ground: Ground,
        parts: Sequence[Sequence[PlannedFolder]],
        described: Sequence[Described],
        number: int,
        tickets: Tickets,
    ) -> None:
        self._ground, self._parts, self._described, self._tickets = ground, parts, described, tickets
        self._number = number

    def run(self, stage: tuple[str, AbstractSet[str]]) -> Done:
        """Make the folders, or then the metadata; *stage* comes with the sources that have no bytecode."""
        name, uncompiled = stage
        area = Staging(self._ground.staging, f"{name}-{self._number}")
        filler, folders = Filler(self._ground.mode, area), FolderStack(self._ground.root)
        try:
            if name == FOLDERS:
                return self._make(filler, folders)
            return self._describe(filler, folders, uncompiled)
        finally:
            folders.close()
            area.close()

    def close(self) -> None:
        """Nothing stays open."""

    def _make(self, filler: Filler, folders: FolderStack) -> Done:
        pulse = self._ground.pulse
        compiler = Compiler(self._ground, filler)
        try:
            for number in self._tickets:
                before = filler.placed
                for folder in self._parts[number]:
                    target = folders.enter(folder.path)
                    self._fill(filler, folder, target)
                    if folder.sources:
                        compiler.link(folder, target)
                pulse.advance(0, filler.placed - before)
                pulse.tell()
            folders.close()
        finally:
            compiler.close()
        left = folders.left | compiler.left
        return Done(files=filler.placed, fallen=filler.fallen, left=left, missing=compiler.missing)

    def _describe(self, filler: Filler, folders: FolderStack, uncompiled: AbstractSet[str]) -> Done:
        records, away = {}, {}
        for wanted, described in self._described:
            self._ground.pulse.check()
            metadata, rows = wanted.blueprint.metadata, self._scripts(filler, folders, wanted)
            files = self._metadata(wanted, rows, uncompiled)
            if wanted.served and self._ground.hidden:
                away[metadata] = _put_away(described, files)
            else:
                self._describe_one(filler, folders, wanted, described, files)
            if wanted.served:
                records[metadata] = files[RECORD]
        folders.close()
        done = Done(files=filler.placed, fallen=filler.fallen, left=folders.left)
        return done._replace(records=records, away=away)

    def _fill(self, filler: Filler, folder: PlannedFolder, target: int, *, real: bool = False) -> None:
        self._ground.pulse.check()
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
                raise damaged(relative) from error
            try:
                changed = written_in_place(source, names, times)
                if changed is not None:
                    raise altered(f"{relative}/{changed}")
                yield source, f"{store.path}/v1/{relative}", names
            except FileNotFoundError as error:
                raise damaged(f"{relative}/{error.filename}") from error
            finally:
                os.close(source)

    def _scripts(self, filler: Filler, folders: FolderStack, wanted: Wanted) -> list[Row]:
        """Write the scripts of *wanted*; returns the rows of RECORD for all that is not in site-packages."""
        scheme, blueprint = self._ground.scheme, wanted.blueprint
        rows: list[Row] = [
            (scheme.recorded(placed(other, blueprint.name, scheme)), other.record, other.size)
            for other in blueprint.others
            if other.scheme != "scripts"
        ]
        scripts = list(scripts_of(self._ground.store, scheme, wanted))
        if scripts:
            target = folders.enter("bin")
            for name, content in scripts:
                filler.write(target, name, content, executable=True)
                rows.append((scheme.recorded(f"bin/{name}"), hashed(content), len(content)))
        return rows

    def _metadata(self, wanted: Wanted, rows: list[Row], uncompiled: AbstractSet[str]) -> dict[str, bytes]:
        """What an installer writes into the metadata folder of *wanted*, RECORD last."""
        blueprint = wanted.blueprint
        files = dict(private_metadata(wanted))
        rows += [(f"{blueprint.metadata}/{name}", hashed(data), len(data)) for name, data in files.items()]
        record = blueprint.record + record_rows(rows)
        record += compiled_rows(self._ground.scheme, blueprint, uncompiled)
        return files | {RECORD: record + record_rows([(f"{blueprint.metadata}/{RECORD}", "", "")])}

    def _describe_one(
        self,
        filler: Filler,
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


def _put_away(described: Sequence[PlannedFolder], files: Mapping[str, bytes]) -> dict[str, PutAway]:
    """The same as `hiding.hide` leaves of a folder: the store has what the wheel brings."""
    brought = (name for folder in described for part in folder.links for name in part.names)
    kept = {name: PutAway(_MODE, None) for name in brought}
    return kept | {name: PutAway(_MODE, data) for name, data in files.items()}

"""Carrying out the plan of an environment: folders, bytecode, scripts, metadata, RECORD at the very last.

A distribution whose RECORD is there is complete. Whatever ends this in between leaves files that the next
sync finds: the root names the entries before the first file is made.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, NamedTuple

from dedupe.core.blueprint import placed, record_rows
from dedupe.fs.fill import FOLDER, FolderStack, written_in_place
from dedupe.ops.syncing.compilation import Compiler
from dedupe.ops.syncing.private import altered, compiled_rows, damaged, private_metadata, scripts_of
from dedupe.wheel.private import hashed

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from dedupe.ops.syncing.ground import Ground
    from dedupe.plan.materialise import Links, Materialisation, PlannedFolder, Wanted


class Materialised(NamedTuple):
    """The RECORDs that were written, by metadata folder; how each folder was when the work in it ended."""

    records: Mapping[str, bytes]
    left: Mapping[str, os.stat_result]


def materialise(ground: Ground, plan: Materialisation) -> Materialised:
    """Let all files of *plan* appear in the environment; raises OSError and PipmError."""
    compiler = Compiler(ground)
    folders = FolderStack(ground.root)
    try:
        for folder in plan.folders:
            target = folders.enter(folder.path)
            _fill(ground, folder, target)
            if folder.sources:
                compiler.link(folder, target)
        compiler.finish()
        records = {}
        for wanted, described in plan.described:
            ground.pulse.check()
            record = _describe(ground, wanted, described, folders, compiler.uncompiled)
            records[wanted.blueprint.metadata] = record
    finally:
        folders.close()
        compiler.close()
    return Materialised(records, compiler.left | folders.left)


def _fill(ground: Ground, folder: PlannedFolder, target: int, *, real: bool = False) -> None:
    ground.pulse.check()
    filler = ground.filler
    fill = filler.fill_real if real else filler.fill
    for source, path, names in _sources(ground, folder.links):
        fill(source, path, target, names)
    for source, _, names in _sources(ground, folder.copies):
        filler.copy(source, target, names)
    for name, executable in folder.empty:
        filler.create_empty(target, name, executable=executable)


def _sources(ground: Ground, links: Iterable[Links]) -> Iterator[tuple[int, str, tuple[str, ...]]]:
    """Open the store's folders one after the other."""
    store = ground.store
    for relative, names in links:
        try:
            source = os.open(relative, FOLDER, dir_fd=store.v1)
        except FileNotFoundError as error:
            raise damaged(relative) from error
        try:
            changed = written_in_place(source, names)
            if changed is not None:
                raise altered(f"{relative}/{changed}")
            yield source, f"{store.path}/v1/{relative}", names
        except FileNotFoundError as error:
            raise damaged(f"{relative}/{error.filename}") from error
        finally:
            os.close(source)


def _describe(
    ground: Ground,
    wanted: Wanted,
    described: tuple[PlannedFolder, ...],
    folders: FolderStack,
    uncompiled: set[str],
) -> bytes:
    """Scripts, then the metadata folder, then RECORD, which is returned."""
    scheme, blueprint = ground.scheme, wanted.blueprint
    rows = [
        (scheme.recorded(placed(other, blueprint.name, scheme)), other.record, other.size)
        for other in blueprint.others
        if other.scheme != "scripts"
    ]
    scripts = list(scripts_of(ground.store, scheme, wanted))
    if scripts:
        target = folders.enter("bin")
        for name, content in scripts:
            ground.filler.write(target, name, content, executable=True)
            rows.append((scheme.recorded(f"bin/{name}"), hashed(content), len(content)))
    for folder in described:
        _fill(ground, folder, folders.enter(folder.path), real=wanted.served)
    target = folders.enter(described[0].path)
    write = ground.filler.write_alike if wanted.served else ground.filler.write
    for name, content in private_metadata(wanted):
        write(target, name, content)
        rows.append((f"{blueprint.metadata}/{name}", hashed(content), len(content)))
    record = blueprint.record + record_rows(rows) + compiled_rows(scheme, blueprint, uncompiled)
    record += record_rows([(f"{blueprint.metadata}/RECORD", "", "")])
    ground.filler.write(target, "RECORD", record)
    return record

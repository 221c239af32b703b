"""The distributions of an environment as the finder sees them: which of them it may serve."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dedupe.core.blueprint import OUTDATED
from dedupe.core.modules import PATH_FILE, Outline, acts_on_its_folder, entangled, library_ties, outline
from dedupe.core.reasons import Reason
from dedupe.core.record import Place
from dedupe.env.installed import installed
from dedupe.errors import StoreError
from dedupe.fs.beneath import directory_beneath, open_beneath, read_beneath
from dedupe.fs.sync import Durability, write_durably
from dedupe.store.wheels import load_manifest
from dedupe.wheel.elf import run_paths

if TYPE_CHECKING:
    from collections.abc import Mapping

    from dedupe.core.manifest import Manifest
    from dedupe.env.environment import Environment
    from dedupe.env.folded import Folded, Receipt
    from dedupe.env.installed import InstalledDistribution
    from dedupe.store.layout import Store

_RUN_PATHS = "run-paths.json"
"""In an entry: where its binaries look for libraries, by binary; read out of them once."""
SITE = "site/"
"""Where the paths of a manifest begin that lie in site-packages."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Member:
    """A distribution in site-packages.

    ``manifest`` (and ``entry``) are the store's, None where the finder cannot serve it; ``folded`` says that
    it does already.
    """

    distribution: InstalledDistribution
    outline: Outline
    entry: str = ""
    manifest: Manifest | None = None
    folded: Folded | None = None

    @property
    def shape(self) -> Shape:
        """What `apart` looks at."""
        return Shape(self.outline, self.entry)


def members(
    store: Store,
    environment: Environment,
    root: int,
    site: str,
    receipt: Receipt | None,
    entries: Mapping[tuple[str, str], str],
) -> list[Member]:
    """List the distributions in *site*; *entries* are what the environment uses, by name and version."""
    found = []
    for distribution in installed(environment, root):
        if distribution.site != site:
            continue
        folded = None
        entry = None
        if distribution.refusal is Reason.IMPORTED and receipt is not None:
            folded = receipt.folded[distribution.metadata]
            entry = folded.entry
        elif distribution.refusal is None:
            entry = entries.get((distribution.name, distribution.version))
        manifest = None if entry is None else _whole_manifest(store, entry)
        if manifest is None:
            paths = [location.path for _, location in distribution.located if location.place is Place.SITE]
            found.append(Member(distribution=distribution, outline=outline(paths)))
        else:
            paths = [file.path[len(SITE) :] for file in manifest.files if file.path.startswith(SITE)]
            found.append(
                Member(
                    distribution=distribution,
                    outline=outline(paths),
                    entry=entry or "",
                    manifest=manifest,
                    folded=folded,
                )
            )
    return found


def _whole_manifest(store: Store, entry: str) -> Manifest | None:
    """The manifest of an entry that has all that belongs into site-packages; scripts stay in environments."""
    try:
        manifest = load_manifest(store, entry)
    except StoreError:
        return None
    return None if any(path.startswith(SITE) for path in manifest.missing) else manifest


class Shape(NamedTuple):
    """A distribution's outline, and its entry below ``wheels/``; empty where the store has none."""

    outline: Outline
    entry: str


def apart(store: Store, root: int, site: str, shapes: list[Shape]) -> frozenset[int]:
    """Find the distributions that must have real files in site-packages, by their numbers."""
    outlines = [one.outline for one in shapes]
    ties = {}
    for number, one in enumerate(shapes):
        if one.outline.binaries:
            found = _all_run_paths(store, root, site, one)
            if found:
                ties[number] = found
    special = {number for number, one in enumerate(shapes) if _acts_beside_its_files(store, one)}
    return entangled(outlines) | library_ties(outlines, ties) | special


def _all_run_paths(store: Store, root: int, site: str, one: Shape) -> dict[str, list[str]]:
    """The run paths of its binaries; the store remembers those of an entry."""
    known = read_beneath(store.v1, f"wheels/{one.entry}/{_RUN_PATHS}") if one.entry else None
    if known is not None:
        try:
            remembered: dict[str, list[str]] = json.loads(known)
        except ValueError:
            pass  # torn by a power cut
        else:
            return remembered
    found = {path: run for path in one.outline.binaries if (run := _run_paths(store, root, site, one, path))}
    if one.entry:
        with directory_beneath(store.v1, f"wheels/{one.entry}") as folder:
            if folder is not None:
                write_durably(folder, _RUN_PATHS, json.dumps(found).encode("ascii"), Durability.LATER)
    return found


def _run_paths(store: Store, root: int, site: str, one: Shape, path: str) -> list[str]:
    try:
        if one.entry:
            file = open_beneath(store.v1, f"wheels/{one.entry}/{SITE}{path}", os.O_RDONLY)
        else:
            file = open_beneath(root, f"{site}/{path}", os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return []
    with open(file, "rb") as stream:
        return run_paths(stream)


def _acts_beside_its_files(store: Store, one: Shape) -> bool:
    """Whether a path file of it needs its modules beside it, or runs before the finder does."""
    for name in one.outline.path_files if one.entry else ():
        if name.endswith(OUTDATED):
            continue
        text = path_file_text(store, one.entry, name)
        if name < PATH_FILE or (name.endswith(".pth") and acts_on_its_folder(text)):
            return True
    return False


def path_file_text(store: Store, entry: str, name: str) -> str:
    """What a path file of the entry says."""
    file = open_beneath(store.v1, f"wheels/{entry}/{SITE}{name}", os.O_RDONLY)
    with open(file, encoding="utf-8", errors="surrogateescape") as stream:
        return stream.read()

"""The distributions installed in an environment, as their metadata folders tell."""

from __future__ import annotations

import json
import os
import stat
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version

from dedupe.core.reasons import Reason
from dedupe.core.record import Location, Place, RecordRow, locate, parse_record
from dedupe.fs.beneath import open_beneath, open_directory_beneath

if TYPE_CHECKING:
    from dedupe.env.environment import Environment


@dataclass(frozen=True, kw_only=True)
class InstalledDistribution:
    """One ``*.dist-info`` (or ``*.egg-info``) of an environment.

    ``refusal`` says why nothing of it may be shared; then ``rows`` may be empty.
    """

    name: str
    version: str
    site: str
    metadata: str
    rows: tuple[RecordRow, ...]
    refusal: Reason | None = None

    @cached_property
    def located(self) -> list[tuple[RecordRow, Location]]:
        """Each row with the place it lies in."""
        return [(row, locate(row.path, self.site)) for row in self.rows]

    @property
    def cost(self) -> int:
        """An estimate of the work: RECORD's bytes, and 30 000 for each file."""
        return sum((row.size or 4096) + 30_000 for row in self.rows)


def installed(environment: Environment, root: int) -> list[InstalledDistribution]:
    """List the distributions of *environment*, whose folder is open as *root*, by metadata folder name."""
    found = []
    for site in environment.sites:
        folder = open_directory_beneath(root, site)
        try:
            for name in sorted(os.listdir(folder)):
                if name.endswith(".dist-info"):
                    found.append(_distribution(folder, site, name))
                elif name.endswith((".egg-info", ".egg-link")):
                    found.append(_refused(site, name, Reason.EGG_INFO))
        finally:
            os.close(folder)
    return found


def contested_paths(distributions: list[InstalledDistribution]) -> frozenset[tuple[str, str]]:
    """Find the files that more than one distribution claims, as (site or "", path there)."""
    claimed: set[tuple[str, str]] = set()
    twice: set[tuple[str, str]] = set()
    for distribution in distributions:
        for key in {
            (distribution.site, location.path) if location.place is Place.SITE else ("", location.path)
            for _, location in distribution.located
        }:
            if key in claimed:
                twice.add(key)
            claimed.add(key)
    return frozenset(twice)


def read_metadata_file(root: int, distribution: InstalledDistribution, name: str) -> str:
    """Read a small text file of the metadata folder; empty when it is missing or unreadable."""
    path = f"{distribution.site}/{distribution.metadata}/{name}"
    return (_read(root, path) or b"").decode("utf-8", "surrogateescape")


def _distribution(folder: int, site: str, metadata: str) -> InstalledDistribution:
    if stat.S_ISLNK(os.stat(metadata, dir_fd=folder, follow_symlinks=False).st_mode):
        return _refused(site, metadata, Reason.BEHIND_SYMLINK)
    record = _read(folder, f"{metadata}/RECORD")
    if record is None:
        return _refused(site, metadata, Reason.NO_RECORD)
    name, version = _name_and_version(metadata)
    return InstalledDistribution(
        name=name,
        version=version,
        site=site,
        metadata=metadata,
        rows=tuple(parse_record(record)),
        refusal=_refusal(folder, metadata),
    )


def _refusal(folder: int, metadata: str) -> Reason | None:
    if (_read(folder, f"{metadata}/INSTALLER") or b"").strip() == b"conda":
        return Reason.CONDA
    origin = _read(folder, f"{metadata}/direct_url.json")
    if origin is not None:
        try:
            document = json.loads(origin)
            if document.get("dir_info", {}).get("editable"):
                return Reason.EDITABLE
        except (ValueError, AttributeError):
            return Reason.EDITABLE  # unreadable origin (PEP 610): better not to touch it
    return None


def _refused(site: str, metadata: str, reason: Reason) -> InstalledDistribution:
    name, version = _name_and_version(metadata)
    return InstalledDistribution(
        name=name, version=version, site=site, metadata=metadata, rows=(), refusal=reason
    )


def _name_and_version(metadata: str) -> tuple[str, str]:
    """Split ``Name-1.0.dist-info``; both normalised (PEP 503, PEP 440), safe as folder names."""
    stem = metadata.rpartition(".")[0]
    name, _, version = stem.partition("-")
    try:
        release = str(Version(version))
    except InvalidVersion:
        release = "".join(c if c.isalnum() or c in ".+!_" else "_" for c in version) or "0"
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    return canonicalize_name(safe) or "_", release


def _read(folder: int, path: str) -> bytes | None:
    try:
        file = open_beneath(folder, path, os.O_RDONLY | os.O_NONBLOCK)
    except OSError:
        return None
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        return None
    with open(file, "rb") as stream:
        return stream.read()


def place_in_environment(distribution: InstalledDistribution, location: Location) -> str:
    """Path of a located row relative to the environment's folder."""
    if location.place is Place.SITE:
        return f"{distribution.site}/{location.path}"
    return location.path

"""The distributions installed in an environment, from their metadata folders."""

from __future__ import annotations

import json
import os
import re
import stat
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

from pipm.core.distribution_names import name_and_version, without_metadata_folder
from pipm.core.importable import packages_in
from pipm.core.reasons import Reason
from pipm.core.record import Location, RecordPlace, RecordRow, locate, parse_record
from pipm.env.receipt import FOLDER, STORED_METADATA, is_record, read_receipt, read_stored_metadata
from pipm.fs.beneath import open_directory_beneath, read_beneath
from pipm.fs.opened import opened_folder

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.env.environment import Environment
    from pipm.env.receipt import ServedDistribution

_INITIAL = re.compile(rb'^"?([^\n]*/__init__\.[^/,"\n]*)', re.MULTILINE)
"""Matches the rows of files that make a folder a package."""
_SIZES = re.compile(rb",(\d{1,18})\r?$", re.MULTILINE)
_MOST_ROWS = 1_000_000
_MOST_BYTES = 256 << 20
"""The limit for all RECORDs of an environment, which may be another user's; real ones have a tenth of it."""
_ODD_MARKS = (b'"', b"\\", b"\0", b"//", b"\n/")
_ODD_STEPS = (b"/./", b"\n./", b"../lib", b"../Lib", b"../site-packages")


@dataclass(frozen=True, kw_only=True)
class InstalledDistribution:
    """One ``*.dist-info`` (or ``*.egg-info``) of an environment.

    ``record`` is its RECORD, parsed on demand. ``refusal`` is the reason why no file of it may be shared, if
    there is one; then ``record`` may be empty.
    """

    name: str
    version: str
    site: str
    metadata: str
    record: bytes
    refusal: Reason | None = None

    @cached_property
    def rows(self) -> tuple[RecordRow, ...]:
        """The rows of RECORD."""
        return tuple(parse_record(self.record))

    @cached_property
    def odd(self) -> bool:
        """True if a row of RECORD may have an unusual path."""
        return _has_odd_paths(self.record)

    @cached_property
    def packages(self) -> frozenset[str]:
        """The folders of site-packages that are packages by RECORD, with all their parents."""
        text = b"\n".join(_INITIAL.findall(self.record)).decode("utf-8", "surrogateescape")
        return packages_in(text.replace('""', '"').splitlines())

    def narrowed(self, record: bytes) -> InstalledDistribution:
        """Return this distribution with only the rows of *record*, but with the packages of all rows."""
        narrow = replace(self, record=record)
        narrow.__dict__["packages"] = self.packages
        return narrow

    @property
    def lines(self) -> int:
        """The approximate number of rows."""
        return self.record.count(b"\n")

    @cached_property
    def located(self) -> list[tuple[RecordRow, Location]]:
        """Each row with its place."""
        return [(row, locate(row.path, self.site)) for row in self.rows]

    @property
    def cost(self) -> int:
        """An estimate of the work: the bytes that RECORD counts, and 30 000 for each file."""
        return sum(map(int, _SIZES.findall(self.record))) + 30_000 * self.lines


def installed_distributions(environment: Environment, root: int) -> list[InstalledDistribution]:
    """List the distributions of *environment*, whose folder is open as *root*, by metadata folder name."""
    found = []
    rows = size = 0
    receipt = read_receipt(root)
    for site in environment.sites:
        served = receipt.served if receipt is not None and receipt.site == site else {}
        try:
            folder = open_directory_beneath(root, site)
        except FileNotFoundError:  # another process is removing or creating it
            continue
        try:
            names = sorted(os.listdir(folder))
            for name in names:
                if name.endswith(".dist-info"):
                    distribution = _distribution(folder, site, name)
                    rows, size = rows + distribution.lines, size + len(distribution.record)
                    if rows > _MOST_ROWS or size > _MOST_BYTES:
                        distribution = replace(distribution, record=b"", refusal=Reason.LARGE_RECORD)
                    if name in served and _is_served(folder, distribution, served[name]):
                        distribution = replace(distribution, refusal=Reason.IMPORTED)
                    found.append(distribution)
                elif name.endswith((".egg-info", ".egg-link")):
                    found.append(_refused(site, name, Reason.EGG_INFO))
            if served:
                found += _from_stored_metadata(root, site, names)
        finally:
            os.close(folder)
    return found


def _from_stored_metadata(root: int, site: str, names: list[str]) -> Iterator[InstalledDistribution]:
    """Yield the distributions without a metadata folder, unless the project was installed again."""
    away = read_stored_metadata(root)
    for metadata in without_metadata_folder(away, names):
        name, version = name_and_version(metadata)
        record = away[metadata].get("RECORD")
        yield InstalledDistribution(
            name=name,
            version=version,
            site=site,
            metadata=metadata,
            record=(record.data if record is not None else None) or b"",
            refusal=Reason.IMPORTED,
        )


def stored_metadata_folders(path: str, names: Iterable[str]) -> list[str]:
    """Return the stored metadata folders of the environment at *path*; *names* are in its site-packages."""
    if not os.path.exists(f"{path}/{FOLDER}/{STORED_METADATA}"):
        return []
    with opened_folder(path) as root:
        return without_metadata_folder(read_stored_metadata(root), names)


def _is_served(folder: int, distribution: InstalledDistribution, served: ServedDistribution) -> bool:
    """Return whether the finder still serves it: an installer may have written its files again."""
    if not is_record(distribution.record, served.record):
        return False
    for row in distribution.rows:
        if row.path.endswith(".py") and row.size and not row.path.startswith(("../", "/")):
            try:
                status = os.stat(row.path, dir_fd=folder, follow_symlinks=False)
            except OSError:
                return True
            return not stat.S_ISREG(status.st_mode)
    return True


def contested_paths(
    distributions: list[InstalledDistribution], others: frozenset[str] = frozenset()
) -> frozenset[tuple[str, str]]:
    """Find the files that more than one distribution claims, as (site or "", path there).

    *others* are paths that another package manager owns, relative to the environment.
    """
    suspects = _claiming_one_path(distributions)
    contested = _contested(suspects) if suspects else frozenset()
    return contested.union(
        _claim(distribution, location)
        for distribution in (distributions if others else ())
        if distribution.refusal is None
        for _, location in distribution.located
        if place_in_environment(distribution, location) in others
    )


def _claim(distribution: InstalledDistribution, location: Location) -> tuple[str, str]:
    return (distribution.site if location.place is RecordPlace.SITE else "", location.path)


def _claiming_one_path(distributions: list[InstalledDistribution]) -> list[InstalledDistribution]:
    """Return the distributions that may have a common path; compares raw lines, since parsing is slow."""
    if len({distribution.site for distribution in distributions}) > 1:
        return distributions
    owners: dict[bytes, InstalledDistribution] = {}
    suspects = {}
    for distribution in distributions:
        if distribution.odd:
            suspects[distribution.metadata] = distribution
        for line in distribution.record.splitlines():
            other = owners.setdefault(line.partition(b",")[0], distribution)
            if other is not distribution:
                suspects[other.metadata] = other
                suspects[distribution.metadata] = distribution
    # An unusual path may be that of any file, so then all distributions are compared by located paths.
    odd = any(distribution.odd for distribution in suspects.values())
    return distributions if odd else list(suspects.values())


def _has_odd_paths(record: bytes) -> bool:
    text = b"\n" + record
    if any(mark in text for mark in _ODD_MARKS):
        return True
    if b"./" not in text:
        return False
    if any(mark in text for mark in _ODD_STEPS):
        return True
    # Usual paths of scripts and data leave site-packages by exactly these steps.
    return b"/../" in text.replace(b"\n../../../", b"\n")


def _contested(distributions: list[InstalledDistribution]) -> frozenset[tuple[str, str]]:
    claimed: set[tuple[str, str]] = set()
    twice: set[tuple[str, str]] = set()
    for distribution in distributions:
        for key in {_claim(distribution, location) for _, location in distribution.located}:
            if key in claimed:
                twice.add(key)
            claimed.add(key)
    return frozenset(twice)


def read_metadata_file(root: int, distribution: InstalledDistribution, name: str) -> str:
    """Read a small text file of the metadata folder; return "" if it is missing or unreadable."""
    path = f"{distribution.site}/{distribution.metadata}/{name}"
    return (read_beneath(root, path) or b"").decode("utf-8", "surrogateescape")


def _distribution(folder: int, site: str, metadata: str) -> InstalledDistribution:
    try:
        is_link = stat.S_ISLNK(os.stat(metadata, dir_fd=folder, follow_symlinks=False).st_mode)
    except FileNotFoundError:  # an installer is at work
        is_link = False
    if is_link:
        return _refused(site, metadata, Reason.BEHIND_SYMLINK)
    record = read_beneath(folder, f"{metadata}/RECORD")
    if record is None:
        return _refused(site, metadata, Reason.NO_RECORD)
    name, version = name_and_version(metadata)
    return InstalledDistribution(
        name=name,
        version=version,
        site=site,
        metadata=metadata,
        record=record,
        refusal=_refusal(folder, metadata),
    )


def _refusal(folder: int, metadata: str) -> Reason | None:
    if (read_beneath(folder, f"{metadata}/INSTALLER") or b"").strip() == b"conda":
        return Reason.CONDA
    origin = read_beneath(folder, f"{metadata}/direct_url.json")
    if origin is not None:
        try:
            document = json.loads(origin)
            if document.get("dir_info", {}).get("editable"):
                return Reason.EDITABLE
        except (ValueError, AttributeError, RecursionError):
            return Reason.EDITABLE  # unreadable origin (PEP 610): it may be editable
    return None


def _refused(site: str, metadata: str, reason: Reason) -> InstalledDistribution:
    name, version = name_and_version(metadata)
    return InstalledDistribution(
        name=name, version=version, site=site, metadata=metadata, record=b"", refusal=reason
    )


def place_in_environment(distribution: InstalledDistribution, location: Location) -> str:
    """Return the path of a located row relative to the environment."""
    if location.place is RecordPlace.SITE:
        return f"{distribution.site}/{location.path}"
    return location.path

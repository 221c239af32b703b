"""Reading the state of an environment and comparing it with install plans."""

from __future__ import annotations

import os
import stat
from functools import cached_property

from pipm.bytecode.sync_bytecode import is_uncompilable
from pipm.core.bytecode import key_path
from pipm.core.distribution_names import name_and_version
from pipm.core.install_plan import scheme_path
from pipm.core.plan.materialise_plan import Wanted, at_hand
from pipm.core.plan.sync_plan import Installed, InstalledMatch, seeds
from pipm.core.record import is_bytecode, is_installers_own, parse_record
from pipm.env.receipt import is_record, read_receipt
from pipm.fs.beneath import directory_beneath, open_directory_beneath, read_beneath
from pipm.fs.file_content import digest_at
from pipm.fs.folder_stack import FOLDER
from pipm.fs.opened import opened
from pipm.fs.os_errors import stops_everything
from pipm.sync.change_cache import BIN, COMMON
from pipm.sync.installer_files import installer_metadata, programs_of, scripts_of
from pipm.wheel.environment_files import INSTALLER, record_digest_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping
    from collections.abc import Set as AbstractSet

    from pipm.core.install_plan import InstallPlan, PlanFolder
    from pipm.core.scheme import Scheme
    from pipm.env.environment import Environment
    from pipm.env.interpreter import Interpreter
    from pipm.env.receipt import ServedDistribution, StoredMetadataFile
    from pipm.store.layout import Store

_OUR_ROW = f"/INSTALLER,{record_digest_of(INSTALLER)},".encode()
_NOTHING: Mapping[str, Mapping[str, StoredMetadataFile]] = {}
Lost = frozenset[tuple[str, str]]
"""(entry, path in the environment) of files that another distribution's file replaced."""


class EnvironmentScan:
    """Compares one environment, open as *root*, with install plans.

    *stored_metadata* are the removed metadata folders that the finder provides. ``untouched`` are the groups
    of `change_cache` that did not change. *doubted* are the entries of a sync that did not finish: after a
    power cut a file may have the right size and wrong bytes, and files may be those of another of these.
    """

    def __init__(
        self,
        store: Store,
        root: int,
        environment: Environment,
        scheme: Scheme,
        interpreter: Interpreter | None,
        stored_metadata: Mapping[str, Mapping[str, StoredMetadataFile]] = _NOTHING,
        *,
        doubted: Collection[str] = (),
    ) -> None:
        self.store, self.root, self.environment, self.scheme = store, root, environment, scheme
        self.stored_metadata, self._doubted = stored_metadata, doubted
        self.untouched: AbstractSet[str] = frozenset()
        self.made: AbstractSet[str] = frozenset()
        """Entries whose files this sync made beside and has just put there."""
        self.linked = True
        """True until a file is found that should be a link and is not, and whose own time nobody looks at."""
        self._pool = None if interpreter is None else interpreter.pool("")

    @cached_property
    def _served_distributions(self) -> Mapping[str, ServedDistribution]:
        """The rows of the finder's receipt by metadata folder."""
        receipt = read_receipt(self.root)
        return {} if receipt is None else receipt.served

    def installed(self) -> list[Installed]:
        """Return all installed distributions."""
        found = []
        for site in self.environment.sites:
            for metadata in metadata_folders(self.root, site):
                name, version = name_and_version(metadata)
                record = f"{site}/{metadata}/RECORD"
                removable = metadata.endswith(".dist-info") and _is_there(self.root, record)
                found.append(Installed(name, version, site, metadata, removable))
        return found

    def compared(self, wanted: list[Wanted], lost: Lost) -> list[tuple[Installed, InstalledMatch]]:
        """Return how each installed distribution compares with the wanted one of the same name."""
        by_name = {one.name: one for one in wanted}
        return [
            (
                one,
                self._compared(one, by_name[one.name], lost) if one.name in by_name else InstalledMatch.OTHER,
            )
            for one in self.installed()
        ]

    def kept(self) -> frozenset[str]:
        """The names of distributions that stay although no lock names them (PEP 405 seeds)."""
        configuration = (read_beneath(self.root, "pyvenv.cfg") or b"").decode("utf-8", "replace")
        pairs = [line.partition("=") for line in configuration.splitlines()]
        settings = {key.strip(): value.strip().lower() for key, _, value in pairs}
        version = tuple(int(part) for part in self.environment.python.split(".")[:2] if part.isdecimal())
        return seeds(version, uv_without_seed="uv" in settings and settings.get("seed") != "true")

    def is_exactly(self, install_plans: Mapping[str, InstallPlan]) -> bool:
        """Return True if exactly these entries (and seeds) are installed and complete; reads no lock."""
        if len(self.environment.sites) != 1:
            return False
        there = set(metadata_folders(self.root, self.scheme.site))
        here = {install_plan.metadata for install_plan in install_plans.values()}
        if not self.stored_metadata.keys().isdisjoint(there):
            return False  # a folder was only partly removed, or a file of that name was added
        there |= self.stored_metadata.keys()
        if not here <= there:
            return False
        if there != here and not {name_and_version(name)[0] for name in there - here} <= self.kept():
            return False
        for entry, install_plan in install_plans.items():
            place = f"{self.scheme.site}/{install_plan.metadata}"
            url = self._metadata(place, "direct_url.json")
            wanted = Wanted(entry=entry, load=at_hand(install_plan), direct_url=url)
            installed = Installed(
                install_plan.name,
                install_plan.version,
                self.scheme.site,
                install_plan.metadata,
                removable=True,
            )
            if self._compared(installed, wanted, frozenset()) is not InstalledMatch.SAME:
                return False
        return True

    def _metadata(self, folder: str, name: str) -> bytes | None:
        """Return the content of a file of a metadata folder, or None."""
        stored = self.stored_metadata.get(folder.rpartition("/")[2])
        if stored is None:
            return read_beneath(self.root, f"{folder}/{name}")
        return stored[name].data if name in stored else None

    def _compared(self, installed: Installed, wanted: Wanted, lost: Lost) -> InstalledMatch:
        return (
            InstalledMatch.SAME
            if self._is_untouched(installed, wanted)
            else self._fit(installed, wanted, lost)
        )

    def _is_untouched(self, installed: Installed, wanted: Wanted) -> bool:
        """Return True if *installed* is *wanted*, and unchanged since the last full check."""
        install_plan = wanted.install_plan
        same = (installed.site, installed.metadata) == (self.scheme.site, install_plan.metadata)
        if same and wanted.entry in self.made:
            return True
        if not same or wanted.entry not in self.untouched:
            return False
        if self.stored_metadata and COMMON not in self.untouched:
            return False
        scripts = install_plan.scripts or any(other.scheme == "scripts" for other in install_plan.data_files)
        if scripts and BIN not in self.untouched:
            return False
        url = self._metadata(f"{installed.site}/{installed.metadata}", "direct_url.json")
        return (url is None) == (wanted.direct_url is None)

    def _fit(self, installed: Installed, wanted: Wanted, lost: Lost) -> InstalledMatch:
        """Compare *installed* with the *wanted* distribution of that name.

        A distribution that pip or uv installed from the same wheel matches, even if it shares no files:
        sharing is the task of adopt.
        """
        install_plan, folder = wanted.install_plan, f"{installed.site}/{installed.metadata}"
        there = (installed.version, installed.site) == (install_plan.version, self.scheme.site)
        if not there or any(
            one != wanted.entry and one.split("/")[0] == install_plan.name for one in self._doubted
        ):
            return InstalledMatch.OTHER
        record = self._metadata(folder, "RECORD")
        if record is None:
            # An unfinished sync, or another installer's files: they are replaced.
            return (
                InstalledMatch.BROKEN if installed.metadata == install_plan.metadata else InstalledMatch.OTHER
            )
        if (self._metadata(folder, "direct_url.json") is None) != (wanted.direct_url is None):
            return InstalledMatch.OTHER
        # RECORD shows the installer, since INSTALLER itself may be missing.
        ours = _OUR_ROW in record
        same = record.startswith(install_plan.record) or (not ours and _same_rows(record, install_plan))
        if not same or (not ours and self._has_come(wanted, record)):
            return InstalledMatch.OTHER
        ended = not ours or record.endswith(f"{install_plan.metadata}/RECORD,,\n".encode())
        compiled = (
            not self.scheme.cache_tag or not ours or b".pyc,," in record or not _has_sources(install_plan)
        )
        whole = ended and compiled and self._is_whole(wanted, lost, record if ours else None)
        if whole and not (ours and self._doubted and not self._is_proven(record)):
            return InstalledMatch.SAME
        return InstalledMatch.BROKEN if ours else InstalledMatch.OTHER

    def _is_proven(self, record: bytes) -> bool:
        """Return True if files that are not links have their hashes in *record*."""
        if b"\0" in record:
            return False
        for row in parse_record(record):
            path = os.path.normpath(f"{self.scheme.site}/{row.path}")
            folder, _, name = path.rpartition("/")
            with directory_beneath(self.root, folder or ".") as directory:
                if not row.hash or directory is None or not _is_private(directory, name):
                    continue
                if digest_at(directory, name).record != row.hash:
                    return False
        return True

    def _has_come(self, wanted: Wanted, record: bytes) -> bool:
        """Return True if another installer added real files of a served distribution: they would hide it."""
        served = self._served_distributions.get(wanted.install_plan.metadata)
        return wanted.served if served is None else not is_record(record, served.record)

    def _is_whole(self, wanted: Wanted, lost: Lost, record: bytes | None) -> bool:
        """Return True if all files of *wanted* exist with their sizes; one stat for each file.

        *record* is its RECORD if pipm installed it; then its scripts and bytecode are checked, too.
        """
        install_plan, scheme, ours = wanted.install_plan, self.scheme, record is not None
        stored = install_plan.metadata in self.stored_metadata
        linked = self.linked
        given_up = {path for entry, path in lost if entry == wanted.entry}
        with opened(os.open(scheme.site, FOLDER, dir_fd=self.root)) as site:
            for folder in (*install_plan.folders, *(() if stored else install_plan.metadata_folders)):
                if not self._folder_is_whole(site, folder, given_up, compiled=ours):
                    return False
            if not _have_sizes(
                site, [row[:2] for row in install_plan.copies if f"{scheme.site}/{row[0]}" not in given_up]
            ):
                return False
        if not install_plan.folders:
            self.linked = linked  # `groups_of` has each file of the metadata folders
        others = [
            (scheme_path(other, install_plan.name, scheme), other.size)
            for other in install_plan.data_files
            if other.scheme != "scripts"
        ]
        if record is not None:
            programs = programs_of(self.store, wanted)
            scripts = list(scripts_of(self.store, scheme, wanted, programs))
            # Another build may differ only in these files.
            own = {other.path for other in install_plan.data_files if other.scheme == "scripts"}
            hashes = [other.record for other in install_plan.data_files if other.scheme != "scripts"]
            hashes += [other.record for other in programs]
            hashes += [record_digest_of(content) for name, content in scripts if name in own]
            if not all(digest.encode("ascii") in record for digest in hashes):
                return False
            others += [(f"bin/{other.path}", other.size) for other in programs]
            others += [(f"bin/{name}", len(content)) for name, content in scripts]
        if ours and not stored:
            metadata = f"{scheme.site}/{install_plan.metadata}"
            others += [(f"{metadata}/{name}", len(data)) for name, data in installer_metadata(wanted)]
        return _have_sizes(self.root, [row for row in others if row[0] not in given_up])

    def _folder_is_whole(self, site: int, folder: PlanFolder, given_up: set[str], *, compiled: bool) -> bool:
        try:
            target = os.open(folder.path, FOLDER, dir_fd=site) if folder.path else os.dup(site)
        except OSError as error:
            return _missing(error)
        linked = list(zip(folder.names, folder.sizes, strict=True))
        empty = [(name, 0) for name, _, _ in folder.empty]
        if given_up:
            base = f"{self.scheme.site}/{folder.path}/" if folder.path else f"{self.scheme.site}/"
            linked = [row for row in linked if base + row[0] not in given_up]
            empty = [row for row in empty if base + row[0] not in given_up]
        try:
            if not _have_sizes(target, empty) or not self._are_whole(target, linked):
                return False
            return not (compiled and self.scheme.cache_tag) or self._is_compiled(target, folder)
        finally:
            os.close(target)

    def _are_whole(self, directory: int, files: Iterable[tuple[str, int]]) -> bool:
        look = os.stat
        try:
            for name, size in files:
                status = look(name, dir_fd=directory)
                if status.st_size != size:
                    return False
                if status.st_nlink == 1:
                    self.linked = False
        except OSError as error:
            return _missing(error)
        return True

    def _is_compiled(self, target: int, folder: PlanFolder) -> bool:
        if not folder.sources:
            return True
        tag, there = self.scheme.cache_tag, _names(target, "__pycache__")
        missing = [key for stem, key in folder.sources if f"{stem}.{tag}.pyc" not in there]
        pool = self._pool
        if self._doubted and not self._is_bytecode_proven(target, folder):
            return False
        return pool is not None and all(is_uncompilable(self.store, pool, key) for key in missing)

    def _is_bytecode_proven(self, target: int, folder: PlanFolder) -> bool:
        """Return True if bytecode that is not a link is equal to the store's."""
        with directory_beneath(target, "__pycache__") as cache:
            for stem, key in folder.sources:
                name = f"{stem}.{self.scheme.cache_tag}.pyc"
                if cache is None or not _is_private(cache, name):
                    continue
                stored = f"{self._pool}/{key_path(key)}"
                if read_beneath(cache, name) != read_beneath(self.store.bytecode, stored):
                    return False
        return True


def _missing(error: OSError) -> bool:
    """Return False, for a file that cannot be read; raise *error* if it tells nothing of the file."""
    if stops_everything(error):
        raise error
    return False


def _is_private(directory: int, name: str) -> bool:
    """Return True if *name* is a file with a single hard link."""
    try:
        status = os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return stat.S_ISREG(status.st_mode) and status.st_nlink == 1


def _has_sources(install_plan: InstallPlan) -> bool:
    return any(folder.sources for folder in install_plan.folders)


def _names(directory: int, name: str) -> frozenset[str]:
    try:
        folder = os.open(name, FOLDER, dir_fd=directory)
    except OSError as error:
        _missing(error)
        return frozenset()
    try:
        return frozenset(os.listdir(folder))
    finally:
        os.close(folder)


def _have_sizes(directory: int, files: Iterable[tuple[str, int]]) -> bool:
    look = os.stat
    try:
        for name, size in files:
            if look(name, dir_fd=directory).st_size != size:
                return False
    except OSError as error:
        return _missing(error)
    return True


def _same_rows(record: bytes, install_plan: InstallPlan) -> bool:
    """Return True if a RECORD of another installer has the same files with the same hashes."""
    there = {row.path: row.hash for row in parse_record(record)}
    wheels = {row.path: row.hash for row in parse_record(install_plan.record)}
    rest = {
        path
        for path in there.keys() - wheels.keys()
        if not is_bytecode(path) and not is_installers_own(path) and not path.startswith("../")
    }
    return not rest and all(there.get(path) == value for path, value in wheels.items())


def _is_there(root: int, path: str) -> bool:
    try:
        os.stat(path, dir_fd=root, follow_symlinks=False)
    except OSError as error:
        return _missing(error)
    return True


def metadata_folders(root: int, site: str) -> list[str]:
    """List the metadata folders in *site*, including those of eggs."""
    with opened(open_directory_beneath(root, site)) as folder:
        names = os.listdir(folder)
    return sorted(name for name in names if name.endswith((".dist-info", ".egg-info", ".egg-link")))

"""`pipm verify --repair`: replace damaged files by clean copies.

Theory of operation. The run holds the store's lock exclusively. It makes a copy in its own folder, hashes it
there, syncs it, and then renames it over all names of the damaged file: the object, files in entries, and
files of environments that share its inode. It looks for a copy in this order: another inode of the store, an
environment's own copy, a wheel in pip's cache, the index. If one environment alone can have edited the file,
it keeps the edit; otherwise the changed version is copied to a separate directory, because an edit may have
kept the file's time, as a flipped bit does. Sources are repaired first. Then all
bytecode of each repaired source is removed, in every pool and environment, and compiled again: it may have
been compiled from the damaged source.
"""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pipm.core.digest import EMPTY
from pipm.core.plan.verify_plan import Flaw, is_private_edit
from pipm.fs.beneath import directory_beneath
from pipm.fs.durability import sync_file_system
from pipm.fs.opened import opened, opened_folder
from pipm.fs.os_errors import stops_everything
from pipm.fs.restore_files import copy_if, rename_over, set_back, set_mode
from pipm.fs.share_file import NewFile, Stored, bring_file, ensure_folder, forget, same_files, write_new_file
from pipm.fs.staging import Staging, staging
from pipm.fs.walk_tree import inode_counts
from pipm.store.entries import load_manifest
from pipm.store.layout import VERSION
from pipm.store.objects import find_object, object_mode
from pipm.store.unexpected_files import EDITED, quarantine
from pipm.verify.renew_bytecode import renew_bytecode
from pipm.verify.sharing_environments import digest_of_environment_file
from pipm.wheel.find_content import contents_of, wheels_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.core.digest import Digest
    from pipm.verify.check_store import Damage, StoreCheck
    from pipm.verify.sharing_environments import EnvironmentFile
    from pipm.verify.stored_files import CheckedFile

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITABLE = 0o644
_WRITABLE_EXECUTABLE = 0o755


class Repair:
    """Repairs what *check* found; new files are made in the run's folder *run* at *path*."""

    def __init__(self, check: StoreCheck, run: int, path: str) -> None:
        self._check = check
        self._store = check.store
        self._run = run
        self._path = path
        self._made: dict[str, NewFile] = {}

    def run(self) -> None:
        """Repair everything that has a clean copy."""
        damages = self._check.findings.damages
        self._set_back([damage for damage in damages if damage.flaw in (Flaw.MODE, Flaw.TIME)])
        self._quarantine_unexpected()
        self._link_duplicates()
        lost = [damage for damage in damages if not damage.repaired and damage.compiled is None]
        for damage in lost:
            if damage.stored is not None:
                self._from_copies(damage, damage.stored)
        self._from_wheels([damage.stored for damage in lost if damage.stored is not None])
        sync_file_system(self._run)
        for damage in lost:
            if damage.stored is not None and self._key(damage.stored) in self._made:
                self._replace(damage, damage.stored)
        for damage in lost:
            if damage.environment_file is not None:
                self._replace_copy(damage, damage.environment_file)
        renew_bytecode(self._check, lost, self._run, self._path)
        sync_file_system(self._store.v1)

    def _quarantine_unexpected(self) -> None:
        for damage in self._check.findings.damages:
            if damage.unexpected_file is not None:
                damage.saved = quarantine(self._store, damage.unexpected_file)
                damage.repaired = True
        findings = self._check.findings
        for unexpected_file in self._check.unexpected:
            if unexpected_file.is_cache:
                forget(self._store.v1, unexpected_file.name)
            else:
                findings.put_aside.append(quarantine(self._store, unexpected_file))
        for name in self._check.strange:
            forget(self._store.v1, name)
        findings.unexpected.clear()

    def _link_duplicates(self) -> None:
        """Link files of entries to their objects again, after a copy of the store without hard links."""
        for number, file in enumerate(self._check.findings.duplicates):
            new = NewFile(self._run, f"linked-{number}")
            bring_file(self._store.objects, file.expected.object_name, new, link=True, copy=False)
            for name in file.names:
                if same_files(new, self._store.v1, name):
                    rename_over(new, self._store.v1, name)
            forget(new.directory, new.name)

    def _set_back(self, damages: list[Damage]) -> None:
        """Restore mode and time of inodes that have no unknown names; the store gets copies of others."""
        names = inode_counts(f"{self._store.path}/{VERSION}") if damages else {}
        for damage in damages:
            file = damage.stored
            if file is None or file.status is None:
                continue
            known = names.get(file.status.st_ino, 0) + sum(sharer.same_inode for _, sharer in damage.shared)
            if file.status.st_nlink > known:
                continue
            assert file.expected.mode is not None  # MODE and TIME need a manifest that records them
            assert file.expected.mtime_ns is not None
            set_back(self._store.v1, file.names[0], file.expected.mode, file.expected.mtime_ns)
            damage.repaired = True

    def _key(self, file: CheckedFile) -> str:
        """Return the key of a good copy: the object, and the time that this entry records."""
        return f"{file.expected.object_name}-{file.expected.mtime_ns or ''}"

    @staticmethod
    def _mode(file: CheckedFile) -> int:
        expected = file.expected
        if expected.mode is None:
            return object_mode(executable=expected.executable, writable=expected.writable)
        return expected.mode

    def _from_copies(self, damage: Damage, file: CheckedFile) -> None:
        """Copy the content from another inode of the store or from an environment."""
        if self._key(file) in self._made:
            return
        if file.expected.digest == EMPTY:
            write_new_file(self._new(file), [], self._mode(file), file.expected.mtime_ns)
            self._made[self._key(file)] = self._new(file)
            return
        if self._from_object(file):
            return
        paths = [f"{self._store.path}/{VERSION}/{name}" for name in self._names_with(file.expected.digest)]
        for path in [*paths, *(environment_file.path for environment_file in damage.clean)]:
            try:
                source = os.open(path, _READ)
            except OSError:
                continue
            new = self._new(file)
            try:
                if copy_if(source, new, file.expected.digest, self._mode(file), file.expected.mtime_ns):
                    self._made[self._key(file)] = new
                    return
            except OSError as error:
                if stops_everything(error):
                    raise
            finally:
                os.close(source)

    def _from_object(self, file: CheckedFile) -> bool:
        """Link the object itself if only a file of an entry is damaged; return False if it cannot be used."""
        name = f"objects/{file.expected.object_name}"
        status = find_object(self._store.v1, name)
        if status is None or name in file.names or not self._check.is_good(name):
            return False
        if Stored.of(status) != (file.expected.mode, file.expected.mtime_ns):
            return False  # the entry needs a copy with its own mode and time
        new = self._new(file)
        bring_file(self._store.v1, name, new, link=True, copy=True)
        self._made[self._key(file)] = new
        return True

    def _names_with(self, digest: Digest) -> Iterator[str]:
        """Yield the names of objects and files of entries that should have *digest*."""
        yield from (
            f"objects/{digest.object_name(executable=executable, writable=writable)}"
            for executable in (False, True)
            for writable in (False, True)
        )
        for damage in self._check.findings.damages:
            if damage.stored is not None and damage.stored.expected.digest == digest:
                yield from damage.stored.names
        for file in self._check.same_content.get(digest, ()):
            yield file.names[0]

    def _from_wheels(self, files: list[CheckedFile]) -> None:
        """Take missing contents from the wheels of each release that has them, one after the other."""
        releases: dict[str, list[CheckedFile]] = {}
        for file in files:
            for entry in file.entries:
                releases.setdefault(entry, []).append(file)
        for number, (entry, wanting) in enumerate(releases.items()):
            if self._have(wanting):
                continue
            folder = f"fetched-{number}"
            ensure_folder(self._run, folder, 0o700)
            for wheel in wheels_of(load_manifest(self._store, entry), f"{self._path}/{folder}"):
                self._from_wheel(wheel, wanting)
                if self._have(wanting):
                    break

    def _have(self, files: list[CheckedFile]) -> bool:
        return all(self._key(file) in self._made for file in files)

    def _from_wheel(self, path: str, files: list[CheckedFile]) -> None:
        wanted = {file.expected.digest for file in files if self._key(file) not in self._made}
        for digest, data in contents_of(path, wanted) if wanted else ():
            for file in files:
                if file.expected.digest == digest and self._key(file) not in self._made:
                    new = self._new(file)
                    write_new_file(new, [data], self._mode(file), file.expected.mtime_ns)
                    self._made[self._key(file)] = new

    def _new(self, file: CheckedFile) -> NewFile:
        return NewFile(self._run, f"good-{self._key(file).replace('/', '')}")

    def _replace(self, damage: Damage, file: CheckedFile) -> None:
        """Rename the good copy over the damaged file, in the store and in environments."""
        new = self._made[self._key(file)]
        damage.kept_in = _keeper(damage, file)
        if damage.flaw is Flaw.CONTENT and not damage.kept_in:
            damage.saved = self._put_aside(self._store.v1, file.names[0], file.actual)
        for name in file.names:
            rename_over(new, self._store.v1, name)
        for environment_file, sharer in damage.shared:
            if sharer.environment == damage.kept_in:
                self._make_private(environment_file)
            else:
                self._replace_in_environment(
                    environment_file, hardlink=sharer.same_inode, name=file.expected.object_name
                )
        damage.repaired = True

    def _put_aside(self, directory: int, path: str, actual: Digest | None) -> str:
        """Keep the changed content *actual* of a file; return where, or "" if it cannot be read."""
        if actual is None:
            return ""
        name = f"{EDITED}/{actual.hex()[:8]}-{os.path.basename(path)}"
        with opened_folder(self._store.path) as folder:
            ensure_folder(folder, EDITED, 0o700)
            with opened(os.open(path, _READ, dir_fd=directory)) as source:
                if not os.path.exists(f"{self._store.path}/{name}"):
                    copy_if(source, NewFile(folder, name), actual, _WRITABLE)
        return f"{self._store.path}/{name}"

    def _replace_copy(self, damage: Damage, environment_file: EnvironmentFile) -> None:
        """Replace a damaged file that one environment alone has."""
        fact = environment_file.fact
        if not self._is_good(f"objects/{fact.object}"):
            return
        with (
            opened_folder(environment_file.environment, follow=False) as root,
            directory_beneath(root, fact.directory) as folder,
        ):
            if folder is not None:
                actual = digest_of_environment_file(environment_file)
                damage.saved = self._put_aside(folder, fact.name, actual)
        damage.repaired = self._replace_in_environment(environment_file, hardlink=False)

    def _make_private(self, environment_file: EnvironmentFile) -> None:
        with (
            opened_folder(environment_file.environment) as root,
            directory_beneath(root, environment_file.fact.directory) as folder,
        ):
            name, executable = environment_file.fact.name, environment_file.fact.executable
            if folder is not None and os.stat(name, dir_fd=folder).st_nlink == 1:
                set_mode(folder, name, _WRITABLE_EXECUTABLE if executable else _WRITABLE)

    def _replace_in_environment(
        self, environment_file: EnvironmentFile, *, hardlink: bool, name: str = ""
    ) -> bool:
        """Replace an environment's damaged file by the object *name*; return False if that is damaged."""
        fact = environment_file.fact
        assert fact.digest is not None
        assert fact.status is not None
        name = name or fact.object
        if not self._is_good(f"objects/{name}"):
            return False
        with (
            opened_folder(environment_file.environment, follow=False) as root,
            staging(root) as place,
            directory_beneath(root, fact.directory) as folder,
        ):
            if folder is None:
                return False
            area = Staging(place, "0")
            try:
                with area.keeping_time(folder):
                    self._put(area, name, folder, environment_file, hardlink=hardlink)
            finally:
                area.close()
        return True

    def _put(
        self, area: Staging, name: str, folder: int, environment_file: EnvironmentFile, *, hardlink: bool
    ) -> None:
        fact = environment_file.fact
        assert fact.digest is not None
        assert fact.status is not None
        if hardlink:
            area.link_over(self._store.objects, name, folder, fact.name)
            return
        with opened(os.open(name, _READ, dir_fd=self._store.objects)) as source:
            mtime_ns = os.fstat(source).st_mtime_ns
            temporary = area.link_identical(source, stat.S_IMODE(fact.status.st_mode), mtime_ns)
        area.move(temporary, folder, fact.name)

    def _is_good(self, name: str) -> bool:
        return self._check.is_good(name)


def _keeper(damage: Damage, file: CheckedFile) -> str:
    """Return the environment that keeps the edited inode if it alone can have edited it; otherwise ""."""
    sharers = [sharer for _, sharer in damage.shared]
    same_inode = [sharer.environment for sharer in sharers if sharer.same_inode]
    if file.status is None or len(same_inode) != 1:
        return ""
    if damage.flaw is Flaw.ATTRIBUTES:
        return same_inode[0]
    edited = damage.flaw is Flaw.CONTENT and is_private_edit(file.expected, file.status, sharers)
    return same_inode[0] if edited else ""

"""Checking the store's files, and finding the environments that share damaged ones.

Theory of operation. A manifest records the time of each stored file, so stat(2) finds files that a program
wrote to. Bits that flipped under an unchanged time are found only by reading (*full*). A file that differs
from its manifest is always read. In environments the files that RECORD lists are checked: a file on a stored
inode has the same damage, a file with the same wrong bytes shares it, a file with the right bytes can repair
it.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pipm.bytecode.verify_bytecode import PoolCheck, PoolFile
from pipm.core.plan.verify_plan import Flaw, Sharer
from pipm.env.receipt import receipt_at
from pipm.fs.trust import trusted_users
from pipm.store.entries import has_entry, load_manifest
from pipm.store.layout import VERSION
from pipm.store.roots import all_roots, find_root
from pipm.store.unexpected_files import unexpected_files
from pipm.verify.sharing_environments import digest_of_environment_file, environment_files
from pipm.verify.stored_files import CheckedFile, check_files, digest_of_stored, list_stored_files

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pipm.context.progress import Progress
    from pipm.core.digest import Digest
    from pipm.env.environment import Environment
    from pipm.store.layout import Store
    from pipm.store.unexpected_files import UnexpectedFile
    from pipm.verify.sharing_environments import EnvironmentFile

_MOST_FOREIGN = 4 << 30
"""Maximum bytes read of other users' files: a sparse file uses no disk space and takes hours to read."""


@dataclass(slots=True)
class Damage:
    """A damaged stored file, or an environment's damaged copy of one (``environment_file``).

    ``shared`` are files of environments that have the same wrong bytes, ``clean`` some that have the right
    ones. ``repaired`` is set after a repair; ``kept_in`` is the environment that keeps the edited version,
    ``saved`` the path to which that version was moved otherwise.
    """

    path: str
    entry: str
    flaw: Flaw
    environments: list[str]
    stored: CheckedFile | None = None
    environment_file: EnvironmentFile | None = None
    compiled: PoolFile | None = None
    unexpected_file: UnexpectedFile | None = None
    shared: list[tuple[EnvironmentFile, Sharer]] = field(default_factory=list)
    clean: list[EnvironmentFile] = field(default_factory=list)
    repaired: bool = False
    kept_in: str = ""
    saved: str = ""


@dataclass(slots=True)
class Findings:
    """The result of a check.

    Three kinds are not damage: ``modified`` files were edited in an environment; ``unexpected`` files are
    caches and data that programs wrote into the store (`pipm gc` removes them); ``duplicates`` lost their
    hard links when the store was copied (a repair links them). ``put_aside`` are the paths to which a repair
    moved unexpected files that are not caches. ``not_run`` lists the parts that were not compared, with the
    reason: bytecode of interpreters that pipm must not run, other users' files beyond a limit of bytes, and
    layers. ``not_mounted`` lists the environments that import from a missing layer.
    """

    checked: int = 0
    damages: list[Damage] = field(default_factory=list)
    modified: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    duplicates: list[CheckedFile] = field(default_factory=list)
    put_aside: list[str] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)
    not_run: list[str] = field(default_factory=list)
    not_mounted: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def remaining(self) -> bool:
        """True if something is still damaged."""
        return bool(self.unreadable or self.not_mounted) or not all(
            damage.repaired for damage in self.damages
        )


class StoreCheck:
    """One check of *store* and *environments*; with *only*, of the entries that these environments use.

    *others* are searched for files that share damage, and not checked otherwise.
    """

    def __init__(
        self,
        store: Store,
        environments: Sequence[Environment],
        progress: Progress,
        *,
        full: bool,
        only: bool,
        others: Sequence[Environment] = (),
    ) -> None:
        self.store = store
        self.environments = environments
        self.others = others
        self.pools = PoolCheck(store, (*environments, *others))
        self.findings = Findings(not_run=self.pools.not_run)
        self._full = full
        self._only = only
        self._progress = progress
        self._done: Counter[str] = Counter()
        self.same_content: dict[Digest, list[CheckedFile]] = {}
        self.unexpected: list[UnexpectedFile] = []
        self.strange: list[str] = []
        self._foreign = 0
        self._layered: set[str] = set()
        self._executables: dict[str, dict[str, bool]] = {}
        self._device = os.fstat(store.objects).st_dev

    def run(self) -> Findings:
        """Check everything."""
        started = time.monotonic()
        self._look_at_layers()
        inventory = list_stored_files(self.store, self._entries() if self._only else None)
        self._progress.phase("Checking files", len(inventory.files))
        for file in check_files(self.store, inventory, full=self._full, advance=self._advance):
            assert file.flaw is not None
            self.findings.damages.append(Damage(file.shown, file.entry, file.flaw, [], stored=file))
        self.findings.duplicates = inventory.duplicates()
        self.findings.unreadable = sorted(inventory.unreadable)
        self.strange = inventory.strange
        self.findings.unexpected += [f"{self.store.path}/{VERSION}/{name}" for name in inventory.strange]
        for one in unexpected_files(self.store, inventory.manifests.items()):
            if one.is_code:
                self.findings.damages.append(
                    Damage(one.path, one.entry, Flaw.UNEXPECTED, [], unexpected_file=one)
                )
            else:
                self.unexpected.append(one)
                self.findings.unexpected.append(f"{self.store.path}/{VERSION}/{one.name}")
        self._readers_of_the_store()
        wrong = self._wrong()
        if wrong:
            self.same_content = inventory.by_digest()
        self._look_through(inventory.by_inode(), wrong)
        count, flawed = self.pools.check(full=self._full, advance=self._advance)
        self.findings.damages += [_of_bytecode(file) for file in flawed]
        self.findings.checked = len(inventory.files) + count
        self.findings.seconds = time.monotonic() - started
        return self.findings

    def _look_through(self, inodes: dict[int, list[CheckedFile]], wrong: dict[Digest, list[Damage]]) -> None:
        """Find files of all environments that share damage, and damaged files of ``environments``."""
        for environment in self.environments:
            for environment_file in environment_files(self.store, environment):
                self._advance(0)
                self._look_at(environment_file, inodes, wrong)
        for environment in self.others if wrong else ():
            for environment_file in environment_files(self.store, environment):
                if environment_file.fact.digest in wrong:
                    self._look_at(environment_file, inodes, wrong)

    def is_good(self, name: str) -> bool:
        """Read the object *name* below ``v1/``; return True if its content has the digest of its name."""
        text = name.removeprefix("objects/").replace("/", "")[:64]
        return digest_of_stored(self.store, name).hex() == text

    def _entries(self) -> list[str]:
        roots = [find_root(self.store, environment.path) for environment in self.environments]
        named = {entry for root in roots if root is not None for entry in root.entries}
        return sorted(named - self._layered)

    def _look_at_layers(self) -> None:
        """Record the environments that import from layers; the owner of a layer checks its files."""
        for environment in self.environments:
            receipt = receipt_at(environment.path)
            rows = () if receipt is None else receipt.served.values()
            self._layered |= {row.entry for row in rows if row.layer}
            for layer, count in Counter(row.layer for row in rows if row.layer).items():
                text = f"{environment.path} imports {count} of its distributions from the layer {layer}"
                if os.path.isdir(f"{layer}/{VERSION}"):
                    self.findings.not_run.append(f"{text}, which is not checked")
                else:
                    self.findings.not_mounted.append(f"{text}, which is not mounted")

    def _wrong(self) -> dict[Digest, list[Damage]]:
        """Return the damaged stored files by the digest that they should have."""
        found: dict[Digest, list[Damage]] = {}
        for damage in self.findings.damages:
            if damage.stored is not None:
                found.setdefault(damage.stored.expected.digest, []).append(damage)
        return found

    def _readers_of_the_store(self) -> None:
        """Add to each damage the environments that read the entry's files in the store."""
        readers = [root for root in all_roots(self.store) if root.borrows]
        for damage in self.findings.damages:
            damage.environments += [root.path for root in readers if damage.entry in root.entries]

    def _look_at(
        self,
        environment_file: EnvironmentFile,
        inodes: dict[int, list[CheckedFile]],
        wrong: dict[Digest, list[Damage]],
    ) -> None:
        status, digest = environment_file.fact.status, environment_file.fact.digest
        assert status is not None
        assert digest is not None
        damages = wrong.get(digest, [])
        files = inodes.get(status.st_ino, []) if status.st_dev == self._device else []
        if files and (damages or all(file.flaw is None for file in files)):
            for damage in damages:
                if any(damage.stored is file for file in files) and self._is_meant(environment_file, damage):
                    _add(damage, environment_file, same_inode=True)
            return
        says_shared = status.st_mtime_ns == environment_file.fact.recorded and environment_file.fact.size in (
            None,
            status.st_size,
        )
        if not says_shared or self._full or damages:
            self._compare(environment_file, digest, damages)

    def _is_meant(self, environment_file: EnvironmentFile, damage: Damage) -> bool:
        """Return True if *damage* is about this file, where one inode has two expectations.

        The manifest says whether the environment's file should be executable.
        """
        if damage.flaw is not Flaw.INODE or damage.stored is None:
            return True
        if environment_file.environment not in self._executables:
            root = find_root(self.store, environment_file.environment)
            entries = [entry for entry in (root.entries if root else ()) if has_entry(self.store, entry)]
            rows = [load_manifest(self.store, entry).files for entry in entries]
            self._executables[environment_file.environment] = {
                row.path: row.executable for some in rows for row in some
            }
        known = self._executables[environment_file.environment].get(environment_file.fact.entry_path)
        return known is damage.stored.expected.executable

    def _compare(self, environment_file: EnvironmentFile, digest: Digest, damages: list[Damage]) -> None:
        """Hash a file that is not the store's inode, and sort it in: clean, damaged, or modified."""
        status = environment_file.fact.status
        if status is not None and status.st_uid not in trusted_users():
            before, self._foreign = self._foreign, self._foreign + status.st_size
            if self._foreign > _MOST_FOREIGN:
                if before <= _MOST_FOREIGN:
                    self.findings.not_run.append(
                        f"{environment_file.path} and later files are not read: of other users' files"
                        f" at most {_MOST_FOREIGN >> 30} GiB are compared"
                    )
                return
        actual = digest_of_environment_file(environment_file)
        if actual == digest:
            for damage in damages:
                damage.clean.append(environment_file)
            return
        same = [damage for damage in damages if damage.stored and damage.stored.actual == actual]
        for damage in same:
            _add(damage, environment_file, same_inode=False)
        if actual is None or same:
            return
        if status is not None and status.st_mtime_ns == environment_file.fact.recorded:
            self.findings.damages.append(_of_copy(environment_file))
        elif environment_file.fact.has_record_digest:
            self.findings.modified.append(environment_file.path)

    def _advance(self, size: int) -> None:
        self._done["files"] += 1
        self._done["bytes"] += size
        if not self._done["files"] % 64:
            self._progress.advance(self._done["files"], self._done["bytes"])


def _add(damage: Damage, environment_file: EnvironmentFile, *, same_inode: bool) -> None:
    damage.shared.append((environment_file, Sharer(environment_file.environment, same_inode)))
    if environment_file.environment not in damage.environments:
        damage.environments.append(environment_file.environment)


def _of_copy(environment_file: EnvironmentFile) -> Damage:
    return Damage(
        environment_file.path,
        "",
        Flaw.CONTENT,
        [environment_file.environment],
        environment_file=environment_file,
    )


def _of_bytecode(file: PoolFile) -> Damage:
    assert file.flaw is not None
    return Damage(file.name, "", file.flaw, [], compiled=file)

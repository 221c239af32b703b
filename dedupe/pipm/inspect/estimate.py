"""About what adopting an environment would free, from its RECORDs and the store: no file of it is read."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from pipm.core.record import RecordPlace
from pipm.env.environment import load_environment
from pipm.env.installed import installed_distributions
from pipm.errors import NotAnEnvironmentError
from pipm.fs.free_space import accounting, file_system_type, has_reflinks

if TYPE_CHECKING:
    from pipm.env.environment import Environment
    from pipm.env.installed import InstalledDistribution
    from pipm.store.inventory import StoreInventory
    from pipm.store.layout import Store


class Estimator:
    """Estimates one environment after the other; what one would bring to the store, the next finds there.

    RECORD is believed and nothing is asked of the files themselves, so the figure is an upper bound but for
    files without hashes (PDM), which only an adoption reads.
    """

    def __init__(self, store: Store | None, held: StoreInventory | None) -> None:
        self._stored = set() if store is None or held is None else set(held.objects.values())
        self._compiled = set() if held is None else set(held.bytecode)

    def frees(self, path: str, python: str) -> int:
        """Bytes that adopting the environment at *path* would free, up to and about."""
        try:
            environment = load_environment(path)
            root = os.open(environment.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except (OSError, NotAnEnvironmentError):
            return 0
        try:
            found = installed_distributions(environment, root)
        except OSError:  # others work in it
            return 0
        finally:
            os.close(root)
        one = _EnvironmentEstimate(environment, python)
        for distribution in found:
            if distribution.refusal is None:
                one.add(distribution, self._stored, self._compiled)
        self._stored |= one.brings
        self._compiled |= one.compiles
        return one.freed


class _EnvironmentEstimate:
    """The sum of one environment."""

    def __init__(self, environment: Environment, python: str) -> None:
        self._path = environment.path
        self._tag = "cpython-" + "".join(python.split(".")[:2])
        kind = file_system_type(environment.path)
        self._least = accounting(kind).inline if has_reflinks(kind) else 0
        self._block = os.statvfs(environment.path).f_frsize
        self.freed = 0
        self.brings: set[str] = set()
        self.compiles: set[str] = set()

    def add(self, distribution: InstalledDistribution, stored: set[str], compiled: set[str]) -> None:
        """Add the files of one distribution."""
        for row, location in distribution.located:
            digest = row.digest
            if digest is None or not row.size or location.place not in (RecordPlace.SITE, RecordPlace.DATA):
                continue
            name = digest.hex()
            if name in stored or name in self.brings:
                self.freed += self._blocks(row.size)
            else:
                self.brings.add(name)
            if location.place is RecordPlace.SITE and location.path.endswith(".py"):
                self._bytecode(f"{distribution.site}/{location.path}", name, compiled)

    def _bytecode(self, source: str, name: str, compiled: set[str]) -> None:
        folder, _, file = source.rpartition("/")
        path = f"{self._path}/{folder}/__pycache__/{file.removesuffix('py')}{self._tag}.pyc"
        try:
            status = os.lstat(path)
        except OSError:
            return
        if not stat.S_ISREG(status.st_mode):
            return
        if name in compiled:
            self.freed += self._blocks(status.st_size)
        self.compiles.add(name)

    def _blocks(self, size: int) -> int:
        return 0 if size <= self._least else -(-size // self._block) * self._block

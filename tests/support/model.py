"""The expected files of each environment in a random sequence, byte for byte."""

from __future__ import annotations

import ensurepip
import functools
import glob
import hashlib
import json
import os
import subprocess
import zipfile
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipm.store.layout import open_store
from pipm.store.roots import find_root

from support.synthetic import Environment, Files, dist_info, make_environment, wheel_files

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

NAMES = ("alpha", "beta", "gamma")
VERSIONS = ("1.0", "2.0")
_IMPORTED = """
import hashlib, importlib.util, json, os
found = {}
for path in %r:
    origin = importlib.util.find_spec(path.split("/")[0]).origin
    with open(os.path.join(os.path.dirname(os.path.dirname(origin)), path), "rb") as file:
        found[path] = hashlib.sha256(file.read()).hexdigest()
print(json.dumps(found))
"""


def files_of(name: str, version: str) -> Files:
    """A small distribution: most of it is equal in both versions; one file is inline on btrfs."""
    large = (name * 40_000)[:150_000].encode()
    return {
        f"{name}/__init__.py": f"VERSION = {version!r}\n".encode(),
        f"{name}/same.py": f"NAME = {name!r}\n".encode() * 300,
        f"{name}/tiny.txt": name.encode(),
        f"{name}/py.typed": b"",
        f"{name}/data.bin": large,
        f"{name}/other.bin": large[::-1] + version.encode(),
    }


def installed_files(versions: Mapping[str, str]) -> Files:
    """What an environment has of these distributions."""
    found: Files = {}
    for name, version in versions.items():
        found |= wheel_files(name, version, files_of(name, version))
    return found


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """An environment as it should be; ``mode``: how it is adopted, ``known``: the store knows where.

    ``pip``: it has a pip of its own.
    """

    environment: Environment
    files: dict[str, bytes]
    versions: dict[str, str]
    mode: str = ""
    known: bool = False
    pip: bool = False

    def with_versions(self, versions: Mapping[str, str]) -> Known:
        """The same with other versions of some distributions, as an installer leaves it."""
        rest = self.without(versions)
        fresh = installed_files(versions)
        return replace(rest, files=rest.files | fresh, versions=rest.versions | dict(versions))

    def without(self, names: Collection[str]) -> Known:
        """The same without some distributions."""
        own = tuple(f"{name}{mark}" for name in names for mark in "/-")
        return replace(
            self,
            files={path: data for path, data in self.files.items() if not path.startswith(own)},
            versions={name: version for name, version in self.versions.items() if name not in names},
        )

    def noted(self, store_path: str) -> Known:
        """The same with what the store says of it; symlinks stay symlinks under every other mode."""
        store = open_store(store_path, create=False)
        root = None if store is None else find_root(store, self.environment.path)
        if root is None:
            return self
        return replace(self, mode=self.mode if self.mode == "symlink" else root.link_mode, known=True)

    def info(self, name: str) -> str:
        """The path of a distribution's metadata folder."""
        return self.environment.file(dist_info(name, self.versions[name]))

    def digests(self) -> dict[str, str]:
        """The sha256 of each file as a program in the environment reads it, by its path."""
        here = {path: self.environment.file(path) for path in self.files}
        found = {path: _digest(place) for path, place in here.items() if os.path.exists(place)}
        served = [path for path in self.files if path not in found]
        if served and self.mode == "finder":
            found |= json.loads(self.environment.run(_IMPORTED % served, "-I", "-B"))
        return found

    def expected(self) -> dict[str, str]:
        """What `digests` should be."""
        return {path: hashlib.sha256(data).hexdigest() for path, data in self.files.items()}


def _digest(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@functools.cache
def _pip_template(folder: str) -> str:
    environment = make_environment(os.path.join(folder, "pip-template"))
    (wheel,) = glob.glob(os.path.join(os.path.dirname(ensurepip.__file__), "_bundled", "pip-*.whl"))
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(environment.site)
    environment.compile()
    return environment.site


def put_pip(environment: Environment, folder: str) -> None:
    """Give the environment a pip of its own; *folder* is where the unpacked one is kept."""
    subprocess.run(["cp", "-a", f"{_pip_template(folder)}/.", environment.site], check=True)

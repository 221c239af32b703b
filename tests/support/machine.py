"""Random sequences of what people and tools do, beside a model of the bytes that each environment has."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from hypothesis import HealthCheck, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from dedupe.fs.links import LinkMode, parse_link_mode
from dedupe.ops.keeping.gc import collect
from dedupe.ops.keeping.verify import verify
from dedupe.ops.progress import Progress
from dedupe.ops.sharing.adopt import adopt
from dedupe.ops.sharing.adoption import AdoptOptions
from dedupe.ops.sharing.release import release
from dedupe.plan.gc import DAY, Limits
from support.store import damage
from support.synthetic import Environment, Files, dist_info, install, make_environment, wheel_files

if TYPE_CHECKING:
    from collections.abc import Iterator

NAMES = ("alpha", "beta", "gamma")
VERSIONS = ("1.0", "2.0")
_QUIET = Progress()
_numbers = itertools.count()


def files_of(name: str, version: str) -> Files:
    """A small distribution: most of it is the same in both versions; one file lies inline on btrfs."""
    large = (name * 40_000)[:150_000].encode()
    return {
        f"{name}/__init__.py": f"VERSION = {version!r}\n".encode(),
        f"{name}/same.py": f"NAME = {name!r}\n".encode() * 300,
        f"{name}/tiny.txt": name.encode(),
        f"{name}/py.typed": b"",
        f"{name}/data.bin": large,
        f"{name}/other.bin": large[::-1] + version.encode(),
    }


@dataclass(frozen=True, kw_only=True, slots=True)
class Known:
    """An environment as it should be; ``mode``: how it is adopted, ``known``: the store knows where."""

    environment: Environment
    files: dict[str, bytes]
    versions: dict[str, str]
    mode: str = ""
    known: bool = False


class Machine(RuleBasedStateMachine):
    """`folder` is where a subclass for one disk puts its stores and environments."""

    folder = ""

    @initialize()
    def begin(self) -> None:
        """A fresh place, and an environment that nobody touches."""
        self.base = os.path.join(self.folder, f"machine{next(_numbers)}")
        os.makedirs(self.base)
        self.store = os.path.join(self.base, "store")
        self.known: list[Known] = []
        self.clean = make_environment(os.path.join(self.base, "clean"))
        for name in NAMES:
            install(self.clean, f"{name}==1.0", files_of(name, "1.0"))

    def _pick(self, number: int) -> int:
        return number % len(self.known)

    def _path(self) -> str:
        return os.path.join(self.base, f"env{next(_numbers)}")

    @rule(
        names=st.sets(st.sampled_from(NAMES), min_size=1),
        version=st.sampled_from(VERSIONS),
        pyc=st.booleans(),
    )
    def create(self, names: set[str], version: str, *, pyc: bool) -> None:
        """An installer makes an environment."""
        environment = make_environment(self._path())
        for name in sorted(names):
            install(environment, f"{name}=={version}", files_of(name, version))
        if pyc:
            environment.compile()
        one = Known(environment=environment, files={}, versions=dict.fromkeys(names, version))
        self.known.append(replace(one, files=dict(self._installed(one))))

    def _installed(self, one: Known) -> Iterator[tuple[str, bytes]]:
        for name, version in one.versions.items():
            yield from wheel_files(name, version, files_of(name, version)).items()

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99), mode=st.sampled_from(["auto", "auto", "hardlink", "symlink"]))
    def adopt(self, number: int, mode: str) -> None:
        """Share an environment's files."""
        at = self._pick(number)
        one = self.known[at]
        if one.mode == "symlink":
            mode = "symlink"  # its files are links by now, and stay so
        done = adopt(self.store, one.environment.path, AdoptOptions(link_mode=parse_link_mode(mode)), _QUIET)
        self.known[at] = replace(one, mode=done.link_mode, known=True)

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99))
    def release(self, number: int) -> None:
        """Give an environment its own copies again."""
        at = self._pick(number)
        one = self.known[at]
        release(self.store, one.environment.path, [], _QUIET, dry_run=False)
        self.known[at] = replace(one, mode="", known=False)

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99))
    def delete(self, number: int) -> None:
        """Somebody removes an environment."""
        shutil.rmtree(self.known.pop(self._pick(number)).environment.path)

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99))
    def move(self, number: int) -> None:
        """Somebody renames an environment."""
        at = self._pick(number)
        one = self.known[at]
        path = self._path()
        os.rename(one.environment.path, path)
        self.known[at] = replace(one, environment=Environment(path=path), known=False)

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99), reflink=st.booleans())
    def copy(self, number: int, *, reflink: bool) -> None:
        """Somebody copies an environment; a copy of symlinks is nobody's we know of."""
        one = self.known[self._pick(number)]
        if one.mode == "symlink":
            return
        path = self._path()
        options = ["-r", "--reflink=auto"] if reflink else ["-a", "--reflink=never"]
        subprocess.run(["cp", *options, one.environment.path, path], check=True)
        self.known.append(replace(one, environment=Environment(path=path), mode="", known=False))

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99), name=st.sampled_from(NAMES), text=st.binary(min_size=1, max_size=3000))
    def edit(self, number: int, name: str, text: bytes) -> None:
        """A person patches a file in place, after `release --dist` as the hints say."""
        at = self._pick(number)
        one = self.known[at]
        target = f"{name}/same.py"
        if target not in one.files:
            return
        if one.mode in ("hardlink", "symlink"):
            release(self.store, one.environment.path, [name], _QUIET, dry_run=False)
        with open(one.environment.file(target), "wb") as file:
            file.write(text)
        self.known[at] = replace(one, files=one.files | {target: text})

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99), name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS))
    def upgrade(self, number: int, name: str, version: str) -> None:
        """An installer removes one version and writes another, each file anew."""
        at = self._pick(number)
        one = self.known[at]
        if name in one.versions:
            shutil.rmtree(one.environment.file(name))
            shutil.rmtree(one.environment.file(dist_info(name, one.versions[name])))
        install(one.environment, f"{name}=={version}", files_of(name, version))
        own = (f"{name}/", f"{name}-")
        rest = {path: data for path, data in one.files.items() if not path.startswith(own)}
        versions = one.versions | {name: version}
        fresh = wheel_files(name, version, files_of(name, version))
        self.known[at] = replace(one, files=rest | fresh, versions=versions)

    @rule(now=st.booleans())
    def collect(self, *, now: bool) -> None:
        """Remove what nothing needs; at once only where no environment reads the store unseen."""
        unseen = any(one.mode == "symlink" and not one.known for one in self.known)
        collect(self.store, Limits(keep=0.0 if now and not unseen else 14 * DAY), _QUIET)

    @rule(full=st.booleans())
    def verify(self, *, full: bool) -> None:
        """Nothing that happened is damage."""
        findings, _ = verify(self.store, [], _QUIET, full=full)
        assert findings.damages == []
        assert findings.unreadable == []

    @rule(name=st.sampled_from(NAMES))
    def rot(self, name: str) -> None:
        """A bit of a stored file flips under its time: the next adoption sees it, and a repair mends it.

        Whom the store does not know it cannot mend: a moved environment with hard links is left out.
        """
        if any(one.mode in ("hardlink", "symlink") and not one.known for one in self.known):
            return
        content = hashlib.sha256(files_of(name, "1.0")[f"{name}/data.bin"]).hexdigest()
        path = os.path.join(self.store, "v1", "objects", content[:2], content[2:])
        if not os.path.exists(path):
            return
        status = os.stat(path)
        with open(path, "r+b") as file:
            file.seek(5000)
            file.write(b"\0\1\2")
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        adopt(self.store, self.clean.path, AdoptOptions(link_mode=LinkMode.HARDLINK), _QUIET)
        findings, _ = verify(self.store, [], _QUIET, full=True, repair=True)
        assert not findings.remaining
        release(self.store, self.clean.path, [], _QUIET, dry_run=False)

    def teardown(self) -> None:
        """With the last environment gone nothing is left."""
        if not hasattr(self, "known"):
            return
        try:
            for one in self.known:
                shutil.rmtree(one.environment.path)
            self.known = []
            collect(self.store, Limits(keep=0.0), _QUIET)
            left = [
                os.path.join(folder, name)
                for folder, _, names in os.walk(os.path.join(self.store, "v1"))
                for name in names
                if name != "reserve"
            ]
            assert not left, left
        finally:
            shutil.rmtree(self.base)

    @invariant()
    def _check(self) -> None:
        for one in getattr(self, "known", ()):  # asked before the first rule, too
            for path, data in one.files.items():
                with open(one.environment.file(path), "rb") as file:
                    assert file.read() == data, (one.environment.path, path, one.mode)
        if os.path.isdir(getattr(self, "store", "")):
            assert damage(self.store) == []


def run_machine(folder: str, *, examples: int, steps: int, seed: int) -> None:
    """Run so many random sequences below *folder*; raises with the shortest one that fails."""
    machine = hypothesis_seed(seed)(type("Here", (Machine,), {"folder": folder}))
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
            database=None,
        ),
    )

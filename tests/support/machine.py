"""Random sequences of actions of people and tools, with a model of each environment's bytes."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
from dataclasses import replace

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
from pipm.adopt.choose_mode import adopt_by_best_mode
from pipm.context.progress import Progress
from pipm.core.plan.gc_plan import DAY, Limits
from pipm.errors import PipmError
from pipm.fs.link_modes import LinkMode, parse_link_mode
from pipm.gc.collect import collect
from pipm.release.release import release_environment
from pipm.share.adoption import Adoption, AdoptOptions
from pipm.venv.wrap_pip import wrap_pip
from pipm.verify.verify import verify

from support.locks import pylock
from support.model import NAMES, VERSIONS, Known, files_of, put_pip
from support.pipm import Pipm
from support.pips import run_pip
from support.store import damage
from support.synthetic import Environment, install, make_environment, make_wheel

_MODES = ("auto", "auto", "hardlink", "symlink", "finder")
_QUIET = Progress()
_numbers = itertools.count()


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
        self.wheels = {
            (name, version): make_wheel(f"{self.base}/wheels", f"{name}=={version}", files_of(name, version))
            for name in NAMES
            for version in VERSIONS
        }

    def _pick(self, number: int) -> int:
        return number % len(self.known)

    def _path(self) -> str:
        return os.path.join(self.base, f"env{next(_numbers)}")

    @rule(
        names=st.sets(st.sampled_from(NAMES), min_size=1),
        version=st.sampled_from(VERSIONS),
        pyc=st.booleans(),
        pip=st.sampled_from([True, False, False]),
    )
    def create(self, names: set[str], version: str, *, pyc: bool, pip: bool) -> None:
        """An installer makes an environment."""
        environment = make_environment(self._path())
        for name in sorted(names):
            install(environment, f"{name}=={version}", files_of(name, version))
        if pyc:
            environment.compile()
        if pip:
            put_pip(environment, self.folder)
        one = Known(environment=environment, files={}, versions={}, pip=pip)
        self.known.append(one.with_versions(dict.fromkeys(names, version)))

    def _adopt(self, environment: Environment, options: AdoptOptions) -> Adoption:
        (outcome,) = adopt_by_best_mode(self.store, [environment.path], options, _QUIET).values()
        if isinstance(outcome, PipmError):
            raise outcome
        return outcome

    def _release(self, one: Known, *names: str) -> None:
        release_environment(self.store, one.environment.path, list(names), _QUIET, dry_run=False)

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99), mode=st.sampled_from(_MODES), wrap=st.booleans())
    def adopt(self, number: int, mode: str, *, wrap: bool) -> None:
        """Share an environment's files; its pip, if it has one, goes through the store from now on."""
        at = self._pick(number)
        one = self.known[at]
        if one.mode in ("symlink", "finder"):
            mode = one.mode  # its files are links by now, or gone, and stay so
        done = self._adopt(one.environment, AdoptOptions(link_mode=parse_link_mode(mode)))
        if one.pip:
            wrap_pip(self.store, one.environment.path, done.link_mode, wanted=wrap or None)
        self.known[at] = replace(one, mode=done.link_mode, known=True)

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99))
    def release(self, number: int) -> None:
        """Give an environment its own copies again."""
        at = self._pick(number)
        one = self.known[at]
        self._release(one)
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
        mode = one.mode if one.mode == "finder" else ""  # it goes on reading the store's files
        self.known.append(replace(one, environment=Environment(path=path), mode=mode, known=False))

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99), name=st.sampled_from(NAMES), text=st.binary(min_size=1, max_size=3000))
    def edit(self, number: int, name: str, text: bytes) -> None:
        """A person patches a file in place, after `release --dist` as the hints say."""
        at = self._pick(number)
        one = self.known[at]
        target = f"{name}/same.py"
        if target not in one.files:
            return
        if one.mode in ("hardlink", "symlink", "finder"):
            self._release(one, name)
        with open(one.environment.file(target), "wb") as file:
            file.write(text)
        self.known[at] = replace(one, files=one.files | {target: text})

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99), name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS))
    def upgrade(self, number: int, name: str, version: str) -> None:
        """An installer removes one version and writes another as new files."""
        at = self._pick(number)
        one = self.known[at]
        if name in one.versions:
            if os.path.exists(one.environment.file(name)):  # the finder serves it from elsewhere
                shutil.rmtree(one.environment.file(name))
            shutil.rmtree(one.info(name))
        install(one.environment, f"{name}=={version}", files_of(name, version))
        self.known[at] = one.with_versions({name: version})

    @precondition(lambda self: self.known)
    @rule(number=st.integers(0, 99), name=st.sampled_from(NAMES), version=st.sampled_from(VERSIONS))
    def pip(self, number: int, name: str, version: str) -> None:
        """pip installs a version: the environment's own, wrapped or not, or ours from outside."""
        at = self._pick(number)
        one = self.known[at]
        words = ["install", "-q", "--no-index", "--no-deps", "--force-reinstall"]
        words += ["--find-links", f"{self.base}/wheels", f"{name}=={version}"]
        if one.pip:
            done = run_pip(one.environment, *words)
            assert done.returncode == 0, (done.stdout, done.stderr)
            assert "pipm" not in done.stderr, done.stderr
        else:
            Pipm(store=self.store)("pip", *words, "--env", one.environment.path).expect()
        self.known[at] = one.with_versions({name: version}).noted(self.store)

    @rule(
        number=st.integers(0, 99),
        names=st.sets(st.sampled_from(NAMES), min_size=1),
        version=st.sampled_from(VERSIONS),
        mode=st.sampled_from(_MODES),
        fresh=st.booleans(),
    )
    def sync(self, number: int, names: set[str], version: str, mode: str, *, fresh: bool) -> None:
        """An environment becomes what a lock says; what of it was there, edited, may stay so."""
        if fresh or not self.known:
            environment = Environment(path=self._path())
            self.known.append(Known(environment=environment, files={}, versions={}))
            at = len(self.known) - 1
        else:
            at = self._pick(number)
        one = self.known[at]
        if one.mode in ("symlink", "finder"):
            mode = one.mode
        elif one.versions and mode == "finder":
            mode = "auto"  # refused where there are files
        lock = pylock(self.base, [self.wheels[name, version] for name in sorted(names)])
        options = ("--env", one.environment.path, "--link-mode", mode)
        done = Pipm(store=self.store)("sync", lock, "--json", *options).expect().json
        one = replace(one, mode=done["link_mode"], known=True)
        kept = {name for name in names if one.versions.get(name) == version}
        edited = {path: data for path, data in one.files.items() if path.partition("/")[0] in kept}
        one = one.without(one.versions).with_versions(dict.fromkeys(names, version))
        seen = one.digests()
        stayed = {path: data for path, data in edited.items() if seen[path] != one.expected()[path]}
        self.known[at] = replace(one, files=one.files | stayed)

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
        if any(one.mode not in ("", "reflink") and not one.known for one in self.known):
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
        self._adopt(self.clean, AdoptOptions(link_mode=LinkMode.HARDLINK))
        findings, _ = verify(self.store, [], _QUIET, full=True, repair=True)
        assert not findings.remaining
        release_environment(self.store, self.clean.path, [], _QUIET, dry_run=False)

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
            seen, expected = one.digests(), one.expected()
            wrong = [path for path in expected if seen.get(path) != expected[path]]
            assert not wrong, (one.environment.path, one.mode, wrong)
        if os.path.isdir(getattr(self, "store", "")):
            assert damage(self.store) == []


def run_machine(folder: str, *, examples: int, steps: int, seed: int) -> None:
    """Run random sequences below *folder*; raise with the shortest one that fails."""
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

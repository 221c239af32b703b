"""Any version of pip with the wrapper, compared with the same pip without it."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import zipfile
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from support.installers import venv
from support.process import check, clean_environ
from support.snapshot import difference, is_bytecode, snapshot
from support.synthetic import dist_info, record_text, wheel_files

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.pipm import Pipm
    from support.snapshot import Snapshot
    from support.synthetic import Environment

OURS = "000_pipm_pip.pth"


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """What one run of pip gave, and the environment after it."""

    code: int
    out: str
    err: str
    tree: Snapshot
    compiled: frozenset[str]


def outcome_of(environment: Environment, done: subprocess.CompletedProcess[str]) -> Outcome:
    """Look at the environment after a run of pip; the wrapper's own files do not count."""
    whole = {
        path: entry
        for path, entry in snapshot(environment.path).items()
        if not path.startswith(".pipm") and os.path.basename(path) != OURS
    }
    return Outcome(
        code=done.returncode,
        out=done.stdout,
        err=done.stderr,
        tree={path: entry for path, entry in whole.items() if not is_bytecode(path)},
        compiled=frozenset(path for path in whole if path.endswith(".pyc")),
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Twins:
    """An environment and its copy without wrapper, which take turns at one path: scripts are the same."""

    environment: Environment
    variables: Mapping[str, str] = field(default_factory=dict)

    @property
    def _away(self) -> str:
        return f"{self.environment.path}.plain"

    def copy(self) -> None:
        """Make the copy, before the wrapper is put in."""
        check("cp", "-a", self.environment.path, self._away)

    def wrapped(self, *arguments: str) -> Outcome:
        """Run the wrapped pip."""
        return outcome_of(self.environment, run_pip(self.environment, *arguments, **self.variables))

    def plain(self, *arguments: str) -> Outcome:
        """Run the other one at the same place."""
        path, aside = self.environment.path, f"{self.environment.path}.aside"
        os.rename(path, aside)
        os.rename(self._away, path)
        try:
            return outcome_of(self.environment, run_pip(self.environment, *arguments, **self.variables))
        finally:
            os.rename(path, self._away)
            os.rename(aside, path)


def assert_same(one: Outcome, other: Outcome) -> None:
    """Check that two runs of pip gave the same, and left the same."""
    assert (one.code, one.out, one.err) == (other.code, other.out, other.err)
    assert difference(one.tree, other.tree) == []
    assert one.compiled ^ other.compiled == frozenset()


def run_pip(environment: Environment, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run the environment's `python -m pip`; the caller looks at the exit code."""
    return subprocess.run(
        [environment.python, "-m", "pip", *arguments],
        env=pip_environ(**variables),
        cwd=environment.path,
        text=True,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=600,
        check=False,
    )


def start_pip(environment: Environment, *arguments: str, **variables: str) -> subprocess.Popen[str]:
    """Start the environment's `python -m pip` in a session of its own."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    return subprocess.Popen(
        [environment.python, "-m", "pip", *arguments],
        env=pip_environ(**variables),
        cwd=environment.path,
        text=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )


def pip_environ(**variables: str) -> dict[str, str]:
    """Return variables without a user's settings of pip."""
    kept = {name: value for name, value in clean_environ().items() if not name.startswith("PIP_")}
    pip = {"PIP_CONFIG_FILE": os.devnull, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_NO_INPUT": "1"}
    return kept | pip | dict(variables)


def fetch_pips(folder: str, *versions: str) -> dict[str, str]:
    """Fetch pip's wheels from the index; version → path."""
    found = {}
    for version in versions:
        path = os.path.join(folder, f"pip-{version}-py3-none-any.whl")
        if not os.path.exists(path):
            any_python = ("--no-deps", "--ignore-requires-python", "--only-binary", ":all:")
            check(sys.executable, "-m", "pip", "download", "-q", *any_python, "-d", folder, f"pip=={version}")
        found[version] = path
    return found


def environment_with_pip(path: str, *, python: str, pip: str) -> Environment:
    """Make an environment with pip from the wheel *pip*, without an installer."""
    environment = venv(path, python=python, pip=False)
    with zipfile.ZipFile(pip) as archive:
        archive.extractall(environment.site)
    check(environment.python, "-m", "compileall", "-q", environment.file("pip"))
    return environment


def wrap(pipm: Pipm, environment: Environment, mode: str = "auto") -> None:
    """Put the wrapper in."""
    pipm("adopt", environment.path, "--wrap-pip", "--link-mode", mode).expect()


BROKEN = b"def broken(:\n"


def rich_wheel(folder: str, spec: str, extra: Mapping[str, bytes] | None = None) -> str:
    """Write a wheel with each feature of the format; return its path."""
    name, version = spec.split("==")
    data = f"{name}-{version}.data"
    info = dist_info(name, version)
    large = b"".join(b"def f%d():\n    return %d\n" % (number, number) for number in range(500))
    files = {
        f"{name}/__init__.py": f"VERSION = {version!r}\n".encode(),
        f"{name}/large.py": large,
        f"{name}/empty/__init__.py": b"",
        f"{name}/broken.py": BROKEN,
        f"{name}/py.typed": b"",
        f"{name}/run.sh": b"#!/bin/sh\necho run\n",
        f"{name}/data.bin": bytes(range(256)) * 300,
        f"{name}-extra.pth": b"# nothing\n",
        f"{data}/scripts/{name}-tool": b"#!python\nprint('tool')\n",
        f"{data}/data/share/{name}/table.txt": b"table\n" * 50,
        f"{data}/data/share/{name}/helper.py": b"HELP = 1\n",
        f"{data}/data/etc/{name}.conf": b"[conf]\n",
        f"{data}/headers/{name}.h": b"#define X 1\n",
        f"{data}/purelib/{name}_pure.py": f"PURE = {version!r}\n".encode(),
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n".encode(),
        **(extra or {}),
    }
    whole = wheel_files(name, version, files)
    record = f"{info}/RECORD"
    path = os.path.join(folder, f"{name}-{version}-py3-none-any.whl")
    os.makedirs(folder, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in whole.items():
            archive.writestr(_member(member, executable=member.endswith("run.sh")), content)
        archive.writestr(record, record_text(whole, record))
    return path


def _member(name: str, *, executable: bool) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, (2020, 2, 2, 2, 2, 2))
    info.external_attr = (stat.S_IFREG | (0o755 if executable else 0o644)) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    return info


def remove(path: str) -> None:
    """Remove a folder with all that is in it."""
    shutil.rmtree(path)

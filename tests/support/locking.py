"""Real tools that lock a project and install the lock into a new environment."""

from __future__ import annotations

import functools
import http.server
import json
import os
import shutil
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from pipm.core.selection import Selection
from pipm.env.ask_target import ask_target
from pipm.lockfile.read_lock import read_lock

from support.process import check

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

SEEDS = {"pip", "setuptools", "wheel", "pkg-resources", "distribute"}
"""What a fresh environment has before anything is installed into it."""

DEFAULT = Selection()
MORE = Selection(extras=("fast",), groups=("docs",))

_INSTALLED = (
    "import json, re, sys; from importlib.metadata import distributions as d;"
    "name = lambda text: re.sub(r'[-_.]+', '-', text).lower();"
    "own = [path for path in sys.path if path.startswith(sys.prefix)];"  # PyPy brings some of its own
    "print(json.dumps({name(one.metadata['Name']): one.version for one in d(path=own)}))"
)
_BACKEND = '[build-system]\nrequires = ["flit_core>=3.9,<4"]\nbuild-backend = "flit_core.buildapi"\n'


@functools.cache
def index_url() -> str:
    """The index that pip uses: Poetry gets it as a simple one, for some mirrors have no JSON for it."""
    code = "from pip._internal.models.index import PyPI; print(PyPI.simple_url)"
    return os.environ.get("PIP_INDEX_URL") or check(sys.executable, "-c", code).strip()


@dataclass(frozen=True, kw_only=True, slots=True)
class Sources:
    """A project on this disk, a repository and a wheel behind an URL, to depend on."""

    helper: str
    repository: str
    wheel: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Project:
    """A folder with a project; ``cache`` is for the tools' downloads."""

    folder: str
    cache: str

    def file(self, name: str) -> str:
        """The path of a file of the project."""
        return os.path.join(self.folder, name)

    def write(self, name: str, text: str) -> str:
        """Write a file of the project."""
        path = self.file(name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def environment(self) -> str:
        """The path of the environment, of which nothing is there."""
        path = self.file(".venv")
        shutil.rmtree(path, ignore_errors=True)
        return path


class Tool(Protocol):
    """A way to lock a project and to install the lock."""

    name: str

    def prepare(self, text: str) -> str:
        """Return pyproject.toml as this tool needs it."""

    def lock(self, project: Project, python: str) -> str:
        """Lock with the interpreter *python* where the tool needs one; the lock's path."""

    def install(self, project: Project, python: str, selection: Selection) -> str:
        """Install into a fresh environment; its path."""


def make_sources(folder: str) -> Sources:
    """Make the project and the repository that depend on something themselves."""
    for name, needs in (("helper", "idna"), ("gitted", "zipp")):
        place = Project(folder=os.path.join(folder, name), cache="")
        place.write(f"{name}.py", f'"""A module."""\n__version__ = "1.5"\nNAME = "{name}"\n')
        text = f'[project]\nname = "{name}"\nversion = "1.5"\ndescription = "x"\ndependencies = ["{needs}"]\n'
        place.write("pyproject.toml", _BACKEND + text)
    repository = os.path.join(folder, "gitted")
    who = ("-c", "user.name=t", "-c", "user.email=t@t")
    for words in (("init", "-q", "."), ("add", "."), (*who, "commit", "-q", "-m", "one"), ("tag", "v1.5")):
        check("git", *words, cwd=repository)
    wheels = os.path.join(folder, "wheels")
    check(sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", wheels, "iniconfig==2.1.0")
    (wheel,) = os.listdir(wheels)
    return Sources(
        helper=os.path.join(folder, "helper"), repository=repository, wheel=os.path.join(wheels, wheel)
    )


def serve(folder: str) -> Iterator[str]:
    """Serve a folder on this machine; yields its URL."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    handler = functools.partial(Quiet, directory=folder)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def project_text(direct: Iterable[str], *, more: Iterable[str] = ()) -> str:
    """Return a pyproject.toml with extras, groups, markers and direct references."""
    needs = [
        "requests[socks]>=2.28",
        "markupsafe",
        "cffi<3",
        "colorama; sys_platform == 'win32'",
        "tomli; python_version < '3.11'",
        "importlib-metadata>=6; python_version < '3.12'",
        *more,
        *direct,
    ]
    return (
        f"{_BACKEND}"
        '[project]\nname = "sample"\nversion = "1.0"\ndescription = "x"\nrequires-python = ">=3.9,<4"\n'
        f"dependencies = {json.dumps(needs)}\n"
        "[project.optional-dependencies]\n"
        'fast = ["ujson; platform_python_implementation == \'CPython\'", "pyyaml"]\n'
        'yaml = ["pyyaml"]\n'
        '[dependency-groups]\ndev = ["sortedcontainers"]\ndocs = ["jinja2"]\n'
    )


def pipfile_text(sources: Sources, wheel_url: str) -> str:
    """Return a Pipfile with categories, markers and direct references."""
    return (
        f'[[source]]\nurl = "{index_url()}"\nverify_ssl = true\nname = "pypi"\n[packages]\n'
        'cffi = "*"\ncolorama = {version = "*", markers = "sys_platform == \'win32\'"}\n'
        'requests = {version = ">=2.28", extras = ["socks"]}\n'
        f'helper = {{path = "{sources.helper}", editable = true}}\n'
        f'gitted = {{git = "file://{sources.repository}", ref = "v1.5"}}\n'
        f'iniconfig = {{file = "{wheel_url}"}}\n'
        '[dev-packages]\nsortedcontainers = "*"\n[docs]\njinja2 = "*"\n'
    )


def poetry_text(sources: Sources, wheel_url: str) -> str:
    """Return a pyproject.toml as Poetry 1 wants it."""
    return (
        '[build-system]\nrequires = ["poetry-core"]\nbuild-backend = "poetry.core.masonry.api"\n'
        '[tool.poetry]\nname = "sample"\nversion = "1.0"\ndescription = "x"\nauthors = []\n'
        '[tool.poetry.dependencies]\npython = "^3.9"\n'
        'requests = {version = "^2.28", extras = ["socks"]}\nmarkupsafe = "*"\n'
        'colorama = {version = "*", platform = "win32"}\ntomli = {version = "*", python = "<3.11"}\n'
        'numpy = [{version = "<2", python = "<3.12"}, {version = ">=2", python = ">=3.12"}]\n'
        'ujson = {version = "*", optional = true, markers = "implementation_name == \'cpython\'"}\n'
        'pyyaml = {version = "*", optional = true}\n'
        f'helper = {{path = "{sources.helper}", develop = true}}\n'
        f'gitted = {{git = "file://{sources.repository}", tag = "v1.5"}}\n'
        f'iniconfig = {{url = "{wheel_url}"}}\n'
        '[tool.poetry.extras]\nfast = ["ujson", "pyyaml"]\n'
        '[tool.poetry.group.dev.dependencies]\nsortedcontainers = "*"\n'
        "[tool.poetry.group.docs]\noptional = true\n"
        '[tool.poetry.group.docs.dependencies]\njinja2 = "*"\n'
    )


def installed(environment: str) -> dict[str, str]:
    """The distributions of an environment by name, as its own interpreter sees them."""
    answer = check(os.path.join(environment, "bin", "python"), "-I", "-c", _INSTALLED)
    found: dict[str, str] = json.loads(answer)
    return {name: version for name, version in found.items() if name not in SEEDS}


def differences(
    lock: str, environment: str, python: str, selection: Selection
) -> dict[str, tuple[str | None, str | None]]:
    """What the reader's pins for *python* and an environment do not share: name to version here, there."""
    there = installed(environment)
    pins = {pin.name: pin.version for pin in read_lock(lock, ask_target(python), selection)}
    # A version that only building tells is None in the lock, too.
    told = {name: version or there.get(name) for name, version in pins.items()}
    names = sorted(told.keys() | there.keys())
    return {name: (told.get(name), there.get(name)) for name in names if told.get(name) != there.get(name)}

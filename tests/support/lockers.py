"""Programs that lock a project and install the lock: uv, Poetry, PDM, pipenv, pip."""

from __future__ import annotations

import sys
import tomllib
from typing import TYPE_CHECKING

from support.installers import poetry_variables, uv_variables
from support.locking import DEFAULT, index_url
from support.process import check, run
from support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipm.core.selection import Selection

    from support.locking import Project


def _words(option: str, values: Iterable[str]) -> list[str]:
    return [word for value in values for word in (option, value)]


class Uv:
    """`uv lock` and `uv sync`."""

    name = "uv"

    def prepare(self, text: str) -> str:
        return text

    def lock(self, project: Project, python: str) -> str:
        variables = uv_variables(project.cache)
        check(find_tool("uv"), "lock", "-q", "--python", python, cwd=project.folder, environ=variables)
        return project.file("uv.lock")

    def install(self, project: Project, python: str, selection: Selection) -> str:
        chosen = _words("--extra", selection.extras) + _words("--group", selection.groups)
        path = project.environment()
        variables = uv_variables(project.cache)
        if not selection.default_groups:
            chosen.append("--no-default-groups")
        command = ("sync", "-q", "--frozen", "--python", python, *chosen)
        check(find_tool("uv"), *command, cwd=project.folder, environ=variables)
        return path


class UvPylock(Uv):
    """`uv export --format pylock.toml` of one selection, and `uv pip sync`."""

    name = "uv export"

    def __init__(self, selection: Selection) -> None:
        self.selection = selection

    def lock(self, project: Project, python: str) -> str:
        Uv.lock(self, project, python)
        self.export(project, "pylock.toml", "--format", "pylock.toml")
        return project.file("pylock.toml")

    def export(self, project: Project, name: str, *options: str) -> None:
        """Write another format of the selection."""
        chosen = _words("--extra", self.selection.extras) + _words("--group", self.selection.groups)
        command = ("export", "-q", "--frozen", *options, *chosen, "-o", name)
        check(find_tool("uv"), *command, cwd=project.folder, environ=uv_variables(project.cache))

    def install(self, project: Project, python: str, selection: Selection) -> str:
        assert selection == DEFAULT, "the file has one selection"
        return uv_pip_sync(project, python, "pylock.toml")


class UvExport(UvPylock):
    """`uv export --format requirements.txt` of one selection."""

    name = "uv export requirements"

    def lock(self, project: Project, python: str) -> str:
        Uv.lock(self, project, python)
        # Folders and repositories have no hashes, which pip refuses among others that have.
        self.export(project, "requirements.txt", "--format", "requirements.txt")
        return project.file("requirements.txt")

    def install(self, project: Project, python: str, selection: Selection) -> str:
        assert selection == DEFAULT, "the file has one selection"
        return uv_pip_sync(project, python, "requirements.txt")


class UvCompile(UvExport):
    """`uv pip compile --universal --generate-hashes`."""

    name = "uv pip compile"

    def lock(self, project: Project, python: str) -> str:
        del python  # it locks for the oldest one
        path = project.file("requirements.txt")
        command = ("pip", "compile", "-q", "--universal", "--generate-hashes", "--python-version", "3.9")
        chosen = _words("--extra", self.selection.extras)
        arguments = (*command, *chosen, "pyproject.toml", "-o", path)
        check(find_tool("uv"), *arguments, cwd=project.folder, environ=uv_variables(project.cache))
        return path


def uv_pip_sync(project: Project, python: str, lock: str) -> str:
    """Make an environment and install a lock into it by `uv pip sync`."""
    path, variables = project.environment(), uv_variables(project.cache)
    check(find_tool("uv"), "venv", "-q", "--python", python, path, environ=variables)
    command = ("pip", "sync", "-q", "--python", path, lock)
    check(find_tool("uv"), *command, cwd=project.folder, environ=variables)
    return path


class Poetry:
    """`poetry lock` and `poetry install`; another program of Poetry is named by its path."""

    name = "poetry"

    def __init__(self, program: str = "poetry") -> None:
        self.program = program

    def prepare(self, text: str) -> str:
        source = f'[[tool.poetry.source]]\nname = "simple"\nurl = "{index_url()}"\npriority = "primary"\n'
        return text + source

    def call(self, project: Project, *words: str) -> None:
        """Run Poetry in the project."""
        check(find_tool(self.program), *words, cwd=project.folder, environ=poetry_variables(project.cache))

    def lock(self, project: Project, python: str) -> str:
        project.environment()
        self.call(project, "env", "use", "-q", python)
        self.call(project, "lock", "-q")
        return project.file("poetry.lock")

    def install(self, project: Project, python: str, selection: Selection) -> str:
        path = project.environment()
        self.call(project, "env", "use", "-q", python)
        chosen = _words("--extras", selection.extras) + _words("--with", selection.groups)
        if not selection.default_groups:
            chosen += ["--only", "main"]
        self.call(project, "install", "-q", *chosen)
        return path


class Pdm:
    """`pdm lock` and `pdm sync`, with some strategies."""

    name = "pdm"

    def __init__(self, *strategies: str, groups: tuple[str, ...] = (":all",)) -> None:
        self.strategies = strategies
        self.groups = groups
        self.name = " ".join(("pdm", *strategies))

    def prepare(self, text: str) -> str:
        return text

    def call(self, project: Project, *words: str) -> None:
        """Run PDM in the project."""
        variables = {
            "PDM_CACHE_DIR": project.cache,
            "PDM_CHECK_UPDATE": "0",
            "PDM_VENV_IN_PROJECT": "1",
            "PDM_IGNORE_SAVED_PYTHON": "0",
        }
        check(find_tool("pdm"), *words, cwd=project.folder, environ=variables)

    def lock(self, project: Project, python: str) -> str:
        project.environment()
        self.call(project, "use", "-q", "-f", python)
        self.call(project, "lock", "-q", *_words("-S", self.strategies), *_words("-G", self.groups))
        return project.file("pdm.lock")

    def install(self, project: Project, python: str, selection: Selection) -> str:
        path = project.environment()
        self.call(project, "use", "-q", "-f", python)
        # Whoever names a group for development gets no other one from it; for us it is one more.
        groups = ("dev", *selection.groups) if selection.groups else ()
        chosen = _words("-G", (*selection.extras, *groups))
        if not selection.default_groups:
            chosen.append("--prod")
        self.call(project, "sync", "-q", *chosen)
        return path


class Pipenv:
    """`pipenv lock` of a Pipfile, and `pipenv sync`."""

    name = "pipenv"

    def prepare(self, text: str) -> str:
        return text

    def call(self, project: Project, *words: str) -> None:
        """Run pipenv in the project."""
        variables = {
            "PIPENV_VENV_IN_PROJECT": "1",
            "PIPENV_CACHE_DIR": project.cache,
            "PIPENV_YES": "1",
            "PIPENV_NOSPIN": "1",
            "PIPENV_IGNORE_VIRTUALENVS": "1",
            "PIP_FIND_LINKS": "",
        }
        check(find_tool("pipenv"), *words, cwd=project.folder, environ=variables)

    def lock(self, project: Project, python: str) -> str:
        project.environment()
        self.call(project, "--python", python, "lock", "-q")
        return project.file("Pipfile.lock")

    def install(self, project: Project, python: str, selection: Selection) -> str:
        path = project.environment()
        categories = ["--categories", " ".join(("packages", *selection.groups))] if selection.groups else []
        self.call(project, "--python", python, "sync", "-q", *categories)
        return path


class PipLock:
    """`pip lock` of one interpreter, and `pip install -r pylock.toml`."""

    name = "pip lock"

    def prepare(self, text: str) -> str:
        return text

    def pip(self, project: Project, *words: str) -> None:
        """Run the tests' own pip for the project's environment."""
        command = ("-m", "pip", "--python", project.file(".venv"), *words)
        check(sys.executable, *command, cwd=project.folder)

    def lock(self, project: Project, python: str) -> str:
        path = project.environment()
        check(python, "-m", "venv", "--without-pip", path)
        # Not the project itself: pip installs no folder from a lock with hashes.
        with open(project.file("pyproject.toml"), "rb") as file:
            needs = tomllib.load(file)["project"]["dependencies"]
        self.pip(project, "lock", "-q", "-o", project.file("pylock.toml"), *needs)
        return project.file("pylock.toml")

    def install(self, project: Project, python: str, selection: Selection) -> str:
        assert selection == DEFAULT, "pip locks neither extras nor groups"
        path = project.environment()
        check(python, "-m", "venv", "--without-pip", path)
        self.pip(project, "install", "-q", "-r", "pylock.toml")
        return path


def has_pylock_install() -> bool:
    """Whether the tests' pip installs from pylock.toml (26.1)."""
    done = run(sys.executable, "-m", "pip", "--version")
    major, minor = done.stdout.split()[1].split(".")[:2]
    return (int(major), int(minor)) >= (26, 1)

"""Plug-ins in the real tools: pipm adopts the distributions that the tool installed."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import distribution
from typing import TYPE_CHECKING, NamedTuple

import pluggy
import pytest
from pipm.plugins import tox_plugin
from support.installers import find_version, poetry_variables
from support.pipm import USAGE, Pipm, assert_refused
from support.process import SOURCES, check, run
from support.store import unshared
from support.synthetic import make_wheel, package, write
from support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


class Tool(NamedTuple):
    """A tool with pipm beside it: in an environment over the tool's own."""

    python: str
    module: str
    variables: Mapping[str, str]

    def __call__(self, *words: str, cwd: str, plugins: str = "") -> str:
        """Run the tool with these plug-ins on; return its standard error."""
        on = {"PIPM_PLUGINS": plugins} if plugins else {}
        done = run(self.python, "-m", self.module, *words, cwd=cwd, environ={**self.variables, **on})
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stderr


def beside(tmp_path: Path, pipm: Pipm, module: str) -> Tool:
    """Lay pipm beside a tool, as `pip install` does, without changing the tool's own environment."""
    with open(find_tool(module), encoding="utf-8") as script:
        own = script.readline()[2:].split()[0]
    found = check(own, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").strip()
    above = f"{tmp_path}/{module}-tool"
    check(own, "-m", "venv", "--without-pip", above)
    site = find_version(above).site
    info = f"{site}/venv_dedupe-0.dist-info"
    write(f"{info}/METADATA", b"Metadata-Version: 2.1\nName: venv-dedupe\nVersion: 0\n")
    write(
        f"{info}/entry_points.txt", (distribution("venv-dedupe").read_text("entry_points.txt") or "").encode()
    )
    write(f"{site}/tool.pth", f"{found}\n".encode())
    os.symlink(f"{SOURCES}/pipm", f"{site}/pipm")
    variables = {
        "HOME": f"{tmp_path}/home",
        "PIPM_STORE": pipm.store,
        "PDM_CHECK_UPDATE": "0",
        "PIP_NO_INDEX": "1",
        **poetry_variables(f"{tmp_path}/cache"),
    }
    return Tool(f"{above}/bin/python", module, variables)


@pytest.fixture
def project(tmp_path: Path) -> str:
    """A project with one dependency, which is available, for each tool."""
    wheel = make_wheel(f"{tmp_path}/wheels", "alpha==1.0", package("alpha"))
    text = f"""\
[project]
name = "project"
version = "0"
requires-python = ">=3.11"
dependencies = ["alpha @ file://{wheel}"]
[tool.poetry]
package-mode = false
[tool.pdm]
distribution = false
[tool.hatch.envs.default]
type = "pipm"
path = ".venv"
skip-install = true
dependencies = ["alpha @ file://{wheel}"]
[tool.tox]
no_package = true
env_list = ["a"]
[tool.tox.env_run_base]
deps = ["{wheel}"]
commands = [["python", "-c", "import alpha"]]
"""
    write(f"{tmp_path}/project/pyproject.toml", text.encode())
    return f"{tmp_path}/project"


INSTALLS = {
    "poetry": ("install",),
    "pdm": ("install", "-q"),
    "hatch": ("run", "python", "-c", "import alpha"),
    "tox": ("run",),
    "virtualenv": (".venv",),
}


PARENTS = {
    "poetry": "poetry.plugins.application_plugin",
    "pdm": "pdm.core",
    "hatch": "hatchling.plugin",
    "tox": "tox.plugin.manager",
    "virtualenv": "virtualenv.activation.activator",
}
"""What each tool has loaded when it loads its plug-ins."""


def loaded_by(tool: Tool) -> set[str]:
    plugin = f"pipm.plugins.{tool.module}_plugin"
    code = f"import sys, {PARENTS[tool.module]}; known = set(sys.modules); import {plugin}"
    return {*check(tool.python, "-c", f"{code}; print(*(set(sys.modules) - known))").split()}


def lines_of_pipm(told: str) -> list[str]:
    return [line for line in told.splitlines() if line.startswith("pipm: ")]


@pytest.mark.parametrize("module", INSTALLS)
def test_what_a_tool_installs_is_adopted(module: str, tmp_path: Path, pipm: Pipm, project: str) -> None:
    tool = beside(tmp_path, pipm, module)
    environment = f"{project}/.tox/a" if module == "tox" else f"{project}/.venv"
    # Off until asked for, and next to nothing is loaded at each start.
    assert loaded_by(tool) <= {
        *("pipm", "pipm.version", "pipm.plugins", "pipm.plugins.adopt_after"),
        *(f"pipm.plugins.{module}_plugin", "atexit"),
    }
    assert lines_of_pipm(tool(*INSTALLS[module], cwd=project)) == []
    if module == "poetry":
        assert lines_of_pipm(tool("install", "--dry-run", cwd=project, plugins=module)) == []
    assert not os.path.exists(pipm.store)
    check("rm", "-rf", environment)
    (line,) = lines_of_pipm(tool(*INSTALLS[module], cwd=project, plugins=module))
    assert line.startswith("pipm: Shared ")
    assert unshared(find_version(environment).site, pipm.store) == []
    (row,) = pipm("list", "--json").expect().json["environments"]
    assert (row["path"], row["state"]) == (environment, "adopted")
    if module == "tox":  # whose hook also comes where nothing was installed
        assert lines_of_pipm(tool(*INSTALLS[module], cwd=project, plugins=module)) == []


def test_folders_of_pdm_without_an_environment(tmp_path: Path, pipm: Pipm, project: str) -> None:
    tool = beside(tmp_path, pipm, "pdm")
    write(f"{project}/pdm.toml", b"[python]\nuse_venv = false\n")
    write(f"{project}/.pdm-python", os.path.realpath(tool.python).encode())
    tool("install", "-q", cwd=project, plugins="pdm")
    (row,) = pipm("list", "--json").expect().json["environments"]
    assert row["path"].startswith(f"{project}/__pypackages__/")


def test_an_older_tox_lacks_hooks() -> None:
    manager = pluggy.PluginManager("tox")
    manager.register(tox_plugin)
    manager.check_pending()  # raises at a hook that nothing specifies


def test_trouble_fails_no_tool(tmp_path: Path, pipm: Pipm) -> None:
    tool = beside(tmp_path, pipm, "virtualenv")
    for plugins, mode, word in (("virtualenv,uv", "auto", "uv"), ("virtualenv", "magic", "magic")):
        troubled = tool._replace(variables={**tool.variables, "PIPM_LINK_MODE": mode})
        (line,) = lines_of_pipm(troubled("--without-pip", "env", cwd=str(tmp_path), plugins=plugins))
        assert line.startswith("pipm: error: ")
        assert word in line
    # An environment without anything is nothing to speak of.
    assert lines_of_pipm(tool("--without-pip", "bare", cwd=str(tmp_path), plugins="virtualenv")) == []
    wrong = replace(pipm, environ={**pipm.environ, "PIPM_PLUGINS": "virtualenv,uv"})
    assert_refused(wrong("config", "--json"), "uv", "hatch", code=USAGE)

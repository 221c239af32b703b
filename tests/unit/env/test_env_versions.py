"""Versions and kinds in names and paths."""

from __future__ import annotations

import pytest
from pipm.env.environment import _stated_version
from pipm.env.places import kind_of, version_in_name


@pytest.mark.parametrize(
    ("name", "version"),
    [
        ("python3.12", "3.12"),
        ("python3.13t", "3.13"),
        ("pypy3.11", "3.11"),
        ("python3", "3"),
        ("python", ""),
        ("python3.", ""),
        ("python3.12.1", ""),
        ("python3.1²", ""),
        ("3.12", ""),
        ("ruby3.12", ""),
        ("bin", ""),
    ],
)
def test_the_version_in_a_name(name: str, version: str) -> None:
    assert version_in_name(name) == version


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("3.12.1", "3.12.1"),
        ("3.12.1.final.0", "3.12.1.final.0"),
        ("3.12.1+local", "3.12.1+local"),
        ("3.12 \x1b[31m", "3.12"),
        ("3.12.\x1b[31m", "3.12"),
        ("3.12." + "a" * 30 + ".5", "3.12." + "a" * 20),
        ("1.2.3.4.5.6.7.8", "1.2.3.4.5.6"),
        ("a.12", ""),
        ("\u0663.12", ""),
        ("", ""),
    ],
)
def test_the_version_in_pyvenv_cfg(text: str, version: str) -> None:
    """Nothing but a version is printed: the file may be another user's."""
    assert _stated_version(text) == version


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/home/me/.cache/pypoetry/virtualenvs/project-x", "poetry"),
        ("/p/.tox/py312", "tox"),
        ("/p/.nox/tests", "nox"),
        ("/p/.pixi/envs/default", "pixi"),
        ("/d/hatch/env/virtual/p/x", "hatch"),
        ("/c/pre-commit/repoabc/py_env-python3.12", "pre-commit"),
        ("/p/.tox/py312/inner", "venv"),
        ("/c/pre-commit/repoabc/other", "venv"),
        ("/p/.venv", "venv"),
    ],
)
def test_the_kind_of_a_path(path: str, kind: str) -> None:
    assert kind_of(path) == kind

"""The state of an editable project: its files, and git's state if it decides the version."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.core.pins import Pin, SourceFolder
from pipm.project.project_state import decided_by, folder_state
from support.process import check

if TYPE_CHECKING:
    from pathlib import Path

SCM = '[build-system]\nrequires = ["setuptools-scm"]\n[project]\nname = "x"\ndynamic = ["version"]\n'
PLAIN = '[build-system]\nrequires = ["setuptools"]\n[project]\nname = "x"\nversion = "1"\n'


def git(folder: str, *words: str) -> None:
    check("git", "-c", "user.name=t", "-c", "user.email=t@t", *words, cwd=folder)


def state(folder: str) -> str:
    return folder_state(
        decided_by(Pin(name="x", version=None, origin=SourceFolder(path=folder, editable=True)))
    )


def repository(folder: str, text: str) -> str:
    """Make a repository with a project in a subfolder; return the subfolder."""
    project = f"{folder}/part"
    os.makedirs(project)
    with open(f"{project}/pyproject.toml", "w", encoding="ascii") as stream:
        stream.write(text)
    for words in (("init", "-q", "."), ("add", "."), ("commit", "-q", "-m", "one")):
        git(folder, *words)
    return project


def test_commits_and_tags_change_a_version_that_git_says(tmp_path: Path) -> None:
    project = repository(f"{tmp_path}/repository", SCM)
    seen = [state(project)]
    for words in (
        ("commit", "-q", "--allow-empty", "-m", "two"),
        ("tag", "v2"),
    ):
        git(project, *words)
        seen.append(state(project))
    git(project, "pack-refs", "--all")
    seen.append(state(project))
    git(project, "commit", "-q", "--allow-empty", "-m", "three")
    seen.append(state(project))
    assert len(set(seen)) == len(seen)
    git(project, "checkout", "-q", "-b", "of-the-same-commit")
    assert state(project) == seen[-1]


def test_a_further_worktree_has_a_commit_of_its_own(tmp_path: Path) -> None:
    project = repository(f"{tmp_path}/repository", SCM)
    git(project, "worktree", "add", "-q", f"{tmp_path}/other")
    there = f"{tmp_path}/other/part"
    mine, other = state(project), state(there)
    git(there, "commit", "-q", "--allow-empty", "-m", "two")
    assert state(there) != other
    assert state(project) == mine


def test_commits_say_nothing_of_other_versions(tmp_path: Path) -> None:
    project = repository(f"{tmp_path}/repository", PLAIN)
    before = state(project)
    git(project, "commit", "-q", "--allow-empty", "-m", "two")
    assert state(project) == before
    os.rename(f"{tmp_path}/repository/.git", f"{tmp_path}/away")
    assert state(project) == before

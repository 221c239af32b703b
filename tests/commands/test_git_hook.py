"""`pipm hook git`: worktrees get their environments when git makes them."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from support.pipm import USAGE, Pipm
from support.process import check, clean_environ
from support.projects import make_project
from support.synthetic import Environment

if TYPE_CHECKING:
    from pathlib import Path

LOCK = """\
lock-version = "1.0"
created-by = "test"
[[packages]]
name = "mine"
directory = { path = ".", editable = true }
"""


class Repository:
    """A repository of a project that its lock installs so that edits count."""

    def __init__(self, base: Path) -> None:
        self.base, self.path = str(base), make_project(f"{base}/repository", "mine")
        self.environ = {"XDG_CACHE_HOME": f"{base}/cache", "PIPM_STORE": f"{base}/store"}
        self.pipm = Pipm(store=f"{base}/store", environ=self.environ)
        with open(f"{self.path}/pylock.toml", "w", encoding="utf-8") as stream:
            stream.write(LOCK)
        with open(f"{self.path}/.gitignore", "w", encoding="utf-8") as stream:
            stream.write(".venv\n__pycache__\n")
        self.git("init", "-q")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "one")

    def command(self, *words: str) -> list[str]:
        return ["git", "-C", self.path, "-c", "user.name=t", "-c", "user.email=t@t", *words]

    def git(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            self.command(*words),
            env=clean_environ() | self.environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return done.stdout + done.stderr

    def hook(self, *words: str) -> dict[str, object]:
        document: dict[str, object] = (
            self.pipm("hook", "git", *words, "--repository", self.path, "--json").expect().json
        )
        return document

    def worktree(self, name: str) -> str:
        said = self.git("worktree", "add", "-q", "--detach", f"{self.base}/{name}")
        assert "pipm" not in said, said
        return f"{self.base}/{name}"


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def write_hook(path: str, text: str) -> None:
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(f"#!/bin/sh\n{text}\n")
    os.chmod(path, 0o755)


def where(folder: str) -> str:
    environment = Environment(path=f"{folder}/.venv")
    return environment.run("import mine; print(mine.__file__)").strip()


def test_a_new_worktree_gets_its_environment(repository: Repository) -> None:
    repository.hook("install", "--link-mode", "hardlink")
    tree = repository.worktree("tree")
    assert where(tree) == f"{tree}/mine.py"
    repository.hook("remove")
    assert not os.path.lexists(f"{repository.worktree('other')}/.venv")


def test_ten_worktrees_at_once(repository: Repository) -> None:
    repository.hook("install")
    trees = [f"{repository.base}/tree-{number}" for number in range(10)]
    for tree in trees:  # git itself takes no two at once
        repository.git("worktree", "add", "-q", "--no-checkout", "--detach", tree)
    environ = clean_environ() | repository.environ
    running = [
        subprocess.Popen(
            ["git", "-C", tree, "switch", "-q", "--detach", "HEAD", "--discard-changes"], env=environ
        )
        for tree in trees
    ]
    assert [one.wait() for one in running] == [0] * len(trees)
    assert [where(tree) for tree in trees] == [f"{tree}/mine.py" for tree in trees]


@pytest.mark.parametrize("settings", [(), ("core.hooksPath", "hooks of mine")])
def test_a_hook_that_is_there_is_kept(repository: Repository, settings: tuple[str, ...]) -> None:
    if settings:
        repository.git("config", *settings)
    folder = f"{repository.path}/{settings[1] if settings else '.git/hooks'}"
    write_hook(f"{folder}/post-checkout", f'echo "$@" >> "{repository.base}/ran"; exit 7')
    assert repository.hook("install") == repository.hook("install")
    repository.git("worktree", "add", "-q", "--detach", f"{repository.base}/tree", code=7)
    assert os.path.isdir(f"{repository.base}/tree/.venv")
    with open(f"{repository.base}/ran", encoding="utf-8") as stream:
        assert stream.read().split()[2] == "1"
    repository.hook("remove")
    assert os.listdir(folder).count("post-checkout.before-pipm") == 0
    with open(f"{folder}/post-checkout", encoding="utf-8") as stream:
        assert "exit 7" in stream.read()
    assert repository.hook("remove")["path"] is None


def test_a_checkout_never_fails_by_it(repository: Repository) -> None:
    """A checkout without a lock, or of single files, makes no environment either."""
    repository.hook("install")
    with open(f"{repository.path}/pylock.toml", "w", encoding="utf-8") as stream:
        stream.write("broken = [")
    repository.git("commit", "-qam", "broken")
    assert "pipm sync" in repository.git("worktree", "add", "-q", "--detach", f"{repository.base}/tree")
    repository.git("rm", "-q", "pylock.toml")
    repository.git("commit", "-qm", "no lock")
    said = repository.git("worktree", "add", "-q", "--detach", f"{repository.base}/other")
    assert said == ""
    repository.git("checkout", "HEAD~2", "--", "pylock.toml")
    assert not os.path.lexists(f"{repository.base}/other/.venv")
    assert not os.path.lexists(f"{repository.path}/.venv")


def test_what_is_not_pipms_stays(repository: Repository) -> None:
    hook = f"{repository.path}/.git/hooks/post-checkout"
    write_hook(hook, "true")
    assert repository.hook("remove")["path"] is None
    repository.hook("install")
    with open(hook, "a", encoding="utf-8") as stream:
        stream.write("echo mine\n")
    for verb in ("install", "remove"):
        failed = repository.pipm("hook", "git", verb, "--repository", repository.path, "--json")
        assert hook in failed.expect(USAGE).error["message"]
    with open(hook, encoding="utf-8") as stream:
        assert stream.read().endswith("echo mine\n")


def test_words_that_sync_does_not_know(repository: Repository) -> None:
    failed = repository.pipm(
        "hook", "git", "install", "--nonsense", "--repository", repository.path, "--json"
    )
    assert "--nonsense" in failed.expect(USAGE).error["message"]
    assert not os.path.lexists(f"{repository.path}/.git/hooks/post-checkout")


def test_no_repository(repository: Repository) -> None:
    failed = repository.pipm("hook", "git", "install", "--repository", repository.base, "--json")
    assert "is not a git repository" in failed.expect(USAGE).error["message"]
    check("git", "init", "-q", "--bare", f"{repository.base}/bare")
    failed = repository.pipm("hook", "git", "install", "--repository", f"{repository.base}/bare", "--json")
    assert "is not a git repository" in failed.expect(USAGE).error["message"]


def test_uninstall_removes_the_hook_of_a_known_environment(repository: Repository) -> None:
    repository.hook("install")
    repository.git("switch", "-q", "-c", "two")  # makes the environment
    path = f"{repository.path}/.git/hooks/post-checkout"
    environ = repository.environ | {"XDG_DATA_HOME": f"{repository.base}/data", "HOME": repository.base}
    pipm = Pipm(store=repository.pipm.store, environ=environ)
    assert f"Would remove the git hook of {repository.path}" in pipm("uninstall", "-n").expect().out
    assert os.path.exists(path)
    pipm("uninstall").expect()
    assert not os.path.lexists(path)
    repository.git("switch", "-q", "-c", "three")
    assert not os.path.lexists(pipm.store)

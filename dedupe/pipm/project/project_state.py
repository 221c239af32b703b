"""The state of an editable project: the files and the git commit that decide how it is built."""

from __future__ import annotations

import contextlib
import os
import re

from pipm.core.pins import SourceFolder
from pipm.core.sha256 import sha256
from pipm.fs.beneath import read_file

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.core.pins import Pin

    Decided = tuple[str, str]

_LARGEST = 1 << 20

_OF_GIT = re.compile(rb"scm|vcs|versioningit|git-versioning|dynamic-versioning|versioneer|dunamai|pbr")

_DESCRIBING = ("pyproject.toml", "setup.py", "setup.cfg")
"""Files with the version, scripts, entry points, dependencies and build settings of a project."""


def decided_by(pin: Pin) -> Decided:
    """Return the folder of an editable *pin*, and a digest of what else its lock decides."""
    assert isinstance(pin.origin, SourceFolder)
    text = repr((pin.version, pin.index_url, pin.options))  # perhaps with a password
    return (pin.origin.project, sha256(text.encode("utf-8", "surrogateescape")).hexdigest())


def folder_state(decided: Decided) -> str:
    """Return the digest of *decided* and the files that describe the project, but not its modules."""
    return sha256(f"{decided} {described_state(decided[0])}".encode("utf-8", "surrogateescape")).hexdigest()


def described_state(folder: str) -> str:
    """Return the digest of the files that describe the project in *folder*; equal worktrees have the same."""
    state = sha256(b"")
    for name in (*_DESCRIBING, *_files_with_metadata(folder)):
        try:
            with open(os.path.join(folder, name), "rb") as stream:
                state.update(name.encode() + sha256(stream.read(_LARGEST)).digest())
        except OSError:
            continue
    if _has_version_of_git(folder):
        state.update(b"".join(_git_state(folder)))
    return state.hexdigest()


def _has_version_of_git(folder: str) -> bool:
    """Return True if the version depends on commits and tags (setuptools-scm, hatch-vcs and similar)."""
    for name in _DESCRIBING:
        with contextlib.suppress(OSError), open(os.path.join(folder, name), "rb") as stream:
            if _OF_GIT.search(stream.read(_LARGEST)):
                return True
    return False


def _git_state(folder: str) -> Iterator[bytes]:
    """Yield the commit and tags of the repository of *folder*, read without running git."""
    above = folder
    while not os.path.lexists(f"{above}/.git"):
        above, below = os.path.dirname(above), above
        if above == below:
            return
    git = f"{above}/.git"
    link = read_file(git) if os.path.isfile(git) else None  # in a worktree or submodule
    if link is not None:
        git = os.path.join(above, os.fsdecode(link.removeprefix(b"gitdir:").strip()))
    common = os.path.join(git, os.fsdecode((read_file(f"{git}/commondir") or b".").strip()))
    head = read_file(f"{git}/HEAD") or b""
    branch = os.fsdecode(head.removeprefix(b"ref:").strip())
    tags = sorted(os.listdir(f"{common}/refs/tags")) if os.path.isdir(f"{common}/refs/tags") else []
    yield read_file(f"{common}/{branch}") or head  # head: the branch is in packed-refs, or there is none
    for name in ("packed-refs", *(f"refs/tags/{tag}" for tag in tags)):
        yield os.fsencode(name) + (read_file(f"{common}/{name}") or b"")


def _files_with_metadata(folder: str) -> Iterator[str]:
    """Yield the files that settings of tools name, if ``project.dynamic`` leaves metadata to the build."""
    import tomllib  # noqa: PLC0415 - few syncs need it

    try:
        with open(f"{folder}/pyproject.toml", "rb") as stream:
            document = tomllib.load(stream)
    except (OSError, ValueError, RecursionError):  # it is missing, or the build will report the error
        return
    project = document.get("project")
    texts = _texts(document.get("tool")) if isinstance(project, dict) and project.get("dynamic") else ()
    for text in texts:
        module = text.rpartition(".")[0].replace(".", "/")  # setuptools: package.module.attribute
        named = [f"{top}{module}{end}" for top in ("", "src/") for end in (".py", "/__init__.py")]
        for name in (text, *(named if module else ())):
            if "\0" not in name and not os.path.isabs(name) and os.path.isfile(f"{folder}/{name}"):
                yield name


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)

"""The post-checkout hook of a git repository, which syncs the environment of the worktree.

git runs it after `git checkout`, `git switch` and `git worktree add`. An existing hook is kept: it gets
another name, and pipm's hook runs it first and ends with its exit code.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import subprocess
import sys
from typing import TYPE_CHECKING, NamedTuple

from pipm.errors import UsageError
from pipm.fs.durability import write_durably
from pipm.fs.home import is_own
from pipm.fs.opened import opened_folder
from pipm.fs.own_files import make_folders, move, remove_file
from pipm.lockfile.find_lock import ORDER

if TYPE_CHECKING:
    from collections.abc import Sequence

HOOK = "post-checkout"
_EARLIER = f"{HOOK}.before-pipm"
_HEAD = "#!/bin/sh\n# Of `pipm hook git install`; `pipm hook git remove` takes it away.\n"
_TAIL = "exit $code\n# End of pipm's hook.\n"
_BODY = """\
code=0
earlier=$(dirname "$0")/EARLIER
if [ -x "$earlier" ]; then "$earlier" "$@"; code=$?; fi
# $3: a branch or commit was checked out, not files.
if [ "$3" = 1 ] && [ -x PYTHON ]; then
    for lock in LOCKS; do
        [ -f "$lock" ] || continue
        (
            unset $(git rev-parse --local-env-vars)
            exec PYTHON -P -m pipm -qq sync "$lock" WORDS
        ) </dev/null || echo "pipm: $PWD has no environment as $lock says: pipm sync" >&2
        break
    done
fi
"""


class GitHook(NamedTuple):
    """The hook at ``path``, and whether it runs an ``earlier`` one."""

    path: str
    earlier: bool


def install_git_hook(repository: str, words: Sequence[str]) -> GitHook:
    """Make git sync the worktrees of *repository* with the options *words*.

    Raises UsageError if that is not a repository, or if its hook cannot be kept.
    """
    folder = _hooks_folder(repository)
    path, earlier = f"{folder}/{HOOK}", f"{folder}/{_EARLIER}"
    make_folders(folder)
    if os.path.lexists(path) and not _is_ours(path):
        if os.path.lexists(earlier):
            raise UsageError(
                f"{path} is not pipm's, and {earlier} exists already", hint="merge the two hooks into one"
            )
        move(path, earlier)
    body = _BODY.replace("EARLIER", _EARLIER).replace("PYTHON", shlex.quote(sys.executable))
    body = body.replace("LOCKS", " ".join(ORDER)).replace("WORDS", shlex.join(words))
    with opened_folder(folder) as directory:
        write_durably(directory, HOOK, f"{_HEAD}{body}{_TAIL}".encode("utf-8", "surrogateescape"), mode=0o755)
    return GitHook(path, os.path.lexists(earlier))


def has_git_hook(folder: str) -> bool:
    """Return whether *folder* is a worktree of this user whose repository has pipm's hook, unchanged."""
    if not is_own(folder) or not os.path.lexists(f"{folder}/.git"):
        return False
    with contextlib.suppress(UsageError):
        return _is_ours(f"{_hooks_folder(folder)}/{HOOK}")
    return False


def remove_git_hook(repository: str) -> GitHook | None:
    """Remove the hook of *repository*, and rename the earlier one back; return None if there is no hook."""
    folder = _hooks_folder(repository)
    path, earlier = f"{folder}/{HOOK}", f"{folder}/{_EARLIER}"
    if os.path.lexists(path):
        if not _is_ours(path):
            if not os.path.lexists(earlier):
                return None
            raise UsageError(f"{path} was changed since pipm wrote it", hint=f"{earlier} is the earlier one")
        if not os.path.lexists(earlier):
            remove_file(path)
            return GitHook(path, earlier=False)
    elif not os.path.lexists(earlier):
        return None
    move(earlier, path)
    return GitHook(path, earlier=True)


def _is_ours(path: str) -> bool:
    """Return True if pipm wrote the hook at *path*, and it is unchanged."""
    try:
        with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as stream:
            content = stream.read()
    except OSError:
        return False
    return content.startswith(_HEAD.encode()) and content.endswith(_TAIL.encode())


def _hooks_folder(repository: str) -> str:
    """Return the folder from which git runs the hooks of *repository* (core.hooksPath)."""
    try:
        done = subprocess.run(
            ["git", "-C", repository, "rev-parse", "--show-toplevel", "--git-path", "hooks"],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError as error:
        raise UsageError(f"Cannot run git: {error.strerror}", hint="install git") from None
    lines = done.stdout.splitlines()
    if done.returncode or len(lines) != 2:
        why = (done.stderr.strip().splitlines() or ["it has no worktree"])[0]
        raise UsageError(f"{repository} is not a git repository: {why}", hint="name the folder of a worktree")
    return os.path.normpath(os.path.join(repository, lines[1]))

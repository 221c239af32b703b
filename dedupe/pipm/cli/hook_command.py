"""The arguments of `pipm hook git`."""

from __future__ import annotations

from typing import Annotated

import typer

from pipm.cli.format_text import path_text
from pipm.cli.options import Session, command, git_app

Repository = Annotated[str, typer.Option("--repository", metavar="DIR", help="A worktree of the repository.")]


@command(git_app, "install", context_settings={"ignore_unknown_options": True})
def hook_install_command(
    session: Session,
    words: Annotated[
        list[str] | None, typer.Argument(metavar="[OPTION...]", help="Options of pipm sync: --group dev.")
    ] = None,
    repository: Repository = ".",
) -> int:
    """Sync the environment of a worktree after each checkout, if there is a lock file.

    This is a post-checkout hook; `git worktree add` runs it, too. An existing hook stays and runs first.
    """
    from pipm.cli.arguments import parse_words
    from pipm.cli.option_table import COMMON, SYNC
    from pipm.errors import UsageError
    from pipm.hook.git_hook import install_git_hook

    words = words or []
    if parse_words(["sync", "LOCK", *words], "sync", COMMON, SYNC, program=False) is None:
        raise UsageError(f"{' '.join(words)} are not options of pipm sync", hint="pipm sync -h lists them")
    hook = install_git_hook(repository, words)
    if session.output.json:
        session.output.document("hook git install", {"path": hook.path, "runs_earlier_hook": hook.earlier})
    else:
        kept = "; the existing hook runs first" if hook.earlier else ""
        session.output.result(f"git runs {path_text(hook.path)} after each checkout{kept}")
    return 0


@command(git_app, "remove")
def hook_remove_command(session: Session, repository: Repository = ".") -> int:
    """Remove the hook, and restore the earlier one."""
    from pipm.hook.git_hook import remove_git_hook

    hook = remove_git_hook(repository)
    if session.output.json:
        session.output.document("hook git remove", {"path": None if hook is None else hook.path})
    elif hook is None:
        session.output.result("pipm has no hook here")
    else:
        session.output.result(f"Removed {path_text(hook.path)}{', restored the earlier hook' * hook.earlier}")
    return 0

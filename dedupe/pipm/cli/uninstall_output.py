"""The output of `uninstall`."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING

from pipm.cli.adopt_output import print_uv_note, release_document, release_total
from pipm.cli.environments_output import check_room, each, planned
from pipm.cli.exit_codes import PARTLY
from pipm.cli.format_text import counted, path_text
from pipm.cli.rm_output import print_kernels
from pipm.cli.terminal_progress import progress_for
from pipm.core.size_text import size_text
from pipm.env.kernels import kernels_of
from pipm.hook.git_hook import has_git_hook, remove_git_hook
from pipm.release.release import release_environment
from pipm.release.remove_everything import (
    bytes_of_store,
    find_leftovers,
    removal_command,
    remove_leftovers,
    remove_store,
    uv_cache_inodes,
)
from pipm.schedule.timers import unschedule

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from pipm.cli.output import Output
    from pipm.release.remove_everything import Leftovers
    from pipm.share.private_copies import Released


def uninstall(output: Output, store: str, *, dry_run: bool) -> int:
    """Run `pipm uninstall`; return the exit code."""
    found = find_leftovers(store)
    uv = uv_cache_inodes() if found.environments else frozenset()
    done: list[Released] = []

    def release(path: str, *, dry_run: bool) -> Released:
        return release_environment(store, path, [], progress_for(output), dry_run=dry_run, kept=uv)

    def one(path: str) -> None:
        done.append(release(path, dry_run=dry_run))

    if not dry_run:
        check_room(planned(found.environments, partial(release, dry_run=True)))
    each(output, found.environments, one)
    if found.environments:
        output.result(release_total(done, dry_run=dry_run))
    _say_kept(output, done)
    failed = [path for path in found.environments if path not in {released.path for released in done}]
    needing = (*failed, *found.needing, *(released.path for released in done if released.left))
    removed = [*found.paths, *(() if needing or not os.path.isdir(store) else (store,))]
    sizes = {store: f" ({size_text(bytes_of_store(store))})"}
    removed += (*unschedule(dry_run=dry_run), *_without_hooks(found.environments, dry_run=dry_run))
    kernels = kernels_of(found.paths)
    stuck = []
    if not dry_run:
        stuck = [*remove_leftovers(found), *(() if needing else remove_store(store))]
    for path in removed:
        output.result(f"{'Would remove' if dry_run else 'Removed'} {path_text(path)}{sizes.get(path, '')}")
    print_kernels(output, kernels)
    _say_staying(output, found, needing, store)
    if stuck:
        output.note("warning", f"{counted(len(stuck), 'file')} could not be removed")
        output.named(f"{path_text(one.path)}: {one.reason}" for one in stuck)
    if output.json:
        environments = [release_document(released) for released in done]
        document: dict[str, object] = {"environments": environments, "removed": removed}
        output.document("uninstall", document | {"needing_the_store": list(needing)})
    if dry_run:
        output.note("note", "nothing was changed due to --dry-run")
    output.result(f"The program itself: {removal_command()}")
    return PARTLY if needing or stuck else 0


def _without_hooks(environments: Iterable[str], *, dry_run: bool) -> Iterator[str]:
    """Remove pipm's git hooks of the projects that contain *environments*; yields what they are."""
    for folder in sorted({os.path.dirname(path) for path in environments}):
        if has_git_hook(folder):
            if not dry_run:
                remove_git_hook(folder)
            yield f"the git hook of {folder}"


def _say_kept(output: Output, done: list[Released]) -> None:
    kept = sum(released.files_kept for released in done)
    if kept:
        output.note("note", f"left shared with uv's cache, as uv made them: {counted(kept, 'file')}")
    print_uv_note(output, done)


def _say_staying(output: Output, found: Leftovers, needing: tuple[str, ...], store: str) -> None:
    """Print what stays, the reason, and how to remove it."""
    apart = [path for path in found.away if path not in found.needing]
    if apart:
        count = counted(len(apart), "environment")
        output.note(
            "note",
            f"{count} cannot be reached now: they work without the store, but their modules stay"
            " read-only, and their files keep the store's times",
        )
        output.named(map(path_text, apart))
    if needing:
        count = counted(len(needing), "environment")
        output.note("warning", f"the store {path_text(store)} stays: {count} may need its files")
        output.named(map(path_text, needing))
        output.note(
            "hint",
            "release them (or `pipm gc --forget PATH` if one is gone), then run `pipm uninstall` again",
        )
    for path in found.kept:
        output.note("note", f"{path_text(path)} stays, because a lost signing key cannot be made again")

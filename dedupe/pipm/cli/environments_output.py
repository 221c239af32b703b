"""Commands that go over several environments: one failing does not stop the others."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.adopt.adopt_preview import Preview
from pipm.adopt.choose_mode import adopt_by_best_mode
from pipm.cli.adopt_output import (
    adoption_document,
    print_adoption,
    print_preview,
    print_release,
    release_document,
)
from pipm.cli.format_text import counted, path_text
from pipm.cli.terminal_progress import progress_for
from pipm.env.find_environments import find_environments
from pipm.errors import InterruptedRunError, NotAnEnvironmentError, PipmError
from pipm.fs.home import is_read_only
from pipm.fs.link_modes import parse_link_mode
from pipm.release.release import release_environment
from pipm.share.add_wheels import add_wheel_file
from pipm.share.adoption import AdoptOptions
from pipm.store.paths import environment_path
from pipm.venv.wrap_pip import wrap_pip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from pipm.cli.output import Output
    from pipm.share.adoption import Adoption

DONE, FAILED, PARTLY = 0, 1, 3
_TOGETHER = 12
"""Environments that are adopted in one run; all of them are locked that long."""


def adopt_options(link_mode: str, *, compile_missing: bool, dist_info: bool | None) -> AdoptOptions:
    """What the options of the command line ask for."""
    return AdoptOptions(
        link_mode=parse_link_mode(link_mode), compile_missing=compile_missing, dist_info=dist_info
    )


def adopt_environments(
    output: Output,
    store: str,
    environments: list[str],
    below: list[str],
    *,
    options: AdoptOptions,
    wrap: bool | None,
    dry_run: bool,
) -> int:
    """Adopt each environment that is named or lies below a named folder.

    *wrap* says whether its pip shall go through the store; None leaves that as it is.
    """
    documents: list[dict[str, object]] = []
    surprised = False

    preview = Preview(store, options) if dry_run else None

    def one(path: str) -> None:
        nonlocal surprised
        if preview is not None:
            adoption = preview.adoption(path)
            print_preview(output, adoption)
        else:
            adoption = adoptions.of(path)
            print_adoption(output, adoption)
            if wrap_pip(store, path, adoption.link_mode, wanted=wrap) and wrap:
                output.result("Its pip takes files out of the store from now on")
        documents.append(adoption_document(adoption))
        surprised = surprised or bool(adoption.surprises)

    paths = _named(output, environments, below, store)
    adoptions = _Adoptions(store, paths, options, output)
    code = _each(output, paths, one)
    if output.json and (documents or code == DONE):
        output.document("adopt", {"environments": documents})
    if preview is not None:
        output.note("warning", "no files changed due to --dry-run")
    return PARTLY if code == DONE and surprised else code


class _Adoptions:
    """Adopts *paths*, so many at once, when the first of them is asked for."""

    def __init__(self, store: str, paths: list[str], options: AdoptOptions, output: Output) -> None:
        self._store = store
        self._paths = paths
        self._options = options
        self._output = output
        self._outcomes: dict[str, Adoption | PipmError] = {}

    def of(self, path: str) -> Adoption:
        """What became of one of them; raises what kept it from being adopted."""
        if path not in self._outcomes:
            start = self._paths.index(path)
            together = self._paths[start : start + _TOGETHER]
            self._outcomes = adopt_by_best_mode(
                self._store, together, self._options, progress_for(self._output)
            )
        outcome = self._outcomes[path]
        if isinstance(outcome, PipmError):
            raise outcome
        return outcome


def release_environments(
    output: Output, store: str, environments: list[str], names: list[str], *, dry_run: bool
) -> int:
    """Release each environment that is named, or its distributions *names*."""
    documents: list[dict[str, object]] = []
    incomplete = False

    def one(path: str) -> None:
        nonlocal incomplete
        released = release_environment(store, path, names, progress_for(output), dry_run=dry_run)
        documents.append(release_document(released))
        incomplete = incomplete or bool(released.left)
        print_release(output, released, dry_run=dry_run)

    code = _each(output, _named(output, environments, [], store), one)
    if output.json and (documents or code == DONE):
        output.document("release", {"environments": documents})
    if dry_run:
        output.note("warning", "no files changed due to --dry-run")
    return PARTLY if code == DONE and incomplete else code


def _named(output: Output, environments: list[str], below: list[str], store: str) -> list[str]:
    """The environments that were asked for, each once."""
    found = [environment_path(text) for text in environments]
    for folder in below:
        if not os.path.isdir(folder):
            raise NotAnEnvironmentError(f"There is no folder {folder}", hint="name an existing folder")
        found += _writable(output, find_environments(os.path.realpath(folder), leave_out=store))
    if not environments and not below:
        found = [environment_path(".venv")]
    return list({os.path.realpath(path): path for path in found}.values())


def _writable(output: Output, found: Iterable[str]) -> list[str]:
    """Those of the environments *found* that can be changed; snapshots are passed over with a note."""
    every = list(found)
    frozen = [path for path in every if is_read_only(path)]
    if frozen:
        output.note("note", f"{counted(len(frozen), 'environment')} left out: read-only (a disk, a snapshot)")
        output.named(map(path_text, frozen))
    return [path for path in every if path not in frozen]


def _each(output: Output, paths: Iterable[str], one: Callable[[str], None]) -> int:
    """Run *one* for each path; an error is told and the next one goes on, but for an interruption."""
    failed = done = 0
    for path in paths:
        try:
            one(path)
        except InterruptedRunError:
            raise
        except PipmError as error:
            failed += 1
            output.error(error)
            if error.exit_code != FAILED:
                return error.exit_code
        else:
            done += 1
    if failed:
        return PARTLY if done else FAILED
    return DONE


def add_wheels(output: Output, store: str, wheels: list[str]) -> int:
    """Let each wheel into the store; a bad one does not stop the others."""
    documents: list[dict[str, object]] = []

    def one(path: str) -> None:
        added = add_wheel_file(store, path)
        documents.append({"wheel": added.wheel, "entry": added.entry, "known": added.known})
        output.result(f"{'Had' if added.known else 'Added'} {added.entry}")

    code = _each(output, wheels, one)
    if output.json and documents:
        output.document("store add", {"wheels": documents})
    return code

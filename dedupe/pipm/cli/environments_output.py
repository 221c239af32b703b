"""Commands on several environments: if one fails, the command continues with the others."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from pipm.cli.adopt_output import (
    adoption_document,
    adoption_total,
    print_adoption,
    print_preview,
    print_release,
    print_uv_note,
    release_document,
    release_total,
)
from pipm.cli.exit_codes import DONE, FAILED, PARTLY
from pipm.cli.format_text import count_text, counted, path_text
from pipm.cli.named_environments import existing_environment
from pipm.cli.not_handled_output import not_handled_rows, print_not_handled
from pipm.cli.output import Output
from pipm.cli.terminal_progress import progress_for
from pipm.core.size_text import size_text
from pipm.env.environment import load_environment, require_venv
from pipm.env.find_environments import Passed, find_environments
from pipm.errors import FileSystemError, InterruptedRunError, NotAnEnvironmentError, PipmError, UsageError
from pipm.fs.free_space import free_space
from pipm.fs.home import is_own, is_read_only
from pipm.fs.link_modes import parse_link_mode
from pipm.inspect.not_handled import not_handled
from pipm.share.adoption import TOGETHER, AdoptOptions
from pipm.store.configuration import setting, words
from pipm.venv.wrap_pip import wrap_pip

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pipm.cli.option_table import AdoptArguments
    from pipm.context.progress import Progress
    from pipm.share.adoption import Adoption
    from pipm.share.private_copies import Released

    _Work = Callable[[list[str]], dict[str, Adoption | PipmError]]


def adopt_environments(output: Output, store: str, arguments: AdoptArguments) -> int:
    """Adopt the named environments and those below the named folders."""
    options = AdoptOptions(
        link_mode=parse_link_mode(arguments.link_mode or setting("link-mode")),
        compile_missing=arguments.compile_missing,
        dist_info=arguments.dist_info,
        again=tuple(arguments.names or ()),
    )
    if options.again and arguments.below:
        raise UsageError("--dist is for named environments, not for --all", hint="pipm adopt --dist NAME ENV")
    wrap, dry_run = arguments.wrap, arguments.dry_run
    passed: list[Passed] = []
    exclude = [*(arguments.exclude or []), *words("exclude")]
    named = Named(arguments.environments or [], arguments.below or [], exclude)
    paths = _paths(output, named, store, passed=passed)
    progress = progress_for(output)
    adoptions = _Adoptions(paths, _work(store, options, progress, dry_run=dry_run), progress)
    results = _Results(output, several=len(paths) > 1)
    done: list[Adoption] = []

    def one(path: str) -> None:
        if wrap:
            require_venv(load_environment(path), "A wrapped pip")
        done.append(adoptions.of(path))
        printed = print_preview if dry_run else print_adoption
        results.add(partial(printed, several=len(paths) > 1), done[-1])
        if not dry_run and wrap_pip(store, path, done[-1].link_mode, wanted=wrap) and wrap:
            results.add(Output.result, "Its pip takes files from the store from now on")

    try:
        code = each(output, paths, one)
    finally:
        results.show(adoption_total(done, dry_run=dry_run))
    rest = not_handled(passed, paths if named.below else ())
    print_not_handled(output, rest)
    content: dict[str, object] = {
        "environments": [adoption_document(adoption) for adoption in done],
        "not_handled": not_handled_rows(rest),
    }
    incomplete = any(adoption.surprises for adoption in done)
    return _end(output, "adopt", code, content, incomplete=incomplete, dry_run=dry_run)


def _end(
    output: Output,
    command: str,
    code: int,
    content: dict[str, object],
    *,
    incomplete: bool,
    dry_run: bool,
) -> int:
    """Print the JSON of all environments and the note of a dry run; return the exit code."""
    if output.json and (content["environments"] or code == DONE):
        output.document(command, content)
    if dry_run:
        output.note("note", "no files changed due to --dry-run")
    return PARTLY if code == DONE and incomplete else code


class Named(NamedTuple):
    """The named environments and folders, and which folders below these to skip."""

    environments: Sequence[str] = ()
    below: Sequence[str] = ()
    exclude: Sequence[str] = ()


class _Results:
    """Collects the text of each environment, so that the total of *several* can be printed first."""

    def __init__(self, output: Output, *, several: bool) -> None:
        self._output = output
        self._several = several
        self._texts: list[Callable[[Output], None]] = []

    def add(self, text: Callable[[Output, Any], None], value: object) -> None:
        """Print *text* about *value*: now, or after the total."""
        self._texts.append(lambda output: text(output, value))
        if not self._several:
            self.show("")

    def show(self, total: str) -> None:
        """Print the total, then the collected texts; with --quiet only the total."""
        if self._several and self._texts:
            self._output.result(total)
        if not (self._several and self._output.quiet):
            for text in self._texts:
                text(self._output)
        self._texts.clear()


def _work(store: str, options: AdoptOptions, progress: Progress, *, dry_run: bool) -> _Work:
    """Return the function that adopts environments in one run, or that says what this would do."""
    if dry_run:
        from pipm.adopt.adopt_preview import Preview  # noqa: PLC0415 - each command loads its own

        return Preview(store, options).together
    from pipm.adopt.choose_mode import adopt_by_best_mode  # noqa: PLC0415 - likewise

    return lambda paths: adopt_by_best_mode(store, paths, options, progress)


class _Adoptions:
    """Runs *work* on *paths* in batches; the first request for a result does it for its batch."""

    def __init__(self, paths: list[str], work: _Work, progress: Progress) -> None:
        self._paths = paths
        self._work = work
        self._progress = progress
        self._outcomes: dict[str, Adoption | PipmError] = {}

    def of(self, path: str) -> Adoption:
        """Return the result for *path*, or raise its error."""
        if path not in self._outcomes:
            start = self._paths.index(path)
            together = self._paths[start : start + TOGETHER]
            self._progress.part(start + 1, start + len(together), len(self._paths))
            self._outcomes = self._work(together)
        outcome = self._outcomes[path]
        if isinstance(outcome, PipmError):
            raise outcome
        return outcome


def release_environments(
    output: Output,
    store: str,
    named: Named,
    *,
    names: list[str],
    dry_run: bool,
) -> int:
    """Release the environments that are named, and those below named folders that share files."""
    from pipm.release.release import release_environment, sharing  # noqa: PLC0415 - each command loads its own

    paths = _paths(output, named, store, sharing(store) if named.below else None)
    results = _Results(output, several=len(paths) > 1)
    done: list[Released] = []
    progress = progress_for(output)

    def release(path: str, *, dry_run: bool) -> Released:
        number = paths.index(path) + 1
        progress.part(number, number, len(paths))
        return release_environment(store, path, names, progress, dry_run=dry_run)

    def one(path: str) -> None:
        done.append(release(path, dry_run=dry_run))
        results.add(partial(print_release, dry_run=dry_run), done[-1])

    if len(paths) > 1 and not dry_run:
        check_room(planned(paths, partial(release, dry_run=True)))
    try:
        code = each(output, paths, one)
    finally:
        results.show(release_total(done, dry_run=dry_run))
        print_uv_note(output, done)
    if names and not dry_run and any(released.files_released for released in done):
        options = " ".join(f"--dist {name}" for name in names)
        where = path_text(done[0].path) if len(done) == 1 else "ENV"
        output.note(
            "note", f"adopt leaves it alone from now on; to share it again: pipm adopt {options} {where}"
        )
    content: dict[str, object] = {"environments": [release_document(released) for released in done]}
    incomplete = any(released.left for released in done)
    return _end(output, "release", code, content, incomplete=incomplete, dry_run=dry_run)


def planned(paths: Iterable[str], plan: Callable[[str], Released]) -> Iterator[Released]:
    """Plan for each path; a path that fails has no plan, and its error is printed when its turn comes."""
    for path in paths:
        try:
            yield plan(path)
        except InterruptedRunError:
            raise
        except PipmError:
            continue


def check_room(planned: Iterable[Released]) -> None:
    """Raise FileSystemError if the own copies of all environments do not fit."""
    needs: dict[int, list[Released]] = {}
    for released in planned:
        needs.setdefault(os.stat(released.path).st_dev, []).append(released)
    for together in needs.values():
        need, free = sum(one.bytes_used for one in together), free_space(together[0].path)
        files = sum(one.files_released for one in together)
        if need > free.size or (free.inodes is not None and files > free.inodes):
            inodes = "" if free.inodes is None else f" and {count_text(free.inodes)} inodes"
            raise FileSystemError(
                f"Own copies for {counted(len(together), 'environment')} need {size_text(need)} in"
                f" {counted(files, 'file')}, {size_text(free.size)}{inodes} are free",
                hint="free some space, or release them one by one: `pipm release ENV`",
            )


def _paths(
    output: Output,
    named: Named,
    store: str,
    takes: Callable[[str], bool] | None = None,
    passed: list[Passed] | None = None,
) -> list[str]:
    """Return the named environments, and those below named folders that *takes* (default: all), each once.

    Add places that pipm does not handle to *passed*.
    """
    found = [existing_environment(text) for text in named.environments]
    for folder in named.below:
        if not os.path.isdir(folder):
            raise NotAnEnvironmentError(f"There is no folder {folder}", hint="name an existing folder")
        top = os.path.realpath(folder)
        every = find_environments(top, leave_out=store, exclude=named.exclude, passed=passed)
        own = _own(filter(takes, every) if takes else every, passed)
        found += sorted(_writable(output, own))  # the order of `pipm list`
    if not named.environments and not named.below:
        found = [existing_environment()]
    return list({os.path.realpath(path): path for path in found}.values())


def _own(found: Iterable[str], passed: list[Passed] | None) -> Iterator[str]:
    """Yield the environments of *found* that belong to this user, and add the others to *passed*."""
    for path in found:
        if is_own(path) or passed is None:
            yield path
        else:
            passed.append(Passed(path, "another user's"))


def _writable(output: Output, found: Iterable[str]) -> list[str]:
    """Return the environments of *found* that can be changed; print a note about read-only ones."""
    every = list(found)
    frozen = [path for path in every if is_read_only(path)]
    if frozen:
        output.note("note", f"{counted(len(frozen), 'environment')} left out: read-only (a disk, a snapshot)")
        output.named(map(path_text, frozen))
    return [path for path in every if path not in frozen]


def each(output: Output, paths: Iterable[str], one: Callable[[str], None]) -> int:
    """Run *one* for each path; print errors and continue, except after an interruption."""
    failed = done = 0
    said: tuple[str, str | None] | None = None
    for path in paths:
        try:
            one(path)
        except InterruptedRunError:
            raise
        except PipmError as error:
            failed += 1
            if (error.message, error.hint) != said:  # an error of several environments is printed once
                output.error(error)
            said = (error.message, error.hint)
            if error.exit_code != FAILED:
                return error.exit_code
        else:
            done += 1
    if failed:
        return PARTLY if done else FAILED
    return DONE


def add_wheels(output: Output, store: str, wheels: list[str]) -> int:
    """Add each wheel to the store; a bad one does not stop the others."""
    from pipm.share.add_wheels import add_wheel_file  # noqa: PLC0415 - each command loads its own

    documents: list[dict[str, object]] = []

    def one(path: str) -> None:
        added = add_wheel_file(store, path)
        documents.append({"wheel": added.wheel, "entry": added.entry, "known": added.known})
        output.result(f"{'Had' if added.known else 'Added'} {added.entry}")

    code = each(output, wheels, one)
    if output.json and documents:
        output.document("store add", {"wheels": documents})
    return code

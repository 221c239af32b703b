"""Building projects of this disk by their backends into wheels for the store."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import TYPE_CHECKING, TypeVar

from pipm.core.pins import SourceFolder, is_editable
from pipm.errors import BuildError
from pipm.fs.cache_files import read_value, write_value
from pipm.fs.share_file import ensure_folder
from pipm.project.backend import Backend
from pipm.project.build_system import read_build_system
from pipm.project.project_state import described_state
from pipm.share.add_wheels import store_wheels
from pipm.store.entries import EDITABLE, link_archives
from pipm.sync.fetched_wheels import wheel_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipm.context.progress import Progress
    from pipm.context.workers import SharedState
    from pipm.core.pins import Pin
    from pipm.sync.build_environment import BuildEnvironments
    from pipm.sync.pin_resolver import PinResolver

_Answer = TypeVar("_Answer")
_KIND = "build-requirements"


def build_projects(
    pins: Sequence[Pin],
    resolver: PinResolver,
    environments: BuildEnvironments,
    progress: Progress,
    shared_state: SharedState,
) -> dict[str, str]:
    """Build *pins*, which are folders, into the store; return entries by name. Raise PipmError."""
    progress.phase("Building", len(pins))
    store = resolver.store
    with store.run() as (run, run_path):
        backends = []
        for number, pin in enumerate(pins):
            assert isinstance(pin.origin, SourceFolder)
            ensure_folder(run, f"build-{number}", 0o700)
            ensure_folder(run, f"build-{number}/wheel", 0o700)
            system, scratch = read_build_system(pin.origin.project), f"{run_path}/build-{number}"
            backend = Backend(pin, pin.origin, system, scratch, lambda: shared_state.stopping)
            backends.append(backend)
        known = [_remembered(backend, environments) for backend in backends]
        try:
            wheels = _wheels(backends, known, environments, run_path)
        except BuildError:
            if all(answer is None for answer in known):
                raise
            known = [None] * len(backends)  # they may have other requirements now
            wheels = _wheels(backends, known, environments, run_path)
        shared_state.check()
        named = [(path, _file_name(pin, path)) for pin, path in zip(pins, wheels, strict=True)]
        kept = store_wheels(store, run, named, rebuilt=True)
        entries = {pin.name: wheel_of(pin, kept).entry for pin in pins}
        keys = [(entries[pin.name], resolver.editable_key(pin)) for pin in pins if is_editable(pin)]
        link_archives(store, keys)
    progress.advance(len(pins), 0)
    return entries


def _wheels(
    backends: list[Backend],
    known: Sequence[Sequence[str] | None],
    environments: BuildEnvironments,
    run_path: str,
) -> list[str]:
    """Build all *backends*; ask them for their requirements unless these are *known*; return the wheels."""
    asked = [backend for backend, answer in zip(backends, known, strict=True) if answer is None]
    for backend in asked:
        backend.python = environments.interpreter_for(backend.pin, backend.system.requires)
    answers = iter(_each([backend.requirements for backend in asked]))
    for backend, answer in zip(backends, known, strict=True):
        more = next(answers) if answer is None else answer
        requires = tuple(dict.fromkeys((*backend.system.requires, *more)))
        backend.python = environments.interpreter_for(backend.pin, requires)
        if answer is None:
            write_value(_KIND, _key(backend, environments), tuple(more))
    calls = [_building(backend, f"{run_path}/build-{n}/wheel") for n, backend in enumerate(backends)]
    return _each(calls)


def _remembered(backend: Backend, environments: BuildEnvironments) -> tuple[str, ...] | None:
    """Return *backend*'s requirements for a project with the same description in another worktree."""
    answer: tuple[str, ...] | None = read_value(_KIND, _key(backend, environments))
    return answer


def _key(backend: Backend, environments: BuildEnvironments) -> str:
    described = described_state(backend.folder.project)
    return f"{backend.folder.editable} {backend.pin.options} {described} {environments.interpreter}"


def _building(backend: Backend, into: str) -> Callable[[], str]:
    return lambda: backend.build(into)


def _each(calls: Sequence[Callable[[], _Answer]]) -> list[_Answer]:
    """Return the results of *calls*, which wait for programs; run as many at once as there are processors."""
    if len(calls) < 2:
        return [call() for call in calls]
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - of workspaces

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor(len(os.sched_getaffinity(0))))
        return list(pool.map(lambda call: call(), calls))


def _file_name(pin: Pin, path: str) -> str:
    """Return the store's name for the wheel at *path*; an editable one is not a release."""
    name = os.path.basename(path)
    if not is_editable(pin) or name.count("-") < 4:
        return name
    stem = name.split("-")
    return "-".join((*stem[:2], EDITABLE, *stem[-3:]))

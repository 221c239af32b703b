"""Locking environments and making the contexts of their adoption."""

from __future__ import annotations

import contextlib
import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from pipm.context.adopt_context import AdoptContext
from pipm.context.environment_lock import is_unchanged, locked_environment
from pipm.core.reasons import Reason
from pipm.env.installed import contested_paths, installed_distributions
from pipm.env.interpreter import ask_interpreter
from pipm.env.places import paths_of_others
from pipm.errors import LinkingImpossibleError, UsageError
from pipm.fs.free_space import file_system_type
from pipm.fs.link_modes import LinkMode, can_hardlink, choose_link_mode
from pipm.fs.os_errors import explain_os_error
from pipm.fs.staging import staging
from pipm.store.roots import find_root

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from pipm.context.progress import Progress
    from pipm.context.workers import SharedState
    from pipm.env.environment import Environment
    from pipm.env.installed import InstalledDistribution
    from pipm.share.adoption import AdoptOptions, Unchanged
    from pipm.store.layout import Store
    from pipm.store.roots import Root

    Look = Callable[[Environment, Root | None, int], Unchanged | None]


@dataclass(frozen=True, kw_only=True, slots=True)
class LockedEnvironment:
    """A locked, unchanged environment; ``root`` is its open folder, ``previous`` its root in the store.

    If nothing in it changed since an earlier run, ``unchanged`` is the result of that, and no distributions
    are listed.
    """

    environment: Environment
    root: int
    previous: Root | None
    distributions: list[InstalledDistribution]
    contested: frozenset[tuple[str, str]]
    released: tuple[str, ...]
    unchanged: Unchanged | None = None

    @property
    def entries(self) -> tuple[str, ...]:
        """The entries that an earlier run used."""
        return () if self.previous is None else self.previous.entries

    @property
    def seen_ns(self) -> int:
        """The time when an earlier run ended; 0 if there was none."""
        return 0 if self.previous is None else int(self.previous.seen * 1e9)

    def is_trusted(self, mode: LinkMode) -> bool:
        """Return True if an earlier adoption by *mode* of this same environment finished."""
        previous, environment = self.previous, self.environment
        if previous is None or previous.link_mode != mode.value:
            return False
        return is_unchanged(previous, environment)


@contextlib.contextmanager
def lock_environment(
    store: Store, environment: Environment, progress: Progress, again: Sequence[str], look: Look
) -> Iterator[LockedEnvironment]:
    """Lock the environment and list its distributions; the names *again* are no longer released by name.

    If *look* returns an earlier result, no distributions are listed.
    """
    with locked_environment(store, environment, progress) as root:
        previous = find_root(store, environment.path)
        unchanged = look(environment, previous, root)
        if unchanged is not None:
            assert previous is not None
            yield LockedEnvironment(
                environment=environment,
                root=root,
                previous=previous,
                distributions=[],
                contested=frozenset(),
                released=previous.released,
                unchanged=unchanged,
            )
            return
        distributions = installed_distributions(environment, root)
        released = released_names(previous, environment, distributions, again)
        yield LockedEnvironment(
            environment=environment,
            root=root,
            previous=previous,
            distributions=without_released(distributions, released),
            contested=contested_paths(distributions, paths_of_others(environment.path, root)),
            released=released,
        )


def released_names(
    previous: Root | None,
    environment: Environment,
    distributions: Sequence[InstalledDistribution],
    again: Sequence[str],
) -> tuple[str, ...]:
    """Return the names that stay released; raise UsageError if one of *again* is not installed."""
    names = {distribution.name for distribution in distributions}
    wanted = {canonicalize_name(name) for name in again}
    if unknown := wanted - names:
        raise UsageError(
            f"{environment.path} has no distribution {min(unknown)}", hint="`pip list` there names them"
        )
    released = () if previous is None else previous.released
    return tuple(name for name in released if name in names and name not in wanted)


def without_released(
    distributions: Sequence[InstalledDistribution], released: Sequence[str]
) -> list[InstalledDistribution]:
    """Return *distributions*; the ones with a name in *released* are refused."""
    return [
        replace(distribution, refusal=Reason.RELEASED) if distribution.name in released else distribution
        for distribution in distributions
    ]


@dataclass(frozen=True, kw_only=True, slots=True)
class AdoptRun:
    """The values that are the same for all environments of one run; `AdoptContext` explains them."""

    store: Store
    options: AdoptOptions
    shared_state: SharedState
    run: int
    run_path: str
    tight: bool
    further_names: Mapping[int, int]

    @contextlib.contextmanager
    def context(self, one: LockedEnvironment) -> Iterator[AdoptContext]:
        """Yield the context of an environment's adoption."""
        environment = one.environment
        with self._staging(one) as folder:
            mode = self._mode(environment, folder)
            yield AdoptContext(
                environment=environment,
                store=self.store,
                root=one.root,
                staging=folder,
                run=self.run,
                run_path=self.run_path,
                mode=mode,
                user=os.geteuid(),
                shared_state=self.shared_state,
                interpreter=ask_interpreter(environment.interpreter),
                contested=one.contested,
                entries=entries_by_release(one.entries),
                trusted=one.is_trusted(mode),
                seen_ns=one.seen_ns,
                hardlinks=mode is LinkMode.HARDLINK or can_hardlink(self.run, self.run_path, folder),
                file_system=file_system_type(environment.path),
                compile_missing=self.options.compile_missing,
                tight=self.tight,
                further_names=self.further_names,
            )

    @contextlib.contextmanager
    def _staging(self, one: LockedEnvironment) -> Iterator[int]:
        try:
            staged = staging(one.root)
            folder = staged.__enter__()
        except OSError as error:
            raise explain_os_error(error, f"write to {one.environment.path}") from error
        with contextlib.ExitStack() as stack:
            stack.push(staged)
            yield folder

    def _other_modes(self) -> str:
        """Return the modes for the hint: those that were not tried."""
        tried = self.options.link_mode
        rest = [LinkMode.FINDER, LinkMode.SYMLINK]
        if tried not in (None, LinkMode.HARDLINK):
            rest.insert(0, LinkMode.HARDLINK)
        return " or ".join(mode.value for mode in rest if mode is not tried)

    def _mode(self, environment: Environment, folder: int) -> LinkMode:
        try:
            return choose_link_mode(self.options.link_mode, self.run, self.run_path, folder)
        except LinkingImpossibleError as error:
            place = os.path.dirname(environment.path)
            kinds = [file_system_type(path) or "?" for path in (self.store.path, place)]
            raise LinkingImpossibleError(
                f"Cannot share files between {self.store.path} ({kinds[0]}) and"
                f" {environment.path} ({kinds[1]}): {error.message}",
                hint=f"use a store on that file system: pipm --store {place}/.pipm-store adopt"
                f" {environment.path}; or another mode: --link-mode {self._other_modes()}",
            ) from error


def entries_by_release(entries: tuple[str, ...]) -> dict[tuple[str, str], str]:
    """Return the entries' paths below ``wheels/`` by (name, version)."""
    return {(name, version): entry for entry in entries for name, version in [entry.split("/")[:2]]}

"""`pipm adopt`: let an existing environment share its files with the store, in place."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from dedupe.core.reasons import Reason
from dedupe.env.installed import contested_paths, installed
from dedupe.env.interpreter import ask_interpreter
from dedupe.errors import (
    FileSystemError,
    LinkingImpossibleError,
    UsageError,
)
from dedupe.fs.faults import explained
from dedupe.fs.lease import forbid_lease_signals
from dedupe.fs.links import LinkMode, can_hardlink, choose_link_mode
from dedupe.fs.replace import Staging, staging
from dedupe.fs.share import give_name
from dedupe.fs.space import accounting, file_system_type, free_space
from dedupe.fs.sync import Durability, sync_file_system
from dedupe.ops.adopt_worker import AdoptWorker, Answer
from dedupe.ops.adoption import Adoption, AdoptOptions, adoption_of
from dedupe.ops.crew import Crew, Pulse, Tickets, interruptible
from dedupe.ops.holding import checked_environment, held, root_of
from dedupe.ops.scene import Scene
from dedupe.ops.tally import Tally, summed
from dedupe.store.layout import (
    RESERVE_SIZE,
    VERSION,
    Store,
    folder_blocks,
    keep_reserve,
    open_store,
    spend_reserve,
)
from dedupe.store.objects import Rooms
from dedupe.store.roots import ADOPTED, ADOPTING, find_root, write_root
from dedupe.store.wheels import publish

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dedupe.env.environment import Environment
    from dedupe.env.installed import InstalledDistribution
    from dedupe.ops.progress import Progress

_WORTH_FORKING = 2000
"""Files from which a second process pays for itself."""
_SPACE_A_FILE = 512
_SPACE_AT_LEAST = 4 << 20


def adopt(store_path: str, path: str, options: AdoptOptions, progress: Progress) -> Adoption:
    """Adopt the environment at *path* into the store at *store_path*.

    Raises PipmError; whenever it does, every file of the environment is as it was or shared, never less.
    """
    started = time.monotonic()
    environment = checked_environment(store_path, path)
    if options.link_mode is LinkMode.COPY:
        raise UsageError("Copies share nothing", hint="choose reflink, hardlink or symlink")
    _refuse_overlay(environment, options)
    is_new = not os.path.isdir(f"{store_path}/{VERSION}")
    store = open_store(store_path)
    assert store is not None
    forbid_lease_signals()
    try:
        with held(store, environment, progress) as root:
            scene_of = _Preparation(store, environment, root, options, progress)
            with scene_of.scene() as (scene, staging_folder, distributions):
                tally, count = _run(scene, staging_folder, distributions, progress, is_new=is_new)
            if scene.tight:
                _explain_full_disk(store, tally)
            keep_reserve(store)
    except OSError as error:
        raise explained(error, f"adopt {path}") from error
    finally:
        progress.done()
    return adoption_of(environment, scene.mode.value, count, tally, started)


def _refuse_overlay(environment: Environment, options: AdoptOptions) -> None:
    if options.link_mode is None and file_system_type(environment.path) == "overlay":
        raise LinkingImpossibleError(
            f"{environment.path} lies on an overlay file system, where sharing a file of a lower layer"
            " copies it up and takes more space",
            hint="in the layer that made the environment, ask for it: --link-mode hardlink",
        )


@dataclass(frozen=True, slots=True)
class _Preparation:
    """From an environment under lock to the scene of its adoption."""

    store: Store
    environment: Environment
    root: int
    options: AdoptOptions
    progress: Progress

    @contextlib.contextmanager
    def scene(self) -> Iterator[tuple[Scene, int, list[InstalledDistribution]]]:
        """Yield the scene, the folder of temporary names, and the distributions."""
        distributions = installed(self.environment, self.root)
        tight = self._is_tight(sum(len(distribution.rows) for distribution in distributions))
        if tight:
            spend_reserve(self.store)
        previous = find_root(self.store, self.environment.path)
        with self._staging() as folder, self.store.run() as (run, run_path):
            mode = self._mode(run, run_path, folder)
            trusted = previous is not None and (
                (previous.device, previous.inode, previous.state, previous.link_mode)
                == (self.environment.device, self.environment.inode, ADOPTED, mode.value)
            )
            entries = previous.entries if previous is not None else ()
            scene = Scene(
                environment=self.environment,
                store=self.store,
                root=self.root,
                run=run,
                run_path=run_path,
                mode=mode,
                user=os.geteuid(),
                pulse=Pulse(),
                interpreter=ask_interpreter(self.environment.interpreter),
                contested=contested_paths(distributions),
                entries={
                    (name, version): entry for entry in entries for name, version in [entry.split("/")[:2]]
                },
                trusted=trusted,
                hardlinks=mode is LinkMode.HARDLINK or can_hardlink(run, run_path, folder),
                file_system=file_system_type(self.environment.path),
                compile_missing=self.options.compile_missing,
                tight=tight,
            )
            # The root stands before the first file is touched, then whatever is dirty is written:
            # a file that shared unwritten blocks could come back from a power cut as zeros.
            write_root(self.store, root_of(self.environment, mode.value, ADOPTING, entries))
            sync_file_system(self.root)
            yield scene, folder, distributions

    @contextlib.contextmanager
    def _staging(self) -> Iterator[int]:
        try:
            context = staging(self.root)
            folder = context.__enter__()
        except OSError as error:
            raise explained(error, f"write to {self.environment.path}") from error
        with contextlib.ExitStack() as stack:
            stack.push(context)
            yield folder

    def _mode(self, run: int, run_path: str, folder: int) -> LinkMode:
        try:
            return choose_link_mode(self.options.link_mode, run, run_path, folder)
        except LinkingImpossibleError as error:
            place = os.path.dirname(self.environment.path)
            kinds = [file_system_type(path) or "?" for path in (self.store.path, place)]
            raise LinkingImpossibleError(
                f"Cannot share files between {self.store.path} ({kinds[0]}) and"
                f" {self.environment.path} ({kinds[1]}): {error.message}",
                hint=f"use a store on that file system: pipm --store {place}/.pipm-store adopt"
                f" {self.environment.path}; or another mode: --link-mode hardlink, or symlink",
            ) from error

    def _is_tight(self, files: int) -> bool:
        """Whether the store's file system may not have the room that so many new files would need."""
        need = _SPACE_AT_LEAST + files * _SPACE_A_FILE
        free = free_space(self.store.path)
        return free.size < need or (free.inodes is not None and free.inodes < files // 4)


def _explain_full_disk(store: Store, tally: Tally) -> None:
    """Raise when a full disk kept everything from being shared."""
    if not tally.shared and any(left.reason is Reason.NO_ROOM for left in tally.left):
        raise FileSystemError(
            f"The file system of the store {store.path} is full, and the store has nothing of this"
            " environment yet: no space left",
            hint="free some space (or inodes) there, then run the same command again",
        )


def _run(
    scene: Scene,
    folder: int,
    distributions: list[InstalledDistribution],
    progress: Progress,
    *,
    is_new: bool,
) -> tuple[Tally, int]:
    """Take all distributions through the stages; returns the balance and how many there are."""
    total = sum(len(distribution.rows) for distribution in distributions)
    # The largest first: a small one at the end keeps nobody waiting.
    distributions = sorted(distributions, key=lambda distribution: -distribution.cost)
    tickets = Tickets(len(distributions))
    before = -RESERVE_SIZE if is_new else folder_blocks(scene.store)
    areas = [Staging(folder, str(number)) for number in range(_processes(total))]
    with interruptible(scene.pulse):
        workers = [AdoptWorker(scene, area, distributions, tickets) for area in areas]
        crew = Crew(workers, scene.pulse, lambda: progress.advance(*scene.pulse.done()))
        try:
            progress.phase("Sharing files", total)
            answers = _stages(scene, crew.run)
        finally:
            crew.close()
            tickets.close()
            for area in areas:
                area.close()
    tally = summed((answer.tally for answer in answers), accounting(scene.file_system))
    tally.taken += folder_blocks(scene.store) - before
    return tally, len(distributions)


def _stages(scene: Scene, run: Callable[[str], list[Answer]]) -> list[Answer]:
    answers = run("adopt")
    scene.pulse.check()
    sync_file_system(scene.root)
    if scene.hardlinks is False or scene.mode is LinkMode.SYMLINK:
        sync_file_system(scene.run)
    _publish(scene, answers)
    entries = tuple(sorted({entry for answer in answers for entry in answer.entries}))
    mode = scene.mode.value
    if scene.mode is LinkMode.SYMLINK:  # the root and the entries are on disk before links lead there
        write_root(scene.store, root_of(scene.environment, mode, ADOPTING, entries))
        sync_file_system(scene.run)
        answers = run("share")
        scene.pulse.check()
    if any(answer.unsettled for answer in answers):
        sync_file_system(scene.run)
        answers = run("settle")
        scene.pulse.check()
    if scene.mode is LinkMode.SYMLINK or any(answer.unsettled for answer in answers):
        sync_file_system(scene.root)
    write_root(scene.store, root_of(scene.environment, mode, ADOPTED, entries), Durability.WHOLE)
    return answers


def _publish(scene: Scene, answers: list[Answer]) -> None:
    """Give entries and copied objects their names; all of it is on disk by now."""
    rooms = Rooms(scene.store.objects)
    for answer in answers:
        for name, new in answer.pending.items():
            rooms.make(name)
            give_name(new, scene.store.objects, name)
        for prepared in answer.prepared:
            publish(scene.store, scene.run, prepared.tree, prepared.manifest)


def _processes(files: int) -> int:
    if files < _WORTH_FORKING or sys.platform != "linux":
        return 1
    return min(len(os.sched_getaffinity(0)), 8)

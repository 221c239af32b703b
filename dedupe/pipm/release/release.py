"""Releasing an environment of any link mode; served distributions become symlinks first, then copies."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from pipm.context.environment_lock import checked_environment, locked_environment
from pipm.context.workers import SharedState, interruptible
from pipm.env.interpreter import ask_interpreter
from pipm.env.places import marker_of
from pipm.env.receipt import FOLDER, RECEIPT, has_finder, read_receipt
from pipm.errors import FileSystemError, StoreError
from pipm.finder.distributions import SiteDistribution, site_distributions
from pipm.finder.environment_state import sweep_empty, uninstall_finder
from pipm.finder.install_hook import install_hook, interpreter_of, note_site_time
from pipm.finder.metadata_files import make_own
from pipm.finder.metadata_store import restore_metadata, store_metadata
from pipm.finder.restore_links import restore_links
from pipm.finder.state_before import Before
from pipm.fs.durability import sync_file_system
from pipm.fs.opened import opened_folder
from pipm.fs.os_errors import explain_os_error
from pipm.share.copy_from_layer import take_in
from pipm.share.prepare_adopt import entries_by_release
from pipm.share.private_copies import Released, release_shared
from pipm.store.layout import open_store
from pipm.store.roots import all_roots, find_root, write_root

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.context.progress import Progress
    from pipm.env.environment import Environment
    from pipm.env.receipt import Receipt, ServedDistribution
    from pipm.store.layout import Store

_BLOCK = 4096


def release_environment(
    store_path: str,
    path: str,
    names: list[str],
    progress: Progress,
    *,
    dry_run: bool,
    kept: frozenset[int] = frozenset(),
) -> Released:
    """Release the distributions *names* (all if empty) of the environment at *path*; raise PipmError.

    Files whose inodes are *kept* stay linked, if they had the same mode and time before they were adopted.
    """
    environment = checked_environment(store_path, path)
    with opened_folder(environment.path) as root:
        receipt = read_receipt(root)
        if receipt is None and not dry_run:
            sweep_empty(root)
        if receipt is None and has_finder(root):
            raise FileSystemError(
                f"The list of modules that the finder imports in {path} is damaged: {FOLDER}/{RECEIPT}",
                hint=f"pipm sync LOCK --env {path} writes it again",
            )
    if receipt is None:
        return release_shared(store_path, path, names, progress, dry_run=dry_run, kept=kept)
    if receipt.store != store_path:
        store_path = _moved(receipt, store_path)
    try:
        served = _link_served(store_path, environment, receipt, names, progress, dry_run=dry_run)
    except OSError as error:
        raise explain_os_error(error, f"release {path}") from error
    released = release_shared(store_path, path, names, progress, dry_run=dry_run, kept=kept)
    if not dry_run:
        return replace(released, link_mode="copy" if not names else "finder")
    sizes = [file.size for one, _ in served if one.manifest is not None for file in one.manifest.files]
    return replace(
        released,
        files_released=released.files_released + len(sizes),
        files=released.files + len(sizes),
        bytes_used=released.bytes_used + sum(-(-size // _BLOCK) * _BLOCK for size in sizes),
    )


def _moved(receipt: Receipt, store_path: str) -> str:
    """Return the store that has the environment's files: its recorded place, otherwise *store_path*."""
    if os.path.isdir(f"{receipt.store}/v1"):
        return receipt.store
    if os.path.isdir(f"{store_path}/v1"):
        return store_path
    raise StoreError(
        f"The store {receipt.store} is missing, and this environment needs its files",
        hint="if it was moved, name its new place: --store DIR or PIPM_STORE",
    )


def sharing(store_path: str) -> Callable[[str], bool]:
    """Return a function that says if the environment at a path shares files with the store.

    It does if the store knows its path, or its inode (the environment was moved), or if it has the finder.
    """
    store = open_store(store_path, create=False)
    roots = [] if store is None else list(all_roots(store))
    paths, inodes = {root.path for root in roots}, {root.inode for root in roots}

    def shares(path: str) -> bool:
        known = os.path.realpath(path) in paths or os.stat(f"{path}/{marker_of(path)}").st_ino in inodes
        return known or os.path.isdir(f"{path}/{FOLDER}")

    return shares


@dataclass(frozen=True, kw_only=True, slots=True)
class _Parts:
    """The served distributions: those to be files of the environment again, and the rest."""

    wanted: list[tuple[SiteDistribution, ServedDistribution]]
    rest: list[tuple[SiteDistribution, ServedDistribution]]


def _link_served(
    store_path: str,
    environment: Environment,
    receipt: Receipt,
    names: list[str],
    progress: Progress,
    *,
    dry_run: bool,
) -> list[tuple[SiteDistribution, ServedDistribution]]:
    store = open_store(store_path, create=False)
    if store is None:
        raise StoreError(f"There is no store {store_path}", hint="name its place: --store DIR or PIPM_STORE")
    shared_state = SharedState()
    with locked_environment(store, environment, progress) as root, interruptible(shared_state):
        if not dry_run:
            take_in(store, _layered(receipt, names))
        had_no_dist_info = not dry_run and restore_metadata(store, root)
        parts = _parts(store, environment, root, receipt, names)
        if dry_run:
            return parts.wanted
        interpreter = ask_interpreter(environment.interpreter)
        progress.phase("Linking files", len(parts.wanted))
        infos = [served.metadata for _, served in parts.wanted]
        before = Before(store, environment, root, receipt.site, infos)
        for one, served in parts.wanted:
            shared_state.check()
            restore_links(store, root, receipt.site, one, served, interpreter, before.rows)
        make_own(root, receipt.site, infos)
        before.restore_files()
        sync_file_system(root)
        if parts.rest:
            interpreter = interpreter_of(environment)
            rest = [(one.layout, served) for one, served in parts.rest]
            table = install_hook(store, environment, root, interpreter, rest, metadata=had_no_dist_info)
            note_site_time(environment, root, table, interpreter)
            if had_no_dist_info:
                store_metadata(store, environment, root, table, interpreter)
        else:
            uninstall_finder(root, receipt.site)
            before.restore_folders()
            known = find_root(store, environment.path)
            if known is not None:
                write_root(store, known._replace(link_mode="symlink"))
        sync_file_system(root)
    return parts.wanted


def _layered(receipt: Receipt, names: list[str]) -> list[str]:
    """Return the entries of layers from which the environment imports *names* (all if empty)."""
    chosen = {canonicalize_name(name) for name in names}
    layered = [row.entry for row in receipt.served.values() if row.layer]
    return [entry for entry in layered if not chosen or entry.partition("/")[0] in chosen]


def _parts(store: Store, environment: Environment, root: int, receipt: Receipt, names: list[str]) -> _Parts:
    known = find_root(store, environment.path)
    entries = entries_by_release(() if known is None else known.entries)
    wanted: list[tuple[SiteDistribution, ServedDistribution]] = []
    rest: list[tuple[SiteDistribution, ServedDistribution]] = []
    chosen = {canonicalize_name(name) for name in names}
    for one in site_distributions(store, environment, root, environment.site, receipt, entries):
        served = receipt.served.get(one.distribution.metadata)
        if served is None or one.served is None:
            continue
        (wanted if not chosen or one.distribution.name in chosen else rest).append((one, served))
    return _Parts(wanted=wanted, rest=rest)

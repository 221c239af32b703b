"""Entries that gc removed less than a day ago: ``trash/<seconds>-<hex>/<name>/<version>/<entry>``.

A finder environment that gc did not know restores them at the next import (`restore_entry`).
"""

from __future__ import annotations

import contextlib
import os

from pipm.core.named_tuple import NamedTuple
from pipm.fs.beneath import directory_beneath

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipm.store.layout import Store

_FOLDER = "trash"


class Trashed(NamedTuple):
    """An entry in the trash: time of removal (seconds), path below ``v1/``, former path below ``wheels/``."""

    since: float
    path: str
    entry: str


def new_batch(now: float) -> str:
    """Return the name of a new folder for the entries that gc removes at *now* (seconds)."""
    return f"{_FOLDER}/{int(now)}-{os.urandom(4).hex()}"


def move_to_trash(store: Store, entry: str, batch: str) -> Trashed:
    """Move *entry* from ``wheels/`` to the folder *batch*."""
    target = f"{batch}/{entry}"
    os.makedirs(f"{store.path}/v1/{os.path.dirname(target)}", 0o700, exist_ok=True)
    os.rename(f"wheels/{entry}", target, src_dir_fd=store.v1, dst_dir_fd=store.v1)
    return Trashed(_time_of(batch), target, entry)


def trashed(store: Store) -> list[Trashed]:
    """List the entries in the trash, newest first."""
    found = [
        Trashed(_time_of(batch), f"{_FOLDER}/{batch}/{name}/{version}/{entry}", f"{name}/{version}/{entry}")
        for batch in _listed(store, _FOLDER)
        for name in _listed(store, f"{_FOLDER}/{batch}")
        for version in _listed(store, f"{_FOLDER}/{batch}/{name}")
        for entry in _listed(store, f"{_FOLDER}/{batch}/{name}/{version}")
    ]
    return sorted(found, key=lambda one: (-one.since, one.path))


def restore_entry(store: Store, one: Trashed) -> bool:
    """Move an entry back; return False if another process did, or if ``wheels/`` has it again."""
    os.makedirs(f"{store.path}/v1/wheels/{os.path.dirname(one.entry)}", 0o700, exist_ok=True)
    with contextlib.suppress(OSError):  # ENOENT, ENOTEMPTY
        os.rename(one.path, f"wheels/{one.entry}", src_dir_fd=store.v1, dst_dir_fd=store.v1)
        return True
    return False


def tidy(store: Store) -> None:
    """Remove the trash's empty folders."""
    if os.path.isdir(f"{store.path}/v1/{_FOLDER}"):
        from pipm.fs.removal import remove_empty_below  # noqa: PLC0415 - only gc tidies

        remove_empty_below(f"{store.path}/v1/{_FOLDER}", 3)


def _time_of(batch: str) -> float:
    text = batch.removeprefix(f"{_FOLDER}/").partition("-")[0]
    return float(text) if text.isdecimal() else 0.0


def _listed(store: Store, path: str) -> list[str]:
    with directory_beneath(store.v1, path) as folder:
        return [] if folder is None else sorted(os.listdir(folder))

"""Throw-away file systems in loop images, and what `statvfs` says of them. Needs root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks.process import output

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# ext4 would write its inode tables in the background of the first runs.
MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=1"),
    "xfs": ("mkfs.xfs", "-q", "-f", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
MOUNT_OPTIONS = {"ext4": "noinit_itable", "xfs": "defaults", "btrfs": "defaults"}
SETTLE_SECONDS = 0.3
SETTLE_TRIES = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Volume:
    """A fresh file system of one kind, mounted."""

    kind: str
    path: Path
    device: str

    def mount(self) -> None:
        """Mount the file system at its path."""
        run("mount", "-t", self.kind, "-o", MOUNT_OPTIONS[self.kind], self.device, str(self.path))

    def unmount(self) -> None:
        """Unmount the file system; its pages leave the cache with it."""
        for _ in range(SETTLE_TRIES):
            if not subprocess.run(["umount", str(self.path)], check=False).returncode:
                return
            time.sleep(SETTLE_SECONDS)  # until the last processes of an interrupted run are gone
        raise TimeoutError(f"{self.path} cannot be unmounted")

    def set_aside(self, name: str) -> None:
        """Make room for a new *name*; nothing is deleted.

        For five minutes ext4 does not use inodes again that were deleted, and takes long to pass them: a
        contender would pay for the one before it.
        """
        aside = self.path / "aside"
        aside.mkdir(exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            (self.path / name).rename(aside / str(time.monotonic_ns()))

    def sync(self) -> float:
        """Write out what is dirty and return the seconds that took."""
        started = time.perf_counter()
        run("sync", "-f", str(self.path))
        return time.perf_counter() - started

    def used_bytes(self) -> int:
        """Return the bytes in use once the file system has settled.

        XFS and ext4 give blocks of removed files back in the background, so the figure is
        read until it stays.
        """
        last = -1
        for _ in range(SETTLE_TRIES):
            self.sync()
            status = os.statvfs(self.path)
            used = (status.f_blocks - status.f_bfree) * status.f_frsize
            if used == last:
                return used
            last = used
            time.sleep(SETTLE_SECONDS)
        raise TimeoutError(f"the free space of {self.path} does not come to rest")


@contextlib.contextmanager
def fresh_volume(kind: str, scratch: Path, size: int) -> Iterator[Volume]:
    """Make, mount and in the end remove a file system of `size` bytes in a sparse image.

    Direct I/O of the loop device keeps the image's own pages out of memory, so that cold is cold.
    """
    image = scratch / f"{kind}.img"
    path = scratch / kind
    path.mkdir(exist_ok=True)
    with contextlib.ExitStack() as undo:
        undo.callback(image.unlink, missing_ok=True)
        with image.open("wb") as file:
            file.truncate(size)
        device = output(["losetup", "--show", "--find", "--direct-io=on", str(image)]).strip()
        undo.callback(run, "losetup", "--detach", device)
        run(*MAKE[kind], device)
        volume = Volume(kind=kind, path=path, device=device)
        volume.mount()
        undo.callback(volume.unmount)
        yield volume


def run(*command: str) -> None:
    """Run a command that must succeed."""
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)

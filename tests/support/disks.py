"""Real file systems in sparse image files, mounted only for this process."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Self

KINDS = ("ext4", "xfs", "btrfs")

_MAKE = {
    "ext4": ("mkfs.ext4", "-q", "-F", "-m", "0"),  # -m 0: root may not use more than a user
    "xfs": ("mkfs.xfs", "-q", "-f", "-m", "reflink=1"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
}
_CLONE_NEWNS = 0x00020000


class MountError(Exception):
    """This machine, or this user, can't mount an image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Disk:
    """A mounted file system, or a fresh folder on one."""

    kind: str
    path: str

    @property
    def reflinks(self) -> bool:
        """Whether files can share extents here."""
        return self.kind != "ext4"

    @property
    def link_mode(self) -> str:
        """What `auto` means here."""
        return "reflink" if self.reflinks else "hardlink"

    def __truediv__(self, name: str) -> str:
        """Return a path on this disk."""
        return os.path.join(self.path, name)


def _do(*command: str) -> None:
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        raise MountError(f"{command[0]}: {error.strerror}") from error
    if done.returncode:
        raise MountError(f"{' '.join(command)}: {done.stderr.strip()}")


def enter_private_namespace() -> None:
    """Make this process's mounts its own: they vanish with it, even after a kill."""
    if os.geteuid() != 0:
        raise MountError("mounting an image needs root")
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise MountError(f"unshare: {os.strerror(ctypes.get_errno())}")
    _do("mount", "--make-rprivate", "/")


def make_image(kind: str, image: str, size: str, *options: str) -> None:
    """Make a file system in a sparse file."""
    _do("truncate", "-s", size, image)
    _do(*_MAKE[kind], *options, image)


@contextlib.contextmanager
def mounted(kind: str, image: str, point: str, *, options: str = "") -> Iterator[Disk]:
    """Mount an image for the time of a with block."""
    os.makedirs(point, exist_ok=True)
    given = f"loop,{options}" if options else "loop"
    _do("mount", "-t", kind, "-o", given, image, point)
    try:
        os.chmod(point, 0o755)  # normal users walk through it
        yield Disk(kind=kind, path=point)
    finally:
        unmount(point)


def unmount(point: str) -> None:
    """Unmount now, or as soon as its last user ends."""
    try:
        _do("umount", point)
    except MountError:
        _do("umount", "--lazy", point)


@dataclass(kw_only=True)
class Disks:
    """The images of one run, made when they are first asked for."""

    folder: str
    size: str = "12G"
    stack: contextlib.ExitStack = field(default_factory=contextlib.ExitStack)
    made: dict[str, Disk] = field(default_factory=dict)

    def __enter__(self) -> Self:
        enter_private_namespace()
        return self

    def __exit__(self, *_: object) -> None:
        self.stack.close()

    def get(self, kind: str) -> Disk:
        """Return the run's file system of this kind."""
        if kind not in self.made:
            self.made[kind] = self.stack.enter_context(self.small(kind, size=self.size))
        return self.made[kind]

    @contextlib.contextmanager
    def small(
        self, kind: str, *, size: str, name: str = "", options: tuple[str, ...] = (), mount: str = ""
    ) -> Iterator[Disk]:
        """Make, mount, and later remove a file system of one's own; *options* are mkfs's, *mount* mount's."""
        image = os.path.join(self.folder, f"{name or kind}.img")
        make_image(kind, image, size, *options)
        try:
            with mounted(kind, image, image.removesuffix(".img"), options=mount) as disk:
                yield disk
        finally:
            os.unlink(image)

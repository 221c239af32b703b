"""Extended attributes and ACLs; files with different ones never become one inode."""

from __future__ import annotations

import contextlib
import errno
import os

_NONE: frozenset[str] = frozenset()
_NO_SUPPORT = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})
LABEL = "security.selinux"
"""A label that the security policy sets by path; files with the same label may become one inode."""


def has_attributes(file: int | str) -> bool:
    """Return whether *file* (open or a path) has attributes, an ACL or capabilities other than a label."""
    return not attribute_names(file) <= {LABEL}


def has_attributes_in(directory: int, name: str) -> bool:
    """Return whether the file *name* in the open *directory* has attributes; False if it cannot be read."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return False
    try:
        return has_attributes(file)
    finally:
        os.close(file)


def attribute_names(file: int | str) -> frozenset[str]:
    """Return the names of the attributes, ACLs and capabilities of *file* (open or a path)."""
    try:
        names = _names(file)
        return frozenset(names) if names else _NONE
    except OSError as error:
        if error.errno in _NO_SUPPORT:
            return _NONE
        raise


def label_of(file: int) -> bytes:
    """Return the security label of the open *file*; empty if it has none."""
    try:
        return os.getxattr(file, LABEL)
    except (OSError, AttributeError):
        return b""


def stop_inheritance(folder: int) -> None:
    """Remove setgid and default ACL from the open *folder*, so that new files do not inherit them."""
    os.fchmod(folder, 0o700)  # without setgid
    if hasattr(os, "removexattr"):
        with contextlib.suppress(OSError):  # the folder has no ACL, or the file system has none
            os.removexattr(folder, "system.posix_acl_default")


if hasattr(os, "listxattr"):  # Linux has it in the standard library, and this runs for each file

    def _names(file: int | str) -> list[str]:
        return os.listxattr(file)

else:

    def _names(file: int | str) -> list[str]:
        import xattr  # noqa: PLC0415 - only macOS needs it

        return list(xattr.listxattr(file))

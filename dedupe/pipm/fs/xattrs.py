"""Extended attributes and ACLs: two files with different ones never become one."""

from __future__ import annotations

import contextlib
import errno
import os

_NONE: frozenset[str] = frozenset()
_NO_SUPPORT = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})
LABEL = "security.selinux"
"""A label that policy gives by path; two files may become one where it is the same."""


def has_attributes(file: int | str) -> bool:
    """Return whether *file*, open or a path, has attributes, an ACL or capabilities beside a label."""
    return not attribute_names(file) <= {LABEL}


def has_attributes_in(directory: int, name: str) -> bool:
    """Whether the file *name* in the open *directory* has any; False where it cannot be read."""
    try:
        file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=directory)
    except OSError:
        return False
    try:
        return has_attributes(file)
    finally:
        os.close(file)


def attribute_names(file: int | str) -> frozenset[str]:
    """Return the names of the attributes, ACLs and capabilities of *file*, open or a path."""
    try:
        names = _names(file)
        return frozenset(names) if names else _NONE
    except OSError as error:
        if error.errno in _NO_SUPPORT:
            return _NONE
        raise


def label_of(file: int) -> bytes:
    """Return the security label of the open *file*; empty where it has none."""
    try:
        return os.getxattr(file, LABEL)
    except (OSError, AttributeError):
        return b""


def hand_nothing_down(folder: int) -> None:
    """Make new files in the open *folder* get neither a group nor an ACL from it."""
    os.fchmod(folder, 0o700)  # without setgid
    if hasattr(os, "removexattr"):
        with contextlib.suppress(OSError):  # there is none, or the file system has no ACLs
            os.removexattr(folder, "system.posix_acl_default")


if hasattr(os, "listxattr"):  # Linux: the standard library has it, and this runs once a file

    def _names(file: int | str) -> list[str]:
        return os.listxattr(file)

else:

    def _names(file: int | str) -> list[str]:
        import xattr  # noqa: PLC0415 - only macOS needs it

        return list(xattr.listxattr(file))

"""Extended attributes and ACLs: two files with different ones never become one."""

from __future__ import annotations

import errno
import os

_NO_SUPPORT = frozenset({errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EPERM})
_SET_BY_THE_SYSTEM = frozenset({"security.selinux"})
"""A label that policy gives by path; sharing the inode shares the label, as any hard link does."""


def has_attributes(file: int | str) -> bool:
    """Whether *file*, open or a path, has attributes, an ACL or capabilities of its own."""
    try:
        names = _names(file)
    except OSError as error:
        if error.errno in _NO_SUPPORT:
            return False
        raise
    return bool(names and not _SET_BY_THE_SYSTEM.issuperset(names))


if hasattr(os, "listxattr"):  # Linux: the standard library has it, and this runs once a file

    def _names(file: int | str) -> list[str]:
        return os.listxattr(file)

else:

    def _names(file: int | str) -> list[str]:
        import xattr  # noqa: PLC0415 - only macOS needs it

        return list(xattr.listxattr(file))

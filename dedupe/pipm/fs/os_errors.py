"""Deciding whether an error concerns one file or stops everything."""

from __future__ import annotations

import errno
import os

from pipm.errors import FileSystemError

_HINTS = {
    errno.ENOSPC: "free some space (or inodes) there, then run the same command again",
    errno.EDQUOT: "the quota is used up; free some space there, then run the same command again",
    errno.EROFS: "it is mounted read-only",
    errno.EIO: "the disk reports errors; look at the system's log before you go on",
    errno.EMFILE: "let the process open more files (ulimit -n), then run the same command again",
    errno.ENFILE: "the system has too many open files; run the same command again later",
}
_MORE_HINTS = {
    errno.ENOMEM: "end other programs or raise the limit of memory (ulimit -v), then run it again",
    errno.EAGAIN: "end other programs or allow more processes (ulimit -u), then run it again",
    errno.EFBIG: "allow larger files (ulimit -f); some file systems have a limit, too",
    errno.EACCES: "look at its owner and permissions, and at those of the folders above",
    errno.EPERM: "look at its owner and attributes (lsattr), and at those of its folder",
}
_HINT = "look at that file or folder, then run the same command again"


def stops_everything(error: OSError) -> bool:
    """Return whether *error* concerns all files: disk full, quota, read-only, broken, open files."""
    return error.errno in _HINTS


def explain_os_error(error: OSError, doing: str) -> FileSystemError:
    """Return a PipmError for *error* while *doing* something ("write to ~/.local/share"), with a hint."""
    reason = os.strerror(error.errno) if error.errno else str(error)
    if not stops_everything(error) and isinstance(error.filename, str):
        reason = f"{reason}: {error.filename}"
    number = error.errno or 0
    return FileSystemError(
        f"Cannot {doing}: {reason}", hint=_HINTS.get(number) or _MORE_HINTS.get(number, _HINT)
    )

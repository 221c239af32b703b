"""The reasons for which a file is not shared."""

from __future__ import annotations

from enum import Enum


class Reason(Enum):
    """Why a file was left as it is.

    ``expected`` reasons are normal: such files belong to one environment. For other reasons the command lists
    the files and ends with exit code 3.
    """

    INSTALLERS_OWN = "written by the installer for this environment"
    SCRIPT = "script with this environment's path in it"
    CONFIGURATION = "configuration"
    PATH_FILE = ".pth file"
    EMPTY = "empty"
    EDITABLE = "editable install"
    LARGE_RECORD = "its RECORD is larger than any real one"
    NO_RECORD = "its distribution has no RECORD, so its files are unknown"
    EGG_INFO = "installed without RECORD (egg-info)"
    CONDA = "installed by conda, which shares its files itself"
    SYMLINK = "symbolic link"
    OUTSIDE = "outside of site-packages and the environment's data folders"
    BEHIND_SYMLINK = "in a folder that is a symbolic link"
    CONTESTED = "another package has the same file, or it is mounted there"
    MISSING = "RECORD names it, but it does not exist"
    OTHER_BYTECODE = "bytecode of another interpreter or kind"
    STALE_BYTECODE = "bytecode that does not match its source"
    MODIFIED = "differs from what was installed"
    CHANGED_SHARED = "changed in place after it was shared; every environment that shares it sees the change"
    MARKED_SHARED = "got attributes, an ACL or capabilities after it was shared; every environment has them"
    OPEN = "open for writing by another process"
    CHANGING = "changed while pipm read it"
    NOT_REGULAR = "not a regular file"
    SPECIAL_MODE = "has an unusual mode: not readable by all, setuid, setgid or sticky"
    OTHER_OWNER = "owned by another user"
    ATTRIBUTES = "has extended attributes or an ACL"
    METADATA = "a private copy cannot get its owner, attributes, ACL or flags"
    NO_WRITE = "its folder is read-only, or you may not change it"
    PROTECTED = "protected from changes (immutable, or not permitted)"
    UNREADABLE = "cannot be read"
    RELEASED = "released by name; `pipm adopt --dist NAME` shares it again"
    IMPORTED = "imported from the store by the finder"
    NO_ROOM = "the store does not have it yet, and its disk is full"
    NO_LINK = "the file system refused the link"
    NOT_STORED = "a symbolic link to a file that is missing in its store"

    @property
    def expected(self) -> bool:
        """Return whether this is the normal state of such a file."""
        return self in _EXPECTED

    @property
    def passing(self) -> bool:
        """Return whether the next run can probably share the file."""
        return self in (Reason.OPEN, Reason.CHANGING)


_EXPECTED = frozenset(
    {
        Reason.INSTALLERS_OWN,
        Reason.SCRIPT,
        Reason.CONFIGURATION,
        Reason.PATH_FILE,
        Reason.EMPTY,
        Reason.EDITABLE,
        Reason.NO_RECORD,
        Reason.EGG_INFO,
        Reason.CONDA,
        Reason.SYMLINK,
        Reason.OUTSIDE,
        Reason.BEHIND_SYMLINK,
        Reason.CONTESTED,
        Reason.MISSING,
        Reason.OTHER_BYTECODE,
        Reason.STALE_BYTECODE,
        Reason.RELEASED,
        Reason.IMPORTED,
    }
)

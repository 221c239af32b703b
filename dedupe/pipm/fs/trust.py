"""Finding out whether another user can change a file, or a folder above it.

Each `pipm run` imports this, so it must not import slow modules (dataclasses, typing, re).
"""

from __future__ import annotations

import os
import stat
import sys

_MOST_LINKS = 40
"""The most symbolic links in one path; the kernel has the same limit (path_resolution(7))."""


_users: frozenset[int] = frozenset()
_way: frozenset[str] = frozenset()
_private: dict[tuple[int, int], bool] = {}
"""Cached results; functools takes milliseconds to import."""


def trusted_users() -> frozenset[int]:
    """Return the numbers of root, this user, and the owner of pipm's interpreter, who can change pipm.

    Users in ``PIPM_TRUSTED_USERS`` are trusted, too: in a container root may work on a user's folders.

    In a user namespace (a rootless container, a sandbox) all files of users from outside, also of the
    machine's root, show the same number (user_namespaces(7)). It is trusted there, unless a user of the
    namespace has it.
    """
    global _users  # noqa: PLW0603 - found once for each process
    if not _users:
        users = {0, os.geteuid()}
        named = os.environ.get("PIPM_TRUSTED_USERS", "").split(",")
        users.update(int(number) for number in named if number.strip().isdecimal())
        try:
            users.add(os.stat(os.path.realpath(sys.executable)).st_uid)
            users.update(_unmapped())
        except (OSError, ValueError):
            pass  # no Linux
        _users = frozenset(users)
    return _users


def _unmapped() -> list[int]:
    """Return the number that files of users from outside show, if no user of the namespace has it."""
    ranges = list(map(int, _words_of("/proc/self/uid_map")))
    mapped = list(zip(ranges[::3], ranges[2::3], strict=True))
    numbers = map(int, _words_of("/proc/sys/fs/overflowuid"))
    return [number for number in numbers if not any(0 <= number - first < count for first, count in mapped)]


def _words_of(path: str) -> list[bytes]:
    with open(path, "rb") as stream:
        return stream.read().split()


def _own_way() -> frozenset[str]:
    """Return the folders above pipm's interpreter: a user who can change one of them can change pipm."""
    global _way  # noqa: PLW0603 - likewise
    if not _way:
        path, found = os.path.realpath(sys.executable), {"/"}
        while path != "/":
            path = os.path.dirname(path)
            found.add(path)
        _way = frozenset(found)
    return _way


def is_foreign(status: os.stat_result) -> bool:
    """Return whether another user owns the file with this *status*, or may write to it.

    In a folder with the sticky bit (``/tmp``) users can change only their own files. A group whose only
    member is the owner (``umask 002`` on Debian and Fedora) counts as the owner.
    """
    mode = status.st_mode
    if status.st_uid not in trusted_users():
        return True
    if stat.S_ISLNK(mode) or (stat.S_ISDIR(mode) and mode & stat.S_ISVTX):
        return False
    if mode & stat.S_IWOTH:
        return True
    return bool(mode & stat.S_IWGRP) and not _is_private(status.st_gid, status.st_uid)


def is_owned(path: str) -> bool:
    """Return whether a trusted user owns *path* itself, which may be a symbolic link."""
    try:
        return os.lstat(path).st_uid in trusted_users()
    except OSError:
        return False


def foreign_part(path: str) -> str | None:
    """Return the first file, link or folder of the absolute *path* that another user can change.

    Return None if there is none; the search ends at a missing component.
    """
    where, links = "/", 0
    waiting = path.split("/")[::-1]
    try:
        while waiting:
            name = waiting.pop()
            if name == "..":
                where = os.path.dirname(where)
            if name in ("", ".", ".."):
                continue
            part = os.path.join(where, name)
            status = os.lstat(part)
            if is_foreign(status) and part not in _own_way():
                return part
            if not stat.S_ISLNK(status.st_mode):
                where = part
                continue
            links += 1
            if links > _MOST_LINKS:
                return part
            target = os.readlink(part)
            waiting += target.split("/")[::-1]
            if target.startswith("/"):
                where = "/"
    except (FileNotFoundError, NotADirectoryError):
        return None
    return None


def changed_by_others(path: str) -> str | None:
    """Return the path that lets another user change the file *path*, which pipm found itself; or None.

    For root, all folders above the file count; for other users only the file, as in git's safe.directory.
    """
    if os.geteuid() == 0:
        return foreign_part(path)
    statuses = (os.lstat(path), os.stat(path))
    is_others = any(one.st_uid not in trusted_users() for one in statuses)
    return path if is_others or statuses[1].st_mode & stat.S_IWOTH else None


def user_name(number: int) -> str:
    """Return the name of the user with this *number*, in the form that a shell and sudo read."""
    import pwd  # noqa: PLC0415 - only error messages need it

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"'#{number}'"


def _is_private(group: int, user: int) -> bool:
    """Return whether *group* has the name of *user* and no other members."""
    key = (group, user)
    if key not in _private:
        _private[key] = key == (0, 0) or _is_alone(group, user)
    return _private[key]


def _is_alone(group: int, user: int) -> bool:
    import grp  # noqa: PLC0415 - a group can write to few files
    import pwd  # noqa: PLC0415

    try:
        account, members = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    alone = set(members.gr_mem) <= {account.pw_name}
    if account.pw_gid != group or account.pw_name != members.gr_name or not alone:
        return False
    # The list of members lacks users with this primary group.
    return all(other.pw_gid != group or other.pw_uid == user for other in pwd.getpwall())

"""Finding out which users can change a file: by writing to it, or to a folder above it.

A warm `pipm run` imports this: nothing here may import what takes milliseconds (dataclasses, typing, re).
"""

from __future__ import annotations

import os
import stat
import sys

_MOST_LINKS = 40
"""Symbolic links on one way, as the kernel counts them (path_resolution(7))."""


_users: frozenset[int] = frozenset()
_way: frozenset[str] = frozenset()
_private: dict[tuple[int, int], bool] = {}
"""Cached results; functools takes milliseconds to import."""


def trusted_users() -> frozenset[int]:
    """Return the numbers of root, this user, and the owner of pipm's interpreter, who can change pipm.

    Those in ``PIPM_TRUSTED_USERS`` too: in a container root works on folders of the one user outside.

    In a user namespace (a rootless container, a sandbox) files of users that it does not have, the machine's
    root among them, show one number for all of them (user_namespaces(7)); there that is trusted, too, unless
    it is the number of a user of the namespace as well.
    """
    global _users  # noqa: PLW0603 - asked for once a process
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
    """Return the number that files of unmapped users show, where no user of the namespace has it."""
    ranges = list(map(int, _words_of("/proc/self/uid_map")))
    mapped = list(zip(ranges[::3], ranges[2::3], strict=True))
    numbers = map(int, _words_of("/proc/sys/fs/overflowuid"))
    return [number for number in numbers if not any(0 <= number - first < count for first, count in mapped)]


def _words_of(path: str) -> list[bytes]:
    with open(path, "rb") as stream:
        return stream.read().split()


def _own_way() -> frozenset[str]:
    """Return the folders above pipm's interpreter: who can change one of them can change pipm already."""
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

    In a folder with the sticky bit (``/tmp``) others make files of their own, and change no other's. A group
    that has no member but the owner (``umask 002`` on Debian and Fedora) is the owner.
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
    """Return whether *path* itself, even a symbolic link, exists and is this user's or root's."""
    try:
        return os.lstat(path).st_uid in trusted_users()
    except OSError:
        return False


def foreign_part(path: str) -> str | None:
    """Name the first file, link or folder on the way to the absolute *path* that another user can change.

    Return None if there is none; a missing component ends the search.
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
    """Return the path by which another user can change the file *path*, which the user did not name, or None.

    For root that may be any folder on the way; for others it is the file, as git's safe.directory has it.
    """
    if os.geteuid() == 0:
        return foreign_part(path)
    statuses = (os.lstat(path), os.stat(path))
    is_others = any(one.st_uid not in trusted_users() for one in statuses)
    return path if is_others or statuses[1].st_mode & stat.S_IWOTH else None


def user_name(number: int) -> str:
    """Return the name of the user with this *number*, as a shell and sudo take it."""
    import pwd  # noqa: PLC0415 - for an error

    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return f"'#{number}'"


def _is_private(group: int, user: int) -> bool:
    """Whether *group* is the one that is made for *user* alone: of the same name, without other members."""
    key = (group, user)
    if key not in _private:
        _private[key] = key == (0, 0) or _is_alone(group, user)
    return _private[key]


def _is_alone(group: int, user: int) -> bool:
    import grp  # noqa: PLC0415 - few files may be written by a group
    import pwd  # noqa: PLC0415

    try:
        account, members = pwd.getpwuid(user), grp.getgrgid(group)
    except KeyError:
        return False
    alone = set(members.gr_mem) <= {account.pw_name}
    if account.pw_gid != group or account.pw_name != members.gr_name or not alone:
        return False
    # Users with it as their primary group are not listed members.
    return all(other.pw_gid != group or other.pw_uid == user for other in pwd.getpwall())

"""Users and passwords in URLs, where the programs that pip starts would show them on their command lines.

Such are git, and the pip that installs what an isolated build needs. git asks a credential helper instead,
which has them from variables; pip reads a netrc file in the run's private folder. Other users see neither.
"""

from __future__ import annotations

import netrc
import os
import re
import subprocess
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, unquote

from pipm.fs.share_file import write_text

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pipm.wheel.run_pip import PipCommand

_URL = re.compile(
    r"(?P<git>git\+)?(?P<scheme>https?)://(?:(?P<user>[^/?#\s:@]*)(?::(?P<password>[^/?#\s@]*))?@)?"
    r"(?P<host>[^/?#\s@'\"]+)"
)
_SOURCES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
_HELPER = (
    '!f() {{ test "$1" = get && printf "username=%s\\npassword=%s\\n"'
    ' "$PIPM_GIT_USER_{0}" "$PIPM_GIT_PASSWORD_{0}"; }}; f'
)
"""A shell has printf built in: nothing of it is on a command line."""
_FIRST_GIT = (2, 31)
"""The git that reads its configuration from GIT_CONFIG_COUNT, too."""


class _Login(NamedTuple):
    user: str
    password: str


def add_logins(pip: PipCommand, lines: Iterable[str]) -> list[str]:
    """Give an index of *lines* that names no user the login by which *pip*'s settings know its host.

    pip does so for other URLs of the indexes in its settings; one that a file names replaces those.
    """
    texts = [pip.environ.get(name, "") for name in _SOURCES[:2]]
    known = _logins(match for text in texts for match in _URL.finditer(text) if match["user"] is not None)

    def full(match: re.Match[str]) -> str:
        login = None if match["user"] is not None else known.get(_key(match))
        if login is None:
            return match[0]
        user, password = (quote(word, safe="") for word in login)
        return f"{match['scheme']}://{user}:{password}@{match['host']}"

    return [_URL.sub(full, line) if line.startswith("--index-url ") else line for line in lines]


def hide_logins(
    pip: PipCommand, lines: Sequence[str], parent: int, path: str
) -> tuple[PipCommand, list[str]]:
    """Take users and passwords out of the URLs of *lines* and of *pip*'s settings; *pip* gets them otherwise.

    *parent* (at *path*) is a private folder. A login stays where another one is for the same host, or where a
    netrc file cannot hold it.
    """
    environ = dict(pip.environ)
    texts = [*lines, *(environ[name] for name in _SOURCES if name in environ)]
    found = [match for text in texts for match in _URL.finditer(text)]
    cloned = _logins([match for match in found if match["git"]]) if _git_reads_variables() else {}
    fetched = _logins([match for match in found if not match["git"]])
    # A netrc file knows hosts without ports, and what one port of it gets may be another user's.
    named = [match["host"].partition(":")[0] for match in {match["host"]: match for match in found}.values()]
    fetched = {
        key: login
        for key, login in fetched.items()
        if named.count(_name(key)) == 1 and all(map(_fits_netrc, (*login, _name(key))))
    }

    def plain(match: re.Match[str]) -> str:
        hidden = _key(match) in (cloned if match["git"] else fetched)
        return f"{match['git'] or ''}{match['scheme']}://{match['host']}" if hidden else match[0]

    for name in _SOURCES:
        if name in environ:
            environ[name] = _URL.sub(plain, environ[name])
    count = int(environ.get("GIT_CONFIG_COUNT") or 0)
    for number, (key, login) in enumerate(cloned.items()):
        for value in ("", _HELPER.format(number)):  # the empty one forgets the user's helpers for this host
            environ[f"GIT_CONFIG_KEY_{count}"] = f"credential.{key}.helper"
            environ[f"GIT_CONFIG_VALUE_{count}"] = value
            count += 1
        environ[f"PIPM_GIT_USER_{number}"], environ[f"PIPM_GIT_PASSWORD_{number}"] = login
        environ["GIT_CONFIG_COUNT"] = str(count)
    if fetched:
        rows = (
            f"machine {_name(key)} login {one.user} password {one.password}" for key, one in fetched.items()
        )
        write_text(parent, "netrc", "\n".join((_users_netrc(environ), *rows, "")))
        environ["NETRC"] = f"{path}/netrc"
    return replace(pip, environ=environ), [_URL.sub(plain, line) for line in lines]


def _logins(found: Iterable[re.Match[str]]) -> dict[str, _Login]:
    """The one login of each scheme and host that has one, and no other one."""
    several: dict[str, set[_Login | None]] = {}
    for match in found:
        user, password = match["user"], match["password"]
        login = None if user is None else _Login(unquote(user), unquote(password or ""))
        several.setdefault(_key(match), set()).add(login)
    return {key: login for key, logins in several.items() for login in logins if login and len(logins) == 1}


def _key(match: re.Match[str]) -> str:
    return f"{match['scheme']}://{match['host']}"


def _name(key: str) -> str:
    """The name of the host, as a netrc file has it."""
    return key.partition("://")[2].partition(":")[0]


def _fits_netrc(text: str) -> bool:
    # Parsers differ in quotes, backslashes and comments.
    return bool(text) and text.isascii() and text.isprintable() and not set(text) & set(" '\"\\#[]")


def _users_netrc(environ: dict[str, str]) -> str:
    """The text of the user's own netrc file, which ours stands for; nothing where pip could not read it."""
    for path in [environ["NETRC"]] if environ.get("NETRC") else ["~/.netrc", "~/_netrc"]:
        try:
            netrc.netrc(os.path.expanduser(path))
            with open(os.path.expanduser(path), encoding="utf-8") as stream:
                return stream.read()
        except (OSError, ValueError, netrc.NetrcParseError):
            continue
    return ""


@cache
def _git_reads_variables() -> bool:
    try:
        done = subprocess.run(["git", "version"], capture_output=True, text=True, check=False)
    except OSError:
        return False
    match = re.match(r"git version (\d+)\.(\d+)", done.stdout)
    return match is not None and tuple(map(int, match.groups())) >= _FIRST_GIT

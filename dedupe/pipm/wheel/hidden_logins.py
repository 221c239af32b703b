"""Hiding users and passwords in URLs from the command lines of programs that pip starts.

Other users can read command lines. pip starts git, and another pip for the requirements of an isolated build.
git gets logins from a credential helper, which reads variables; pip reads a netrc file in the run's private
folder.
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
_REPOSITORY = re.compile(r"\b(git|hg|svn|bzr)\+")
_SOURCES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS")
_HELPER = (
    '!f() {{ test "$1" = get && printf "username=%s\\npassword=%s\\n"'
    ' "$PIPM_GIT_USER_{0}" "$PIPM_GIT_PASSWORD_{0}"; }}; f'
)
"""printf is built into the shell, so the password is not on a command line."""
_FIRST_GIT = (2, 31)
"""The first version of git that reads GIT_CONFIG_COUNT."""


class _HiddenLogin(NamedTuple):
    user: str
    password: str


def add_logins(pip: PipCommand, lines: Iterable[str]) -> list[str]:
    """Add the login for a host in *pip*'s settings to index URLs in *lines* that have no user.

    pip does so for other URLs of the indexes in its settings; but an index in a file replaces those.
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
    """Remove users and passwords from URLs in *lines* and in *pip*'s settings, and pass them in other ways.

    *parent* (at *path*) is a private folder. A login stays in the URL if the same host has several, or if a
    netrc file cannot contain it.
    """
    environ = dict(pip.environ)
    proxy = environ.get("PIP_PROXY", "")
    if "@" in proxy and not any(map(_REPOSITORY.search, lines)):
        # pip gives its setting as an option to the pip that it starts. Programs that clone read these, too.
        unused = ("_proxy", "_proxy_env")
        environ = {name: value for name, value in environ.items() if not name.lower().endswith(unused)}
        environ |= {"http_proxy": proxy, "https_proxy": proxy}
    texts = [*lines, *(environ[name] for name in _SOURCES if name in environ)]
    found = [match for text in texts for match in _URL.finditer(text)]
    cloned = _logins([match for match in found if match["git"]]) if _git_reads_variables() else {}
    fetched = _logins([match for match in found if not match["git"]])
    # netrc has no ports: another port of the same host, maybe another user's, would get the password.
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
        for value in ("", _HELPER.format(number)):  # "" disables the user's helpers for this host
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


def _logins(found: Iterable[re.Match[str]]) -> dict[str, _HiddenLogin]:
    """Return the login of each scheme and host that has exactly one."""
    several: dict[str, set[_HiddenLogin | None]] = {}
    for match in found:
        user, password = match["user"], match["password"]
        login = None if user is None else _HiddenLogin(unquote(user), unquote(password or ""))
        several.setdefault(_key(match), set()).add(login)
    return {key: login for key, logins in several.items() for login in logins if login and len(logins) == 1}


def _key(match: re.Match[str]) -> str:
    return f"{match['scheme']}://{match['host']}"


def _name(key: str) -> str:
    """Return the name of the host for a netrc file."""
    return key.partition("://")[2].partition(":")[0]


def _fits_netrc(text: str) -> bool:
    # Parsers disagree about quotes, backslashes and comments.
    return bool(text) and text.isascii() and text.isprintable() and not set(text) & set(" '\"\\#[]")


def _users_netrc(environ: dict[str, str]) -> str:
    """Return the text of the user's netrc file, which pipm's replaces; "" if missing or invalid."""
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

"""Addresses in lock files: checked, and shown without credentials.

A warm sync imports this: nothing here may import what takes milliseconds (re, urllib).
"""

from __future__ import annotations

from pipm.errors import redacted

SYSTEMS = frozenset({"git", "hg", "svn", "bzr"})
"""The version control systems of PEP 610."""

_MARKS = frozenset("._-+/")
_SCHEME = frozenset("+.-")


class AddressError(ValueError):
    """A value that would mean something else in a requirements file or on a command line."""


def checked_url(text: str) -> str:
    """Return *text* if it is an absolute URL without blanks; raise AddressError otherwise."""
    scheme, separator, rest = text.partition("://")
    if not separator or not rest or not _is_scheme(scheme):
        raise _refused("URL", text, "it begins with no scheme such as https://")
    end = min((index for mark in "/?#" if (index := rest.find(mark)) >= 0), default=len(rest))
    port = rest[:end].rpartition("@")[2].rpartition("]")[2].partition(":")[2]
    if port and scheme.endswith(("http", "https")) and not port.isdecimal():
        reason = "its port is not a number; in a password, / is written as %2F, ? as %3F, # as %23"
        raise _refused("URL", text, reason)
    return _one_word("URL", text)


def checked_repository(text: str) -> str:
    """Return *text* if it is the address of a repository: a URL, ``user@host:path`` or a path.

    It has no query and no fragment: pip would ignore a revision after them.
    """
    if "?" in text or "#" in text:
        raise _refused("repository", text, "it has a query or a fragment")
    return checked_url(text) if "://" in text else _one_word("repository", text)


def checked_system(text: str) -> str:
    """Return the name of a version control system; raise AddressError for another name."""
    if text not in SYSTEMS:
        raise _refused("version control system", text, f"known are {', '.join(sorted(SYSTEMS))}")
    return text


def checked_revision(text: str) -> str:
    """Return the name of a commit, tag or branch; raise AddressError if it is not valid."""
    if (
        not text
        or text[0] in "-/"
        or not all((one.isascii() and one.isalnum()) or one in _MARKS for one in text)
    ):
        raise _refused("revision", text, "it may hold ASCII letters, digits and ._-+/ only")
    return text


def checked_subdirectory(text: str) -> str:
    """Return a relative path that stays in its folder; raise AddressError for another one."""
    if text.startswith("/") or ".." in text.split("/"):
        raise _refused("subdirectory", text, "it leads out of the project")
    if any(one in text for one in "#&%"):
        raise _refused("subdirectory", text, "it holds one of # & %")
    return _one_word("subdirectory", text)


def checked_line(text: str) -> str:
    """Return *text* if it is one line without control characters; raise AddressError otherwise."""
    if not text.isprintable():
        raise _refused("value", text, "it holds a line break or a control character")
    return text


def has_credentials(url: str) -> bool:
    """Return whether *url* names a user or a password, other than the user of SSH to a forge."""
    return without_credentials(url) != url


def without_credentials(url: str) -> str:
    """Return *url* without users and passwords (PEP 610), except ``git@`` and variables."""
    scheme, separator, rest = url.partition("://")
    end = min((index for mark in "/?#" if (index := rest.find(mark)) >= 0), default=len(rest))
    user, at, host = rest[:end].rpartition("@")
    if not separator or not at or user == "git" or all(map(_is_variable, user.split(":", 1))):
        return url
    return f"{scheme}://{host}{rest[end:]}"


def _is_variable(text: str) -> bool:
    name = text[2:-1]
    return (
        text.startswith("${")
        and text.endswith("}")
        and bool(name)
        and all((one.isascii() and one.isalnum()) or one in "-_" for one in name)
    )


def _is_scheme(text: str) -> bool:
    return text[:1].isalpha() and all((one.isascii() and one.isalnum()) or one in _SCHEME for one in text)


def _one_word(kind: str, text: str) -> str:
    # `isprintable` is False for each separator of lines and words but the plain space.
    if not text.isprintable() or " " in text:
        raise _refused(kind, text, "it holds a space, a line break or a control character")
    if "\\" in text:
        raise _refused(kind, text, "it holds a backslash")
    if "${" in text:
        raise _refused(kind, text, "only requirements.txt expands variables, and only existing ones")
    if text.startswith("-"):
        raise _refused(kind, text, "it begins like an option")
    return text


def _refused(kind: str, text: str, reason: str) -> AddressError:
    return AddressError(f"{redacted(ascii(text))} is refused as a {kind}: {reason}")

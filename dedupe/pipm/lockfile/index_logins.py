"""Logins for the indexes in a lock, from the variables of uv and Poetry.

uv.lock and poetry.lock have no logins. These tools take them from variables that name an index of the
project's settings, and uv also from the URLs in its own variables; so does pipm. A login is added only to the
index with the same URL, and only in memory.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from pipm.lockfile.checked_table import LockTable, load_toml

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from pipm.core.pins import Pin

_UV_URLS = ("UV_DEFAULT_INDEX", "UV_INDEX", "UV_INDEX_URL", "UV_EXTRA_INDEX_URL")
_NAMED = re.compile(r"(?P<name>[^:=]+)=(?P<url>.+)")
"""An index with its name, in uv's variables."""


def with_index_logins(pins: Iterable[Pin], folder: str, environ: Mapping[str, str]) -> list[Pin]:
    """Return *pins*, with the login that *environ* has for their index in its URL.

    *folder* is that of the lock. Raises LockError if the project's settings there cannot be read.
    """
    pins = list(pins)
    if not any(name.startswith((*_UV_URLS, "POETRY_HTTP_BASIC_")) for name in environ):
        return pins
    known = {_plain(url): url for url in _known_urls(folder, environ) if _has_user(url)}
    return [
        pin._replace(index_url=known.get(_plain(pin.index_url), pin.index_url))
        # Without archives the URL is a part of the key by which the store remembers what was fetched.
        if pin.index_url is not None and (pin.wheels or pin.sdist or pin.hashes)
        else pin
        for pin in pins
    ]


def _known_urls(folder: str, environ: Mapping[str, str]) -> Iterator[str]:
    """Yield the URLs of the indexes that uv and Poetry know, with logins; the last one counts."""
    named = {"UV_INDEX": _uv_indexes(folder), "POETRY_HTTP_BASIC": _poetry_sources(folder)}
    for word in (word for variable in _UV_URLS for word in environ.get(variable, "").split()):
        match = _NAMED.fullmatch(word)
        yield match["url"] if match else word
        if match:
            named["UV_INDEX"] = [*named["UV_INDEX"], (match["name"], match["url"])]
    for prefix, indexes in named.items():
        for name, url in indexes:
            if _has_user(url) is not None:
                yield _with_login(url, f"{prefix}_{re.sub(r'[^A-Z0-9]', '_', name.upper())}", environ)


def _uv_indexes(folder: str) -> Sequence[tuple[str, str]]:
    """Return name and URL of the indexes in uv.toml, otherwise in pyproject.toml."""
    own = _table(folder, "uv.toml")
    table = own if own.content else _table(folder, "pyproject.toml").table("tool").table("uv")
    return [(index.text("name") or "", index.required("url")) for index in table.tables("index")]


def _poetry_sources(folder: str) -> Sequence[tuple[str, str]]:
    poetry = _table(folder, "pyproject.toml").table("tool").table("poetry")
    return [(source.required("name"), source.text("url") or "") for source in poetry.tables("source")]


def _table(folder: str, name: str) -> LockTable:
    path = os.path.join(folder, name)
    return load_toml(path) if os.path.isfile(path) else LockTable({}, path)


def _has_user(url: str) -> bool | None:
    """Return whether *url* has a user; None if it is not valid, as a variable may be."""
    try:
        return urlsplit(url).username is not None
    except ValueError:
        return None


def _with_login(url: str, prefix: str, environ: Mapping[str, str]) -> str:
    """Return *url* with user and password of the variables that begin with *prefix*."""
    user, password = environ.get(f"{prefix}_USERNAME", ""), environ.get(f"{prefix}_PASSWORD", "")
    if not (user or password):
        return url
    parts = urlsplit(url)
    login = f"{quote(user, safe='')}:{quote(password, safe='')}"
    return parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}").geturl()


def _plain(url: str) -> str:
    """Return *url* without login and last slash, to compare it."""
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl().rstrip("/")

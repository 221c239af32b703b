"""pip's network settings, for the requests that pipm itself sends; they have the same meaning as in pip."""

from __future__ import annotations

import netrc
import os
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, getproxies_environment, proxy_bypass

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from urllib.parse import SplitResult

_TIMEOUT = 15.0
_ENDLESS = 1e7
_RETRIES = 5
_NOT_OURS = ("PIP_CLIENT_CERT", "PIP_NO_PROXY_ENV", "PIP_USE_DEPRECATED")
"""If one of these settings exists, pip sends all requests."""
_BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


class LeftToPipError(Exception):
    """The request needs something that only pip can do."""


class Login(NamedTuple):
    """A user and a password."""

    user: str
    password: str


@dataclass(frozen=True, kw_only=True, slots=True)
class NetworkSettings:
    """The settings for requests; ``ca`` is a file or a folder of certificates, "" for the system's.

    ``index_urls`` are the index ("" if it is not set) and the extra indexes. ``lists_only_indexes`` is False
    if pip also searches other places, or must not use all archives.
    """

    index_urls: tuple[str, ...]
    lists_only_indexes: bool
    trusted: frozenset[str]
    ca: str
    proxy: str
    proxies: Mapping[str, str]
    timeout: float
    retries: int
    cache: str
    netrc_files: tuple[str, ...] = field(repr=False)

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> NetworkSettings:
        """Read pip's variables in *environ*; raise LeftToPipError if only pip can use them."""

        def setting(name: str) -> str:
            return environ.get(f"PIP_{name}", "")

        if any(map(environ.get, _NOT_OURS)) or setting("KEYRING_PROVIDER") not in ("", "auto", "disabled"):
            raise LeftToPipError
        try:
            timeout = float(setting("TIMEOUT") or setting("DEFAULT_TIMEOUT") or _TIMEOUT)
            retries = int(setting("RETRIES") or _RETRIES)
        except ValueError as error:  # pip prints the message
            raise LeftToPipError from error
        if not 0 < timeout < _ENDLESS:  # pip prints the message
            raise LeftToPipError
        proxies = getproxies()
        if proxies != getproxies_environment():  # a forked process cannot read the system's proxies
            raise LeftToPipError
        cache = (
            setting("CACHE_DIR") or f"{environ.get('XDG_CACHE_HOME') or os.path.expanduser('~/.cache')}/pip"
        )
        own = environ.get("NETRC")
        return cls(
            index_urls=(setting("INDEX_URL"), *setting("EXTRA_INDEX_URL").split()),
            lists_only_indexes=not any(map(setting, ("NO_INDEX", "FIND_LINKS", "NO_BINARY"))),
            trusted=frozenset(setting("TRUSTED_HOST").split()),
            ca=os.path.expanduser(setting("CERT"))
            or environ.get("REQUESTS_CA_BUNDLE")
            or environ.get("CURL_CA_BUNDLE")
            or "",
            proxy=setting("PROXY"),
            proxies=proxies,
            timeout=timeout,
            retries=max(0, retries),
            cache="" if setting("NO_CACHE_DIR") else os.path.abspath(os.path.expanduser(cache)),
            netrc_files=(own,) if own else (os.path.expanduser("~/.netrc"), os.path.expanduser("~/_netrc")),
        )

    def is_trusted(self, url: SplitResult) -> bool:
        """Return whether the user trusts *url*'s host without checking its certificate."""
        return bool(self.trusted & {url.hostname or "", url.netloc.rpartition("@")[2]})

    def is_secure(self, url: SplitResult) -> bool:
        """Return whether pip would use an index at *url*; it ignores insecure ones."""
        return url.scheme == "https" or self.is_trusted(url) or _is_local(url.hostname or "")

    def proxy_for(self, url: SplitResult) -> str:
        """Return the URL of the proxy for *url*, or ""; raise LeftToPipError if it is not an HTTP proxy."""
        proxy = self.proxy
        if not proxy and self.proxies and not proxy_bypass(url.netloc.rpartition("@")[2]):
            if "/" in self.proxies.get("no", ""):  # `proxy_bypass` does not know ranges of addresses
                raise LeftToPipError
            proxy = self.proxies.get(url.scheme) or self.proxies.get("all", "")
        proxy = proxy if "://" in proxy or not proxy else f"http://{proxy}"
        if proxy and urlsplit(proxy).scheme != "http":
            raise LeftToPipError
        return proxy

    def login_for(self, url: SplitResult, index_urls: Sequence[str]) -> Login | None:
        """Return the login for *url*: from the URL, from an index on the same host, or from a netrc file."""
        indexes = [urlsplit(index) for index in (*index_urls, *self.index_urls)]
        indexes = [index for index in indexes if origin_of(index) == origin_of(url)]
        indexes.sort(key=lambda index: not url.path.startswith(index.path))
        known = [place for place in (url, *indexes[:1]) if place.username is not None]
        whole = next((place for place in known if place.password is not None), None)
        if whole is None and (found := self._of_netrc(url.hostname or "")) is not None:
            return found
        return next((_login(place) for place in (whole, *known) if place is not None), None)

    def _of_netrc(self, host: str) -> Login | None:
        for path in self.netrc_files:
            if os.path.exists(path):
                try:
                    known = netrc.netrc(path).authenticators(host)
                except (netrc.NetrcParseError, OSError, ValueError):
                    return None
                return None if known is None else Login(known[0] or known[1] or "", known[2] or "")
        return None


def origin_of(url: SplitResult) -> tuple[str, str | None, int | None]:
    """Return scheme, host and port of *url*; a login is sent only to the same ones."""
    return url.scheme, url.hostname, url.port or {"http": 80, "https": 443}.get(url.scheme)


def without_login(url: SplitResult) -> SplitResult:
    """Return *url* without user and password, with the host that `origin_of` returns.

    If there is a backslash or a bracket before the host, libraries disagree about the host.
    """
    host = url.hostname or ""
    host = f"[{host}]" if ":" in host else host
    return url._replace(netloc=host if url.port is None else f"{host}:{url.port}")


def _login(url: SplitResult) -> Login:
    return Login(unquote(url.username or ""), unquote(url.password or ""))


def _is_local(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False

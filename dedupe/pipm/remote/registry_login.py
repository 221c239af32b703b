"""Logging in to a registry: by docker's settings and helpers, by tokens, or anonymously."""

from __future__ import annotations

import base64
import binascii
import json
import os
import subprocess
import threading
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit
from urllib.request import parse_http_list, parse_keqv_list

from pipm.env.find_program import which
from pipm.env.permission import refusal
from pipm.errors import RemoteError, UsageError
from pipm.fs.beneath import read_file
from pipm.fs.trust import foreign_part

if TYPE_CHECKING:
    from collections.abc import Mapping

_SECONDS = (5, 60)
_HUB = "index.docker.io"
_TOKEN_USER = "<token>"  # noqa: S105 - what a helper calls the user of an identity token
_HELPER_SECONDS = 60


class Credentials(NamedTuple):
    """A user and a password, or a token instead of both."""

    user: str
    password: str
    identity_token: str = ""

    @property
    def basic(self) -> str:
        """The value of the header Authorization."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode("ascii")


class RegistryLogin:
    """Answers a registry's challenge, and adds the answer to later requests."""

    def __init__(self, session: Any, host: str, *, plain: bool) -> None:  # noqa: ANN401 - of a library
        self._session, self._host, self._plain = session, host, plain
        self._header = ""
        self._lock = threading.Lock()

    def authorize(self, request: Any) -> Any:  # noqa: ANN401 - of a library
        """Add the login to a *request* to this registry, but not to other hosts."""
        if self._header and urlsplit(request.url).netloc == self._host:
            request.headers["Authorization"] = self._header
        return request

    def answer(self, challenge: str) -> None:
        """Get the login that the *challenge* of an answer 401 asks for (RFC 7235, tokens of registries)."""
        scheme, _, rest = challenge.partition(" ")
        with self._lock:
            known = credentials_of(self._host)
            if scheme.lower() == "basic" and known is not None:
                self._header = known.basic
            elif scheme.lower() == "bearer":
                self._header = f"Bearer {self._token(parse_keqv_list(parse_http_list(rest)), known)}"

    def _token(self, challenge: Mapping[str, str], known: Credentials | None) -> str:
        realm = challenge.get("realm", "")
        if urlsplit(realm).scheme != "https" and not (self._plain and urlsplit(realm).scheme == "http"):
            raise RemoteError(f"{self._host} asks for a login at {realm!r}, which is not encrypted")
        asked = {key: challenge[key] for key in ("service", "scope") if key in challenge}
        try:
            if known is not None and known.identity_token:
                form = {**asked, "grant_type": "refresh_token", "client_id": "pipm"}
                form["refresh_token"] = known.identity_token
                response = self._session.post(realm, data=form, timeout=_SECONDS, auth=_as_it_is)
            else:
                header = {} if known is None else {"Authorization": known.basic}
                response = self._session.get(
                    realm, params=asked, headers=header, timeout=_SECONDS, auth=_as_it_is
                )
            document = response.json() if response.status_code == 200 else {}
        except (OSError, ValueError) as error:  # the library's errors are OSErrors
            raise RemoteError(f"No login to {self._host}: {type(error).__name__} at {realm}") from error
        token = document.get("token") or document.get("access_token") if isinstance(document, dict) else None
        if not isinstance(token, str):
            raise RemoteError(
                f"No login to {self._host}: {realm} answered {response.status_code}",
                hint=f"docker login {self._host}",
            )
        return token


def _as_it_is(request: Any) -> Any:  # noqa: ANN401 - of a library
    """Add nothing to a request, not even a login from ~/.netrc."""
    return request


def credentials_of(host: str) -> Credentials | None:
    """Return the credentials for *host* in docker's settings, or None."""
    folder = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    settings = _settings(os.path.abspath(f"{folder}/config.json"))
    helper = _table(settings, "credHelpers").get(host) or settings.get("credsStore")
    if isinstance(helper, str) and (known := _asked(helper, host)) is not None:
        return known
    for place, row in _table(settings, "auths").items():
        if isinstance(row, dict) and place.removeprefix("https://").removeprefix("http://").split("/")[0] in (
            host,
            _HUB if host.endswith("docker.io") else host,
        ):
            return _of_row(row)
    return None


def _settings(path: str) -> dict[str, Any]:
    if not os.path.lexists(path):
        return {}
    foreign = foreign_part(path)
    if foreign is not None:
        raise UsageError(
            f"Another user can change {foreign}, so pipm uses no login in {path}", hint="chmod go-w"
        )
    try:
        document = json.loads(read_file(os.path.realpath(path)) or b"{}")
    except ValueError as error:
        raise UsageError(f"{path} is not JSON: {error}") from error
    return document if isinstance(document, dict) else {}


def _table(settings: dict[str, Any], key: str) -> dict[str, Any]:
    table = settings.get(key)
    return table if isinstance(table, dict) else {}


def _of_row(row: dict[str, Any]) -> Credentials | None:
    try:
        user, _, password = base64.b64decode(str(row.get("auth", ""))).decode().partition(":")
    except (binascii.Error, ValueError):
        return None
    identity = str(row.get("identitytoken") or "")
    return Credentials(user, password, identity) if user or identity else None


def _asked(helper: str, host: str) -> Credentials | None:
    """Ask one of docker's credential helpers, as docker does."""
    program = which(f"docker-credential-{helper}") if "/" not in helper else None
    if program is None:
        return None
    wrong = refusal(program)
    if wrong is not None:
        raise wrong
    done = subprocess.run(
        [program, "get"], input=host.encode(), capture_output=True, check=False, timeout=_HELPER_SECONDS
    )
    try:
        document = json.loads(done.stdout) if done.returncode == 0 else {}
        user, secret = document.get("Username"), document.get("Secret")
    except (ValueError, AttributeError):
        return None
    if not isinstance(user, str) or not isinstance(secret, str):
        return None
    return Credentials("", "", secret) if user == _TOKEN_USER else Credentials(user, secret)

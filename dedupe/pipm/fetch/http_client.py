"""Sending requests: pooled connections, redirects, logins, retries."""

from __future__ import annotations

import email.utils
import ssl
import threading
import time
from os.path import isdir
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

import urllib3

from pipm.errors import InterruptedRunError, redacted
from pipm.fetch.limited_connections import LIMITED
from pipm.fetch.network_settings import LeftToPipError, origin_of, without_login

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from urllib.parse import SplitResult

    from pipm.fetch.network_settings import Login, NetworkSettings

_CHUNK = 1 << 18
_TICK = 0.05
_MOST_REDIRECTS = 20
_MOST_CONNECTIONS = 16
_BACKOFF, _LONGEST_PAUSE = 0.25, 60.0
_PROGRESS = 1 << 20
"""A transfer that breaks after this many new bytes gets all its retries again."""
_NO_SUCH_PART = 416
_TEMPORARY = frozenset({_NO_SUCH_PART, 429, 500, 502, 503, 504, 520, 524})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class RequestError(Exception):
    """A server did not answer, or answered with the error ``status`` (0: no answer).

    ``pause`` is the number of seconds that the server asks to wait; ``again`` is true if a retry may help.
    """

    def __init__(self, url: str, why: str, *, status: int = 0, pause: float = 0, again: bool = True) -> None:
        super().__init__(f"{why} ({redacted(url)})")
        self.status, self.pause, self.again = status, pause, again


class Request(NamedTuple):
    """A request for the content at ``url``; ``index_urls`` may have the login for its host.

    If ``packed``, the server may compress the transfer; this is not for files that are checked by a hash.
    """

    url: str
    index_urls: tuple[str, ...] = ()
    accept: str = "*/*"
    packed: bool = False


class HttpClient:
    """Sends requests from several threads, until *stopping* returns True."""

    def __init__(self, settings: NetworkSettings, stopping: Callable[[], bool]) -> None:
        self.settings, self._stopping = settings, stopping
        self._managers: dict[tuple[str, str, bool], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def check(self) -> None:
        """Raise InterruptedRunError if the user interrupted the command."""
        if self._stopping():
            raise InterruptedRunError(
                "Interrupted", hint="fetched wheels are kept; run the same command again"
            )

    def wait(self, seconds: float) -> None:
        """Wait *seconds*; raise InterruptedRunError if the user interrupts the command."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.check()
            time.sleep(min(_TICK, left))

    def open(self, request: Request, more: Mapping[str, str]) -> tuple[Any, str]:
        """Send *request*, with *more* headers, and follow redirects; return the answer and its address.

        Raises RequestError unless the answer is a success, and LeftToPipError if only pip can send it.
        """
        parts = urlsplit(request.url)
        login = self.settings.login_for(parts, request.index_urls)
        for _ in range(_MOST_REDIRECTS):
            coding = "gzip" if request.packed else "identity"
            headers = {"Accept": request.accept, "Accept-Encoding": coding, "User-Agent": "pipm", **more}
            response = self._send(parts, headers, login)
            target = response.headers.get("Location")
            if response.status in _REDIRECTS and target:
                response.close()
                old, parts = parts, urlsplit(urljoin(parts.geturl(), target))
                if parts.scheme not in ("http", "https") or (old.scheme, parts.scheme) == ("https", "http"):
                    where = f"{parts.scheme}://{parts.hostname or ''}"
                    raise RequestError(request.url, f"a redirect to {where} is refused", again=False)
                parts = without_login(parts)
                if origin_of(old) != origin_of(parts):
                    login = self.settings.login_for(parts, request.index_urls)
                continue
            if response.status not in (200, 206):
                response.close()
                why, pause = f"HTTP error {response.status}", _retry_after(response.headers)
                if pause > _LONGEST_PAUSE:
                    why += f", the server asks to wait {pause:.0f} seconds"
                again = response.status in _TEMPORARY
                raise RequestError(request.url, why, status=response.status, pause=pause, again=again)
            return response, parts.geturl()
        raise RequestError(request.url, "too many redirects", again=False)

    def _send(self, parts: SplitResult, headers: dict[str, str], login: Login | None) -> Any:  # noqa: ANN401 - of a library
        if not (parts.hostname or "").isascii():
            raise LeftToPipError  # pip brings the tables for such names (IDNA)
        if login is not None:
            headers |= urllib3.make_headers(basic_auth=f"{login.user}:{login.password}")
        url = without_login(parts)._replace(fragment="").geturl()
        try:
            return self._manager(parts).request(
                "GET", url, headers=headers, redirect=False, retries=False, preload_content=False
            )
        except urllib3.exceptions.HTTPError as error:
            raise request_error(url, error) from error

    def _manager(self, parts: SplitResult) -> urllib3.PoolManager:
        key = (parts.scheme, self.settings.proxy_for(parts), self.settings.is_trusted(parts))
        with self._lock:
            if key not in self._managers:
                scheme, proxy, trusted = key
                self._managers[key] = self._new_manager(scheme, proxy, trusted=trusted)
            return self._managers[key]

    def _new_manager(self, scheme: str, proxy: str, *, trusted: bool) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "maxsize": _MOST_CONNECTIONS,
            "timeout": urllib3.Timeout(connect=self.settings.timeout, read=self.settings.timeout),
        }
        if scheme == "https":  # else not, because loading certificates takes a while
            ca = self.settings.ca or None
            try:
                context = ssl.create_default_context(
                    cafile=None if ca and isdir(ca) else ca, capath=ca if ca and isdir(ca) else None
                )
            except OSError as error:
                raise LeftToPipError from error
            if trusted:
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
                context.check_hostname = False
                context.verify_mode = ssl.CERT_NONE
            options["ssl_context"] = context
        if proxy:
            user, _, host = proxy.partition("://")[2].rpartition("@")
            if user:
                options["proxy_headers"] = urllib3.make_headers(proxy_basic_auth=unquote(user))
            manager: urllib3.PoolManager = urllib3.ProxyManager(f"http://{host}", **options)
        else:
            manager = urllib3.PoolManager(**options)
        manager.pool_classes_by_scheme = LIMITED
        return manager


class Transfer:
    """The content for *request*, as an iterable of bytes.

    A broken transfer continues at the place where it broke, so the caller must check the hash of the whole.
    ``address`` is the URL after redirects, ``content_type`` the header of that name. A transfer that ends
    before *size* bytes broke, too, which not every server's answer shows.
    """

    def __init__(self, client: HttpClient, request: Request, size: int | None = None) -> None:
        self._client, self._request, self._size = client, request, size
        self.address = self.content_type = ""
        self._done = 0
        self._validator = ""

    def __iter__(self) -> Iterator[bytes]:
        retries = left = self._client.settings.retries
        before = 0
        while True:
            try:
                yield from self._rest()
            except RequestError as error:
                if error.status == _NO_SUCH_PART:
                    self._validator = ""  # the next request is for the whole file
                if self._done - before >= _PROGRESS:
                    left, before = retries, self._done
                if not error.again or not left or error.pause > _LONGEST_PAUSE:
                    raise
                pause = error.pause or min(_BACKOFF * 2 ** (retries - left), _LONGEST_PAUSE)
            else:
                return
            left -= 1
            self._client.wait(pause)

    def _rest(self) -> Iterator[bytes]:
        """Send a request for the missing part, and yield it."""
        self._client.check()
        resumes = self._done and self._validator
        more = {"Range": f"bytes={self._done}-", "If-Range": self._validator} if resumes else {}
        response, self.address = self._client.open(self._request, more)
        try:
            self.content_type = response.headers.get("Content-Type", "")
            self._validator = "" if self._request.packed else _validator(response.headers)
            if self._request.packed and response.headers.get("Content-Encoding", "gzip") != "gzip":
                raise LeftToPipError  # several nested codings could unpack to any size
            skipped = self._done - self._first(response)
            for chunk in response.stream(_CHUNK, decode_content=self._request.packed):
                self._client.check()
                new = chunk[skipped:]
                skipped -= len(chunk) - len(new)
                self._done += len(new)
                yield new
        except urllib3.exceptions.HTTPError as error:
            raise request_error(self._request.url, error) from error
        finally:
            response.close()  # an answer that was read to its end is already back in the pool
        if self._size is not None and self._done < self._size:
            raise RequestError(self._request.url, f"the server sent {self._done} of {self._size} bytes")

    def _first(self, response: Any) -> int:  # noqa: ANN401 - of a library
        """Return the position in the content at which *response* begins."""
        if response.status == 200:
            return 0
        begin = response.headers.get("Content-Range", "").removeprefix("bytes ").partition("-")[0]
        if begin != str(self._done):
            raise RequestError(self._request.url, "the server sent another part than requested", again=False)
        return self._done


def request_error(url: str, error: Exception) -> RequestError:
    """Return a RequestError with a short reason; raise LeftToPipError if pip may have other certificates."""
    reasons: list[BaseException] = [error]
    while (cause := reasons[-1].__cause__ or reasons[-1].__context__) is not None and len(reasons) < 9:
        reasons.append(cause)
    if any(isinstance(one, ssl.SSLCertVerificationError) for one in reasons):
        raise LeftToPipError from error
    said = next((one.strerror for one in reasons if isinstance(one, OSError) and one.strerror), None)
    late = any(isinstance(one, (TimeoutError, urllib3.exceptions.TimeoutError)) for one in reasons)
    return RequestError(url, said or ("no answer in time" if late else "the connection broke"))


def _validator(headers: Mapping[str, str]) -> str:
    """Return the validator of the file for If-Range (RFC 9110); "" if the server sent none."""
    tag = headers.get("ETag", "")
    return tag if tag.startswith('"') else headers.get("Last-Modified", "")


def _retry_after(headers: Mapping[str, str]) -> float:
    text = headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0

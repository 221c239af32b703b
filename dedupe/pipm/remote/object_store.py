"""Object stores and web servers, by obstore: S3, Google Cloud Storage, Azure, HTTP.

The library finds credentials: in the variables and files of each provider's tools.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pipm.errors import RemoteError, UsageError, redacted
from pipm.fs.cache_files import read_value, write_value
from pipm.remote.extra_libraries import extra_library
from pipm.remote.transport import LARGEST_INDEX, StoredFile, Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SCHEMES = ("s3", "s3a", "gs", "az", "azure", "abfs", "abfss", "http", "https")
_WEB = ("http", "https")
_CONNECT_SECONDS, _INDEX_SECONDS, _PACK_SECONDS = 5, 15, 300
_RETRIES = 3
_LONGEST_CAUSE = 200
_KIND = "index"


def is_object_store(scheme: str) -> bool:
    """Return whether `ObjectStoreTransport` can use URLs of *scheme*."""
    return scheme in _SCHEMES


class ObjectStoreTransport:
    """A bucket or a part of one, or a directory of a web server (read-only)."""

    def __init__(self, url: str) -> None:
        self._url = redacted(url)
        self._scheme = urlsplit(url).scheme
        self._obstore = extra_library("obstore")
        self._errors = extra_library("obstore.exceptions")
        # An index comes within seconds; a pack may take long on a slow line.
        self._index = self._opened(url, seconds=_INDEX_SECONDS, retries=1)
        self._store = self._opened(url, seconds=_PACK_SECONDS, retries=_RETRIES)

    def _opened(self, url: str, *, seconds: int, retries: int) -> Any:  # noqa: ANN401 - of a library
        options = {
            "connect_timeout": dt.timedelta(seconds=_CONNECT_SECONDS),
            "timeout": dt.timedelta(seconds=seconds),
            "allow_http": True,  # the user chose such an endpoint; a pull checks all data in any case
        }
        retry = {"max_retries": retries, "retry_timeout": dt.timedelta(seconds=seconds)}
        try:
            return extra_library("obstore.store").from_url(url, client_options=options, retry_config=retry)
        except (self._errors.BaseError, ValueError) as error:
            raise UsageError(
                f"{self._url} cannot be used: {_cause(error)}",
                hint="write it as s3://bucket/folder; https needs the certificates of the system",
            ) from error

    def read(self, name: str) -> tuple[list[bytes], Version]:
        """GET a whole file, or nothing if it still is the one that was read last (If-None-Match)."""
        state = f"{self._url} {name}"
        tag, data = read_value(_KIND, state) or ("", b"")
        try:
            answer = self._obstore.get(self._index, name, options={"if_none_match": tag} if tag else {})
            if answer.meta["size"] > LARGEST_INDEX:
                raise RemoteError(f"{self._url}/{name} is larger than any index", hint="do not use it")
            tag, data = answer.meta["e_tag"] or "", bytes(answer.bytes())
        except self._errors.NotModifiedError:
            return [data], Version(tag)
        except FileNotFoundError:
            return [], Version(None)
        except self._errors.BaseError as error:
            raise self._failed(name, error) from error
        if tag:
            write_value(_KIND, state, (tag, data))
        return [data], Version(tag)

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """GET a part of a file."""
        try:
            data = bytes(self._obstore.get_range(self._store, name, start=start, length=length))
        except self._errors.NotSupportedError as error:
            raise RemoteError(
                f"The server of {self._url} cannot send parts of files (range requests)",
                hint="use another one: nginx, Apache and Caddy can; `python -m http.server` cannot",
            ) from error
        except (self._errors.BaseError, FileNotFoundError) as error:
            raise self._failed(name, error) from error
        if len(data) != length:
            raise RemoteError(f"{self._url}/{name} is shorter than its manifest says")
        return data

    def modified(self, name: str) -> float | None:
        """HEAD a file."""
        try:
            return _seconds(self._obstore.head(self._store, name))
        except FileNotFoundError:
            return None
        except self._errors.BaseError as error:
            raise self._failed(name, error) from error

    def write(self, name: str, data: bytes) -> None:
        """PUT a file."""
        try:
            self._obstore.put(self._store, name, data)
        except (self._errors.BaseError, PermissionError) as error:
            raise self._failed(name, error) from error

    def swap(self, name: str, data: bytes, seen: Version, _packs: Mapping[str, int]) -> bool:
        """PUT with If-None-Match or If-Match."""
        mode: Any = "create" if seen.tag is None else {"e_tag": seen.tag}
        try:
            self._obstore.put(self._store, name, data, mode=mode)
        except (self._errors.AlreadyExistsError, self._errors.PreconditionError):
            return False
        except (self._errors.BaseError, PermissionError) as error:
            raise self._failed(name, error) from error
        return True

    def stored(self) -> list[StoredFile]:
        """LIST all files."""
        try:
            pages = list(self._obstore.list(self._store, "v1"))
        except self._errors.BaseError as error:
            raise self._failed("v1", error) from error
        return [StoredFile(meta["path"], _seconds(meta), meta["size"]) for page in pages for meta in page]

    def remove(self, names: Sequence[str]) -> None:
        """DELETE files."""
        try:
            with contextlib.suppress(FileNotFoundError):
                self._obstore.delete(self._store, list(names))
        except (self._errors.BaseError, PermissionError) as error:
            raise self._failed("v1/packs", error) from error

    def check_writable(self) -> None:
        """Refuse web servers."""
        if self._scheme in _WEB:
            raise UsageError(
                f"pipm cannot push to {self._url}: it only reads web servers",
                hint="push to the directory or the bucket that it serves",
            )

    def _failed(self, name: str, error: Exception) -> RemoteError:
        return RemoteError(
            f"Cannot use {self._url}/{name}: {_cause(error)}",
            hint="check the address, the network and the credentials",
        )


def _cause(error: Exception) -> str:
    """Return the cause in *error*: before it are address and attempts, after it the library's structures.

    What the system said is in these alone.
    """
    text = redacted(str(error)).strip()
    first = text.partition("\n")[0].rpartition(" - ")[2].rstrip(": ") or type(error).__name__
    said = re.findall(r'(?:message|error): "([^"]+)"', text.partition("\n")[2])
    return ": ".join((first, *said[-1:]))[:_LONGEST_CAUSE]


def _seconds(meta: Any) -> float:  # noqa: ANN401 - of a library
    modified: float = meta["last_modified"].timestamp()
    return modified

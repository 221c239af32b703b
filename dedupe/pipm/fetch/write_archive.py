"""Writing a pin's wheel to a private folder; it is kept only if its hash is in the lock."""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.size_text import size_text
from pipm.errors import FetchError
from pipm.fetch.http_client import RequestError, Transfer
from pipm.fetch.sources import (
    cached_by_pip,
    find_on_index,
    index_urls,
    locked_source,
    may_look_up,
    read_chunks,
    wanted_hashes,
)
from pipm.fs.free_space import free_space
from pipm.fs.share_file import NewFile, forget, write_new_file
from pipm.wheel.refusals import UnreachableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from pipm.core.digest import Digest
    from pipm.core.pins import Pin
    from pipm.fetch.http_client import HttpClient
    from pipm.fetch.sources import WheelSource

_LOGIN = frozenset({401, 403, 407})
_GONE = frozenset({404, 410})


class NewArchive(NamedTuple):
    """A wheel that was written as ``name``; ``file_name`` is its real name."""

    name: str
    file_name: str
    digest: Digest


class ArchiveWriter:
    """Writes archives to the open *folder*, in several threads; calls *count* with each chunk's bytes."""

    def __init__(
        self, client: HttpClient, folder: int, tags: Sequence[str], count: Callable[[int], None]
    ) -> None:
        self._client, self._folder, self._tags = client, folder, tags
        self._count = count
        self._lock = threading.Lock()
        self._numbers = itertools.count()

    def write(self, pin: Pin) -> NewArchive:
        """Write the wheel of *pin*; raise FetchError, or LeftToPipError if only pip can fetch it."""
        trouble = None
        try:
            for place in self._places(pin):
                try:
                    return self._write(pin, place())
                except RequestError as error:
                    trouble = trouble or error
        except ValueError as error:  # its text may contain a part of a password
            raise FetchError(
                f"Cannot fetch {_shown(pin)}: an address or a login is not valid",
                hint="check the address in the lock, PIP_INDEX_URL, PIP_PROXY, and the servers' redirects",
            ) from error
        assert trouble is not None
        hint = "check that the index is reachable; fetched wheels are kept; run the same command again"
        if trouble.status in _GONE:
            hint = "the file is no longer there: lock again"
        elif trouble.status in _LOGIN:
            hint = "check your login for this host: netrc, or PIP_INDEX_URL with user and password"
        raise UnreachableError(f"Cannot fetch {_shown(pin)}: {trouble}", hint=hint) from trouble

    def _places(self, pin: Pin) -> Iterator[Callable[[], WheelSource]]:
        """Yield the places of the wheel: that in the lock, the lock's index, the configured index.

        If the lock has a place, the indexes are only for the case that its server does not answer.
        """
        settings = self._client.settings

        def find(*, configured: bool) -> WheelSource:
            urls = index_urls(pin, settings, configured=configured)
            return find_on_index(self._client, pin, urls, self._tags)

        locked = locked_source(pin)
        if locked is None:
            yield lambda: find(configured=False)
            return
        yield lambda: locked
        if locked.request is None or pin.origin is not None or not may_look_up(pin, settings):
            return
        if pin.index_url is not None:
            yield lambda: find(configured=False)
        if settings.index_urls[0]:
            yield lambda: find(configured=True)

    def _write(self, pin: Pin, source: WheelSource) -> NewArchive:
        wanted = wanted_hashes(pin)
        new = NewFile(self._folder, f"archive-{next(self._numbers)}")
        if source.request is not None:
            cached = cached_by_pip(source.request, self._client.settings)
            if cached is not None:
                with contextlib.suppress(FetchError):
                    digest, _ = write_new_file(new, self._counted(pin, source, read_chunks(cached)), 0o600)
                    if digest.hex() in wanted:
                        return NewArchive(new.name, source.file_name, digest)
                    forget(self._folder, new.name)
            content: Iterable[bytes] = Transfer(self._client, source.request, source.limit)
        else:
            content = read_chunks(source.path)
        digest, _ = write_new_file(new, self._counted(pin, source, content), 0o600)
        if wanted and digest.hex() not in wanted:
            forget(self._folder, new.name)
            raise FetchError(
                f"{_shown(pin)} is not the file in the lock: its hash is {digest.hex()}",
                hint="lock again if the project published other files; otherwise do not trust this index",
            )
        return NewArchive(new.name, source.file_name, digest)

    def _counted(self, pin: Pin, source: WheelSource, chunks: Iterable[bytes]) -> Iterator[bytes]:
        """Yield *chunks*; raise FetchError if they exceed the size in the lock, or half of the free space."""
        limit = source.limit
        if limit is None:
            limit = free_space(self._folder).size // 2  # it will be unpacked, too
        size = 0
        for chunk in chunks:
            size += len(chunk)
            if size > limit:
                said = "the size in the lock" if source.limit is not None else "half of the free space"
                raise FetchError(
                    f"{_shown(pin)} is larger than {said}: more than {size_text(limit)}",
                    hint="lock again"
                    if source.limit is not None
                    else "free some space, if you trust its index",
                )
            with self._lock:
                self._count(len(chunk))
            yield chunk


def _shown(pin: Pin) -> str:
    return f"{pin.name} {pin.version}" if pin.version else pin.name

"""Finding a pin's wheel: at the place in the lock, in pip's cache, or on an index by its hash."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from packaging.utils import InvalidWheelFilename, canonicalize_name, parse_wheel_filename

from pipm.core.pins import Archive
from pipm.errors import FetchError
from pipm.fetch.http_client import Request, RequestError, Transfer
from pipm.fetch.index_pages import ACCEPT, parse_page
from pipm.fetch.network_settings import LeftToPipError
from pipm.fs.opened import opened
from pipm.fs.trust import changed_by_others

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pipm.core.pins import Pin
    from pipm.fetch.http_client import HttpClient
    from pipm.fetch.index_pages import IndexFile
    from pipm.fetch.network_settings import NetworkSettings

_CHUNK = 1 << 20
_LARGEST_PAGE = 256 << 20
_ONLY_FOR_CHOOSING = frozenset({"--extra-index-url", "--find-links", "--only-binary", "--no-binary"})
_FLAGS = frozenset({"--pre", "--prefer-binary"})


class WheelSource(NamedTuple):
    """The place of the wheel ``file_name``: either ``path``, a local file, or ``request``.

    ``limit`` is its size in the lock, None if the lock has none.
    """

    file_name: str
    path: str = ""
    request: Request | None = None
    limit: int | None = None


def named_archive(pin: Pin) -> Archive | None:
    """Return the wheel that the lock names for *pin*."""
    if isinstance(pin.origin, Archive):
        return pin.origin
    return pin.wheels[0] if pin.origin is None and pin.wheels else None


def wanted_hashes(pin: Pin) -> frozenset[str]:
    """Return the sha256 of each archive that may be installed for *pin*."""
    archive = named_archive(pin)
    hashes = pin.hashes if archive is None else archive.hashes
    return frozenset(value.lower() for name, value in hashes if name == "sha256")


def is_ours(pin: Pin, settings: NetworkSettings) -> bool:
    """Return whether the lock has the hash of *pin*'s wheel, and pipm can fetch it without pip."""
    archive = named_archive(pin)
    if archive is not None:
        names = {pair[0] for pair in _options(pin)}
        return (
            archive.file_name.endswith(".whl")
            and bool(wanted_hashes(pin) or (archive.path and not archive.hashes))
            and names <= _ONLY_FOR_CHOOSING
            and (bool(archive.path or archive.url) or may_look_up(pin, settings))
        )
    lacks_names = pin.origin is None and pin.sdist is None and pin.version is not None
    return lacks_names and pin.archives != "source" and bool(pin.hashes) and may_look_up(pin, settings)


def may_look_up(pin: Pin, settings: NetworkSettings) -> bool:
    """Return whether pip would search the wheel of *pin* only on indexes."""
    names = {pair[0] for pair in _options(pin)}
    return (
        settings.lists_only_indexes
        and names <= {"--extra-index-url", "--only-binary"}
        and bool(wanted_hashes(pin))
    )


def _options(pin: Pin) -> list[tuple[str, ...]]:
    """Return the options of *pin* that are not flags, each with its value."""
    words = [word for word in pin.options if word not in _FLAGS]
    return [tuple(words[number : number + 2]) for number in range(0, len(words), 2)]


def locked_source(pin: Pin) -> WheelSource | None:
    """Return the place of the wheel in the lock; None if the lock has none. Raises LeftToPipError."""
    archive = named_archive(pin)
    if archive is None:
        return None
    if archive.path is not None:
        return WheelSource(archive.file_name, archive.path, limit=archive.size)
    if archive.url is None:
        return None
    parts = urlsplit(archive.url)
    if parts.scheme == "file" and parts.netloc in ("", "localhost"):
        return WheelSource(archive.file_name, unquote(parts.path), limit=archive.size)
    if parts.scheme not in ("http", "https"):
        raise LeftToPipError
    request = Request(archive.url, (pin.index_url,) if pin.index_url else ())
    return WheelSource(archive.file_name, request=request, limit=archive.size)


def index_urls(pin: Pin, settings: NetworkSettings, *, configured: bool) -> tuple[str, ...]:
    """Return the indexes that may have *pin*: those of the settings if *configured*, else the pin's own.

    A pin without an own index has those of the settings. Raises LeftToPipError for a URL with a variable.
    """
    own = () if pin.index_url is None or configured else (pin.index_url,)
    more = tuple(value for name, value in _options(pin) if name == "--extra-index-url")
    urls = [url or _default_index() for url in (*(own or settings.index_urls), *more)]
    if any("${" in url for url in urls):
        raise LeftToPipError
    return tuple(urls)


def _default_index() -> str:
    """Return pip's default index; raise LeftToPipError if this interpreter has no pip."""
    try:
        from pip._internal.models.index import PyPI  # noqa: PLC0415 - it is rarely needed

        return str(PyPI.simple_url)
    except (ImportError, AttributeError) as error:
        raise LeftToPipError from error


def find_on_index(client: HttpClient, pin: Pin, urls: Sequence[str], tags: Sequence[str]) -> WheelSource:
    """Return the best wheel of *pin* for *tags* on *urls*; raise LeftToPipError if none has its hash."""
    wanted = wanted_hashes(pin)
    archive = named_archive(pin)
    found: list[tuple[IndexFile, str]] = []
    trouble = None
    for url in urls:
        page = f"{url.rstrip('/')}/{canonicalize_name(pin.name)}/"
        if not client.settings.is_secure(urlsplit(page)):
            raise LeftToPipError  # pip prints that it ignores this index
        try:
            found += [(file, url) for file in _files(client, Request(page, (url,), ACCEPT, packed=True))]
        except RequestError as error:
            trouble = error
    fitting = [(file, url) for file, url in found if file.sha256 in wanted]
    if archive is not None:
        same_name = [(file, url) for file, url in found if file.name == archive.file_name and not file.sha256]
        fitting = [*fitting, *same_name][:1]
    else:
        ranks = {tag: rank for rank, tag in enumerate(tags)}
        fitting = sorted(
            (row for row in fitting if _rank(row[0], pin, ranks) is not None),
            key=lambda row: _rank(row[0], pin, ranks) or (0, ()),
        )
    if not fitting:
        raise trouble or LeftToPipError  # pip prints the available files
    file, url = fitting[0]
    if urlsplit(file.url).scheme not in ("http", "https"):
        raise LeftToPipError
    name = file.name if archive is None else archive.file_name
    return WheelSource(
        name, request=Request(file.url, (url,)), limit=None if archive is None else archive.size
    )


def _files(client: HttpClient, request: Request) -> list[IndexFile]:
    """Return the files on a project's page; [] if the index does not have the project."""
    transfer = Transfer(client, request)
    content = bytearray()
    try:
        for chunk in transfer:
            content += chunk
            if len(content) > _LARGEST_PAGE:
                raise LeftToPipError
    except RequestError as error:
        if error.status:
            return []
        raise
    return parse_page(bytes(content), transfer.content_type, transfer.address)


def _rank(file: IndexFile, pin: Pin, ranks: dict[str, int]) -> tuple[int, tuple[int, ...]] | None:
    """Return a sort key for the file in pip's order, the best first; None if it is not for *pin*."""
    try:
        name, version, build, tags = parse_wheel_filename(file.name)
    except InvalidWheelFilename:
        return None
    known = [ranks[str(tag)] for tag in tags if str(tag) in ranks]
    wanted = pin.version in (None, str(version), version.public)
    if name != canonicalize_name(pin.name) or not wanted or not known:
        return None
    return min(known), tuple(-number for number in build[:1])


def cached_by_pip(request: Request, settings: NetworkSettings) -> str | None:
    """Return the path of *request*'s content in pip's cache; None if another user can change it."""
    if not settings.cache:
        return None
    parts = urlsplit(request.url)
    # The key is cachecontrol's, the layout of folders is pip's.
    key = parts._replace(
        scheme=parts.scheme.lower(),
        netloc=parts.netloc.rpartition("@")[2].lower(),
        path=parts.path or "/",
        fragment="",
    )
    import hashlib  # noqa: PLC0415 - only sha224 needs it

    name = hashlib.sha224(key.geturl().encode()).hexdigest()
    path = f"{settings.cache}/http-v2/{'/'.join(name[:5])}/{name}.body"
    return path if os.path.isfile(path) and changed_by_others(path) is None else None


def read_chunks(path: str) -> Iterator[bytes]:
    """Yield the content of the file at *path*; raise FetchError if it cannot be read."""
    try:
        with opened(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)) as file:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise FetchError(f"Cannot read {path}: it is not a file", hint="lock again if it was moved")
            while chunk := os.read(file, _CHUNK):
                yield chunk
    except OSError as error:
        raise FetchError(
            f"Cannot read {path}: {error.strerror}", hint="lock again if it was moved"
        ) from error

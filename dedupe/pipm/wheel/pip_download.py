"""Fetching and building wheels with pip.

Passwords, proxies and certificates are pip's settings; so is the index, if the lock names none. pip must
check the hashes in the lock; pipm checks them again when it adds the wheel to the store. URLs are written to
a private file, since other users can read command lines.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import replace
from enum import Enum
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.pins import Archive, Pin, Repository, SourceFolder
from pipm.errors import FetchError, InterruptedRunError
from pipm.fs.share_file import ensure_folder, write_text
from pipm.wheel.environment_files import file_url
from pipm.wheel.hidden_logins import add_logins, hide_logins
from pipm.wheel.refusals import explained

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pipm.wheel.run_pip import PipCommand

_STRONG = frozenset({"sha256", "sha384", "sha512"})
"""Hash algorithms that pip accepts with ``--hash``."""

_FLAGS = frozenset({"--no-index", "--pre", "--prefer-binary"})
_ARGUMENTS = frozenset({"--config-settings", "--global-option"})
"""Options of a requirement that older versions of pip accept only on the command line."""


class Way(Enum):
    """The place where pip looks for an archive."""

    LOCKED = "the URL in the lock"
    INDEX = "the index in the lock"
    SETTINGS = "the indexes of pip's settings"


class PipRequirement(NamedTuple):
    """A line of a requirements file for pip; the lines ``options`` must precede it.

    ``hashed`` is true if the line contains hashes. ``arguments`` belong on the command line.
    """

    line: str
    hashed: bool
    options: tuple[str, ...] = ()
    arguments: tuple[str, ...] = ()


class Batch(NamedTuple):
    """Pins for one run of pip."""

    pins: tuple[Pin, ...]
    way: Way = Way.LOCKED


def request_for(pin: Pin, way: Way = Way.LOCKED) -> PipRequirement:
    """Return the requirement for *pin*; *way* says where pip searches."""
    origin = pin.origin
    options, arguments = _divided(pin.options)
    if isinstance(origin, Repository):
        place = f"{origin.vcs}+{_cloned(origin.url)}@{origin.commit}{_fragment(origin.subdirectory)}"
        return PipRequirement(f"{pin.name} @ {place}", False, options, arguments)
    assert not isinstance(origin, SourceFolder), "those are built without pip"
    archive = origin or (pin.wheels[0] if pin.wheels else pin.sdist)
    hashes = pin.hashes if archive is None else archive.hashes
    strong = [(name, value) for name, value in hashes if name in _STRONG]
    weak = "" if strong or not hashes else "=".join(hashes[0])
    url = None if archive is None else _url(archive)
    line = f"{pin.name}=={pin.version}"
    if archive is not None and url is not None and (way is Way.LOCKED or origin is not None):
        line = f"{pin.name} @ {url.partition('#')[0]}{_fragment(archive.subdirectory, weak)}"
    elif weak:
        raise FetchError(
            f"{pin.name} {pin.version} has no hash that pip can check, only {hashes[0][0]} ({pin.where})",
            hint=f"add a hash to the lock ({', '.join(sorted(_STRONG))}), or the file's URL",
        )
    elif way is not Way.SETTINGS and pin.index_url is not None:
        # In a file, unlike on the command line, this replaces all indexes of pip's settings.
        options = (f"--index-url {shlex.quote(pin.index_url)}", *options)
    line += "".join(f" --hash={name}:{value}" for name, value in strong)
    return PipRequirement(line, bool(strong), options, arguments)


def locked_hashes(pins: Sequence[Pin]) -> list[tuple[str, str]]:
    """Return the (algorithm, hexadecimal digest) of archives of *pins* in the lock."""
    archives = [
        archive for pin in pins for archive in (*pin.wheels, pin.origin) if isinstance(archive, Archive)
    ]
    return [
        locked
        for hashes in (*(one.hashes for one in archives), *(pin.hashes for pin in pins))
        for locked in hashes
    ]


def batches(pins: Sequence[Pin], workers: int) -> list[Batch]:
    """Divide *pins* into batches: each build alone, the rest by size, so that all workers end together."""
    groups: dict[tuple[object, ...], list[Pin]] = {}
    alone = []
    for pin in pins:
        if _needs_build(pin):
            alone.append(Batch((pin,)))
        else:
            groups.setdefault((request_for(pin)[1:], pin.index_url), []).append(pin)
    together = []
    for group in groups.values():
        ordered = sorted(group, key=lambda pin: -_size(pin))
        count = min(workers, len(ordered))
        together += [Batch(tuple(ordered[number::count])) for number in range(count)]
    return alone + together


def other_ways(environ: Mapping[str, str], pins: Sequence[Pin]) -> list[Way]:
    """Return the other places for *pins* if the URLs in the lock cannot be reached.

    The index in the lock comes first. An index in pip's settings, for example a mirror, is used only with
    hashes: without them it could have another project's distribution of the same name.
    """
    if not all(pin.origin is None and pin.version is not None and _has_url(pin) for pin in pins):
        return []
    ways = [] if pins[0].index_url is None else [Way.INDEX]
    if "PIP_INDEX_URL" in environ and all(request_for(pin).hashed for pin in pins):
        ways.append(Way.SETTINGS)
    return ways


def run_batch(
    pip: PipCommand, batch: Batch, parent: int, path: str, stopping: Callable[[], bool]
) -> list[str]:
    """Fetch or build the wheels of *batch* into the new folder ``got`` of *parent* (at *path*); return paths.

    Raises FetchError with pip's output, or InterruptedRunError.
    """
    requests = [request_for(pin, batch.way) for pin in batch.pins]
    lines = [*requests[0].options, *(request.line for request in requests)]
    # The lock has chosen the wheel for this interpreter.
    words = ["--no-deps", "--ignore-requires-python", *requests[0].arguments]
    if requests[0].hashed:
        words.append("--require-hashes")
    pip = without_extra_indexes(pip, lines)
    lines = add_logins(pip, lines)
    if any(map(_needs_build, batch.pins)):
        pip, lines = hide_logins(pip, lines, parent, path)
    own_index = batch.way is Way.SETTINGS or batch.pins[0].index_url is None
    index = pip.index if own_index else str(batch.pins[0].index_url)
    return _wheels(pip, batch.pins, lines, words, index, (parent, path), stopping)


def fetch_requirements(
    pip: PipCommand, pin: Pin, requires: Sequence[str], parent: int, path: str, stopping: Callable[[], bool]
) -> list[str]:
    """Fetch wheels of *requires*, which pip chooses, for the build of *pin*; like `run_batch` otherwise."""
    options, _ = _divided(pin.options)
    if pin.index_url is not None:  # for its build requirements
        options = (f"--index-url {shlex.quote(pin.index_url)}", *options)
    lines = [*options, *requires]
    pip = without_extra_indexes(pip, lines)
    pip, lines = hide_logins(pip, add_logins(pip, lines), parent, path)
    constraint = pip.environ.get("PIP_BUILD_CONSTRAINT")
    words = ["--constraint", constraint] if constraint else []
    return _wheels(pip, (pin,), lines, words, pin.index_url or pip.index, (parent, path), stopping)


def _wheels(
    pip: PipCommand,
    pins: Sequence[Pin],
    lines: Sequence[str],
    words: Sequence[str],
    index: str,
    folder: tuple[int, str],
    stopping: Callable[[], bool],
) -> list[str]:
    """Fetch the wheels of the requirements file *lines* into a new folder of *folder*; return their paths."""
    parent, path = folder
    ensure_folder(parent, "got", 0o700)
    write_text(parent, "requirements.txt", "".join(f"{line}\n" for line in lines))
    arguments = ["download", "--dest"] if pip.foreign else ["wheel", "--wheel-dir"]
    arguments += [f"{path}/got", *pip.foreign, "--progress-bar", "off", "-r", f"{path}/requirements.txt"]
    code, output = pip.run([*arguments, *words], path, stopping)
    if stopping():
        raise InterruptedRunError("Interrupted", hint="fetched wheels are kept; run the same command again")
    if code:
        raise explained(pins, output, index=index, python=pip.python)
    return [f"{path}/got/{name}" for name in sorted(os.listdir(f"{path}/got")) if name.endswith(".whl")]


def without_extra_indexes(pip: PipCommand, lines: Sequence[str]) -> PipCommand:
    """Return *pip* without extra indexes if *lines* name an index.

    In pip itself that line replaces them, but pip would pass them on to another pip for a build.
    """
    if not any(line.startswith("--index-url ") for line in lines):
        return pip
    environ = {name: value for name, value in pip.environ.items() if name != "PIP_EXTRA_INDEX_URL"}
    return replace(pip, environ=environ)


def _divided(options: Sequence[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Divide *options* into lines of a requirements file and arguments of a command line."""
    lines: list[str] = []
    arguments: list[str] = []
    rest = iter(options)
    for name in rest:
        if name in _FLAGS:
            lines.append(name)
            continue
        value = next(rest)
        if name in _ARGUMENTS:
            arguments += [name, value]
        else:
            # A path may contain "#", which begins a comment in a file.
            is_folder = name == "--find-links" and value.startswith("/")
            lines.append(f"{name} {shlex.quote(file_url(value) if is_folder else value)}")
    return tuple(lines), tuple(arguments)


def _cloned(url: str) -> str:
    """Return the URL of a repository; pip accepts neither SSH's ``user@host:path`` nor a path."""
    if "://" in url:
        return url
    host, colon, path = url.partition(":")
    return f"ssh://{host}/{path.lstrip('/')}" if colon and "/" not in host else file_url(os.path.abspath(url))


def _url(archive: Archive) -> str | None:
    if archive.path is not None:
        return file_url(archive.path)
    return archive.url


def _has_url(pin: Pin) -> bool:
    archive = pin.wheels[0] if pin.wheels else pin.sdist
    return archive is not None and archive.url is not None


def _fragment(subdirectory: str | None, weak: str = "") -> str:
    """Return the fragment of a URL; only there pip checks *weak* hashes."""
    parts = [f"subdirectory={subdirectory}"] if subdirectory else []
    parts += [weak] if weak else []
    return f"#{'&'.join(parts)}" if parts else ""


def _needs_build(pin: Pin) -> bool:
    if isinstance(pin.origin, Archive):
        return not pin.origin.file_name.endswith(".whl")
    return pin.origin is not None or (not pin.wheels and pin.sdist is not None)


def _size(pin: Pin) -> int:
    archive = pin.wheels[0] if pin.wheels else None
    return (archive.size or 0) if archive is not None else 0

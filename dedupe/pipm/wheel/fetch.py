"""Fetching and building through pip: what to ask it for, and what its refusals mean.

Index, passwords, proxies and certificates are pip's own configuration. Hashes that a lock has are
required of pip, and checked once more when the wheel comes into the store.
"""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple

from pipm.core.pins import Archive, Folder, Pin, Repository
from pipm.errors import FetchError, InterruptedRunError
from pipm.fs.share import ensure_folder, write_text
from pipm.wheel.private import file_url

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pipm.wheel.callpip import Pip

_NORMALISE = re.compile(r"[-_.]+")
_SHOWN_LINES = 3


class UnreachableError(FetchError):
    """Nobody answered at the place where the lock says that it is."""


class Request(NamedTuple):
    """A requirement as pip reads it in a requirements file; ``hashed``: the line requires hashes."""

    line: str
    hashed: bool
    options: tuple[str, ...]


class Batch(NamedTuple):
    """Pins that one run of pip gets."""

    pins: tuple[Pin, ...]
    by_index: bool = False


def request_for(pin: Pin, *, by_index: bool) -> Request:
    """What pip is asked for *pin*; *by_index*: by name and version, though the lock knows a URL."""
    origin = pin.origin
    if isinstance(origin, Repository):
        place = f"{origin.vcs}+{origin.url}@{origin.commit}{_fragment(origin.subdirectory)}"
        return Request(f"{pin.name} @ {place}", False, pin.options)
    if isinstance(origin, Folder):
        path = f"{origin.path}/{origin.subdirectory}" if origin.subdirectory else origin.path
        return Request(f"{pin.name} @ {file_url(path)}", False, pin.options)
    archive = origin or (pin.wheels[0] if pin.wheels else pin.sdist)
    hashes = pin.hashes if archive is None else archive.hashes
    url = None if archive is None else _url(archive)
    line = f"{pin.name}=={pin.version}"
    options = pin.options
    if archive is not None and url is not None and not (by_index and origin is None):
        line = f"{pin.name} @ {url}{_fragment(archive.subdirectory)}"
    elif pin.index_url is not None:
        options = ("--extra-index-url", pin.index_url, *options)
    line += "".join(f" --hash={name}:{value}" for name, value in hashes)
    return Request(line, bool(hashes), options)


def promised_hashes(pins: Sequence[Pin]) -> list[tuple[str, str]]:
    """The (algorithm, hexadecimal digest) by which the lock vouches for archives of *pins*."""
    archives = [
        archive for pin in pins for archive in (*pin.wheels, pin.origin) if isinstance(archive, Archive)
    ]
    return [
        promise
        for hashes in (*(one.hashes for one in archives), *(pin.hashes for pin in pins))
        for promise in hashes
    ]


def batches(pins: Sequence[Pin], workers: int) -> list[Batch]:
    """Share *pins* out: what must be built alone, the rest by size, so that all workers end together."""
    groups: dict[tuple[object, ...], list[Pin]] = {}
    alone = []
    for pin in pins:
        if _needs_build(pin):
            alone.append(Batch((pin,)))
        else:
            request = request_for(pin, by_index=False)
            groups.setdefault((request.hashed, request.options), []).append(pin)
    together = []
    for group in groups.values():
        ordered = sorted(group, key=lambda pin: -_size(pin))
        count = min(workers, len(ordered))
        together += [Batch(tuple(ordered[number::count])) for number in range(count)]
    return alone + together


def can_ask_index(pin: Pin) -> bool:
    """Whether pip may find *pin* by name where its URL fails (a mirror stands for the index, say)."""
    return pin.origin is None and pin.version is not None


def run_batch(pip: Pip, batch: Batch, parent: int, path: str, stopping: Callable[[], bool]) -> list[str]:
    """Let pip put the wheels of *batch* into the new folder ``got`` of *parent* (at *path*); returns paths.

    Raises FetchError with pip's own words, InterruptedRunError.
    """
    ensure_folder(parent, "got", 0o700)
    requests = [request_for(pin, by_index=batch.by_index) for pin in batch.pins]
    write_text(parent, "requirements.txt", "".join(f"{request.line}\n" for request in requests))
    verb = "download" if pip.foreign else "wheel"
    arguments = [verb, "--no-deps", "--progress-bar", "off", "-r", f"{path}/requirements.txt"]
    arguments += ["--dest" if pip.foreign else "--wheel-dir", f"{path}/got", *pip.foreign]
    # The lock decided which interpreters a wheel is for.
    arguments += ["--ignore-requires-python", *requests[0].options]
    if requests[0].hashed:
        arguments.append("--require-hashes")
    code, output = pip.run(arguments, stopping)
    if stopping():
        raise InterruptedRunError("Interrupted", hint="what was fetched is kept; run the same command again")
    if code:
        raise _explained(batch, output)
    return [f"{path}/got/{name}" for name in sorted(os.listdir(f"{path}/got")) if name.endswith(".whl")]


def install_editable(pip: Pip, pin: Pin, python: str, stopping: Callable[[], bool]) -> None:
    """Let pip install a project of this disk so that edits take effect."""
    assert isinstance(pin.origin, Folder)
    folder = pin.origin
    path = f"{folder.path}/{folder.subdirectory}" if folder.subdirectory else folder.path
    command = pip.command if pip.command[-2:-1] == ("--python",) else (*pip.command, "--python", python)
    local = type(pip)(command=command) if pip.command[0] != python else pip
    arguments = ["install", "--no-deps", "--ignore-requires-python", "--editable", path]
    code, output = local.run(arguments, stopping)
    if stopping():
        raise InterruptedRunError("Interrupted", hint="run the same command again to finish")
    if code:
        raise _explained(Batch((pin,)), output)


def _url(archive: Archive) -> str | None:
    if archive.path is not None:
        return file_url(archive.path)
    return archive.url


def _fragment(subdirectory: str | None) -> str:
    return f"#subdirectory={subdirectory}" if subdirectory else ""


def _needs_build(pin: Pin) -> bool:
    if isinstance(pin.origin, Archive):
        return not pin.origin.file_name.endswith(".whl")
    return pin.origin is not None or (not pin.wheels and pin.sdist is not None)


def _size(pin: Pin) -> int:
    archive = pin.wheels[0] if pin.wheels else None
    return (archive.size or 0) if archive is not None else 0


_WRONG_HASHES = "DO NOT MATCH THE HASHES"
_GOT = re.compile(r"^\s+Got\s+([0-9a-f]+)$", re.MULTILINE)
_MEANINGS = (
    (
        "No space left on device",
        "does not fit on the disk",
        "free some space, then run the same command again",
    ),
    (
        "No matching distribution found",
        "is not to be had",
        "is it still on the index, and built for this Python?",
    ),
    ("Failed to build", "cannot be built", "its own words are above; -v shows all of pip's"),
)
_NETWORK = re.compile(
    r"NewConnectionError|ConnectTimeout|ReadTimeout|NameResolution|Connection (?:refused|broken|aborted)|"
    r"Max retries|IncompleteRead|HTTP error|ProxyError|SSLError",
)


def _explained(batch: Batch, output: str) -> FetchError:
    """Say in one line what pip said in many; what it names is what failed, else the whole batch is."""
    if _WRONG_HASHES in output:
        return _promised_otherwise(batch, output.partition(_WRONG_HASHES)[2])
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    if not errors or errors == ["Exception:"]:  # a traceback of pip's: its last line says what
        errors = lines[-1:]
    names = _named(batch, "\n".join(line for line in lines if not line.startswith(("Collecting", "Saved"))))
    shown = _listed(names)
    tail = "; ".join(errors[:_SHOWN_LINES])
    for sign, meaning, hint in _MEANINGS:
        if sign in output:
            return FetchError(f"{shown} {meaning}: {tail}", hint=hint)
    if _NETWORK.search(output):
        return UnreachableError(
            f"Cannot fetch {shown}: {tail}",
            hint="is the index reachable? what was fetched is kept; run the same command again",
        )
    return FetchError(f"pip cannot give {shown}: {tail}", hint="`pip config list` shows what pip goes by")


def _promised_otherwise(batch: Batch, text: str) -> FetchError:
    """Say which archives have other hashes than the lock has, from pip's list of them."""
    names, got = _named(batch, text), _GOT.findall(text)
    verb, whose = ("is", "its hash is") if len(names) == 1 else ("are", "their hashes are")
    return FetchError(
        f"{_listed(names)} {verb} not what the lock promises: {whose} {_listed(got)}",
        hint="make the lock anew if the project published other files, else do not trust this index",
    )


def _listed(names: list[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def _named(batch: Batch, text: str) -> list[str]:
    """The distributions of *batch* that pip's words name, with versions; all when it names none."""
    said = _NORMALISE.sub("-", text).lower()
    shown = {pin.name: f"{pin.name} {pin.version}" if pin.version else pin.name for pin in batch.pins}
    if len(shown) == 1:
        return list(shown.values())
    found = [text for name, text in shown.items() if re.search(rf"(?<![\w-]){re.escape(name)}(?![\w])", said)]
    return found or list(shown.values())

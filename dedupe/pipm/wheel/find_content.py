"""Finding contents by sha256 in wheels: in pip's and uv's caches, and on the index.

Each content is checked by its sha256, so the source need not be trusted.
"""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import zipfile
import zlib
from glob import escape as glob_escape
from glob import glob
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from pipm.core.digest import Digest
from pipm.core.record import parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator

    from pipm.core.manifest import Manifest

_OPTIONS = ("--disable-pip-version-check", "--no-input", "--no-color")
_SECONDS = 600.0
_HEAD = b"PK\x03\x04"
_UNSOUND = (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError, zlib.error, KeyError)


def contents_of(path: str, wanted: Collection[Digest]) -> Iterator[tuple[Digest, bytes]]:
    """Yield the *wanted* contents that the wheel at *path* has, with checked digests.

    The wheel may be unpacked (a folder). Its RECORD lists the digests.
    """
    try:
        if os.path.isdir(path):
            yield from _recorded(
                _read_file(f"{path}/{_record_in(path)}"), wanted, lambda n: _read_file(f"{path}/{n}")
            )
            return
        with zipfile.ZipFile(path) as wheel:
            record = next(name for name in wheel.namelist() if name.endswith(".dist-info/RECORD"))
            yield from _recorded(wheel.read(record), wanted, wheel.read)
    except (*_UNSOUND, StopIteration):
        return


def _recorded(
    record: bytes, wanted: Collection[Digest], read: Callable[[str], bytes]
) -> Iterator[tuple[Digest, bytes]]:
    for row in parse_record(record):
        if row.digest is not None and row.digest in wanted:
            try:
                data = read(row.path)
            except _UNSOUND:  # another member may have the same content
                continue
            if Digest.of(data) == row.digest:
                yield row.digest, data


def _record_in(folder: str) -> str:
    """Return the path of RECORD in the unpacked wheel *folder*; raise StopIteration if there is none."""
    return next(f"{name}/RECORD" for name in os.listdir(folder) if name.endswith(".dist-info"))


def _read_file(path: str) -> bytes:
    file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    with open(file, "rb") as stream:
        return stream.read() if stat.S_ISREG(os.fstat(file).st_mode) else b""


def wheels_of(manifest: Manifest, folder: str) -> Iterator[str]:
    """Yield wheels of the same release: from pip's cache, uv's cache, then from the index.

    Wheels of the index are fetched into the empty *folder*.
    """
    yield from _in_pips_cache(manifest)
    yield from _in_uvs_cache(manifest)
    yield from _fetched(manifest, folder)


def _in_pips_cache(manifest: Manifest) -> Iterator[str]:
    folder = _pip("cache", "dir").strip()
    if not folder or not os.path.isdir(folder):
        return
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if name.endswith((".whl", ".body")) and _is_wheel_of(path, manifest):
                yield path


def _in_uvs_cache(manifest: Manifest) -> Iterator[str]:
    """Yield unpacked wheels: uv keeps them in folders with random names."""
    cache = os.environ.get("UV_CACHE_DIR") or _output(("uv", "cache", "dir")).strip()
    for folder in glob(f"{glob_escape(cache)}/archive-v*/*/*.dist-info") if cache else ():
        if _names_release(os.path.basename(folder), manifest):
            yield os.path.dirname(folder)


def _fetched(manifest: Manifest, folder: str) -> Iterator[str]:
    """Fetch the release for the same tags with pip, otherwise with uv."""
    release = f"{manifest.name}=={manifest.version}"
    for options in (_tag_options(manifest.tag), ()):
        _pip("download", "--no-deps", "--only-binary", ":all:", "--dest", folder, *options, release)
        found = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".whl")]
        if found:
            yield from found
            return
    _output(
        ("uv", "pip", "install", "--no-deps", "--no-build", "--quiet", "--no-config", "--target",
         f"{folder}/unpacked", "--python", sys.executable, release)
    )  # fmt: skip
    if os.path.isdir(f"{folder}/unpacked"):
        yield f"{folder}/unpacked"


def _tag_options(tag: str) -> tuple[str, ...]:
    """Return pip's options for wheels with a tag like ``cp312-cp312-manylinux2014_x86_64``."""
    parts = tag.split("-")[-3:]
    if len(parts) != 3:
        return ()
    python, abi, platform = parts
    if abi == "none" and platform == "any":
        return ()
    first = python.split(".")[0]
    options = ["--implementation", first[:2], "--abi", abi.split(".")[0]]
    if first[2:]:
        options += ["--python-version", first[2:]]
    return (*options, *(option for one in platform.split(".") for option in ("--platform", one)))


def _is_wheel_of(path: str, manifest: Manifest) -> bool:
    try:
        with open(path, "rb") as stream:
            if stream.read(4) != _HEAD:
                return False
            with zipfile.ZipFile(stream) as wheel:
                folder = next(name for name in wheel.namelist() if name.endswith(".dist-info/RECORD"))
    except (*_UNSOUND, StopIteration):
        return False
    return _names_release(folder.removesuffix("/RECORD"), manifest)


def _names_release(folder: str, manifest: Manifest) -> bool:
    """Return True if a metadata folder has the name and version of *manifest*."""
    name, _, version = folder.removesuffix(".dist-info").rpartition("-")
    return canonicalize_name(name) == manifest.name and version == manifest.version


def _pip(*arguments: str) -> str:
    """Run pip of pipm's interpreter, otherwise the first on PATH; return its output, or "" if it fails."""
    for command in ((sys.executable, "-P", "-m", "pip"), ("pip",), ("pip3",)):
        answer = _output((*command, *arguments, *_OPTIONS))
        if answer:
            return answer
    return ""


def _output(command: tuple[str, ...]) -> str:
    """Run *command* and return its output, or "" if it fails."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return "" if done.returncode else done.stdout

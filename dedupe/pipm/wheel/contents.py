"""Finding known contents in wheels: those of pip's cache, and those that the index has.

What is found is known by its sha256 alone: where it came from needs no trust.
"""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
import zlib
from typing import TYPE_CHECKING

from packaging.utils import canonicalize_name

from pipm.core.digest import Digest
from pipm.core.record import parse_record

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from pipm.core.manifest import Manifest

_OPTIONS = ("--disable-pip-version-check", "--no-input", "--no-color")
_SECONDS = 600.0
_HEAD = b"PK\x03\x04"
_UNSOUND = (zipfile.BadZipFile, NotImplementedError, EOFError, ValueError, OSError, zlib.error, KeyError)


def contents_of_wheel(path: str, wanted: Collection[Digest]) -> Iterator[tuple[Digest, bytes]]:
    """Yield those of the *wanted* contents that the wheel at *path* has, by its RECORD, proven by digest."""
    try:
        with zipfile.ZipFile(path) as wheel:
            record = next(name for name in wheel.namelist() if name.endswith(".dist-info/RECORD"))
            for row in parse_record(wheel.read(record)):
                if row.digest in wanted and row.digest is not None:
                    data = wheel.read(row.path)
                    if Digest.of(data) == row.digest:
                        yield row.digest, data
    except (*_UNSOUND, StopIteration):
        return


def cached_wheels(manifest: Manifest) -> Iterator[str]:
    """Yield the archives in pip's cache that are wheels of the same release."""
    folder = _pip("cache", "dir").strip()
    if not folder or not os.path.isdir(folder):
        return
    for place, _, names in os.walk(folder):
        for name in names:
            path = os.path.join(place, name)
            if name.endswith((".whl", ".body")) and _is_wheel_of(path, manifest):
                yield path


def fetched_wheels(manifest: Manifest, folder: str) -> Iterator[str]:
    """Let pip fetch the same release for the same tags into *folder*; yields what it brought."""
    for options in (_tag_options(manifest.tag), ()):
        _pip(
            "download", "--no-deps", "--only-binary", ":all:", "--dest", folder, *options,
            f"{manifest.name}=={manifest.version}",
        )  # fmt: skip
        found = [os.path.join(folder, name) for name in sorted(os.listdir(folder)) if name.endswith(".whl")]
        if found:
            yield from found
            return


def _tag_options(tag: str) -> tuple[str, ...]:
    """Ask for wheels of another interpreter by its tag: ``cp312-cp312-manylinux2014_x86_64``."""
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
    name, _, version = folder.removesuffix(".dist-info/RECORD").rpartition("-")
    return canonicalize_name(name) == manifest.name and version == manifest.version


def _pip(*arguments: str) -> str:
    """Run pip of our own interpreter, else the first on PATH; empty when it fails."""
    for command in ((sys.executable, "-m", "pip"), ("pip",)):
        try:
            done = subprocess.run(
                [*command, *arguments, *_OPTIONS],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                errors="replace",
                timeout=_SECONDS,
                check=False,
            )
        except (OSError, subprocess.SubprocessError):
            continue
        if not done.returncode:
            return done.stdout
    return ""

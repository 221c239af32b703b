"""Editable projects: pip installs them, and their files are not shared."""

from __future__ import annotations

import contextlib
import os
import re
from typing import TYPE_CHECKING

from pipm.core.install_plan import record_rows
from pipm.core.pins import SourceFolder
from pipm.core.sha256 import sha256
from pipm.errors import LockError
from pipm.fs.beneath import open_directory_beneath, read_beneath, read_file
from pipm.fs.durability import write_durably
from pipm.fs.leftovers import remove_torn_writes
from pipm.fs.opened import opened
from pipm.sync.uv_note import FILE as UV_NOTE
from pipm.sync.uv_note import uv_note
from pipm.wheel.environment_files import file_url, record_digest_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from pipm.core.pins import Pin
    from pipm.core.plan.sync_plan import Installed
    from pipm.core.target import Target
    from pipm.store.layout import Store
    from pipm.sync.installed_state import EnvironmentScan

_STATE = "pipm_project.sha256"
"""A file beside RECORD with the digest of the files from which the project was installed."""

_LARGEST = 1 << 20

_OF_GIT = re.compile(rb"scm|vcs|versioningit|git-versioning|dynamic-versioning|versioneer|dunamai|pbr")

_DESCRIBING = ("pyproject.toml", "setup.py", "setup.cfg")
"""Files with the version, scripts, entry points, dependencies and build settings of a project."""


def is_editable(pin: Pin) -> bool:
    """Return True if *pin* is an editable folder."""
    return isinstance(pin.origin, SourceFolder) and pin.origin.editable


def editable_url(pin: Pin) -> str:
    """Return the URL of the folder of an editable pin."""
    assert isinstance(pin.origin, SourceFolder)
    return file_url(pin.origin.project)


def installed_editables(scan: EnvironmentScan, pins: Iterable[Pin]) -> dict[str, Installed]:
    """Return by name those of *pins* that are installed from their folders already."""
    urls = {pin.name: editable_url(pin) for pin in pins}
    return {
        one.name: one
        for one in (scan.installed() if urls else ())
        if one.name in urls and scan.is_editable(one, urls[one.name])
    }


def missing_editables(
    scan: EnvironmentScan, pins: Iterable[Pin], installed: Mapping[str, Installed]
) -> list[Pin]:
    """Return those of *pins* that are not in *installed*, or with changed descriptions."""
    return [
        pin
        for pin in pins
        if pin.name not in installed or _noted(scan, installed[pin.name]) != project_state(pin).encode()
    ]


def project_state(pin: Pin) -> str:
    """Return the digest of the files that decide how an editable *pin* is installed, except its modules."""
    assert isinstance(pin.origin, SourceFolder)
    folder = pin.origin.project
    state = sha256(repr((pin.version, pin.options)).encode("utf-8", "surrogateescape"))
    for name in (*_DESCRIBING, *_files_with_metadata(folder)):
        try:
            with open(os.path.join(folder, name), "rb") as stream:
                state.update(name.encode() + sha256(stream.read(_LARGEST)).digest())
        except OSError:
            continue
    if _has_version_of_git(folder):
        state.update(b"".join(_git_state(folder)))
    return state.hexdigest()


def _has_version_of_git(folder: str) -> bool:
    """Return True if the version depends on commits and tags (setuptools-scm, hatch-vcs and similar)."""
    for name in _DESCRIBING:
        with contextlib.suppress(OSError), open(os.path.join(folder, name), "rb") as stream:
            if _OF_GIT.search(stream.read(_LARGEST)):
                return True
    return False


def _git_state(folder: str) -> Iterator[bytes]:
    """Yield the commit and tags of the repository of *folder*, read without running git."""
    above = folder
    while not os.path.lexists(f"{above}/.git"):
        above, below = os.path.dirname(above), above
        if above == below:
            return
    git = f"{above}/.git"
    link = read_file(git) if os.path.isfile(git) else None  # in a worktree or submodule
    if link is not None:
        git = os.path.join(above, os.fsdecode(link.removeprefix(b"gitdir:").strip()))
    common = os.path.join(git, os.fsdecode((read_file(f"{git}/commondir") or b".").strip()))
    head = read_file(f"{git}/HEAD") or b""
    branch = os.fsdecode(head.removeprefix(b"ref:").strip())
    tags = sorted(os.listdir(f"{common}/refs/tags")) if os.path.isdir(f"{common}/refs/tags") else []
    yield read_file(f"{common}/{branch}") or head  # head: the branch is in packed-refs, or there is none
    for name in ("packed-refs", *(f"refs/tags/{tag}" for tag in tags)):
        yield os.fsencode(name) + (read_file(f"{common}/{name}") or b"")


def _files_with_metadata(folder: str) -> Iterator[str]:
    """Yield the files that settings of tools name, if ``project.dynamic`` leaves metadata to the build."""
    from pipm.lockfile.checked_table import load_toml  # noqa: PLC0415 - 15 ms, of editable projects alone

    try:
        document = load_toml(f"{folder}/pyproject.toml")
        if not document.table("project").texts("dynamic"):
            return
        texts = list(_texts(document.table("tool").content))
    except LockError:  # it is missing, or the build will report the error
        return
    for text in texts:
        module = text.rpartition(".")[0].replace(".", "/")  # setuptools: package.module.attribute
        named = [f"{top}{module}{end}" for top in ("", "src/") for end in (".py", "/__init__.py")]
        for name in (text, *(named if module else ())):
            if "\0" not in name and not os.path.isabs(name) and os.path.isfile(f"{folder}/{name}"):
                yield name


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, list | dict):
        for one in value.values() if isinstance(value, dict) else value:
            yield from _texts(one)


def install_editables(
    store: Store, pins: list[Pin], python: str, target: Target, stopping: Callable[[], bool]
) -> None:
    """Install each of *pins* with pip into the environment of the interpreter *python*."""
    if pins:
        from pipm.wheel.pip_download import install_editable  # noqa: PLC0415
        from pipm.wheel.run_pip import find_pip  # noqa: PLC0415 - takes 40 ms, and few locks need it

        pip = find_pip(python, target)
        for pin in pins:
            with store.run() as (run, path):
                install_editable(pip, pin, python, run, path, stopping)


def project_notes(pin: Pin, *, for_uv: bool) -> dict[str, bytes]:
    """Return the files to write beside RECORD after the installation of an editable *pin*."""
    assert isinstance(pin.origin, SourceFolder)
    notes = {_STATE: project_state(pin).encode()}
    note = uv_note(pin.origin.project) if for_uv else None
    return notes if note is None else notes | {UV_NOTE: note}


def note_editables(
    scan: EnvironmentScan, pins: Iterable[Pin], notes: Mapping[str, Mapping[str, bytes]]
) -> dict[str, str]:
    """Write the *notes* of *pins*, which were just installed, into the environment; return their versions."""
    there = installed_editables(scan, list(pins))
    for name, installed in there.items():
        with opened(open_directory_beneath(scan.root, f"{installed.site}/{installed.metadata}")) as folder:
            remove_torn_writes(folder, ("",))
            record = read_beneath(folder, "RECORD")
            if record is None:
                continue
            rows = record_rows(
                (f"{installed.metadata}/{file}", record_digest_of(note), len(note))
                for file, note in notes[name].items()
            )
            # RECORD first: an uninstaller then knows the files, and a missing one is written again.
            write_durably(folder, "RECORD", record.rstrip(b"\n") + b"\n" + rows, mode=0o644)
            for file, note in notes[name].items():
                write_durably(folder, file, note, mode=0o644)
    return {name: installed.version for name, installed in there.items()}


def _noted(scan: EnvironmentScan, installed: Installed) -> bytes | None:
    return read_beneath(scan.root, f"{installed.site}/{installed.metadata}/{_STATE}")

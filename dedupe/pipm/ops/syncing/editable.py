"""Projects that are installed so that edits take effect: pip's matter, no file of theirs is shared."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.core.blueprint import record_rows
from pipm.core.pins import Folder
from pipm.core.sha256 import sha256
from pipm.fs.beneath import open_directory_beneath, read_beneath
from pipm.fs.sync import Durability, write_durably
from pipm.wheel.private import file_url, hashed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.ops.syncing.standing import Survey
    from pipm.plan.sync import Standing
    from pipm.store.layout import Store

_STATE = "pipm_project.sha256"
"""A file beside RECORD: the digest of what the project was installed from."""

_DESCRIBING = ("pyproject.toml", "setup.py", "setup.cfg")
"""Files that say the version, scripts, entry points and dependencies of a project, and how it is built."""


def is_editable(pin: Pin) -> bool:
    """Whether *pin* is a folder that is not copied."""
    return isinstance(pin.origin, Folder) and pin.origin.editable


def editable_url(pin: Pin) -> str:
    """The URL of the folder of an editable pin."""
    assert isinstance(pin.origin, Folder)
    return file_url(pin.origin.project)


def standing_editables(survey: Survey, pins: Iterable[Pin]) -> dict[str, Standing]:
    """Those of *pins* that are installed from their folders already, by name."""
    urls = {pin.name: editable_url(pin) for pin in pins}
    return {
        one.name: one
        for one in (survey.standing() if urls else ())
        if one.name in urls and survey.is_editable(one, urls[one.name])
    }


def missing_editables(survey: Survey, pins: Iterable[Pin], standing: Mapping[str, Standing]) -> list[Pin]:
    """Those of *pins* that are not among *standing*, or that other files describe by now."""
    return [
        pin
        for pin in pins
        if pin.name not in standing or _noted(survey, standing[pin.name]) != project_state(pin).encode()
    ]


def project_state(pin: Pin) -> str:
    """Digest what an editable *pin* is installed from, but its modules, which are read where they lie."""
    assert isinstance(pin.origin, Folder)
    state = sha256(repr(pin.options).encode("utf-8", "surrogateescape"))
    for name in _DESCRIBING:
        try:
            with open(os.path.join(pin.origin.project, name), "rb") as stream:
                state.update(name.encode() + sha256(stream.read()).digest())
        except OSError:
            continue
    return state.hexdigest()


def install_editables(
    store: Store, pins: list[Pin], python: str, target: Target, stopping: Callable[[], bool]
) -> None:
    """Let pip install each of *pins* into the environment of the interpreter *python*."""
    if pins:
        from pipm.wheel.callpip import find_pip  # noqa: PLC0415 - 40 ms that few locks need
        from pipm.wheel.fetch import install_editable  # noqa: PLC0415

        pip = find_pip(python, target)
        for pin in pins:
            with store.run() as (run, path):
                install_editable(pip, pin, python, run, path, stopping)


def note_editables(survey: Survey, pins: Iterable[Pin], states: Mapping[str, str]) -> None:
    """Keep the *states* of *pins*, which were just installed, in the environment."""
    pins = list(pins)
    for name, standing in standing_editables(survey, pins).items():
        folder = open_directory_beneath(survey.root, f"{standing.site}/{standing.metadata}")
        try:
            record, state = read_beneath(folder, "RECORD"), states[name].encode()
            if record is None:
                continue
            row = record_rows([(f"{standing.metadata}/{_STATE}", hashed(state), len(state))])
            # First: whoever uninstalls it then knows of the file, and one that is missing is made anew.
            write_durably(folder, "RECORD", record.rstrip(b"\n") + b"\n" + row, Durability.LATER, 0o644)
            write_durably(folder, _STATE, state, Durability.LATER, 0o644)
        finally:
            os.close(folder)


def _noted(survey: Survey, standing: Standing) -> bytes | None:
    return read_beneath(survey.root, f"{standing.site}/{standing.metadata}/{_STATE}")

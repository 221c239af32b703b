"""Projects that are installed so that edits take effect: pip's matter, no file of theirs is shared."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.core.pins import Folder
from pipm.wheel.private import file_url

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.core.pins import Pin
    from pipm.core.target import Target
    from pipm.ops.syncing.standing import Survey


def is_editable(pin: Pin) -> bool:
    """Whether *pin* is a folder that is not copied."""
    return isinstance(pin.origin, Folder) and pin.origin.editable


def missing_editables(survey: Survey, pins: list[Pin]) -> list[Pin]:
    """Those of *pins* that do not stand yet, or come from another folder."""
    standing = {one.name: one for one in survey.standing()} if pins else {}
    return [
        pin
        for pin in pins
        if pin.name not in standing or not survey.is_editable(standing[pin.name], editable_url(pin))
    ]


def editable_url(pin: Pin) -> str:
    """The URL of the folder of an editable pin."""
    assert isinstance(pin.origin, Folder)
    subdirectory = pin.origin.subdirectory
    return file_url(f"{pin.origin.path}/{subdirectory}" if subdirectory else pin.origin.path)


def install_editables(pins: list[Pin], python: str, target: Target, stopping: Callable[[], bool]) -> None:
    """Let pip install each of *pins* into the environment of the interpreter *python*."""
    if pins:
        from pipm.wheel.callpip import find_pip  # noqa: PLC0415 - 40 ms that few locks need
        from pipm.wheel.fetch import install_editable  # noqa: PLC0415

        pip = find_pip(python, target)
        for pin in pins:
            install_editable(pip, pin, python, stopping)

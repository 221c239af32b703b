"""Paths that no wheel may contain, because these files of an environment decide which code runs first."""

from __future__ import annotations

import re

_INTERPRETER = re.compile(r"(python|pypy|graalpy)w?[0-9.]*[td]?(\.exe)?", re.IGNORECASE)
_ACTIVATION = re.compile(r"(de)?activate(\.[a-z0-9]+)?|activate_this\.py", re.IGNORECASE)
"""Scripts that shells source. pydoc and pip are not reserved: an environment works without them, and pip's
own wheel contains pip."""
_SCRIPT_FOLDERS = ("data/bin/", "data/scripts/", "scripts/")
_HOOK = re.compile(r"([0-9]{3}|zzz)_pipm(_[a-z0-9_]*)?\.(pth|start)|_pipm_(finder|pip)([._/].*)?")


def reserved_script(name: str) -> str | None:
    """Return why no distribution may have a script of this *name*; None if it may.

    uv also rejects the interpreter's names; pip replaces existing files by all of them.
    """
    if _INTERPRETER.fullmatch(name):
        return "would replace an environment's interpreter"
    if _ACTIVATION.fullmatch(name):
        return "would replace an environment's activation script"
    return None


def reserved_path(path: str) -> str | None:
    """Return why no wheel may have the case-folded *path* (``site/…``, ``scripts/…``), or None."""
    if path in ("data/pyvenv.cfg", "site/pyvenv.cfg"):
        return "would overwrite an environment's pyvenv.cfg"
    for folder in _SCRIPT_FOLDERS:
        if path.startswith(folder):
            name = path.removeprefix(folder)
            if "/" in name and folder == "scripts/":
                return "is a script in a subfolder"
            return reserved_script(name)
    if path.startswith("data/.pipm") or (path.startswith("site/") and _HOOK.fullmatch(path, len("site/"))):
        return "would be in a place for pipm's own files"
    return None

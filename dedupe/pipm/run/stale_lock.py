"""Finding out whether the lock of a synced environment changed.

`pipm run --env` imports this module: it must not import modules that take milliseconds (dataclasses, typing,
re).
"""

from __future__ import annotations

import os

from pipm.core.sha256 import sha256
from pipm.lockfile.find_lock import lock_content

TYPE_CHECKING = False  # importing it from typing takes milliseconds

if TYPE_CHECKING:
    from typing import Any


def changed_lock(store: str, path: str) -> tuple[str, list[str]] | None:
    """Return the changed lock of the environment at *path* and the options of its last sync, or None."""
    root = _root(store, path)
    if root is None or not os.path.isfile(root["lock"]) or lock_content(root["lock"]) == root["content"]:
        return None
    return root["lock"], root["words"]


def _root(store: str, path: str) -> dict[str, Any] | None:
    """Read the root of a synced environment without importing `store.roots`, which takes milliseconds."""
    import json  # noqa: PLC0415 - milliseconds

    name = sha256(os.fsencode(path)).hexdigest()[:32]
    try:
        with open(f"{store}/v1/roots/{name}", "rb") as stream:
            root = json.loads(stream.read())
        is_synced = root["state"] == "synced" and root["content"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return root if is_synced else None

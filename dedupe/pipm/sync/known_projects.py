"""The fingerprint of a lock with editable projects: it changes with the files from which they are built.

The folders of a lock are remembered, so that a sync with nothing to do reads no lock.
"""

from __future__ import annotations

from pipm.core.sha256 import sha256
from pipm.fs.cache_files import read_value, write_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pipm.project.project_state import Decided

_KIND = "projects"


def remember_projects(fingerprint: str, states: Mapping[Decided, str]) -> str:
    """Return the fingerprint of a lock with the projects *states*; remember their folders."""
    if not states or not fingerprint:
        return fingerprint
    write_value(_KIND, fingerprint, list(states))
    return _joined(fingerprint, states.values())


def is_current(known: str, fingerprint: str) -> bool:
    """Return True if *known* is the fingerprint of the lock *fingerprint* and of its projects as they are."""
    if not fingerprint or known == fingerprint:
        return bool(fingerprint)
    rows = read_value(_KIND, fingerprint) if known.startswith(f"{fingerprint}+") else None
    if rows is None:
        return False
    from pipm.project.project_state import folder_state  # noqa: PLC0415 - takes 5 ms, and few locks need it

    return known == _joined(fingerprint, (folder_state((folder, digest)) for folder, digest in rows))


def _joined(fingerprint: str, states: Iterable[str]) -> str:
    return f"{fingerprint}+{sha256(' '.join(states).encode()).hexdigest()}"

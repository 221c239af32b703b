"""The environments that a command line names: by path, by project, as @NAME, or not at all."""

from __future__ import annotations

import os

from pipm.cli.format_text import path_text
from pipm.env.environment import is_environment
from pipm.env.places import marker_of
from pipm.errors import UsageError
from pipm.store.paths import environment_path

_MOST_NAMED = 10


def environment_folder(text: str) -> str:
    """Return the folder that *text* means; create the folder of named environments if missing."""
    path = environment_path(text)
    if path != text:
        from pipm.fs.own_files import make_folders  # noqa: PLC0415 - few environments have a name

        make_folders(os.path.dirname(path))
    return path


def existing_environment(text: str = "") -> str:
    """Return the path of the environment that *text* means: itself, or the one in a project's folder.

    Without *text* it is the active one (``$VIRTUAL_ENV``), else ``.venv``. Raise UsageError if a folder has
    several and none is called ``.venv``, or if its only one is not directly in it: ``/usr`` has environments
    of programs below it, which nobody means.
    """
    path = environment_path(text or os.environ.get("VIRTUAL_ENV") or ".venv")
    if marker_of(path) or os.path.lexists(f"{path}/pyvenv.cfg") or not os.path.isdir(path):
        return path
    project = environment_path(os.path.join(path, ".venv"))
    if is_environment(project):
        return project
    from itertools import islice  # noqa: PLC0415 - likewise

    from pipm.env.find_environments import find_environments  # noqa: PLC0415 - most name an environment

    folder = os.path.realpath(path)
    found = list(islice(find_environments(folder, leave_out=""), _MOST_NAMED + 1))
    if len(found) == 1 and os.path.dirname(found[0]) != folder:
        raise UsageError(
            f"{path} is neither an environment nor a project with one; there is one deeper: "
            f"{path_text(found[0])}",
            hint="name that environment if you mean it",
        )
    if len(found) > 1:
        shown = ", ".join(map(path_text, found[:_MOST_NAMED]))
        raise UsageError(
            f"{path} has several environments: {shown}{', …' if len(found) > _MOST_NAMED else ''}",
            hint=f"name one of them; adopt and release take all with --all {path}",
        )
    return found[0] if found else path

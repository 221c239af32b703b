"""PDM's plug-in (entry point ``pdm``): a receiver of the signal ``post_install``."""

from __future__ import annotations

from pipm.plugins.adopt_after import adopt_after

TYPE_CHECKING = False

if TYPE_CHECKING:
    from pdm.core import Core
    from pdm.project import Project


def connect(_core: Core) -> None:
    """Listen for the end of installs."""
    from pdm.signals import post_install  # noqa: PLC0415 - PDM has loaded it when it calls this

    post_install.connect(_after_install)


def _after_install(project: Project, *, dry_run: bool = False, **_details: object) -> None:
    if not dry_run:
        adopt_after("pdm", lambda: _place(project))


def _place(project: Project) -> object:
    """Return the virtual environment, or the folder in ``__pypackages__``."""
    environment = project.environment
    if environment.is_local:
        return environment.packages_path
    found = environment.interpreter.get_venv()
    return found and found.root

"""pipm: one store for the files of all Python environments."""

from __future__ import annotations

from pipm.version import __version__

TYPE_CHECKING = False  # importing this package costs nearly nothing, typing milliseconds

if TYPE_CHECKING:
    import os

    from pipm.run.activation import Activation

__all__ = ["__version__", "activate", "interactive"]


def activate(place: str | os.PathLike[str] | None = None) -> Activation:
    """Make the distributions of a lock importable in this interpreter (a notebook, say).

    *place* is a lock file, a project's folder, an environment's folder or ``@NAME``; without one it is the
    nearest lock upward. The last activation wins. A module that was imported before is kept; if it has
    another version, a LoadedVersionWarning is issued. Raises PipmError.
    """
    from pipm.run.activation import activate_place  # noqa: PLC0415 - see above

    return activate_place(place)


def interactive(*specs: str) -> Activation:
    """Make requirements importable in this interpreter: ``pipm.interactive("numpy>=2", "pandas")``.

    uv or pip resolves them once. Otherwise as `activate`.
    """
    from pipm.run.activation import activate_specs  # noqa: PLC0415 - see above

    return activate_specs(specs)

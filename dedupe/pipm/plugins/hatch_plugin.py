"""Hatch's plug-in (entry point ``hatch``): environments of the type ``pipm``.

After an install Hatch calls only the type of the environment, which the project chooses.
"""

from __future__ import annotations

from hatchling.plugin import hookimpl

TYPE_CHECKING = False

if TYPE_CHECKING:
    from hatch.env.plugin.interface import EnvironmentInterface


@hookimpl
def hatch_register_environment() -> type[EnvironmentInterface]:
    """Return the type ``pipm``."""
    from pipm.plugins.hatch_environment import AdoptedEnvironment  # noqa: PLC0415 - when Hatch needs the types

    return AdoptedEnvironment

"""virtualenv's plug-in (entry point ``virtualenv.activate``): an activator sees each new environment."""

from __future__ import annotations

import atexit

from virtualenv.activation.activator import Activator

from pipm.plugins.adopt_after import adopt_after

TYPE_CHECKING = False

if TYPE_CHECKING:
    from virtualenv.create.creator import Creator


class AdoptActivator(Activator):
    """Makes no activation script, but adopts the environment at the end of the process.

    It cannot do that earlier: after the activators virtualenv writes pyvenv.cfg again, and then the tool that
    called virtualenv installs distributions.
    """

    def generate(self, creator: Creator) -> list[object]:
        """Adopt the new environment at the end of the process."""
        atexit.register(adopt_after, "virtualenv", lambda: creator.dest)
        return []

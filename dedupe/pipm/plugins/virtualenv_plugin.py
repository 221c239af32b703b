"""virtualenv's plug-in (entry point ``virtualenv.activate``): an activator sees each new environment."""

from __future__ import annotations

import atexit

from virtualenv.activation.activator import Activator

from pipm.plugins.adopt_after import adopt_after

TYPE_CHECKING = False

if TYPE_CHECKING:
    from virtualenv.create.creator import Creator


class AdoptActivator(Activator):
    """Makes no script.

    It adopts at the end of the process: virtualenv writes pyvenv.cfg anew after the activators, and a tool
    that calls virtualenv installs after that.
    """

    def generate(self, creator: Creator) -> list[object]:
        """Note the new environment."""
        atexit.register(adopt_after, "virtualenv", lambda: creator.dest)
        return []

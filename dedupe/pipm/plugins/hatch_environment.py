"""A virtual environment of Hatch that pipm adopts after each change."""

from __future__ import annotations

from hatch.env.virtual import VirtualEnvironment

from pipm.plugins.adopt_after import adopt_after


class AdoptedEnvironment(VirtualEnvironment):
    """Hatch's type ``virtual`` with adoption; PLUGIN_NAME is the name of the type."""

    PLUGIN_NAME = "pipm"

    def install_project(self) -> None:
        """Install the project, then adopt."""
        super().install_project()
        self._adopt()

    def install_project_dev_mode(self) -> None:
        """Install the project as editable, then adopt."""
        super().install_project_dev_mode()
        self._adopt()

    def sync_dependencies(self) -> None:
        """Install missing dependencies, then adopt."""
        super().sync_dependencies()
        self._adopt()

    def _adopt(self) -> None:
        adopt_after("hatch", lambda: self.virtual_env_path)

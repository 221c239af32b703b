"""What every interpreter start in an environment with the pip wrapper pays for: it waits for pip.

A ``.pth`` file imports this (as ``_pipm_pip``). One object goes to ``sys.meta_path``; nothing else is
imported until pip's module that installs wheels is, or its command that uninstalls. Then ``hook.py`` (as
``_pipm_pip_hook``) is told. Standard library only, CPython 3.9 and later, PyPy.
"""

import sys

WATCHED = ("pip._internal.operations.install.wheel", "pip._internal.commands.uninstall")


class Watch:
    """Waits on ``sys.meta_path`` for pip's modules; costs two comparisons an import."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        """Find pip's module as the other finders do, and have the hook told once it is loaded."""
        if name not in WATCHED:
            return None
        for finder in sys.meta_path:
            find = None if finder is Watch else getattr(finder, "find_spec", None)
            spec = None if find is None else find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):  # zipimport got that with Python 3.10
                    spec.loader = Loader(spec.loader)
                return spec
        return None


class Loader:
    """Loads like another loader, then lets the store in; that loader may be shared and stays as it is."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        """Leave it to the other loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module):
        """Load it, then let the store in; whatever goes wrong there, plain pip goes on."""
        self._loader.exec_module(module)
        try:
            import _pipm_pip_hook  # noqa: PLC0415 - it costs what pip's start hides

            _pipm_pip_hook.loaded(module)
        except Exception as error:
            if sys.stderr is not None:
                sys.stderr.write(f"pipm: pip works without the store: {type(error).__name__}: {error}\n")


sys.meta_path.insert(0, Watch)

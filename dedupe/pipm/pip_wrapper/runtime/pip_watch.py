"""Finds pip's modules for the line in an environment's ``.pth`` file that waits for them.

Lies in its ``.pipm`` as the package ``_pipm_pip``, and is imported when the first module of pip is. The one
that installs wheels and the command that uninstalls are loaded as ever, and then ``hook.py`` is told.
Standard library only, CPython 3.9 and later, PyPy.
"""

import sys

WATCHED = ("pip._internal.operations.install.wheel", "pip._internal.commands.uninstall")


def find(name, path, target):
    """Find a module of pip as the other finders do; of one that is watched, wrap the loader."""
    if name not in WATCHED:
        return None
    for finder in sys.meta_path:
        ask = None if finder is sys._pipm_pip else getattr(finder, "find_spec", None)
        spec = None if ask is None else ask(name, path, target)
        if spec is not None:
            if hasattr(spec.loader, "exec_module"):  # zipimport got that with Python 3.10
                spec.loader = Loader(spec.loader)
            return spec
    return None


class Loader:
    """Loads like another loader, then tells the hook; that loader may be shared and stays as it is."""

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
            from _pipm_pip.hook import loaded  # noqa: PLC0415 - nobody but who installs shall wait for it

            loaded(module)
        except Exception as error:
            if sys.stderr is not None:
                sys.stderr.write(f"pipm: pip works without the store: {type(error).__name__}: {error}\n")

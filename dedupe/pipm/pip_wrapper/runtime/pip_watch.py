"""Finds pip's modules, for the function that the environment's ``.pth`` file defines.

The file is in ``.pipm`` as the package ``_pipm_pip``; the first import of a module of pip imports it. When
the module that installs wheels or the command that uninstalls is loaded, ``hook.py`` is called. Uses only the
standard library (CPython 3.9 and later, PyPy).
"""

import sys

WATCHED = ("pip._internal.operations.install.wheel", "pip._internal.commands.uninstall")


def find(name, path, target):
    """Find a watched module by the other finders, and wrap its loader."""
    if name not in WATCHED:
        return None
    for finder in sys.meta_path:
        ask = None if finder is sys._pipm_pip else getattr(finder, "find_spec", None)
        spec = None if ask is None else ask(name, path, target)
        if spec is not None:
            if hasattr(spec.loader, "exec_module"):  # zipimport has it since Python 3.10
                spec.loader = Loader(spec.loader)
            return spec
    return None


class Loader:
    """Loads a module by another loader, which may be shared and stays unchanged, then calls the hook."""

    def __init__(self, loader):
        self._loader = loader

    def __getattr__(self, name):
        return getattr(self._loader, name)

    def create_module(self, spec):
        """Create the module by the other loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module):
        """Load the module, then start the hook; after an error there pip works without the store."""
        self._loader.exec_module(module)
        try:
            from _pipm_pip.hook import loaded  # noqa: PLC0415 - only commands that install need it

            loaded(module)
        except Exception as error:
            if sys.stderr is not None:
                sys.stderr.write(f"pipm: pip works without the store: {type(error).__name__}: {error}\n")

"""The part of the finder's hook that changes other libraries when they are loaded; installed beside the hook.

`sysconfig` gets a further scheme, so that coverage treats the store's files as third-party code.
`pkg_resources` looks for files of distributions beside their metadata; it is changed to find them in the
store. Uses only the standard library, like the hook.
"""

import _frozen_importlib_external as external
import os
import sys


def find_spec(metadata, fullname, path, target):
    """Find *fullname* by the finders after *metadata*; its loader will adapt it to *metadata*'s indexes."""
    behind = sys.meta_path[sys.meta_path.index(metadata) + 1 :]
    found = (finder.find_spec(fullname, path, target) for finder in behind)
    spec = next((spec for spec in found if spec is not None), None)
    if spec is None or not isinstance(spec.loader, external.FileLoader):  # a loader of several modules
        return spec
    original = spec.loader.exec_module

    def exec_module(module):
        del spec.loader.exec_module
        if fullname != "sysconfig":
            list_without_dist_info(metadata.indexes.values())
        original(module)
        adapt(module, metadata.indexes)

    spec.loader.exec_module = exec_module
    return spec


def adapt_loaded(metadata):
    """Adapt modules that were loaded before the hook, or before another environment became active."""
    for name in ("sysconfig", "pkg_resources", "pip._vendor.pkg_resources"):
        if name in sys.modules:
            adapt(sys.modules[name], metadata.indexes)


def adapt(module, indexes):
    """Adapt *module* to the environments *indexes*, by site-packages."""
    if module.__name__ == "sysconfig":
        add_schemes(module, indexes.values())
    elif not hasattr(module, "_pipm_adapted"):
        module._pipm_adapted = True
        serve_files(module, indexes)


def add_schemes(module, indexes):
    """Add schemes with store and hook as folders of installed modules; coverage reads posix schemes."""
    schemes = getattr(module, "_INSTALL_SCHEMES", None)
    if not isinstance(schemes, dict) or "posix_prefix" not in schemes:
        return
    several = [(index, root) for index in indexes for root in index.roots]
    for number, (index, root) in enumerate(several):
        folders = {"purelib": root[:-1], "platlib": f"{index.environment}/.pipm/finder"}
        quoted = {name: path.replace("{", "{{").replace("}", "}}") for name, path in folders.items()}
        schemes[f"posix_pipm_{number}"] = {**schemes["posix_prefix"], **quoted}


class ListedFinder(external.FileFinder):
    """Finds no module; `pkg_resources` lists the distributions in the folder of a FileFinder."""

    def find_spec(self, fullname, target=None):
        """Find nothing: the index finds modules."""

    def iter_modules(self, prefix=""):
        """List nothing (for pkgutil)."""
        return iter(())


def list_without_dist_info(indexes):
    """Make `pkg_resources` find distributions that have their metadata only in the store."""
    for index in indexes:
        if index.no_dist_info:
            sys.path_importer_cache.update((folder, ListedFinder(folder)) for folder in index.folders())


def serve_files(module, indexes):
    """Make distributions of `pkg_resources` (*module*) find their files in the store."""

    class StoredMetadata(module.PathMetadata):
        def __init__(self, own, places):
            super().__init__(own.module_path, own.egg_info)
            self._pipm_places = places

        def _fn(self, base, resource_name):
            path = super()._fn(base, resource_name)
            if base not in self._pipm_places or os.path.lexists(path):
                return path
            stored = super()._fn(self._pipm_places[base], resource_name)
            return stored if os.path.lexists(stored) else path

    def serve(distribution):
        own = distribution._provider
        for index in indexes.values():
            if type(own) is module.PathMetadata and own.module_path == os.path.realpath(index.site):
                info = os.path.basename(own.egg_info)
                number = index.infos().get(info)
                if number is not None:
                    stored = f"{index.trees[number]}/site"
                    places = {own.module_path: index.folder(number), own.egg_info: f"{stored}/{info}"}
                    distribution._provider = StoredMetadata(own, places)
        return distribution

    find_on_path = module.find_on_path
    module.register_finder(external.FileFinder, lambda *arguments: map(serve, find_on_path(*arguments)))
    for distribution in module.working_set:
        serve(distribution)

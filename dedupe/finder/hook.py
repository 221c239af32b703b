"""The part of pipm that runs at every interpreter start of a finder environment.

Theory of operation. The environment has the metadata folders of its distributions, but not their modules:
those are imported from the store, where each distribution lies in a folder of its own. It must look as if
all of them lay in site-packages. So `sys.path` becomes

    ..., site-packages, <environment>/.pipm/index, <store>/A/site, <store>/B/site, ...

- The store's folders are there for everybody who reads `sys.path` (type checkers, children started with
  ``-S``), but a path hook gives each of them a finder that finds nothing: hundreds of folders would cost
  milliseconds at every start and at every import that fails.
- The folder ``index`` is empty. Its finder answers for the top level of all distributions at once, from a
  table that was computed when the environment was made, in the order that FileFinder has. What lies in
  site-packages or before it wins, as ever; namespace packages are put together by Python itself.
- Below the top level ordinary FileFinders look into the store, with a loader that never writes there:
  bytecode that the store lacks (another level of optimisation, say) goes to ``.pipm/bytecode``.
- `importlib.metadata` finds the metadata folders as ever; only the files that they list are looked for in
  the store, too.

What is uninstalled by pip or uv loses its metadata folder. The time of site-packages tells that something
changed there, then one listing says what is gone, and the table forgets it. One stat of the lock file that
the environment was synced with tells whether that changed since.

Several environments may be in place at once: one is stacked over another, or a running program activates
one. Each has an index of its own; the first hook that is imported serves them all.

Lies in an environment as ``.pipm/finder/_pipm_finder.py``, beside the table; ``000_pipm.pth`` imports it.
Standard library only, CPython 3.9 and later, PyPy; it imports nothing that Python has not loaded already.
"""

import _frozen_importlib as bootstrap
import _frozen_importlib_external as external
import _imp
import _io
import marshal
import os
import sys

FORMAT = 2
NAMESPACE, SOURCE, EXTENSION, BYTECODE = range(4)
INDEX = "/.pipm/index"
KEPT = ("METADATA", "WHEEL", "entry_points.txt", "top_level.txt", "RECORD", "INSTALLER", "direct_url.json")
"""What a metadata folder in the environment has if the store has it; the rest is only there."""


class NullFinder:
    """Finds nothing: what lies in its folder is found by the index."""

    def find_spec(self, fullname, target=None):
        """Find nothing."""

    def invalidate_caches(self):
        """Nothing is cached."""

    def iter_modules(self, prefix=""):
        """List nothing, for pkgutil."""
        return iter(())


class StoredSourceLoader(external.SourceFileLoader):
    """Loads sources of the store, into which it never writes."""

    def get_data(self, path):
        """Read a file; bytecode that the store has not may lie in the environment."""
        try:
            return super().get_data(path)
        except OSError:
            own = own_bytecode(path)
            if own is None:
                raise
            return super().get_data(own)

    def _cache_bytecode(self, source_path, bytecode_path, data):
        super()._cache_bytecode(source_path, own_bytecode(bytecode_path) or bytecode_path, data)


LOADERS = {
    SOURCE: StoredSourceLoader,
    EXTENSION: external.ExtensionFileLoader,
    BYTECODE: external.SourcelessFileLoader,
}


class Index:
    """Finds the top level of all distributions of the environment, from the table."""

    def __init__(self, environment, table):
        (
            self.recorded,
            self.store,
            site,
            self.site_time,
            self.entries,
            self.modules,
            self.infos,
            self.mend,
            self.lock,
        ) = table
        self.environment = environment
        self.site = f"{environment}/{site}"
        self.path = environment + INDEX
        self.root = f"{self.store}/v1/wheels/"

    def find_spec(self, fullname, target=None):
        """Find a module as FileFinder would if all distributions lay in one folder."""
        name = fullname.rpartition(".")[2]
        found = self.modules.get(name)
        if found is None:
            return None
        kind, where, file = found
        if kind == NAMESPACE:
            return self._namespace(fullname, name, where)
        folder = self.folder(where)
        path = f"{folder}/{file}"
        if not external._path_isfile(path):
            raise seldom(self).missing(self, fullname, where)
        below = [f"{folder}/{name}"] if "/" in file else None
        return external.spec_from_file_location(
            fullname, path, loader=LOADERS[kind](fullname, path), submodule_search_locations=below
        )

    def _namespace(self, fullname, name, where):
        portions = [f"{self.folder(number)}/{name}" for number in where]
        for number, portion in zip(where, portions):
            if not external._path_isdir(portion):
                raise seldom(self).missing(self, fullname, number)
        spec = bootstrap.ModuleSpec(fullname, None)
        spec.submodule_search_locations = portions
        return spec

    def folder(self, number):
        """The folder of a distribution that stands for site-packages."""
        return f"{self.root}{self.entries[number]}/site"

    def iter_modules(self, prefix=""):
        """List modules and packages, for pkgutil."""
        for name in sorted(self.modules):
            kind, _, file = self.modules[name]
            if kind != NAMESPACE:
                yield prefix + name, "/" in file

    def invalidate_caches(self):
        """Look whether something was uninstalled."""
        self.refresh()

    def refresh(self):
        """Forget the distributions whose metadata folder is gone from site-packages."""
        try:
            time = os.stat(self.site).st_mtime_ns
            if time == self.site_time:
                return
            self.site_time = time
            names = set(os.listdir(self.site))
        except OSError:
            return
        gone = {number for info, number in self.infos.items() if info not in names}
        if not gone:
            return
        self.infos = {info: number for info, number in self.infos.items() if number not in gone}
        kept = {}
        for name, (kind, where, file) in self.modules.items():
            if kind == NAMESPACE:
                rest = tuple(number for number in where if number not in gone)
                if rest:
                    kept[name] = (kind, rest, file)
            elif where not in gone:
                kept[name] = (kind, where, file)
        self.modules = kept

    def folders(self):
        """The folders in the store that are in use."""
        return [self.folder(number) for number in sorted(set(self.infos.values()))]


class Metadata:
    """Stands on `sys.meta_path` for `importlib.metadata` alone; finds no module."""

    def __init__(self):
        self.indexes = {}
        self.hidden = set()
        self.kinds = {}

    def add(self, index, folders):
        """Answer for the environment of *index* as well, whose modules lie in *folders*."""
        self.indexes[index.site] = index
        self.hidden |= folders | {index.path}

    def find_spec(self, fullname, path=None, target=None):
        """Find nothing."""

    def invalidate_caches(self):
        """Nothing is cached here."""

    def find_distributions(self, context=None):
        """Find the distributions of the whole path, ours with their files in the store.

        The finders behind this one get an empty path, for they would list all of them once more.
        """
        library = sys.modules.get(type(context).__module__)  # importlib_metadata has a context of its own
        if library is None or not hasattr(library, "MetadataPathFinder"):
            import importlib.metadata as library
        if context is None:
            context = library.DistributionFinder.Context()
        path = list(context.path)
        if self.indexes.keys().isdisjoint(path):
            return ()
        settings = vars(context)
        wanted = dict(settings, path=[entry for entry in path if entry not in self.hidden])
        found = library.MetadataPathFinder.find_distributions(library.DistributionFinder.Context(**wanted))
        settings["path"] = []
        return (self.ours(library, distribution) for distribution in found)

    def ours(self, library, distribution):
        """Return one of ours in a form that knows where its files are."""
        path = getattr(distribution, "_path", None)
        index = self.indexes.get(str(getattr(path, "parent", None)))
        number = None if index is None else index.infos.get(path.name)
        if number is None:
            return distribution
        kind = self.kinds.get(library)
        if kind is None:
            kind = self.kinds[library] = stored_distribution(library.PathDistribution)
        ours = kind(path)
        ours._pipm_stored = index.folder(number)
        return ours


def stored_distribution(base):
    """Make the kind of distribution that looks for files in the environment, then in the store."""

    class StoredDistribution(base):
        def read_text(self, filename):
            text = super().read_text(filename)
            if text is None and filename not in KEPT:
                text = base(type(self._path)(self._pipm_stored, self._path.name)).read_text(filename)
            return text

        def locate_file(self, path):
            here = super().locate_file(path)
            if os.path.lexists(here):
                return here
            there = type(self._path)(self._pipm_stored, path)
            return there if os.path.lexists(there) else here

        read_text.__doc__ = base.read_text.__doc__
        locate_file.__doc__ = base.locate_file.__doc__

    StoredDistribution.__name__ = StoredDistribution.__qualname__ = base.__name__
    return StoredDistribution


indexes = []
"""Those of the environments that are in place."""
metadata = Metadata()


def own_bytecode(path):
    """Where the environment keeps bytecode that the store has not; None for other files."""
    if path.endswith(".pyc"):
        for index in indexes:
            if path.startswith(index.root):
                return f"{index.environment}/.pipm/bytecode/{path[len(index.root) :]}"
    return None


def path_hook(found, folders, null):
    """Make the path hook for the index *found* and the store's *folders*."""
    below = found.root
    loaders = (
        (external.ExtensionFileLoader, _imp.extension_suffixes()),
        (StoredSourceLoader, external.SOURCE_SUFFIXES),
        (external.SourcelessFileLoader, external.BYTECODE_SUFFIXES),
    )

    def pipm_path_hook(path):
        if path in folders:
            return null
        if path == found.path:
            return found
        if path.startswith(below) and external._path_isdir(path):
            return external.FileFinder(path, *loaders)
        if path.endswith(INDEX) and os.path.realpath(path) == os.path.realpath(found.path):
            return found  # somebody resolved the symlinks in sys.path
        raise ImportError("only for the folders of pipm", path=path)

    return pipm_path_hook


def load(folder):
    """Read the table of this interpreter that lies in *folder*; None where there is none that fits."""
    try:
        with _io.FileIO(f"{folder}/{sys.implementation.cache_tag}.table") as file:
            form, *table = marshal.loads(file.readall())
    except (OSError, EOFError, ValueError, TypeError):
        return None
    return table if form == FORMAT else None


def moved_store(recorded):
    """Where the store is: where it was, else where PIPM_STORE says."""
    if not external._path_isdir(f"{recorded}/v1/wheels"):
        other = os.environ.get("PIPM_STORE")
        if other and external._path_isdir(f"{other}/v1/wheels"):
            return os.path.abspath(other)
    return recorded


def seldom(found):
    """The rest of the hook, which few starts need; it lies beside this file."""
    name = "_pipm_finder_seldom"
    path = f"{found.environment}/.pipm/finder/{name}.py"
    spec = external.spec_from_file_location(name, path)
    module = bootstrap.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_lock(found):
    """Say once that the lock changed since the environment followed it; PIPM_STALE=error ends the program."""
    wish = os.environ.get("PIPM_STALE")
    if wish == "ignore" or os.environ.get("PIPM_STALE_TOLD") == found.environment:
        return
    path, time, size = found.lock[:3]
    try:
        status = os.stat(path)
    except OSError:
        return  # whoever moved it away compares nothing any more
    if (status.st_mtime_ns, status.st_size) != (time, size):
        seldom(found).tell_stale(found, status, wish)


def spare(known_paths):
    """Tell site that the store's folders are on `sys.path`: it need not look at each, twice in a venv.

    Puts an environment in place whose path file runs while another's hook is here already.
    """
    for folder in [entry for entry in sys.path if entry.endswith("/.pipm/finder")]:
        boot(folder)
    for index in indexes:
        known_paths.update([index.folder(number) for number in range(len(index.entries))])


def boot(folder):
    """Put the finder whose files lie in *folder* in its place in this interpreter."""
    environment = folder.rpartition("/.pipm/")[0]
    here = [index for index in indexes if index.environment == environment]
    table = None if here else load(folder)
    if table is None:
        if folder in sys.path:
            sys.path.remove(folder)
        return
    found = Index(environment, table)
    if found.lock:
        check_lock(found)
    found.store = moved_store(found.store)
    found.root = f"{found.store}/v1/wheels/"
    found.refresh()
    # The path file names what was uninstalled meanwhile, too: that must not be found in any way.
    folders = {found.folder(number) for number in range(len(found.entries))}
    ordered = found.folders()
    null = NullFinder()
    indexes.append(found)
    sys.path_hooks.insert(0, path_hook(found, folders, null))
    for entry in folders:
        sys.path_importer_cache[entry] = null
    sys.path_importer_cache[found.path] = found
    others = [entry for entry in sys.path if entry not in folders and entry not in (folder, found.path)]
    at = others.index(found.site) + 1 if found.site in others else len(others)
    others[at:at] = [found.path, *ordered]
    sys.path[:] = others
    finders = sys.meta_path
    if metadata not in finders:
        at = finders.index(external.PathFinder) if external.PathFinder in finders else len(finders)
        finders.insert(at, metadata)
    metadata.add(found, folders)
    if found.recorded != found.environment and os.path.realpath(found.environment) != found.recorded:
        try:
            seldom(found).register(found)
        except (OSError, ValueError, EOFError):
            pass  # a read-only environment or store; the collector keeps what was used of late


if __name__ == "_pipm_finder":
    boot(os.path.dirname(os.path.abspath(__file__)))

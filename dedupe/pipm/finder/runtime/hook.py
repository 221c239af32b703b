"""The part of pipm that runs at every interpreter start of a finder environment.

Theory of operation. The environment has the metadata folders of its distributions, but not their modules:
those are imported from the store, where each distribution lies in a folder of its own. It must look as if
all of them lay in site-packages. So `sys.path` becomes

    ..., site-packages, <environment>/.pipm/index, <store>/A/site-packages, ...

- The store's folders are there for everybody who reads `sys.path` (type checkers, children started with
  ``-S``), but a path hook gives each of them a finder that finds nothing: hundreds of folders would cost
  milliseconds at every start and at every import that fails.
- The folder ``index`` is empty. Its finder answers for the top level of all distributions at once, from a
  table that was computed when the environment was made, in the order that FileFinder has. What lies in
  site-packages or before it wins, as ever; namespace packages are put together by Python itself.
- Below the top level FileFinders look into the store; bytecode that it lacks goes to ``.pipm/bytecode``.
- `importlib.metadata` finds the metadata folders as ever, and the files that they list in the store, too.
  Where there are no folders (``--no-dist-info``), it is given those of the store.

What is uninstalled by pip or uv loses its metadata folder. The time of site-packages tells that something
changed there, then one listing says what is gone, and the table forgets it. One stat of the lock file that
the environment was synced with tells whether that changed since.

Several environments may be in place at once: one is stacked over another, or a program activates one.
Each has an index of its own; the first hook that is imported serves them all.

Lies in an environment as ``.pipm/finder/_pipm_finder.py``, beside the table; ``000_pipm.pth`` imports it,
from Python 3.18 on ``000_pipm_boot.start``. What few starts need is in files beside it (`part`).
Standard library only, CPython 3.9 and later, PyPy; it imports nothing that Python has not loaded already.
"""

import _frozen_importlib as bootstrap
import _frozen_importlib_external as external
import _imp
import _io
import marshal
import os
import sys

FORMAT = 4
NAMESPACE, SOURCE, EXTENSION, BYTECODE = range(4)
INDEX = "/.pipm/index"
PATH_FILE = "000_pipm.pth"


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
        """Read a file; bytecode that the store has not may lie in the environment.

        The store's bytecode has the time of its source, as it is in its header: whole seconds. What has
        another was left there by a program that passed the finder by, and is not believed.
        """
        own = own_bytecode(path)
        if own is None:
            return super().get_data(path)
        try:
            with _io.FileIO(path) as file:
                data = file.readall()
                if int.from_bytes(data[8:12], "little") * 10**9 == os.fstat(file.fileno()).st_mtime_ns:
                    return data
        except OSError:
            pass
        return super().get_data(own)

    def _cache_bytecode(self, source_path, bytecode_path, data):
        super()._cache_bytecode(source_path, own_bytecode(bytecode_path) or bytecode_path, data)


ADAPTED = {"sysconfig", "pkg_resources", "pip._vendor.pkg_resources"}
"""Modules that learn, when they are loaded, where the store is."""
LOADERS = {
    SOURCE: StoredSourceLoader,
    EXTENSION: external.ExtensionFileLoader,
    BYTECODE: external.SourcelessFileLoader,
}


class Index:
    """Finds the top level of all distributions of the environment, from the table."""

    known = frozenset()
    """All folders that were ever ours in this interpreter: they may be on `sys.path` for good."""

    def __init__(self, environment, table):
        self.take(environment, table)

    def take(self, environment, table):
        """Believe what a table says."""
        (
            self.recorded,
            self.store,
            site,
            self.site_time,
            self.entries,
            self.modules,
            self.packed,
            self.no_dist_info,
            self.leaf,
            self.remedy,
            self.lock,
        ) = table
        self.file = f"{environment}/.pipm/finder/{table_name()}"
        self.live = range(len(self.entries))
        self.store = moved_store(self.store)
        self.environment = environment
        self.site = f"{environment}/{site}"
        self.path = environment + INDEX
        self.root = f"{self.store}/v1/wheels/"
        self.known = self.known.union(map(self.folder, self.live))

    def find_spec(self, fullname, target=None):
        """Find a module as FileFinder would if all distributions lay in one folder."""
        name = fullname.rpartition(".")[2]
        found = self.modules.get(name)
        if found is None:
            # As FileFinder does, look whether something came: pipm may have written another table.
            found = self.modules.get(name) if self.renew() else None
            if found is None:
                return None
        kind, where, file = found
        if kind == NAMESPACE:
            return self._namespace(fullname, name, where)
        folder = self.folder(where)
        path = f"{folder}/{file}"
        if not external._path_isfile(path):
            part(self, "seldom").find_unplanned(self, fullname, where)  # or raises what is to be said
            return self.find_spec(fullname)
        below = [f"{folder}/{name}"] if "/" in file else None
        return external.spec_from_file_location(
            fullname, path, loader=LOADERS[kind](fullname, path), submodule_search_locations=below
        )

    def _namespace(self, fullname, name, where):
        portions = [f"{self.folder(number)}/{name}" for number in where]
        for number, portion in zip(where, portions):
            if not external._path_isdir(portion):
                part(self, "seldom").find_unplanned(self, fullname, number)
                return self._namespace(fullname, name, where)
        spec = bootstrap.ModuleSpec(fullname, None)
        spec.submodule_search_locations = portions
        return spec

    def folder(self, number):
        """The folder of a distribution that stands for site-packages."""
        return f"{self.root}{self.entries[number]}/{self.leaf}"

    def iter_modules(self, prefix=""):
        """List modules and packages, for pkgutil."""
        for name in sorted(self.modules):
            kind, _, file = self.modules[name]
            if kind != NAMESPACE:
                yield prefix + name, "/" in file

    def invalidate_caches(self):
        """Look whether something was installed or uninstalled."""
        self.renew()

    def renew(self):
        """Read the table anew if site-packages changed; returns whether it did."""
        time = self.site_time
        self.refresh()
        if time == self.site_time:
            return False
        table = load(f"{self.environment}/.pipm/finder")
        if table is not None:
            self.take(self.environment, table)
            self.refresh()
            part(self, "seldom").show(self)
        return True

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
        infos = marshal.loads(self.packed)
        if self.no_dist_info:  # none has a folder: what has one of another version was installed since
            gone = {project(name) for name in names if name.endswith(".dist-info")}
            names.update(info for info in infos if project(info) not in gone)
        here = [number for number, info in enumerate(infos) if info in names]
        if len(here) == len(self.live):
            return
        self.live = here
        kept = {}
        for name, (kind, where, file) in self.modules.items():
            rest = tuple(number for number in (where if kind == NAMESPACE else (where,)) if number in here)
            if rest:
                kept[name] = (kind, rest if kind == NAMESPACE else where, file)
        self.modules = kept

    def infos(self):
        """The metadata folders of what is served, with the numbers of their entries."""
        infos = marshal.loads(self.packed)  # apart from the table, for a plain start needs none of them
        return {infos[number]: number for number in self.live}

    def folders(self):
        """The folders in the store that are in use."""
        return list(map(self.folder, self.live))


def project(info):
    """The project that a metadata folder is of, spelled in one way."""
    return info.partition("-")[0].lower().replace(".", "_")


class Metadata:
    """Stands on `sys.meta_path` for `importlib.metadata`; finds only the modules of ADAPTED."""

    def __init__(self):
        self.indexes = {}
        self.part = None

    def find_spec(self, fullname, path=None, target=None):
        """Find what is changed as it is loaded."""
        return (
            part(indexes[0], "adapt").find_spec(self, fullname, path, target) if fullname in ADAPTED else None
        )

    def invalidate_caches(self):
        """Nothing is cached here."""

    def find_distributions(self, context=None):
        """Find the distributions of the whole path, ours with their files in the store."""
        if self.part is None:
            self.part = part(next(iter(self.indexes.values())), "metadata")
        return self.part.find_distributions(self.indexes, context)


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


def path_hook(found):
    """Make the path hook for the index *found* and the store's folders."""
    null = NullFinder()
    loaders = (
        (external.ExtensionFileLoader, _imp.extension_suffixes()),
        (StoredSourceLoader, external.SOURCE_SUFFIXES),
        (external.SourcelessFileLoader, external.BYTECODE_SUFFIXES),
    )

    def pipm_path_hook(path):
        if path in found.known:
            return null
        if path == found.path:
            return found
        if path.startswith(found.root) and external._path_isdir(path):
            return external.FileFinder(path, *loaders)
        if path.endswith(INDEX) and os.path.realpath(path) == os.path.realpath(found.path):
            return found  # somebody resolved the symlinks in sys.path
        raise ImportError("only for the folders of pipm", path=path)

    return pipm_path_hook


def table_name():
    """The table of this interpreter, in the form that this hook reads."""
    return f"{sys.implementation.cache_tag}.{FORMAT}.table"


def load(folder):
    """Read the table of this interpreter that lies in *folder*; None where there is none that fits."""
    try:
        with _io.FileIO(f"{folder}/{table_name()}") as file:
            form, *table = marshal.loads(file.readall())
    except (OSError, EOFError, ValueError, TypeError):
        return None
    return table if form == FORMAT else None


def moved_store(recorded):
    """Where the store is: where it was, else where PIPM_STORE says."""
    other = os.environ.get("PIPM_STORE")
    is_here = external._path_isdir(f"{recorded}/v1/wheels")
    moved = not is_here and other and external._path_isdir(f"{other}/v1/wheels")
    return os.path.abspath(other) if moved else recorded


def part(found, name):
    """A file of the hook that few starts need; not by `import`, which pip forbids while it installs."""
    path = f"{found.environment}/.pipm/finder/_pipm_finder_{name}.py"
    spec = external.spec_from_file_location(f"_pipm_finder_{name}", path)
    module = bootstrap.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_lock(found):
    """Say once that the lock changed since the environment followed it; PIPM_STALE=error ends the program."""
    request = os.environ.get("PIPM_STALE")
    if request == "ignore" or os.environ.get("PIPM_STALE_TOLD") == found.environment:
        return
    path, time, size = found.lock[:3]
    try:
        status = os.stat(path)
    except OSError:
        return  # whoever moved it away compares nothing any more
    if (status.st_mtime_ns, status.st_size) != (time, size):
        part(found, "seldom").tell_stale(found, status, request)


def pass_over_lines():
    """Let site pass over the lines of our own path files from now on.

    They are for tools that read path files themselves. Before 3.15 site reads each path file of a venv
    twice, and reading a line takes it longer than all else that is done here for a distribution.
    """
    site = sys.modules.get("site")
    original = getattr(site, "addpackage", None)

    def addpackage(sitedir, name, known_paths):
        if name == PATH_FILE or (name.startswith(f"{PATH_FILE[:-4]}_") and name[9:-4].isdigit()):
            for index in indexes:
                if sitedir == index.site or os.path.realpath(sitedir) == os.path.realpath(index.site):
                    return known_paths
        return original(sitedir, name, known_paths)

    if original is not None and sys.version_info < (3, 15):
        site.addpackage = addpackage


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
    found.refresh()
    ordered = found.folders()
    if not indexes:
        pass_over_lines()
    indexes.append(found)
    sys.path_hooks.insert(0, path_hook(found))
    # The path files name what was uninstalled meanwhile, too: that must not be found in any way.
    for entry in found.known:
        sys.path_importer_cache[entry] = None  # quicker than the null finder, which a reset cache gets
    sys.path_importer_cache[found.path] = found
    others = [entry for entry in sys.path if entry not in found.known and entry not in (folder, found.path)]
    at = others.index(found.site) + 1 if found.site in others else len(others)
    others[at:at] = [found.path, *ordered]
    sys.path[:] = others
    finders = sys.meta_path
    if metadata not in finders:
        known = external.PathFinder in finders
        finders.insert(finders.index(external.PathFinder) if known else len(finders), metadata)
    metadata.indexes[found.site] = found
    if not ADAPTED.isdisjoint(sys.modules):
        part(found, "adapt").adapt_loaded(metadata)
    if found.recorded != found.environment and os.path.realpath(found.environment) != found.recorded:
        part(found, "seldom").register(found)


def start():
    """Put in place what is not: this hook's environment, and those whose path files named their hooks since.

    For start files (PEP 829), and for the path file of an environment that is stacked over another.
    """
    own = os.path.dirname(os.path.abspath(__file__))
    for folder in [own, *(entry for entry in sys.path if entry.endswith("/.pipm/finder"))]:
        boot(folder)


if __name__ == "_pipm_finder":
    start()

"""The finder's hook: runs at each interpreter start of a finder environment.

Theory of operation. The environment has the metadata folders of its distributions, but not their modules.
These are imported from the store, where each distribution has its own folder, as if all of them were in
site-packages. So `sys.path` becomes

    ..., site-packages, <environment>/.pipm/index, <store>/A/site-packages, ...

- The store's folders are for programs that read `sys.path` (type checkers, children started with ``-S``).
  A path hook gives each of them a finder that finds nothing: searching hundreds of folders would take
  milliseconds at each start and at each import that fails.
- The folder ``index`` is empty. Its finder finds the top-level modules of all distributions, by a table that
  was computed when the environment was made, in FileFinder's order. Modules in site-packages or before it
  take precedence; Python itself combines the portions of namespace packages.
- Below the top level FileFinders search the store; bytecode that it lacks is written to ``.pipm/bytecode``.
- `importlib.metadata` finds the metadata folders in the environment, and the files that they list also in the
  store. Without such folders (``--no-dist-info``) the hook provides those of the store.

If pip or uv uninstalls a distribution, its metadata folder and the time of site-packages change. Then the
hook lists site-packages once and ignores the distributions without a folder. One stat of the lock file shows
if it changed since the last sync.

Several environments may be active at once: one is stacked over another, or a program activates one. Each has
its own index; the first hook that is imported serves all of them.

The file is installed as ``.pipm/finder/_pipm_finder.py``, beside the table. ``000_pipm.pth`` imports it, from
Python 3.18 on ``000_pipm_boot.start``. Code that few starts need is in files beside it (`part`). It uses only
the standard library of CPython 3.9 and later and PyPy, and imports only modules that Python has loaded
before.
"""

import _frozen_importlib as bootstrap
import _frozen_importlib_external as external
import _imp
import _io
import marshal
import os
import sys

FORMAT = 5
NAMESPACE, SOURCE, EXTENSION, BYTECODE = range(4)
INDEX = "/.pipm/index"
PATH_FILE = "000_pipm.pth"


class NullFinder:
    """Finds nothing: the index finds the modules of its folder."""

    def find_spec(self, fullname, target=None):
        """Find nothing."""

    def invalidate_caches(self):
        """Do nothing: nothing is cached."""

    def iter_modules(self, prefix=""):
        """List nothing (for pkgutil)."""
        return iter(())


class StoredSourceLoader(external.SourceFileLoader):
    """Loads sources of the store, and never writes there."""

    def get_data(self, path):
        """Read a file; bytecode that the store lacks may be in the environment.

        The store's bytecode has the time in its header, which is that of its source in seconds. Bytecode with
        another time was written by a program without the finder, and is ignored.
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
"""Modules that are changed, when they are loaded, to find the store's files."""
LOADERS = {
    SOURCE: StoredSourceLoader,
    EXTENSION: external.ExtensionFileLoader,
    BYTECODE: external.SourcelessFileLoader,
}


class Index:
    """Finds the top-level modules of all distributions of the environment by the table."""

    known = frozenset()
    """All folders of the store that this interpreter ever used: they may stay on `sys.path`."""

    def __init__(self, environment, table):
        self.take(environment, table)

    def take(self, environment, table):
        """Load the fields of *table*."""
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
        self.trees = [one if one[0] == "/" else self.root + one for one in self.entries]  # a layer's has it
        self.roots = (self.root, *{one.rsplit("/", 3)[0] + "/" for one in self.entries if one[0] == "/"})
        self.known = self.known.union(map(self.folder, self.live))

    def find_spec(self, fullname, target=None):
        """Find a module as FileFinder would if all distributions were in one folder."""
        name = fullname.rpartition(".")[2]
        # FileFinder also looks for new files: pipm may have written another table.
        found = self.modules.get(name) or (self.renew() and self.modules.get(name))
        if not found:
            return None
        kind, where, file = found
        if kind == NAMESPACE:
            return self._namespace(fullname, name, where)
        folder = self.folder(where)
        path = f"{folder}/{file}"
        if not external._path_isfile(path):
            part(self, "rare").find_unplanned(self, fullname, where)  # or raises ImportError
            return self.find_spec(fullname)
        below = [f"{folder}/{name}"] if "/" in file else None
        return external.spec_from_file_location(
            fullname, path, loader=LOADERS[kind](fullname, path), submodule_search_locations=below
        )

    def _namespace(self, fullname, name, where):
        portions = [f"{self.folder(number)}/{name}" for number in where]
        for number, portion in zip(where, portions):
            if not external._path_isdir(portion):
                part(self, "rare").find_unplanned(self, fullname, number)
                return self._namespace(fullname, name, where)
        spec = bootstrap.ModuleSpec(fullname, None)
        spec.submodule_search_locations = portions
        return spec

    def folder(self, number):
        """Return the folder of a distribution that replaces site-packages."""
        return f"{self.trees[number]}/{self.leaf}"

    def iter_modules(self, prefix=""):
        """List modules and packages (for pkgutil)."""
        for name in sorted(self.modules):
            kind, _, file = self.modules[name]
            if kind != NAMESPACE:
                yield prefix + name, "/" in file

    def invalidate_caches(self):
        """Read the table again if distributions were installed or uninstalled."""
        self.renew()

    def renew(self):
        """Read the table again if site-packages changed; return True if it did."""
        time = self.site_time
        self.refresh()
        if time == self.site_time:
            return False
        table = load(f"{self.environment}/.pipm/finder")
        if table is not None:
            self.take(self.environment, table)
            self.refresh()
            part(self, "rare").show(self)
        return True

    def refresh(self):
        """Ignore the distributions without a metadata folder in site-packages."""
        try:
            time = os.stat(self.site).st_mtime_ns
            if time == self.site_time:
                return
            self.site_time = time
            names = set(os.listdir(self.site))
        except OSError:
            return
        infos = marshal.loads(self.packed)
        if self.no_dist_info:  # a distribution with a folder was installed later and replaces ours
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
        """Return the metadata folders of served distributions, with the numbers of their entries."""
        infos = marshal.loads(self.packed)  # packed, because most starts do not need them
        return {infos[number]: number for number in self.live}

    def folders(self):
        """Return the folders of served distributions in the store."""
        return list(map(self.folder, self.live))


def project(info):
    """Return the normalised project name of a metadata folder."""
    return info.partition("-")[0].lower().replace(".", "_")


class Metadata:
    """A finder on `sys.meta_path` for `importlib.metadata`; of modules it finds only those in ADAPTED."""

    def __init__(self):
        self.indexes = {}
        self.part = None

    def find_spec(self, fullname, path=None, target=None):
        """Find a module of ADAPTED, to change it when it is loaded."""
        return (
            part(indexes[0], "adapt").find_spec(self, fullname, path, target) if fullname in ADAPTED else None
        )

    def invalidate_caches(self):
        """Do nothing: nothing is cached here."""

    def find_distributions(self, context=None):
        """Find the distributions on the path; served ones with their files in the store."""
        if self.part is None:
            self.part = part(next(iter(self.indexes.values())), "metadata")
        return self.part.find_distributions(self.indexes, context)


indexes = []
"""The indexes of active environments."""
metadata = Metadata()


def own_bytecode(path):
    """Return the environment's own path for bytecode *path* of the store; None for other files."""
    for index in indexes if path.endswith(".pyc") else ():
        for root in index.roots:
            if path.startswith(root):
                return f"{index.environment}/.pipm/bytecode/{path[len(root) :]}"
    return None


def path_hook(found):
    """Return the path hook for the index *found* and the store's folders."""
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
        if path.startswith(found.roots) and external._path_isdir(path):
            return external.FileFinder(path, *loaders)
        if path.endswith(INDEX) and os.path.realpath(path) == os.path.realpath(found.path):
            return found  # a program resolved the symlinks in sys.path
        raise ImportError("only for the folders of pipm", path=path)

    return pipm_path_hook


def table_name():
    """Return the file name of this interpreter's table in this hook's format."""
    return f"{sys.implementation.cache_tag}.{FORMAT}.table"


def load(folder):
    """Read the table of this interpreter in *folder*; return None if there is no valid one."""
    try:
        with _io.FileIO(f"{folder}/{table_name()}") as file:
            form, *table = marshal.loads(file.readall())
    except (OSError, EOFError, ValueError, TypeError):
        return None
    return table if form == FORMAT else None


def moved_store(recorded):
    """Return the store's path: the recorded one, or PIPM_STORE if only that exists."""
    other = os.environ.get("PIPM_STORE")
    is_here = external._path_isdir(f"{recorded}/v1/wheels")
    moved = not is_here and other and external._path_isdir(f"{other}/v1/wheels")
    return os.path.abspath(other) if moved else recorded


def part(found, name):
    """Load a file of the hook that few starts need; pip forbids `import` while it installs."""
    path = f"{found.environment}/.pipm/finder/_pipm_finder_{name}.py"
    spec = external.spec_from_file_location(f"_pipm_finder_{name}", path)
    module = bootstrap.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_lock(found):
    """Print once that the lock changed since the last sync; PIPM_STALE=error ends the program."""
    request = os.environ.get("PIPM_STALE")
    if request == "ignore" or os.environ.get("PIPM_STALE_TOLD") == found.environment:
        return
    path, time, size = found.lock[:3]
    try:
        status = os.stat(path)
    except OSError:
        return  # without the lock file there is nothing to compare
    if (status.st_mtime_ns, status.st_size) != (time, size):
        part(found, "rare").warn_stale(found, status, request)


def skip_path_files():
    """Make `site` skip our own path files from now on.

    Their lines are for tools that read path files themselves. Before 3.15 `site` reads each path file of a
    venv twice, and for each line it takes longer than the hook takes for a distribution.
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
    """Activate the finder in *folder* in this interpreter."""
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
    if not indexes:
        skip_path_files()
    indexes.append(found)
    sys.path_hooks.insert(0, path_hook(found))
    # The path files also list uninstalled distributions: their modules must not be found.
    for entry in found.known:
        sys.path_importer_cache[entry] = None  # faster than NullFinder, which a cleared cache gets
    sys.path_importer_cache[found.path] = found
    others = [entry for entry in sys.path if entry not in found.known and entry not in (folder, found.path)]
    at = others.index(found.site) + 1 if found.site in others else len(others)
    others[at:at] = [found.path, *found.folders()]
    sys.path[:] = others
    finders = sys.meta_path
    if metadata not in finders:
        known = external.PathFinder in finders
        finders.insert(finders.index(external.PathFinder) if known else len(finders), metadata)
    metadata.indexes[found.site] = found
    if not ADAPTED.isdisjoint(sys.modules):
        part(found, "adapt").adapt_loaded(metadata)
    if found.recorded != found.environment and os.path.realpath(found.environment) != found.recorded:
        part(found, "rare").register(found)


def start():
    """Activate this hook's environment, and others with a hook on `sys.path`, unless they are active.

    Start files (PEP 829) call this, and the path file of an environment that is stacked over another.
    """
    own = os.path.dirname(os.path.abspath(__file__))
    for folder in [own, *(entry for entry in sys.path if entry.endswith("/.pipm/finder"))]:
        boot(folder)


if __name__ == "_pipm_finder":
    start()

"""Computing the import names of distributions that lie in folders of their own.

Theory of operation. In site-packages all distributions share the folders, and FileFinder looks there
for a name: a package, then a module, then a folder for a namespace package. The paths of the files suffice to
find the same answers, unless a folder with ``__init__`` belongs to two distributions. Folders without
``__init__`` may belong to many distributions, because Python merges them. All other distributions must lie in
one folder (`inseparable`).
"""

from __future__ import annotations

import posixpath
from collections import defaultdict
from enum import Enum

from pipm.core.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

PATH_FILE = "000_pipm.pth"
"""The file of site-packages that starts the finder; it sorts before others that import distributions."""
_MODULE_ENDINGS = (".py", ".pyc", ".so", ".pyd")
_BINARY_ENDINGS = (".so", ".pyd")


class Kind(Enum):
    """The kind of a module; the hook's table has the same values."""

    NAMESPACE = 0
    SOURCE = 1
    EXTENSION = 2
    BYTECODE = 3


class Module(NamedTuple):
    """The distributions and the file of a top-level name.

    Only a namespace has several; ``file`` is relative to site-packages, empty for a namespace.
    """

    kind: Kind
    distributions: tuple[int, ...]
    file: str


class ImportLayout(NamedTuple):
    """The files of a distribution that can conflict with those of others.

    ``packages`` are the outermost folders with an ``__init__``, ``open`` the folders outside of them with
    the names of their files (the empty path is site-packages). ``binaries`` are the files that may name
    others which they need; ``folders`` are all folders.
    """

    packages: Mapping[str, frozenset[str]]
    open: Mapping[str, frozenset[str]]
    binaries: tuple[str, ...]
    folders: frozenset[str]

    @property
    def path_files(self) -> frozenset[str]:
        """Files that act when an interpreter starts."""
        return frozenset(name for name in self.open.get("", ()) if name.endswith((".pth", ".start")))


def import_layout(paths: Iterable[str]) -> ImportLayout:
    """Compute the layout from its *paths* in site-packages, except metadata and bytecode."""
    folders: dict[str, set[str]] = {"": set()}
    binaries = []
    for path in paths:
        folder, _, name = path.rpartition("/")
        if path.partition("/")[0].endswith(".dist-info") or posixpath.basename(folder) == "__pycache__":
            continue
        folders.setdefault(folder, set()).add(name)
        if name.endswith(_BINARY_ENDINGS) or ".so." in name:
            binaries.append(path)
    for folder in list(folders):
        above = folder
        while above:
            above = above.rpartition("/")[0]
            folders.setdefault(above, set())
    packages: dict[str, frozenset[str]] = {}
    open_: dict[str, frozenset[str]] = {}
    for folder in sorted(folders, key=lambda path: path.count("/")):
        above = folder.rpartition("/")[0]
        if folder and above not in open_:
            continue  # within a package
        inits = frozenset(name for name in folders[folder] if _is_init(name))
        if folder and inits:
            packages[folder] = inits
        else:
            open_[folder] = frozenset(folders[folder])
    return ImportLayout(packages=packages, open=open_, binaries=tuple(binaries), folders=frozenset(folders))


def _is_init(name: str) -> bool:
    return name.startswith("__init__.") and name.endswith(_MODULE_ENDINGS)


def inseparable(layouts: Sequence[ImportLayout]) -> frozenset[int]:
    """Find the distributions that must be together in one folder, by their numbers in *layouts*.

    These are two with the same file, with a common folder with ``__init__``, or with different kinds of one
    import name in a common folder.
    """
    claimed: defaultdict[str, set[int]] = defaultdict(set)
    folders: defaultdict[str, set[int]] = defaultdict(set)
    for number, one in enumerate(layouts):
        for package in one.packages:
            claimed[package].add(number)
        for folder, names in one.open.items():
            folders[folder].add(number)
            for name in names:
                claimed[posixpath.join(folder, name)].add(number)
                if name.endswith(_MODULE_ENDINGS):
                    claimed[posixpath.join(folder, name.partition(".")[0])].add(number)
    found: set[int] = set()
    for path, owners in claimed.items():
        together = owners | folders.get(path, set())
        if len(together) > 1:
            found |= together
    return frozenset(found)


def library_ties(
    layouts: Sequence[ImportLayout], run_paths: Mapping[int, Mapping[str, Sequence[str]]]
) -> frozenset[int]:
    """Find the distributions whose binaries look for libraries in others, and those others.

    *run_paths* are, by number and binary, the entries of RPATH and RUNPATH relative to ``$ORIGIN``.
    """
    found: set[int] = set()
    for number, binaries in run_paths.items():
        for path, entries in binaries.items():
            for entry in entries:
                target = posixpath.normpath(posixpath.join(posixpath.dirname(path), entry))
                if target == "." or target in layouts[number].folders:
                    continue
                others = {other for other, one in enumerate(layouts) if target in one.folders}
                if others or target.startswith(".."):
                    found |= {number, *others}
    return frozenset(found)


def names_relative_folders(lines: str) -> bool:
    """Return whether a ``.pth`` file names folders relative to its own: then it must stay beside them."""
    return any(
        line.strip() and not line.startswith(("#", "import ", "import\t")) for line in lines.splitlines()
    )


class _Name:
    """The candidates for one name: the best file, and the folders without ``__init__``."""

    __slots__ = ("module", "portions", "rank")

    def __init__(self) -> None:
        self.rank: tuple[int, int] | None = None
        self.module: Module | None = None
        self.portions: list[int] = []

    def best_module(self) -> Module:
        """Return the module that an import of the name loads."""
        return self.module or Module(Kind.NAMESPACE, tuple(self.portions), "")


def module_table(
    layouts: Sequence[ImportLayout], present: Iterable[int], extensions: Sequence[str]
) -> dict[str, Module]:
    """Return what each top-level name is among the distributions *present*, as FileFinder finds it.

    *extensions* are the interpreter's suffixes of extension modules, in its order.
    """
    suffixes = [(suffix, Kind.EXTENSION) for suffix in extensions]
    suffixes += [(".py", Kind.SOURCE), (".pyc", Kind.BYTECODE)]
    names: defaultdict[str, _Name] = defaultdict(_Name)
    for number in present:
        one = layouts[number]
        for folder, inits in one.packages.items():
            if "/" not in folder:
                _offer(names[folder], number, inits, "__init__", f"{folder}/", 0, suffixes)
        for folder in one.open:
            if folder and "/" not in folder:
                names[folder].portions.append(number)
        for file in one.open[""]:
            stem = file.partition(".")[0]
            if file.endswith(_MODULE_ENDINGS):
                _offer(names[stem], number, {file}, stem, "", 1, suffixes)
    return {
        name: known.best_module()
        for name, known in names.items()
        if name and "." not in name and (known.module is not None or known.portions)
    }


def _offer(
    known: _Name,
    number: int,
    files: Iterable[str],
    stem: str,
    folder: str,
    order: int,
    suffixes: Sequence[tuple[str, Kind]],
) -> None:
    """Note the first of *files* that FileFinder would take, unless something before it is known."""
    for place, (suffix, kind) in enumerate(suffixes):
        rank = (order, place)
        if f"{stem}{suffix}" in files and (known.rank is None or rank < known.rank):
            known.rank = rank
            known.module = Module(kind, (number,), f"{folder}{stem}{suffix}")
            return

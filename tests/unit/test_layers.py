"""The house: who may import whom, who may change files, who may talk, and how large things get."""

from __future__ import annotations

import ast
import os
import sys
from typing import TYPE_CHECKING

import pipm
import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = os.path.dirname(os.path.abspath(pipm.__file__))

MAY_IMPORT: dict[str, set[str]] = {
    "version": set(),
    "errors": set(),
    "core": {"errors"},
    "plan": {"errors", "core"},
    "fs": {"errors", "core"},
    "store": {"errors", "core", "fs"},
    "env": {"errors", "core", "fs"},
    "lock": {"errors", "core"},
    "wheel": {"errors", "core", "fs", "store", "env"},
    "pip": {"errors", "core", "fs", "store", "env"},
    "finder": {"errors", "core", "fs", "store", "env"},
    "ops": {
        "version",
        "errors",
        "core",
        "plan",
        "fs",
        "store",
        "env",
        "lock",
        "wheel",
        "pip",
        "finder",
    },  # doctor and report tell the version
    "ui": {"version", "errors", "core", "plan", "fs", "store", "env", "wheel", "pip", "ops"},
    "cli": {"version", "errors", "store", "ui"},
    "__init__": {"version", "ops"},  # the public API: each function loads what it needs
    "__main__": {"cli", "ui", "errors"},  # pip gets its arguments without the cost of typer
}
"""What each room may import besides itself; `plan` and `fs` know nothing of each other."""

OPS = ("", "sharing", "folding", "syncing", "running", "keeping", "looking")
"""The folders of `ops`, each may import those before it; "" is what lies in `ops` itself."""

_CHANGES = """
chmod chown fchmod fchown lchmod lchown link makedirs mkdir mkfifo mknod pwrite remove removedirs
removexattr rename renames replace rmdir setxattr symlink truncate ftruncate unlink utime write
writev copy_file_range sendfile
"""
CHANGES = frozenset(_CHANGES.split())
"""Functions of `os` that change something on a disk."""

ALLOWED_CHANGES: dict[str, set[str]] = {
    # The store makes folders of its own, and moves what is finished to where it is looked for.
    "store.layout": {"mkdir", "makedirs", "rename"},
    "store.roots": {"unlink"},
    "store.wheels": {"makedirs", "rename"},
    "store.trash": {"makedirs", "rename"},
    # A pipe between processes, no file.
    "ops.crew": {"write"},
}
"""Outside fs/, where everything is allowed."""

WRITERS = {"store.layout", "wheel.compiler"}
"""Outside fs/, who opens files for writing: the store's README, and new bytecode in a run's folder."""

IN_ENVIRONMENTS = {
    "pip.watch": "_pipm_pip",
    "pip.hook": "_pipm_pip.hook",
    "pip.shelf": "_pipm_pip.shelf",
    "finder.hook": "_pipm_finder",
    "finder.metadata": "_pipm_finder_metadata",
    "finder.seldom": "_pipm_finder_seldom",
}
"""Files that are copied into environments, by their names there: they have nothing of pipm, so these
laws of the house end at their door; they import the standard library and each other."""

IMPURE = frozenset({"open", "print", "input", "exec", "eval", "breakpoint"})
_PURE_LIBRARY = """
__future__ base64 binascii collections csv dataclasses enum functools hashlib io itertools json
posixpath re stat struct typing packaging zlib _sha2 _sha256
"""
PURE_LIBRARY = frozenset(_PURE_LIBRARY.split())
"""What core/ and plan/ import besides pipm; `os` for the name of a type only."""


def module_name(path: str) -> str:
    """``fs.links`` for ``pipm/fs/links.py``, ``fs`` for ``pipm/fs/__init__.py``."""
    name = os.path.relpath(path, PACKAGE).removesuffix(".py").replace(os.sep, ".")
    return name.removesuffix(".__init__")


def source_files() -> Iterator[str]:
    for folder, _, names in os.walk(PACKAGE):
        yield from (os.path.join(folder, name) for name in names if name.endswith(".py"))


def text_of(path: str) -> str:
    with open(path, encoding="utf-8") as stream:
        return stream.read()


TREES = {module_name(path): ast.parse(text_of(path)) for path in source_files()}
MODULES = sorted(TREES)
AT_HOME = [module for module in MODULES if module not in IN_ENVIRONMENTS]


def room(module: str) -> str:
    return module.partition(".")[0]


def imported(tree: ast.AST) -> set[str]:
    """Every module that is imported anywhere: at the top, in a function, under TYPE_CHECKING."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def own_imports(tree: ast.AST) -> set[str]:
    """The modules of pipm that are imported, without the package's name."""
    names = {name.removeprefix("pipm.") for name in imported(tree) if name.startswith("pipm")}
    return {name for name in names if name in TREES}


def under_type_checking(tree: ast.AST) -> set[ast.AST]:
    """All nodes that only a type checker sees."""
    return {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }


def calls(tree: ast.AST) -> Iterator[str]:
    """Every call as it is written: ``os.link``, ``print``, ``sys.stderr.write``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func)


def test_every_room_is_known() -> None:
    assert {room(module) for module in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("module", MODULES)
def test_a_room_imports_only_what_stands_before_it(module: str) -> None:
    allowed = MAY_IMPORT[room(module)] | {room(module)}
    wrong = {name for name in own_imports(TREES[module]) if room(name) not in allowed}
    assert wrong == set()


def folder_in_ops(module: str) -> str:
    """``sharing`` for ``ops.sharing`` and what lies in it."""
    part = module.split(".")[1:2]
    return part[0] if part and part[0] in OPS else ""


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) == "ops"])
def test_a_folder_of_ops_imports_only_what_stands_before_it(module: str) -> None:
    at = OPS.index(folder_in_ops(module))
    used = {folder_in_ops(name) for name in own_imports(TREES[module]) if room(name) == "ops"}
    assert {name for name in used if OPS.index(name) > at} == set()


def test_no_import_cycle() -> None:
    graph = {module: own_imports(tree) - {module} for module, tree in TREES.items()}
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {module for module in graph.keys() - done if graph[module] - {room(module)} <= done}
        assert ready, f"a cycle among {sorted(graph.keys() - done)}"
        done |= ready


def test_no_module_hides_behind_its_rooms_init() -> None:
    rooms = ("core", "plan", "fs", "store", "env", "lock", "wheel", "ops", "ui")
    for module in (*rooms, *(f"ops.{folder}" for folder in OPS[1:])):
        assert imported(TREES[module]) == set()


@pytest.mark.parametrize("module", [m for m in MODULES if room(m) in ("core", "plan")])
def test_values_and_plans_are_pure(module: str) -> None:
    tree = TREES[module]
    hidden = under_type_checking(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            tops = {name.partition(".")[0] for name in imported(node)} - {"pipm"}
            assert tops <= PURE_LIBRARY | ({"os"} if node in hidden else set())
    assert IMPURE.isdisjoint(calls(tree))


@pytest.mark.parametrize("module", [m for m in AT_HOME if room(m) != "fs"])
def test_only_fs_changes_files(module: str) -> None:
    made = {name.removeprefix("os.") for name in calls(TREES[module]) if name.startswith("os.")}
    assert made & CHANGES == ALLOWED_CHANGES.get(module, set())
    tops = ("shutil", "tempfile", "pathlib")
    found = {name for name in imported(TREES[module]) if name.partition(".")[0] in tops}
    assert found in (set(), {"shutil", "shutil.which"})  # that one only looks


@pytest.mark.parametrize("module", [m for m in AT_HOME if room(m) != "fs"])
def test_only_fs_makes_raw_system_calls(module: str) -> None:
    names = set(calls(TREES[module]))
    assert not {name for name in names if name.startswith("fcntl.")}
    foreign = {name for name in names if name.startswith("ctypes.CDLL")}
    # prctl, and renameat2 for one entry of the store against another
    assert not foreign or module in ("ops.crew", "store.wheels")


@pytest.mark.parametrize("module", [m for m in AT_HOME if room(m) != "fs"])
def test_only_few_open_files_for_writing(module: str) -> None:
    modes = set()
    for node in ast.walk(TREES[module]):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "open":
            options = {keyword.arg: keyword.value for keyword in node.keywords}
            mode = node.args[1] if len(node.args) > 1 else options.get("mode")
            modes.add("r" if mode is None else ast.literal_eval(mode))
    writing = {mode for mode in modes if set(mode) & set("wax+")}
    assert bool(writing) == (module in WRITERS)
    flags = {node.attr for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)}
    # ui.streams opens /dev/null, when the reader of our pipe has left.
    assert {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"}.isdisjoint(flags) or module == "ui.streams"


@pytest.mark.parametrize("module", AT_HOME)
def test_only_output_and_progress_write_to_the_terminal(module: str) -> None:
    if module in ("ui.output", "ui.progress", "ui.streams"):
        return
    found = set(calls(TREES[module]))
    streams = {ast.unparse(node) for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)}
    compiler = {"sys.stdin", "sys.stdin.buffer"} if module == "wheel.compiler" else set()
    assert not {name for name in streams if name.startswith("sys.std")} - compiler
    assert "print" not in found
    # The version is answered before there is an Output.
    assert "typer.echo" not in found or module == "cli.frame"


@pytest.mark.parametrize("module", [m for m in MODULES if m not in ("cli.frame", "__main__")])
def test_only_the_command_line_ends_the_process(module: str) -> None:
    ends = {"sys.exit", "exit", "quit", "os._exit", "SystemExit", "typer.Exit"}
    # A forked worker whose parent is gone has nobody to tell; PIPM_STALE=error wants no program at all.
    allowed = {"os._exit"} if module in ("ops.crew", "finder.seldom") else set()
    assert ends & set(calls(TREES[module])) == allowed


@pytest.mark.parametrize("module", AT_HOME)
def test_everything_is_caught_at_one_place(module: str) -> None:
    broad = [
        node
        for node in ast.walk(TREES[module])
        if isinstance(node, ast.ExceptHandler)
        and (node.type is None or ast.unparse(node.type) == "Exception")
    ]
    # Errors of a worker travel to its parent; what a torn .pyc raises is an answer.
    assert len(broad) <= (1 if module in ("ui.guard", "__main__", "ops.crew", "wheel.compiler") else 0)


def test_the_compiler_runs_without_pipm() -> None:
    names = {name.partition(".")[0] for name in imported(TREES["wheel.compiler"])}
    assert names <= sys.stdlib_module_names | {"_sha2", "_sha256"}  # of one version or another
    assert "__future__" not in names  # its annotations came with Python 3.7


@pytest.mark.parametrize("module", sorted(IN_ENVIRONMENTS))
def test_what_lies_in_environments_runs_without_pipm(module: str) -> None:
    names = {name.partition(".")[0] for name in imported(TREES[module])}
    assert names <= sys.stdlib_module_names | set(IN_ENVIRONMENTS.values())


def test_a_plan_is_carried_out_at_one_place() -> None:
    changing = {"pipm.fs.share.give_inode", "pipm.fs.share.give_clone", "pipm.fs.share.share_blocks"}
    users = {module for module in MODULES if changing & imported(TREES[module])}
    assert users == {"ops.sharing.plain", "ops.sharing.apply"}


@pytest.mark.parametrize("path", sorted(source_files()), ids=module_name)
def test_files_and_functions_stay_small(path: str) -> None:
    text = text_of(path)
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None
            assert node.end_lineno - node.lineno + 1 <= 60, node.name


def test_tests_stay_small() -> None:
    top = os.path.dirname(os.path.dirname(PACKAGE))
    large = [
        name
        for folder in ("tests", "benchmarks")
        for base, _, names in os.walk(os.path.join(top, folder))
        for name in names
        if name.endswith(".py") and text_of(os.path.join(base, name)).count("\n") > 400
    ]
    assert large == []

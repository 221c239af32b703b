"""The laws of the rooms: imports, changes of files, printing, sizes of files and functions."""

from __future__ import annotations

import ast
import os
import sys
from typing import TYPE_CHECKING

import pipm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PACKAGE = os.path.dirname(os.path.abspath(pipm.__file__))

ROOMS: dict[str, str] = {
    "version": "",
    "errors": "",
    "core": "errors",
    "core.plan": "core errors",
    "fs": "core errors",
    "lockfile": "core errors",
    "store": "fs core errors",
    "env": "fs core errors",
    "context": "env store fs core.plan core errors",
    "wheel": "env store fs core errors",
    "fetch": "wheel env store fs core errors",
    "pip_wrapper": "env store fs core errors",
    "project": "wheel lockfile env store fs core errors",
    "bytecode": "wheel context env store fs core.plan core errors",
    "gc": "context env store fs core.plan core errors",
    "lock_command": "wheel lockfile context env store fs core errors",
    "share": "bytecode pip_wrapper wheel context env store fs core.plan core errors",
    "finder": "share bytecode wheel context env store fs core.plan core errors",
    "verify": "share bytecode wheel context env store fs core.plan core errors",
    "adopt": "finder share bytecode context env store fs core.plan core errors",
    "release": "finder share context env store fs core.plan core errors",
    "inspect": "adopt share finder gc context env store fs core.plan core errors version",
    "remote": "share bytecode wheel context env store fs core errors",
    "sync": """fetch remote finder project share bytecode wheel context lockfile env store fs core.plan core
        errors""",
    "pack": "sync bytecode wheel context env store fs core.plan core errors",
    "run": "sync lock_command finder wheel context lockfile env store fs core errors",
    "schedule": "fs core errors",
    "plugins": "env store fs core errors",
    "hook": "lockfile fs core errors",
    "venv": "adopt share pip_wrapper context env store fs core errors",
    "cli": """pack run schedule hook venv sync remote inspect release adopt verify gc lock_command share
        pip_wrapper wheel context env store fs core.plan core errors version""",
    "__init__": "run version",  # the public API: each function loads what it needs
    "__main__": "cli errors",  # pip gets its arguments without the cost of typer
}
"""The map of the house: each room, and what it may import besides itself."""

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
    "store.entries": {"makedirs", "rename"},
    "store.trash": {"makedirs", "rename"},
    # A pipe between processes, no file.
    "context.workers": {"write"},
    "sync.compile_early": {"write"},
}
"""Outside of fs/, where everything is allowed."""

WRITERS = {"store.layout", "bytecode.compiler", "context.workers"}
"""Outside of fs/, what opens files for writing: the store's README, new bytecode in a run's folder, pipes."""

IN_ENVIRONMENTS = {
    "pip_wrapper.runtime.pip_watch": "_pipm_pip",
    "pip_wrapper.runtime.pip_hook": "_pipm_pip.hook",
    "pip_wrapper.runtime.store_reader": "_pipm_pip.store_reader",
    "finder.runtime.hook": "_pipm_finder",
    "finder.runtime.hook_adapt": "_pipm_finder_adapt",
    "finder.runtime.hook_metadata": "_pipm_finder_metadata",
    "finder.runtime.hook_rare": "_pipm_finder_rare",
}
"""Files that are copied into environments, by their names there. They cannot import pipm, so the laws below
do not apply to them; they import the standard library and each other."""

IMPURE = frozenset({"open", "print", "input", "exec", "eval", "breakpoint"})
_PURE_LIBRARY = """
__future__ base64 binascii collections csv dataclasses enum functools hashlib io itertools json
posixpath re stat struct typing packaging zlib _sha2 _sha256
"""
PURE_LIBRARY = frozenset(_PURE_LIBRARY.split())
"""What core/ imports besides pipm; `os` for the name of a type only."""


def module_name(path: str) -> str:
    """``fs.reflinks`` for ``pipm/fs/reflinks.py``, ``fs`` for ``pipm/fs/__init__.py``."""
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
PACKAGES = {m for m in MODULES if os.path.isdir(os.path.join(PACKAGE, m.replace(".", os.sep)))}
AT_HOME = [module for module in MODULES if module not in IN_ENVIRONMENTS]


def room(module: str) -> str:
    """The room of a module: ``core.plan`` for ``core.plan.gc_plan``, ``fs`` for ``fs.links``."""
    return "core.plan" if module.startswith("core.plan") else module.partition(".")[0]


def broken(law: Callable[[str], object], modules: Iterable[str]) -> dict[str, object]:
    """Return the modules that break the *law*, each with the reason."""
    found = {module: law(module) for module in modules}
    return {module: wrong for module, wrong in found.items() if wrong}


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
    assert {room(module) for module in MODULES} == set(ROOMS)


def test_a_room_imports_only_what_the_map_allows() -> None:
    def wrong(module: str) -> list[str]:
        allowed = {*ROOMS[room(module)].split(), room(module)}
        # A package's name alone brings its docstring.
        found = own_imports(TREES[module]) - PACKAGES
        return sorted(name for name in found if room(name) not in allowed)

    assert broken(wrong, MODULES) == {}


def test_the_map_names_each_room_after_those_that_it_imports() -> None:
    known: set[str] = set()
    for name, imports in ROOMS.items():
        assert set(imports.split()) <= known, name
        known.add(name)


def test_no_import_cycle() -> None:
    graph = {module: own_imports(tree) - {module} for module, tree in TREES.items()}
    done: set[str] = set()
    while len(done) < len(graph):
        ready = {module for module in graph.keys() - done if graph[module] <= done}
        assert ready, f"a cycle among {sorted(graph.keys() - done)}"
        done |= ready


def test_no_module_hides_behind_its_rooms_init() -> None:
    assert broken(lambda module: imported(TREES[module]), PACKAGES) == {}


def test_no_two_modules_have_one_name() -> None:
    names = [module.rpartition(".")[2] for module in MODULES if module not in PACKAGES]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_values_and_plans_are_pure() -> None:
    def wrong(module: str) -> set[str]:
        tree = TREES[module]
        hidden = under_type_checking(tree)
        found: set[str] = set()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                tops = {name.partition(".")[0] for name in imported(node)} - {"pipm"}
                found |= tops - PURE_LIBRARY - ({"os"} if node in hidden else set())
        return found | (IMPURE & set(calls(tree)))

    assert broken(wrong, [m for m in MODULES if room(m) in ("core", "core.plan")]) == {}


def test_only_fs_changes_files() -> None:
    def wrong(module: str) -> set[str]:
        made = {name.removeprefix("os.") for name in calls(TREES[module]) if name.startswith("os.")}
        tops = ("shutil", "tempfile", "pathlib")
        found = {name for name in imported(TREES[module]) if name.partition(".")[0] in tops}
        # shutil.which only looks.
        return (made & CHANGES) ^ ALLOWED_CHANGES.get(module, set()) | (found - {"shutil", "shutil.which"})

    assert broken(wrong, [m for m in AT_HOME if room(m) != "fs"]) == {}


def test_only_fs_makes_raw_system_calls() -> None:
    def wrong(module: str) -> list[str]:
        # prctl, and renameat2 for one entry of the store against another
        foreign = () if module in ("context.workers", "store.entries") else ("ctypes.CDLL",)
        return [name for name in calls(TREES[module]) if name.startswith(("fcntl.", *foreign))]

    assert broken(wrong, [m for m in AT_HOME if room(m) != "fs"]) == {}


def modes(tree: ast.AST) -> set[str]:
    """How files are opened by `open`."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "open":
            options = {keyword.arg: keyword.value for keyword in node.keywords}
            mode = node.args[1] if len(node.args) > 1 else options.get("mode")
            found.add("r" if mode is None else ast.literal_eval(mode))
    return found


def test_only_few_open_files_for_writing() -> None:
    outside = [m for m in AT_HOME if room(m) != "fs"]
    assert {m for m in outside if any(set(mode) & set("wax+") for mode in modes(TREES[m]))} == WRITERS

    def flags(module: str) -> set[str]:
        names = {node.attr for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)}
        return names & {"O_WRONLY", "O_RDWR", "O_CREAT", "O_TRUNC"}

    # cli.streams opens /dev/null when the reader of our pipe has left.
    assert broken(flags, [m for m in outside if m != "cli.streams"]) == {}


def test_only_output_and_progress_write_to_the_terminal() -> None:
    def wrong(module: str) -> set[str]:
        streams = {ast.unparse(node) for node in ast.walk(TREES[module]) if isinstance(node, ast.Attribute)}
        requests = {"sys.stdin", "sys.stdin.buffer"} if module == "bytecode.compiler" else set()
        # The version is answered before there is an Output.
        printing = {"print"} if module == "cli.options" else {"print", "typer.echo"}
        if module == "plugins.adopt_after":  # it runs in another tool
            return set()
        return {name for name in streams if name.startswith("sys.std")} - requests | (
            printing & set(calls(TREES[module]))
        )

    assert (
        broken(wrong, [m for m in AT_HOME if m not in ("cli.output", "cli.terminal_progress", "cli.streams")])
        == {}
    )


def test_only_the_command_line_ends_the_process() -> None:
    ends = {"sys.exit", "exit", "quit", "os._exit", "SystemExit", "typer.Exit"}
    # A forked worker whose parent is gone has nobody to tell; PIPM_STALE=error wants no program at all.
    allowed = {"context.workers": {"os._exit"}, "finder.runtime.hook_rare": {"os._exit"}}

    def wrong(module: str) -> set[str]:
        return (ends & set(calls(TREES[module]))) ^ allowed.get(module, set())

    assert broken(wrong, [m for m in MODULES if m not in ("cli.options", "__main__")]) == {}


def test_everything_is_caught_at_one_place() -> None:
    # Errors of a worker travel to its parent; what a torn .pyc raises is an answer.
    allowed = {"cli.exit_codes", "__main__", "context.workers", "bytecode.compiler"}
    allowed.add("plugins.adopt_after")  # another tool's command must not fail

    def wrong(module: str) -> bool:
        broad = [
            node
            for node in ast.walk(TREES[module])
            if isinstance(node, ast.ExceptHandler)
            and (node.type is None or ast.unparse(node.type) == "Exception")
        ]
        return len(broad) > (module in allowed)

    assert broken(wrong, AT_HOME) == {}


def test_only_arguments_load_typer() -> None:
    users = {m for m in MODULES if any(name.partition(".")[0] == "typer" for name in imported(TREES[m]))}
    assert {m for m in users if not m.endswith("_command")} == {"cli.application", "cli.options"} & users


def test_the_compiler_runs_without_pipm() -> None:
    names = {name.partition(".")[0] for name in imported(TREES["bytecode.compiler"])}
    assert names <= sys.stdlib_module_names | {"_sha2", "_sha256"}  # of one version or another
    assert "__future__" not in names  # its annotations came with Python 3.7


def test_what_lies_in_environments_runs_without_pipm() -> None:
    ours = {name.partition(".")[0] for name in IN_ENVIRONMENTS.values()}

    def foreign(module: str) -> set[str]:
        names = {name.partition(".")[0] for name in imported(TREES[module])}
        return names - sys.stdlib_module_names - ours

    assert broken(foreign, IN_ENVIRONMENTS) == {}
    assert {m for m in MODULES if ".runtime." in m} == set(IN_ENVIRONMENTS)


def test_a_plan_is_carried_out_at_one_place() -> None:
    names = ("give_inode", "give_clone", "share_blocks")
    changing = {f"pipm.fs.share_file.{name}" for name in names}
    users = {module for module in MODULES if changing & imported(TREES[module])}
    assert users == {"share.file_sharer", "share.stored_content"}


def test_files_and_functions_stay_small() -> None:
    large = []
    for path in sorted(source_files()):
        text = text_of(path)
        if text.count("\n") > 400:
            large.append(path)
        for node in ast.walk(TREES[module_name(path)]):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                if node.end_lineno - node.lineno + 1 > 60:
                    large.append(f"{path}: {node.name}")
    assert large == []


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

"""Import names that are computed from paths, compared with FileFinder's results."""

from __future__ import annotations

import importlib.machinery
import os
import tempfile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pipm.core.import_names import (
    Kind,
    Module,
    import_layout,
    inseparable,
    library_ties,
    module_table,
    names_relative_folders,
)

EXTENSIONS = importlib.machinery.EXTENSION_SUFFIXES
NAME = st.sampled_from(["a", "b", "c"])
FILE = st.sampled_from(
    ["__init__.py", "__init__.pyc", f"__init__{EXTENSIONS[0]}", "a.py", "b.py", f"a{EXTENSIONS[-1]}", "t.txt"]
)
PATH = st.builds(lambda folders, file: "/".join([*folders, file]), st.lists(NAME, max_size=3), FILE)


def found_by_file_finder(folder: str, name: str) -> tuple[str, str] | None:
    """What Python finds in one folder that holds everything: loader and file, or a namespace."""
    loaders = [
        (importlib.machinery.ExtensionFileLoader, EXTENSIONS),
        (importlib.machinery.SourceFileLoader, importlib.machinery.SOURCE_SUFFIXES),
        (importlib.machinery.SourcelessFileLoader, importlib.machinery.BYTECODE_SUFFIXES),
    ]
    spec = importlib.machinery.FileFinder(folder, *loaders).find_spec(name)
    if spec is None:
        return None
    if spec.loader is None:
        return "NoneType", ""
    assert spec.origin is not None
    return type(spec.loader).__name__, os.path.relpath(spec.origin, folder)


LOADERS = {
    Kind.NAMESPACE: "NoneType",
    Kind.SOURCE: "SourceFileLoader",
    Kind.EXTENSION: "ExtensionFileLoader",
    Kind.BYTECODE: "SourcelessFileLoader",
}


@settings(max_examples=60)
@given(st.lists(st.lists(PATH, max_size=5, unique=True), max_size=3))
def test_it_is_what_filefinder_finds_in_one_folder(distributions: list[list[str]]) -> None:
    layouts = [import_layout(paths) for paths in distributions]
    present = [n for n in range(len(layouts)) if n not in inseparable(layouts)]
    table = module_table(layouts, present, EXTENSIONS)
    with tempfile.TemporaryDirectory() as folder:
        for number in present:
            for path in distributions[number]:
                os.makedirs(os.path.dirname(f"{folder}/{path}"), exist_ok=True)
                with open(f"{folder}/{path}", "w", encoding="ascii"):
                    pass
        for name in ("a", "b", "c", "t", "__init__"):
            expected = found_by_file_finder(folder, name)
            module = table.get(name)
            assert (module and (LOADERS[module.kind], module.file)) == expected, name


def test_extensions_come_before_sources() -> None:
    paths = ["fast/__init__.py", "fast/__init__.abi3.so", "fast/x.py"]
    table = module_table([import_layout(paths)], [0], [".cpython-312.so", ".abi3.so", ".so"])
    assert table == {"fast": Module(Kind.EXTENSION, (0,), "fast/__init__.abi3.so")}


def test_namespaces_have_many_owners() -> None:
    layouts = [
        import_layout(["ns/one/__init__.py"]),
        import_layout(["ns/two/__init__.py"]),
        import_layout(["ns/deep/x.py"]),
    ]
    assert inseparable(layouts) == frozenset()
    assert module_table(layouts, range(3), EXTENSIONS) == {"ns": Module(Kind.NAMESPACE, (0, 1, 2), "")}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (["p/__init__.py"], ["p/__init__.py"]),
        (["p/__init__.py"], ["p/more/x.py"]),
        (["ns/p/__init__.py"], ["ns/p/more.py"]),
        (["ns/x.py"], ["ns/x.py"]),
        (["ns/x.py"], ["ns/x/__init__.py"]),
        (["ns/x.py"], ["ns/x/data.txt"]),
        (["README.txt"], ["README.txt"]),
    ],
)
def test_what_must_lie_together(one: list[str], other: list[str]) -> None:
    alone = import_layout(["alone/__init__.py", "ns/alone.py"])
    assert inseparable([import_layout(one), alone, import_layout(other)]) == {0, 2}


def test_libraries_that_look_for_each_other() -> None:
    layouts = [
        import_layout(["nvidia/cusparse/lib/libcusparse.so.12"]),
        import_layout(["nvidia/nvjitlink/lib/libnvJitLink.so.12"]),
        import_layout(["numpy/core.so", "numpy.libs/liba.so"]),
    ]
    ties = {
        0: {"nvidia/cusparse/lib/libcusparse.so.12": ["../../nvjitlink/lib", "."]},
        2: {"numpy/core.so": ["../numpy.libs", "../build/of/somebody"]},
    }
    assert library_ties(layouts, ties) == {0, 1}
    assert library_ties(layouts, {2: {"numpy/core.so": ["../../../../lib"]}}) == {2}


def test_metadata_and_bytecode_are_no_modules() -> None:
    one = import_layout(
        ["a-1.dist-info/METADATA", "__pycache__/a.cpython-312.pyc", "a.py", "b/__pycache__/c.pyc"]
    )
    assert module_table([one], [0], EXTENSIONS) == {"a": Module(Kind.SOURCE, (0,), "a.py")}


def test_path_files() -> None:
    assert not names_relative_folders("import a\n# b\n\nimport\tc\n")
    assert names_relative_folders("import a\nwin32\n")

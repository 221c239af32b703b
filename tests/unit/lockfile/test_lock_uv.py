"""uv.lock."""

from __future__ import annotations

import pytest
from lock_files import LINUX, OLD, WINDOWS, A, B, Folder, LockFile, file_names
from pipm.core.pins import Archive, Repository
from pipm.core.pins import SourceFolder as Local
from pipm.core.selection import Selection
from pipm.errors import LockError
from pipm.lockfile.read_lock import read_lock

HEAD = 'version = 1\nrevision = 3\nrequires-python = ">=3.9"\n'


@pytest.fixture
def folder(tmp_path: object) -> Folder:
    return Folder(path=str(tmp_path))


def lock(folder: Folder, *packages: str, head: str = "") -> LockFile:
    return folder.write("uv.lock", HEAD + head + "".join(f"[[package]]\n{text}\n" for text in packages))


def wheel(name: str, version: str = "1.0", tags: str = "py3-none-any") -> str:
    return f'{{ url = "https://h/{name}-{version}-{tags}.whl", hash = "sha256:{A}", size = 7 }}'


def package(name: str, version: str = "1.0", rest: str = "") -> str:
    source = 'source = { registry = "https://i/simple" }'
    return f'name = "{name}"\nversion = "{version}"\n{source}\nwheels = [{wheel(name, version)}]\n{rest}'


def project(needs: str, *, name: str = "app", source: str = 'editable = "."', rest: str = "") -> str:
    head = f'name = "{name}"\nversion = "0.1"\nsource = {{ {source} }}'
    return f"{head}\ndependencies = [{needs}]\n{rest}"


def test_the_project_and_what_it_needs(folder: Folder) -> None:
    file = lock(
        folder,
        project("{ name = 'one' }, { name = 'win', marker = \"sys_platform == 'win32'\" }"),
        package("one", rest="dependencies = [{ name = 'two' }]"),
        package("two"),
        package("win"),
        package("unneeded"),
    )
    pins = file.read()
    assert set(pins) == {"app", "one", "two"}
    assert pins["app"].origin == Local(path=folder.path, editable=True)
    assert pins["one"].index_url == "https://i/simple"
    assert pins["one"].where == "package[1]"
    assert pins["one"].wheels == (
        Archive(
            file_name="one-1.0-py3-none-any.whl",
            url="https://h/one-1.0-py3-none-any.whl",
            size=7,
            hashes=(("sha256", A),),
        ),
    )
    assert set(file.versions(WINDOWS)) == {"one", "two", "win"}


def test_versions_by_marker(folder: Folder) -> None:
    old = "{ name = 'one', version = '1.0', marker = \"python_full_version < '3.10'\" }"
    new = "{ name = 'one', version = '2.0', marker = \"python_full_version >= '3.10'\" }"
    file = lock(folder, project(f"{old}, {new}"), package("one"), package("one", "2.0"))
    assert file.versions(OLD) == {"one": "1.0"}
    assert file.versions(LINUX) == {"one": "2.0"}


def test_extras_of_project_and_dependencies_and_groups(folder: Folder) -> None:
    rest = (
        "[package.optional-dependencies]\nfast = [{ name = 'three' }]\n"
        "[package.dev-dependencies]\ndev = [{ name = 'four' }]\n"
        "docs = [{ name = 'one', extra = ['more'] }]\n"
        "[package.metadata]\nprovides-extras = ['fast', 'empty']\n"
        "[package.metadata.requires-dev]\nnone = []\n"
    )
    file = lock(
        folder,
        project("{ name = 'one' }", rest=rest),
        package("one", rest="[package.optional-dependencies]\nmore = [{ name = 'two' }]"),
        package("two"),
        package("three"),
        package("four"),
    )
    assert set(file.versions()) == {"one", "four"}
    assert set(file.versions(extras=("fast", "empty"), default_groups=False)) == {"one", "three"}
    assert set(file.versions(groups=("docs", "none"))) == {"one", "two", "four"}
    assert file.fails(extras=("slow",)) == "LOCK: there is no extra slow"
    assert file.fails(groups=("tests",)) == "LOCK: there is no group tests"
    folder.write("pyproject.toml", '[project]\nname = "App"\n[tool.uv]\ndefault-groups = ["docs"]')
    assert set(file.versions()) == {"one", "two"}
    folder.write("pyproject.toml", '[project]\nname = "App"\n[tool.uv]\ndefault-groups = "all"')
    assert set(file.versions()) == {"one", "two", "four"}


CONFLICTS = (
    'conflicts = [[{ package = "app", extra = "cpu" }, { package = "app", extra = "gpu" },'
    ' { package = "app", group = "bench" }]]\n'
)


def test_conflicting_extras(folder: Folder) -> None:
    cpu = "{ name = 'one', version = '1.0', marker = \"extra == 'extra-3-app-cpu'\" }"
    gpu = (
        "{ name = 'one', version = '2.0', marker = \"extra == 'extra-3-app-gpu'"
        " or extra != 'extra-3-app-cpu' and extra == 'group-3-app-bench'\" }"
    )
    rest = (
        f"[package.optional-dependencies]\ncpu = [{cpu}]\ngpu = [{gpu}]\n"
        f"[package.dev-dependencies]\nbench = [{gpu}]\n"
    )
    packages = (project("{ name = 'two' }", rest=rest), package("one"), package("one", "2.0"))
    needs = f"dependencies = [{cpu}]"
    file = lock(folder, *packages, package("two", rest=needs), head=CONFLICTS)
    assert file.versions() == {"two": "1.0"}
    assert file.versions(extras=("cpu",)) == {"two": "1.0", "one": "1.0"}
    assert file.versions(extras=("gpu",)) == {"two": "1.0", "one": "2.0"}
    assert file.versions(groups=("bench",)) == {"two": "1.0", "one": "2.0"}
    assert file.fails(extras=("cpu", "gpu")) == (
        "LOCK: conflicts[0].set[0]: extra cpu and extra gpu exclude each other"
    )
    assert "extra gpu and group bench" in file.fails(extras=("gpu",), groups=("bench",))


def test_an_extra_that_a_dependency_switches_on(folder: Folder) -> None:
    """One dependency depends on an extra that another one activates, in any order."""
    head = 'conflicts = [[{ package = "lib", extra = "a" }, { package = "lib", extra = "b" }]]\n'
    cpu = "{ name = 'one', version = '1.0', marker = \"extra == 'extra-3-lib-a'\" }"
    gpu = "{ name = 'one', version = '2.0', marker = \"extra != 'extra-3-lib-a'\" }"
    extra = "{ name = 'lib', extra = ['a'] }"
    lib = package("lib", rest="[package.optional-dependencies]\na = []\nb = []")
    for needs in (f"{cpu}, {gpu}, {extra}", f"{extra}, {gpu}, {cpu}"):
        file = lock(folder, project(needs), lib, package("one"), package("one", "2.0"), head=head)
        assert file.versions() == {"lib": "1.0", "one": "1.0"}


def test_a_workspace(folder: Folder) -> None:
    head = '[manifest]\nmembers = ["app", "lib"]\n'
    file = lock(
        folder,
        project("{ name = 'lib' }"),
        project("{ name = 'one' }", name="lib", source='editable = "packages/lib"'),
        package("one"),
        head=head,
    )
    assert set(file.read()) == {"app", "lib", "one"}
    assert set(file.read(project=False)) == {"one"}


def test_a_workspace_whose_root_is_no_project(folder: Folder) -> None:
    head = '[manifest]\nmembers = ["app", "lib"]\n[manifest.dependency-groups]\ndev = [{ name = "two" }]\n'
    file = lock(
        folder,
        project("", source='editable = "packages/app"'),
        project("{ name = 'one' }", name="lib", source='virtual = "packages/lib"'),
        package("one"),
        package("two"),
        head=head,
    )
    assert set(file.read()) == {"app", "one", "two"}
    assert set(file.read(default_groups=False)) == {"app", "one"}


def test_a_script(folder: Folder) -> None:
    head = '[manifest]\nrequirements = [{ name = "one", extras = ["more"], specifier = ">=1" }]\n'
    more = "[package.optional-dependencies]\nmore = [{ name = 'two' }]"
    old = package("one", rest=f"resolution-markers = [\"python_version < '3.10'\"]\n{more}")
    new = package("one", "2.0", rest=f"resolution-markers = [\"python_version >= '3.10'\"]\n{more}")
    text = lock(folder, old, new, package("two"), head=head)
    with open(text.path, encoding="utf-8") as file:
        script = folder.write("tool.py.lock", file.read())
    assert script.versions() == {"one": "2.0", "two": "1.0"}
    assert script.versions(OLD) == {"one": "1.0", "two": "1.0"}


def test_sources(folder: Folder) -> None:
    commit = "0" * 40
    sources = {
        "git": f'git = "https://h/g?subdirectory=s&rev=v1#{commit}"',
        "ssh": f'git = "ssh://git@h/g#{commit}"',
        "url": 'url = "https://h/url-1.0-py3-none-any.whl"',
        "sdist": 'url = "https://h/sdist-1.0.tar.gz", subdirectory = "s"',
        "path": 'path = "../path-1.0-py3-none-any.whl"',
        "directory": 'directory = "lib"',
        "editable": 'editable = "../lib"',
        "virtual": 'virtual = "other"',
    }
    files = {
        "url": f"wheels = [{wheel('url')}]",
        "path": f'wheels = [{{ filename = "path-1.0-py3-none-any.whl", hash = "sha256:{B}" }}]',
        "sdist": f'sdist = {{ hash = "sha256:{B}", size = 3 }}',
    }
    needs = ", ".join(f"{{ name = '{name}' }}" for name in sources)
    pins = lock(
        folder,
        project(needs),
        *(f'name = "{name}"\nsource = {{ {text} }}\n{files.get(name, "")}' for name, text in sources.items()),
    ).read()
    above = folder.path.rpartition("/")[0]
    assert {name: pin.origin for name, pin in pins.items() if name != "app"} == {
        "git": Repository(
            vcs="git", url="https://h/g", commit=commit, requested_revision="v1", subdirectory="s"
        ),
        "ssh": Repository(vcs="git", url="ssh://git@h/g", commit=commit),
        "url": Archive(
            file_name="url-1.0-py3-none-any.whl",
            url="https://h/url-1.0-py3-none-any.whl",
            size=7,
            hashes=(("sha256", A),),
        ),
        "sdist": Archive(
            file_name="sdist-1.0.tar.gz",
            url="https://h/sdist-1.0.tar.gz",
            size=3,
            hashes=(("sha256", B),),
            subdirectory="s",
        ),
        "path": Archive(
            file_name="path-1.0-py3-none-any.whl",
            path=f"{above}/path-1.0-py3-none-any.whl",
            hashes=(("sha256", B),),
        ),
        "directory": Local(path=f"{folder.path}/lib"),
        "editable": Local(path=f"{above}/lib", editable=True),
    }
    assert {pin.version for name, pin in pins.items() if name != "app"} == {None}


def test_an_index_that_is_a_folder(folder: Folder) -> None:
    local = 'name = "one"\nversion = "1.0"\nsource = { registry = "../wheels" }\n'
    files = 'wheels = [{ path = "one-1.0-py3-none-any.whl" }]'
    pin = lock(folder, project("{ name = 'one' }"), local + files).read()["one"]
    above = folder.path.rpartition("/")[0]
    assert pin.index_url is None
    assert [archive.path for archive in pin.wheels] == [f"{above}/wheels/one-1.0-py3-none-any.whl"]


def test_the_best_wheel_and_odd_urls(folder: Folder) -> None:
    wheels = [
        wheel("one"),
        wheel("one", tags="cp311-cp311-manylinux_2_17_x86_64"),
        wheel("one", "1.0%2Blocal", "cp311-cp311-manylinux_2_28_x86_64"),
        wheel("one", tags="py3-none-any-x86_64_v3"),  # a variant (PEP 825): not for us
    ]
    text = f'name = "one"\nsource = {{ registry = "https://i" }}\nwheels = [{", ".join(wheels)}]'
    pin = lock(folder, project("{ name = 'one' }"), text).read()["one"]
    assert file_names(pin.wheels) == [
        "one-1.0+local-cp311-cp311-manylinux_2_28_x86_64.whl",
        "one-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "one-1.0-py3-none-any.whl",
    ]


ONE = "{ name = 'one' }"


@pytest.mark.parametrize(
    ("packages", "part"),
    [
        ([project(ONE)], "package[0].dependencies[0]: one is in the lock 0 times"),
        ([project(ONE), package("one"), package("one", "2")], "one is in the lock 2 times"),
        (
            [
                project("{name='one', version='1.0'}, {name='one', version='2.0'}"),
                package("one"),
                package("one", "2.0"),
            ],
            "one is selected twice",
        ),
        ([project(ONE), package("one").replace("py3-none", "cp39-cp39")], "package[1]: one 1.0 has no wheel"),
        ([project("{ name = 'one', marker = 'x ~ 3' }"), package("one")], "'x ~ 3' is not a valid marker"),
        (
            [project(ONE), package("one").replace("registry", "moon")],
            "package[1].source: the source ['moon']",
        ),
        ([project(ONE), package("one").replace(A, "12")], "package[1].wheels[0]: 'sha256:12' is not a hash"),
        ([project(ONE), package("one", "x.y")], "package[1]: 'x.y' is not a valid version"),
        ([project(ONE), package("../one")], "package[1]: '../one' is not a valid name"),
        ([project(ONE), 'name = "one"\nsource = { git = "https://h/g" }'], "has no commit"),
        (
            [project(ONE), package("one").replace("https://h/one-1.0", "https://h/one%2F1.0")],
            "has no file name",
        ),
        (['name = "one"\ndependencies = 3\nsource = { editable = "." }'], "should be a list of tables"),
    ],
)
def test_what_does_not_fit_is_named(folder: Folder, packages: list[str], part: str) -> None:
    assert part in lock(folder, *packages).fails()


def test_wrong_python_and_format(folder: Folder) -> None:
    file = folder.write("uv.lock", 'version = 1\nrequires-python = ">=3.12"')
    assert file.fails() == "LOCK: The lock needs Python >=3.12, the environment has 3.11.7"
    assert "version 2 of the format" in folder.write("uv.lock", "version = 2").fails()
    assert "version should be an integer" in folder.write("uv.lock", "version = true").fails()


def test_members_of_a_workspace(folder: Folder) -> None:
    dev = "[package.dev-dependencies]\ndev = [{ name = 'four' }]\nlint = [{ name = 'five' }]\n"
    file = lock(
        folder,
        project("{ name = 'one' }"),
        project("{ name = 'two' }", name="lib", source='editable = "libs/lib"', rest=dev),
        project("{ name = 'lib' }, { name = 'three' }", name="tool", source='virtual = "tool"'),
        *map(package, ("one", "two", "three", "four", "five")),
        head='[manifest]\nmembers = ["app", "lib", "tool"]\n',
    )
    folder.write("pyproject.toml", '[project]\nname = "app"')

    def names(selection: Selection) -> set[str]:
        return {pin.name for pin in read_lock(file.path, LINUX, selection)}

    assert names(Selection()) == {"app", "one"}
    assert names(Selection(packages=("Lib",))) == {"lib", "two", "four"}
    assert names(Selection(packages=("tool",))) == {"lib", "two", "three"}
    assert names(Selection(packages=("lib", "app"))) == {"app", "one", "lib", "two", "four"}
    assert names(Selection(all_packages=True)) == {"app", "lib", "one", "two", "three", "four"}
    folder.write("libs/lib/pyproject.toml", '[tool.uv]\ndefault-groups = ["lint"]')
    assert names(Selection(packages=("lib",))) == {"lib", "two", "five"}
    with pytest.raises(LockError, match="there is no package one"):
        names(Selection(packages=("one",)))


def test_variant_wheels_are_never_chosen(folder: Folder) -> None:
    variant, more = "py3-none-any-x86_64_v3", "1-py3-none-any-x86_64_v3"
    head = 'name = "one"\nversion = "1.0"\nsource = { registry = "https://i/simple" }\n'
    both = f"{head}wheels = [{wheel('one', tags=variant)}, {wheel('one', tags=more)}, {wheel('one')}]"
    needed = project("{ name = 'one' }")
    assert file_names(lock(folder, needed, both).read()["one"].wheels) == ["one-1.0-py3-none-any.whl"]
    for tags in (variant, more):
        message = lock(folder, needed, f"{head}wheels = [{wheel('one', tags=tags)}]").fails()
        assert f"one-1.0-{tags}.whl is a variant wheel (PEP 825)" in message
        assert "package[1]" in message

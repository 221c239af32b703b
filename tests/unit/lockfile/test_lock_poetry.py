"""poetry.lock of Poetry 1 and 2."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lock_files import LINUX, OLD, WINDOWS, A, B, Folder, LockFile
from packaging.version import Version
from pipm.core.pins import Archive, Repository
from pipm.core.pins import SourceFolder as Local
from pipm.lockfile.poetry_versions import allows


@pytest.fixture
def folder(tmp_path: object) -> Folder:
    return Folder(path=str(tmp_path))


def lock(folder: Folder, *packages: str, version: str = "2.1", rest: str = "") -> LockFile:
    """Write a lock; *rest* goes behind the packages."""
    metadata = f'[metadata]\nlock-version = "{version}"\npython-versions = ">=3.9,<4"\n'
    return folder.write(
        "poetry.lock", "".join(f"[[package]]\n{text}\n" for text in packages) + rest + metadata
    )


def package(name: str, version: str = "1.0", rest: str = "", *, tags: str = "py3-none-any") -> str:
    wheel = f'{{ file = "{name}-{version}-{tags}.whl", hash = "sha256:{A}" }}'
    source = f'{{ file = "{name}-{version}.tar.gz", hash = "sha256:{B}" }}'
    head = f'name = "{name}"\nversion = "{version}"\noptional = false\npython-versions = ">=3.8"\n'
    return f"{head}files = [{wheel}, {source}]\n{rest}"


MAIN = 'groups = ["main"]\n'


def test_groups_and_markers(folder: Folder) -> None:
    file = lock(
        folder,
        package("one", rest=MAIN),
        package("two", rest='groups = ["main", "dev"]\nmarkers = "sys_platform == \\"win32\\""\n'),
        package(
            "three", rest='groups = ["Dev-Tools", "main"]\n[package.markers]\nmain = "os_name == \\"nt\\""\n'
        ),
        package("four", rest='groups = ["docs"]\n'),
    )
    assert set(file.versions()) == {"one", "three", "four"}
    assert set(file.versions(WINDOWS)) == {"one", "two", "three", "four"}
    assert set(file.versions(default_groups=False)) == {"one"}
    assert set(file.versions(groups=("dev_tools",), default_groups=False)) == {"one", "three"}
    folder.write("pyproject.toml", "[tool.poetry.group.docs]\noptional = true")
    assert set(file.versions()) == {"one", "three"}
    assert set(file.versions(groups=("docs",))) == {"one", "three", "four"}
    assert file.fails(groups=("tests",)) == "LOCK: there is no group tests"


def test_extras(folder: Folder) -> None:
    file = lock(
        folder,
        package("one", rest=MAIN + 'markers = "extra == \\"fast\\" or \'slow\' == extra"\n'),
        package("two", rest=MAIN + 'markers = "extra != \\"fast\\""\n'),
        rest='[extras]\nfast = ["one"]\nslow = ["one"]\n',
    )
    assert set(file.versions()) == {"two"}
    assert set(file.versions(extras=("fast",))) == {"one"}
    assert set(file.versions(extras=("slow",))) == {"one", "two"}
    assert set(file.versions(extras=("slow", "fast"))) == {"one"}
    assert file.fails(extras=("none",)) == "LOCK: there is no extra none"


def test_files_and_the_index(folder: Folder) -> None:
    source = '[package.source]\ntype = "legacy"\nurl = "https://i/simple"\nreference = "mine"\n'
    pin = lock(folder, package("one", rest=MAIN + source)).read()["one"]
    assert pin.index_url == "https://i/simple"
    assert pin.wheels == (Archive(file_name="one-1.0-py3-none-any.whl", hashes=(("sha256", A),)),)
    assert pin.sdist == Archive(file_name="one-1.0.tar.gz", hashes=(("sha256", B),))
    assert pin.where == "package[0]"


def test_origins(folder: Folder) -> None:
    def origin(name: str, text: str, rest: str = "") -> str:
        head = f'name = "{name}"\nversion = "1.0"\npython-versions = "*"\n{MAIN}{rest}'
        return f"{head}\n[package.source]\n{text}"

    files = f'files = [{{ file = "u-1.0-py3-none-any.whl", hash = "sha256:{A}" }}]'
    git = (
        'type = "git"\nurl = "https://h/g"\nreference = "v1"\nresolved_reference = "0ab"\nsubdirectory = "s"'
    )
    pins = lock(
        folder,
        origin("g", git),
        origin("d", 'type = "directory"\nurl = "../d"', "develop = true"),
        origin("f", 'type = "file"\nurl = "w/f-1.0.tar.gz"'),
        origin("u", 'type = "url"\nurl = "https://h/u-1.0-py3-none-any.whl"', files),
    ).read()
    assert {name: pin.origin for name, pin in pins.items()} == {
        "g": Repository(
            vcs="git", url="https://h/g", commit="0ab", requested_revision="v1", subdirectory="s"
        ),
        "d": Local(path=f"{folder.path.rpartition('/')[0]}/d", editable=True),
        "f": Archive(file_name="f-1.0.tar.gz", path=f"{folder.path}/w/f-1.0.tar.gz"),
        "u": Archive(
            file_name="u-1.0-py3-none-any.whl",
            url="https://h/u-1.0-py3-none-any.whl",
            hashes=(("sha256", A),),
        ),
    }


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ('[project]\nname = "My.App"\nversion = "1.0.0"', "1.0.0"),
        ('[project]\nname = "My.App"\ndynamic = ["version"]\n[tool.poetry]\nversion = "2"', "2"),
        ('[tool.poetry]\nname = "My.App"\nversion = "3"', "3"),
    ],
)
def test_the_project_itself(folder: Folder, text: str, version: str) -> None:
    file = lock(folder, package("one", rest=MAIN))
    folder.write("pyproject.toml", text)
    pin = file.read()["my-app"]
    assert (pin.version, pin.origin) == (version, Local(path=folder.path, editable=True))
    assert set(file.read(project=False)) == {"one"}
    tool = text if "tool.poetry" in text else f"{text}\n[tool.poetry]"
    folder.write("pyproject.toml", f"{tool}\npackage-mode = false")
    assert set(file.read()) == {"one"}


PROJECT = """
[tool.poetry]
package-mode = false
[tool.poetry.dependencies]
python = "^3.9"
one = { version = "^1.0", extras = ["More"] }
win = { version = "*", platform = "win32" }
old = { version = "*", python = "<3.10" }
marked = { version = "*", markers = "sys_platform == 'win32'" }
opt = { version = "*", optional = true }
numpy = [{ version = "<2", python = "<3.10" }, { version = ">=2", python = ">=3.10" }]
[tool.poetry.extras]
Fast = ["opt"]
[tool.poetry.dev-dependencies]
tester = "^1"
[tool.poetry.group.docs]
optional = true
[tool.poetry.group.docs.dependencies]
writer = "*"
"""


def old_lock(folder: Folder, version: str = "2.0") -> LockFile:
    folder.write("pyproject.toml", PROJECT)
    needs = (
        '[package.dependencies]\nTwo = { version = ">=1", markers = "python_version >= \\"3\\"" }\n'
        'PySocks = { version = "*", optional = true }\nanother = { version = "*", optional = true }\n'
        '[package.extras]\nmore = ["PySocks (>=1)"]\nless = ["another"]\n'
    )
    return lock(
        folder,
        package("numpy", "1.26.4", rest="[package.dependencies]\nbase = '<2 || >3'\n"),
        package("numpy", "2.3.0", rest="[package.dependencies]\nbase = '>=2,<3'\n"),
        package("one", "1.2.0", rest=needs),
        package("two", rest="[package.dependencies]\nnumpy = '>=1.20'\n"),
        package("base", "1.5"),
        package("base", "2.5"),
        *(
            package(name)
            for name in ("pysocks", "another", "win", "old", "marked", "opt", "tester", "writer")
        ),
        version=version,
        rest='[extras]\nFast = ["opt"]\n',
    )


def test_a_lock_without_groups_is_walked(folder: Folder) -> None:
    file = old_lock(folder)
    always = {"one", "two", "pysocks", "tester"}
    assert file.versions() == dict.fromkeys(always, "1.0") | {
        "one": "1.2.0",
        "numpy": "2.3.0",
        "base": "2.5",
    }
    old = file.versions(OLD)
    assert set(old) == always | {"numpy", "base", "old"}
    assert (old["numpy"], old["base"]) == ("1.26.4", "1.5")
    assert set(file.versions(WINDOWS)) == always | {"numpy", "base", "win", "marked"}
    assert set(file.versions(extras=("fast",), default_groups=False)) == (
        always | {"numpy", "base", "opt"}
    ) - {"tester"}
    assert "writer" in file.versions(groups=("docs",))


def test_a_lock_that_its_project_left_behind(folder: Folder) -> None:
    file = old_lock(folder)
    folder.write("pyproject.toml", PROJECT.replace('tester = "^1"', 'tester = "^1"\nnews = "^2"'))
    assert "tool.poetry.dev-dependencies.news: news ^2 is not in poetry.lock" in file.fails()
    folder.write(
        "pyproject.toml", PROJECT.replace('python = ">=3.10" }]', 'python = ">=3.10" }]\nbase = "<2"')
    )
    assert "base" in file.fails()
    folder.write("pyproject.toml", "")
    assert "is missing: a lock of Poetry 1" in file.fails()


def test_files_apart_from_their_packages(folder: Folder) -> None:
    """Poetry 1.0 to 1.2."""
    folder.write("pyproject.toml", '[tool.poetry.dependencies]\none = "*"\ntwo = "*"')
    rows = "".join(
        f'{{ file = "{name}", hash = "sha256:{A}" }},'
        for name in ("One-1.0.tar.gz", "One-1.0-py3-none-any.whl", "One-2.0-py3-none-any.whl")
    )
    head = 'version = "1.0"\noptional = false\npython-versions = "*"\n'
    file = lock(folder, f'name = "One"\n{head}', f'name = "two"\n{head}', version="1.1")
    with open(file.path, "a", encoding="utf-8") as stream:
        stream.write(
            f'[metadata.files]\nOne = [{rows}]\ntwo = [{{ file = "two-1.zip", hash = "md5:{"0" * 32}" }}]'
        )
    pins = file.read()
    assert [archive.file_name for archive in pins["one"].wheels] == ["One-1.0-py3-none-any.whl"]
    assert pins["one"].sdist is not None
    assert pins["two"].sdist == Archive(file_name="two-1.zip", hashes=(("md5", "0" * 32),))


def test_hashes_without_files(folder: Folder) -> None:
    """Poetry 0.12 to 1.0 beta."""
    folder.write("pyproject.toml", '[tool.poetry.dependencies]\none = "*"')
    file = lock(folder, 'name = "one"\nversion = "1.0"\npython-versions = "*"', version="1.0")
    with open(file.path, "a", encoding="utf-8") as stream:
        stream.write(f'[metadata.hashes]\none = ["{A}", "{B}"]')
    assert file.read()["one"].hashes == (("sha256", A), ("sha256", B))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (package("one", rest=MAIN).replace(">=3.8", "^3.12"), "package[0]: one needs Python ^3.12"),
        (package("one", rest=MAIN).replace(">=3.8", "~~3"), "package[0].python-versions: '~~3'"),
        (package("one", rest=MAIN + "files = []").replace("files", "no", 1), "one 1.0 has no wheel"),
        (package("one", rest=MAIN).replace(A, "xyz"), "'sha256:xyz' is not a hash"),
        (package("one", rest=MAIN).replace('"one-1.0-', '"../one-1.0-'), "has no file name"),
        (package("one", rest=MAIN + '[package.source]\ntype = "moon"\nurl = "x"'), "the source 'moon'"),
        (
            package("one", rest=MAIN + '[package.source]\ntype = "git"\nurl = "x"'),
            "resolved_reference is miss",
        ),
        (package("one", rest=MAIN + 'markers = "extra is x"'), "[0]: 'extra is x' is not a valid marker"),
        (package("one", rest="groups = 3"), "package[0]: groups should be a list of strings"),
        (
            package("one", rest=MAIN) + "[[package]]\n" + package("one", "2", rest=MAIN),
            "one is selected twice",
        ),
    ],
)
def test_what_does_not_fit_is_named(folder: Folder, text: str, part: str) -> None:
    assert part in lock(folder, text).fails()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "metadata: lock-version is missing"),
        ('[metadata]\nlock-version = "x"', "lock-version 'x' is not a valid version"),
        ('[metadata]\nlock-version = "3.0"', "version 3.0 of the format is unknown"),
        ('[metadata]\nlock-version = "2.1"\npython-versions = ">=3.12"', "The lock needs Python >=3.12"),
        ("package = 3\n[metadata]\nlock-version = '2.1'", "package should be a list of tables"),
        ("package = [3]\n[metadata]\nlock-version = '2.1'", "package[0] is not a table"),
    ],
)
def test_broken_files(folder: Folder, text: str, part: str) -> None:
    assert part in folder.write("poetry.lock", text).fails(LINUX)


@pytest.mark.parametrize(
    ("constraint", "inside", "outside"),
    [
        ("*", "0.1 9!5", ""),
        ("", "1", ""),
        ("1.2", "1.2 1.2.0", "1.2.1"),
        ("=1.2", "1.2", "1.3"),
        ("^1.2.3", "1.2.3 1.9", "2.0 1.2.2"),
        ("^0.2.3", "0.2.3 0.2.9", "0.3 1"),
        ("^0.0.3", "0.0.3", "0.0.4"),
        ("^0.0", "0.0.9", "0.1"),
        ("^0", "0.9", "1"),
        ("~1.2.3", "1.2.3 1.2.9", "1.3"),
        ("~1.2", "1.2 1.2.9", "1.3"),
        ("~1", "1.9", "2"),
        ("~=1.2.3", "1.2.9", "1.3"),
        (">=1,<2 || >=3", "1.5 3", "2.5"),
        (">=1 <2|3.*", "1.5 3.9", "2.5"),
        (">= 1.0, != 1.5.*", "1.4", "1.5.1 0.9"),
        ("==1.*", "1.5", "2"),
    ],
)
def test_constraints(constraint: str, inside: str, outside: str) -> None:
    assert all(allows(constraint, version) for version in inside.split())
    assert not any(allows(constraint, version) for version in outside.split())


@given(st.text("0123456789.^~<>=!*|, abx+", max_size=12))
def test_no_constraint_is_a_surprise(text: str) -> None:
    try:
        answer = allows(text, "1.0")
    except ValueError:
        answer = False
    assert answer in (True, False)


@given(
    st.lists(st.integers(0, 5), min_size=1, max_size=4), st.lists(st.integers(0, 6), min_size=1, max_size=4)
)
def test_a_caret_keeps_what_a_tilde_keeps(base: list[int], other: list[int]) -> None:
    """Both begin at the version; the caret goes at least as far, except among zeros."""
    text, version = ".".join(map(str, base)), ".".join(map(str, other))
    assert allows(f"^{text}", text)
    assert allows(f"~{text}", text)
    if Version(version) < Version(text):
        assert not allows(f"^{text}", version)
        assert not allows(f"~{text}", version)
    elif allows(f"~{text}", version) and base[0]:
        assert allows(f"^{text}", version)

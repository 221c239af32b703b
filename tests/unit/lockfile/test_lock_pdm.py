"""pdm.lock with its strategies."""

from __future__ import annotations

import pytest
from lock_files import LINUX, OLD, PYPY, WINDOWS, A, B, Folder, LockFile
from pipm.core.pins import Archive, Repository
from pipm.core.pins import SourceFolder as Local


@pytest.fixture
def folder(tmp_path: object) -> Folder:
    return Folder(path=str(tmp_path))


def lock(
    folder: Folder,
    *packages: str,
    strategy: str = '"inherit_metadata"',
    version: str = "4.5.0",
    rest: str = "",
) -> LockFile:
    groups = 'groups = ["default", "dev", "fast"]'
    head = f'[metadata]\n{groups}\nstrategy = [{strategy}]\nlock_version = "{version}"\n{rest}\n'
    return folder.write("pdm.lock", head + "".join(f"[[package]]\n{text}\n" for text in packages))


def package(name: str, version: str = "1.0", rest: str = "") -> str:
    files = f'files = [{{ file = "{name}-{version}-py3-none-any.whl", hash = "sha256:{A}" }}]'
    return f'name = "{name}"\nversion = "{version}"\nrequires_python = ">=3.8"\n{files}\n{rest}'


def test_inherited_groups_and_markers(folder: Folder) -> None:
    file = lock(
        folder,
        package("one", rest='groups = ["default"]'),
        package("two", rest='groups = ["default", "dev"]\nmarker = "sys_platform == \\"win32\\""'),
        package("three", rest='groups = ["dev"]'),
        package("four", rest='groups = ["fast"]'),
    )
    folder.write("pyproject.toml", "[project.optional-dependencies]\nfast = []")
    assert set(file.versions()) == {"one", "three", "four"}  # as `pdm sync`: all that is locked
    assert set(file.versions(WINDOWS)) == {"one", "two", "three", "four"}
    assert set(file.versions(groups=("dev",))) == {"one", "three"}
    assert set(file.versions(extras=("fast",))) == {"one", "three", "four"}
    assert set(file.versions(extras=("fast",), default_groups=False)) == {"one", "four"}
    assert set(file.versions(default_groups=False)) == {"one"}
    assert file.fails(extras=("slow",)) == "LOCK: there is no extra slow"
    assert file.fails(groups=("docs",)) == "LOCK: there is no group docs"


def test_the_entry_of_an_extra_is_the_same_distribution(folder: Folder) -> None:
    rest = 'groups = ["default"]'
    more = package("one", rest=f'{rest}\nextras = ["more"]')
    assert lock(folder, package("one", rest=rest), more).versions() == {"one": "1.0"}
    other = package("one", "2.0", rest=rest)
    assert "one is selected twice" in lock(folder, package("one", rest=rest), more, other).fails()


def test_static_urls(folder: Folder) -> None:
    url = "https://h/one-1.0%2Bx-py3-none-any.whl"
    files = f'files = [{{ url = "{url}", hash = "sha256:{B}" }}]'
    text = f'name = "one"\nversion = "1.0+x"\ngroups = ["default"]\n{files}'
    pin = lock(folder, text, strategy='"inherit_metadata", "static_urls"').read()["one"]
    assert pin.wheels == (Archive(file_name="one-1.0+x-py3-none-any.whl", url=url, hashes=(("sha256", B),)),)


def test_indexes_of_the_project(folder: Folder) -> None:
    folder.write(
        "pyproject.toml",
        '[[tool.pdm.source]]\nname = "mine"\nurl = "https://m"\n'
        '[[tool.pdm.source]]\nname = "pypi"\nurl = "https://p"\n'
        '[[tool.pdm.source]]\ntype = "find_links"\nurl = "https://f"\n',
    )
    pin = lock(folder, package("one")).read()["one"]
    assert pin.index_url == "https://p"
    assert pin.options == ("--extra-index-url", "https://m", "--find-links", "https://f")


def test_links_of_the_project(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    source = '[[tool.pdm.source]]\ntype = "find_links"\nurl = "{}"\n'
    wanted = {
        "file:///${PROJECT_ROOT}/w": f"file://{folder.path}/w",
        "w": f"{folder.path}/w",
        "https://f": "https://f",
    }
    for url, option in wanted.items():
        folder.write("pyproject.toml", source.format(url))
        assert lock(folder, package("one")).read()["one"].options == ("--find-links", option)
    folder.write("pyproject.toml", source.format("https://${TOKEN}@f"))
    assert "package[0]: 'https://****@f' is refused" in lock(folder, package("one")).fails()


def test_a_source_that_lists_a_distribution_is_asked_alone(folder: Folder) -> None:
    folder.write(
        "pyproject.toml",
        '[[tool.pdm.source]]\nname = "mine"\nurl = "https://m"\ninclude_packages = ["one*"]\n'
        '[[tool.pdm.source]]\nname = "other"\nurl = "https://o"\nexclude_packages = ["two"]\n',
    )
    pins = lock(folder, package("one"), package("two"), package("three")).read()
    assert (pins["one"].index_url, pins["one"].options) == ("https://m", ())
    assert (pins["two"].index_url, pins["two"].options) == (None, ("--extra-index-url", "https://m"))
    assert pins["three"].options == ("--extra-index-url", "https://m", "--extra-index-url", "https://o")


def test_origins(folder: Folder) -> None:
    texts = {
        "g": 'git = "https://h/g"\nref = "v1"\nrevision = "0ab"\nsubdirectory = "s"',
        "p": 'path = "./lib"\neditable = true',
        "f": f'path = "./f-1.0.tar.gz"\nfiles = [{{ file = "f-1.0.tar.gz", hash = "sha256:{A}" }}]',
        "u": 'url = "https://h/u-1.0-py3-none-any.whl"',
        "l": 'url = "file:///${PROJECT_ROOT}/l"',
    }
    packages = (f'name = "{name}"\nversion = "1.0"\n{text}' for name, text in texts.items())
    pins = lock(folder, *packages).read()
    here = folder.path
    assert {name: pin.origin for name, pin in pins.items()} == {
        "g": Repository(
            vcs="git", url="https://h/g", commit="0ab", requested_revision="v1", subdirectory="s"
        ),
        "p": Local(path=f"{here}/lib", editable=True),
        "f": Archive(file_name="f-1.0.tar.gz", path=f"{here}/f-1.0.tar.gz", hashes=(("sha256", A),)),
        "u": Archive(file_name="u-1.0-py3-none-any.whl", url="https://h/u-1.0-py3-none-any.whl"),
        "l": Local(path=f"{here}/l"),
    }


PROJECT = """
[project]
name = "app"
version = "0.1"
dependencies = [
  "one[more]>=1", "two; sys_platform == 'win32'",
  "num<2; python_version<'3.10'", "num>=2; python_version>='3.10'",
]
[project.optional-dependencies]
fast = ["four"]
[dependency-groups]
dev = ["five", { include-group = "Test_s" }]
test-s = ["six"]
[tool.pdm.dev-dependencies]
lint = ["-e file:///${PROJECT_ROOT}/seven#egg=seven"]
"""


def walked(folder: Folder, project: str = PROJECT) -> LockFile:
    folder.write("pyproject.toml", project)
    return lock(
        folder,
        package("num", "1.26"),
        package("num", "2.3"),
        package("one", rest='dependencies = ["num>=1", "three; extra == \\"x\\""]'),
        package("one", rest='extras = ["more"]\ndependencies = ["one==1.0", "socks"]'),
        *(package(name) for name in ("socks", "two", "four", "five", "six")),
        'name = "seven"\npath = "./seven"\neditable = true\nversion = "1"',
        strategy='"cross_platform"',
        version="4.4.1",
    )


def test_a_lock_without_groups_is_walked(folder: Folder) -> None:
    file = walked(folder)
    with open(file.path, encoding="utf-8") as stream:
        folder.write("pdm.lock", stream.read().replace('"fast"]', '"fast", "lint"]'))
    assert file.read()["app"].origin == Local(path=folder.path, editable=True)
    found = file.versions()
    assert set(found) == {"one", "socks", "num", "four", "five", "six", "seven"}
    assert found["num"] == "2.3"
    assert file.versions(OLD)["num"] == "1.26"
    assert set(file.versions(WINDOWS, default_groups=False)) == {"one", "socks", "num", "two"}


@pytest.mark.parametrize(
    ("old", "new", "part"),
    [
        ("four", "news", "news"),
        ('"six"', '"six", { include-group = "dev" }', "the group dev includes itself"),
        ('"six"', "3", "test-s has 3, which is not a valid requirement"),
        ('["six"]', "3", "test-s is not a list"),
        ('"six"', '"~six"', "'~six' is not a valid requirement"),
        ("one[more]>=1", 'one[more]>=1", "num<1', "num"),
    ],
)
def test_a_project_that_contradicts_its_lock(folder: Folder, old: str, new: str, part: str) -> None:
    assert part in walked(folder, PROJECT.replace(old, new)).fails()


def test_a_walk_needs_the_project(folder: Folder) -> None:
    assert "is missing: this lock of PDM" in walked(folder, "").fails()


def test_targets(folder: Folder) -> None:
    def only(text: str) -> LockFile:
        return lock(folder, package("one"), rest=f"[[metadata.targets]]\n{text}")

    for text in (
        'requires_python = ">=3.11"',
        'platform = "linux"',
        'platform = "manylinux_2_17_x86_64"\nimplementation = "cpython"',
        'requires_python = "<3"\n[[metadata.targets]]\nplatform = "linux"',
    ):
        assert set(only(text).versions()) == {"one"}
    for text in (
        'requires_python = ">=3.12"',
        'platform = "windows"',
        'platform = "macos_arm64"',
        'platform = "manylinux_2_17_aarch64"',
        'implementation = "pypy"',
    ):
        assert "metadata.targets: The lock is for " in only(text).fails(LINUX)
    assert set(only('implementation = "pypy"\nrequires_python = ">=3.9"').versions(PYPY)) == {"one"}


def test_files_apart_from_their_packages(folder: Folder) -> None:
    """PDM before 2.8."""
    row = f'{{ file = "one-1.0-py3-none-any.whl", hash = "sha256:{B}" }}'
    folder.write("pyproject.toml", '[project]\ndependencies = ["one"]')
    text = (
        '[[package]]\nname = "one"\nversion = "1.0"\n[metadata]\nlock_version = "4.2"\n'
        f'[metadata.files]\n"one 1.0" = [{row}]\n'
    )
    pins = folder.write("pdm.lock", text).read()
    assert pins["one"].wheels[0].hashes == (("sha256", B),)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        (package("one").replace(">=3.8", ">=3.12"), "package[0]: one needs Python >=3.12"),
        (package("one").replace(">=3.8", "three"), "'three' is not a valid range"),
        (package("one").replace("py3", "cp312"), "package[0]: one 1.0 has no wheel"),
        (package("one").replace(A, "0"), "'sha256:0' is not a hash"),
        (package("one").replace('"one"', '""'), "package[0]: name is missing"),
        (package("one").replace('"1.0"', "1.0"), "package[0]: version should be a string, it is float"),
        ('name = "one"\ngit = "https://h"', "ref is missing"),
    ],
)
def test_what_does_not_fit_is_named(folder: Folder, text: str, part: str) -> None:
    assert part in lock(folder, text).fails()


@pytest.mark.parametrize("version", ["5.0.0", "2.0", "x", ""])
def test_unknown_formats(folder: Folder, version: str) -> None:
    assert f"version {version!r} of the format is unknown" in lock(folder, version=version).fails()

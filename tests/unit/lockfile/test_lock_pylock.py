"""pylock.toml (PEP 751)."""

from __future__ import annotations

import pytest
from lock_files import LINUX, OLD, PYPY, WINDOWS, A, B, C, Folder, LockFile, file_names, target
from pipm.core.pins import Archive, Repository
from pipm.core.pins import SourceFolder as Local

HEAD = 'lock-version = "1.0"\ncreated-by = "hand"\n'
WHEEL = f'{{ name = "one-1.0-py3-none-any.whl", url = "https://h/one.whl", hashes = {{ sha256 = "{A}" }} }}'


@pytest.fixture
def folder(tmp_path: object) -> Folder:
    return Folder(path=str(tmp_path))


def lock(folder: Folder, *packages: str, head: str = "") -> LockFile:
    return folder.write("pylock.toml", HEAD + head + "".join(f"[[packages]]\n{text}\n" for text in packages))


def one(*, name: str = "one", rest: str = "") -> str:
    wheel = WHEEL.replace("one-1.0", f"{name}-1.0")
    return f'name = "{name}"\nversion = "1.0"\n{rest}\nwheels = [{wheel}]'


def test_a_wheel_and_its_place(folder: Folder) -> None:
    pin = lock(folder, one(rest='index = "https://i/simple"')).read()["one"]
    assert (pin.version, pin.index_url, pin.where, pin.sdist) == (
        "1.0",
        "https://i/simple",
        "packages[0]",
        None,
    )
    assert pin.wheels == (
        Archive(file_name="one-1.0-py3-none-any.whl", url="https://h/one.whl", hashes=(("sha256", A),)),
    )


def test_all_wheels_that_fit_the_best_first(folder: Folder) -> None:
    names = [
        "one-1.0-py3-none-any.whl",
        "one-1.0-cp311-cp311-win_amd64.whl",
        "one-1.0-cp39-abi3-manylinux_2_17_x86_64.manylinux2014_x86_64.whl",
        "one-1.0-cp311-cp311-manylinux_2_17_x86_64.whl",
        "one-1.0-2-cp311-cp311-manylinux_2_28_x86_64.whl",
        "one-1.0-10-cp311-cp311-manylinux_2_28_x86_64.whl",
        "one-1.0-cp311-cp311-manylinux_2_28_x86_64.whl",
        "one-1.0-cp312-cp312-manylinux_2_28_x86_64.whl",
    ]
    wheels = ", ".join(
        f'{{ name = "{name}", url = "https://h/u", hashes = {{ sha256 = "{A}" }} }}' for name in names
    )
    text = f'name = "one"\nversion = "1.0"\nwheels = [{wheels}]'
    assert file_names(lock(folder, text).read()["one"].wheels) == [names[i] for i in (5, 4, 6, 3, 2, 0)]


def test_an_sdist_where_no_wheel_fits(folder: Folder) -> None:
    wheel = WHEEL.replace("py3-none-any", "cp312-cp312-win_amd64")
    sdist = f'{{ path = "d/one-1.0.tar.gz", size = 5, hashes = {{ sha256 = "{B}", md5 = "x" }} }}'
    text = f'name = "one"\nversion = "1.0"\nwheels = [{wheel}]\nsdist = {sdist}'
    pin = lock(folder, text).read()["one"]
    assert pin.wheels == ()
    path = f"{folder.path}/d/one-1.0.tar.gz"
    assert pin.sdist == Archive(file_name="one-1.0.tar.gz", path=path, size=5, hashes=(("sha256", B),))


def test_no_wheel_and_no_sdist(folder: Folder) -> None:
    text = one().replace("py3-none-any", "cp312-cp312-win_amd64")
    message = lock(folder, one(name="other"), text).fails()
    assert "'one'" in message
    assert "packages[1]" in message


def test_markers_extras_and_groups(folder: Folder) -> None:
    head = 'extras = ["fast"]\ndependency-groups = ["dev", "docs"]\ndefault-groups = ["dev"]\n'
    file = lock(
        folder,
        one(rest="marker = \"sys_platform == 'win32'\""),
        one(name="two", rest="marker = \"'fast' in extras\""),
        one(name="three", rest="marker = \"'dev' in dependency_groups or 'docs' in dependency_groups\""),
        one(name="four", rest="marker = \"platform_python_implementation == 'PyPy'\""),
        head=head,
    )
    assert set(file.versions()) == {"three"}
    assert set(file.versions(WINDOWS)) == {"one", "three"}
    assert set(file.versions(extras=("Fast",), default_groups=False)) == {"two"}
    assert set(file.versions(groups=("docs",), default_groups=False)) == {"three"}
    assert set(file.versions(PYPY)) == {"three", "four"}
    assert file.fails(extras=("slow",)) == "LOCK: there is no extra slow"
    assert file.fails(groups=("tests",)) == "LOCK: there is no group tests"


def test_one_name_for_two_pythons(folder: Folder) -> None:
    file = lock(
        folder,
        one(rest="marker = \"python_version < '3.10'\""),
        one(rest="marker = \"python_version >= '3.10'\"").replace("1.0", "2.0"),
    )
    assert file.versions(OLD) == {"one": "1.0"}
    assert file.versions(LINUX) == {"one": "2.0"}


@pytest.mark.parametrize(
    ("head", "packages", "part"),
    [
        ("", [one(), one()], "packages[1]"),
        ('requires-python = ">=3.12"\n', [one()], "3.11.7"),
        ("environments = [\"sys_platform == 'win32'\"]\n", [one()], "environments"),
        ("", [one(rest='requires-python = ">=3.12"')], "'one' at packages[0]"),
        ("", [one(), one(rest="marker = 'python_version ~~ 3'")], "packages[1].marker"),
        ("", ['name = "one"'], "packages[0]"),
        ("", [one().replace("one-1.0-", "two-1.0-")], "packages[0].wheels[0]"),
        ("", [one().replace(f'sha256 = "{A}"', "")], "packages[0].wheels[0].hashes"),
        ("", [one().replace(A, "123")], "packages[0]"),
        ("", [one().replace("sha256", "blake3")], "packages[0]: none of blake3"),
    ],
)
def test_what_does_not_fit_is_named(folder: Folder, head: str, packages: list[str], part: str) -> None:
    assert part in lock(folder, *packages, head=head).fails()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("", "lock-version"),
        ('lock-version = "2.0"\ncreated-by = "x"\npackages = []\n', "2.0"),
        ('lock-version = "1.0"\ncreated-by = "x"\n', "packages"),
        ("lock-version = 1.0\n", "lock-version"),
        ("= 1\n", "line 1, column 1"),
        ("a = [" + "[" * 5000, "nested too deeply"),
    ],
)
def test_broken_files(folder: Folder, text: str, part: str) -> None:
    assert part in folder.write("pylock.dev.toml", text).fails()


def test_origins(folder: Folder) -> None:
    archive = f'[packages.archive]\nurl = "https://h/a-1.0-py3-none-any.whl"\nhashes.sha256 = "{C}"'
    sources = f'[packages.archive]\npath = "b.zip"\nsubdirectory = "s"\nhashes.sha256 = "{C}"'
    commit = '[packages.vcs]\ntype = "git"\nurl = "https://h/g"\ncommit-id = "0ab"\nrequested-revision = "v1"'
    here = '[packages.vcs]\ntype = "git"\npath = "../g"\ncommit-id = "0ab"\nsubdirectory = "x"'
    local = '[packages.directory]\npath = "../d"\neditable = true'
    texts = {"a": archive, "b": sources, "g": commit, "h": here, "d": local}
    pins = lock(folder, *(f'name = "{name}"\n{text}' for name, text in texts.items())).read()
    above = folder.path.rpartition("/")[0]
    found = {name: pin.origin for name, pin in pins.items()}
    assert found == {
        "a": Archive(
            file_name="a-1.0-py3-none-any.whl",
            url="https://h/a-1.0-py3-none-any.whl",
            hashes=(("sha256", C),),
        ),
        "b": Archive(
            file_name="b.zip", path=f"{folder.path}/b.zip", subdirectory="s", hashes=(("sha256", C),)
        ),
        "g": Repository(vcs="git", url="https://h/g", commit="0ab", requested_revision="v1"),
        "h": Repository(vcs="git", url=f"file://{above}/g", commit="0ab", subdirectory="x"),
        "d": Local(path=f"{above}/d", editable=True),
    }


def test_an_archive_that_is_another_platforms_wheel(folder: Folder) -> None:
    text = f'name = "a"\n[packages.archive]\nurl = "https://h/a-1-cp39-cp39-win32.whl"\nhashes.sha256 = "{C}"'
    assert lock(folder, text).fails().startswith("LOCK: packages[0]: a has no wheel for CPython 3.11.7")


def test_a_python_between_releases(folder: Folder) -> None:
    file = lock(folder, one(rest='requires-python = ">=3.13"'))
    assert file.versions(target("3.14.0+")) == {"one": "1.0"}


def test_variant_wheels_are_left_out(folder: Folder) -> None:
    variant = WHEEL.replace("none-any", "none-any-x86_64_v3")
    text = f'name = "one"\nversion = "1.0"\nwheels = [{variant}, {WHEEL}]'
    assert file_names(lock(folder, text).read()["one"].wheels) == ["one-1.0-py3-none-any.whl"]
    message = lock(folder, f'name = "one"\nversion = "1.0"\nwheels = [{variant}]').fails()
    assert "is a variant wheel (PEP 825)" in message
    assert "packages[0]" in message

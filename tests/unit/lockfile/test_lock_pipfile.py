"""Pipfile.lock."""

from __future__ import annotations

import json

import pytest
from lock_files import OLD, WINDOWS, A, B, Folder, LockFile
from pipm.core.pins import Archive, Repository
from pipm.core.pins import SourceFolder as Local

SOURCES = [
    {"name": "pypi", "url": "https://p/simple", "verify_ssl": True},
    {"name": "mine", "url": "https://me:x@m:8080/simple", "verify_ssl": False},
]


@pytest.fixture
def folder(tmp_path: object) -> Folder:
    return Folder(path=str(tmp_path))


def lock(folder: Folder, *, python: str = "3.11", spec: object = 6, **categories: object) -> LockFile:
    requires = {"python_version": python} if python else {}
    meta = {"pipfile-spec": spec, "requires": requires, "sources": SOURCES, "hash": {"sha256": A}}
    return folder.write("Pipfile.lock", json.dumps({"_meta": meta, **categories}))


def test_categories_and_markers(folder: Folder) -> None:
    file = lock(
        folder,
        default={
            "One": {
                "version": "==1.0",
                "hashes": [f"sha256:{A}", f"sha256:{B}"],
                "markers": "os_name != 'x'",
            },
            "win": {"version": "*", "markers": "sys_platform == 'win32'"},
        },
        develop={"two": {"version": "==2"}, "one": {"version": "==1.0"}},
        docs={"three": {"version": "==3"}},
    )
    assert file.versions() == {"one": "1.0"}
    pin = file.read()["one"]
    assert pin.hashes == (("sha256", A), ("sha256", B))
    assert pin.where == "default.One"
    assert set(file.versions(groups=("dev",))) == {"one", "two"}
    assert set(file.versions(groups=("develop", "docs"))) == {"one", "two", "three"}
    assert file.fails(groups=("tests",)) == "LOCK: there is no group tests"
    assert file.fails(extras=("x",)) == "LOCK: there is no extra x"
    assert "default.win: win is not pinned, its version is '*'" in file.fails(WINDOWS)


def test_only_the_own_index_is_asked(folder: Folder) -> None:
    pins = lock(
        folder,
        default={
            "one": {"version": "==1"},
            "two": {"version": "==1", "index": "mine"},
            "three": {"version": "==1", "index": "https://z"},
        },
    ).read()
    assert (pins["one"].index_url, pins["one"].options) == ("https://p/simple", ())
    assert pins["two"].index_url == "https://me:x@m:8080/simple"
    assert pins["two"].options == ("--trusted-host", "m:8080")
    assert pins["three"].index_url == "https://z"


@pytest.mark.parametrize("url", ["https://${USER}:${TOKEN}@m/simple", "https://$TOKEN@m/simple"])
def test_a_login_of_variables_is_pips_to_know(
    folder: Folder, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    text = lock(folder, default={"one": {"version": "==1"}})
    with open(text.path, encoding="utf-8") as stream:
        document = json.load(stream)
    document["_meta"]["sources"] = [{"name": "mine", "url": url, "verify_ssl": True}]
    pins = folder.write("Pipfile.lock", json.dumps(document)).read()
    assert pins["one"].index_url == "https://m/simple"


def test_variables_are_not_put_in(folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "secret")
    variable = [{"name": "mine", "url": "https://m/${TOKEN}/simple", "verify_ssl": True}]
    text = lock(folder, default={"one": {"version": "==1"}})
    with open(text.path, encoding="utf-8") as stream:
        document = json.load(stream)
    document["_meta"]["sources"] = variable
    message = folder.write("Pipfile.lock", json.dumps(document)).fails()
    assert "_meta.sources[0]" in message
    assert "secret" not in message


def test_origins(folder: Folder) -> None:
    pins = lock(
        folder,
        default={
            "g": {"git": "https://h/g", "ref": "0ab", "subdirectory": "s", "version": "==1.5"},
            "e": {"path": "./lib", "editable": True},
            "f": {"file": "https://h/f-1.0-py3-none-any.whl", "hashes": [f"sha256:{A}"]},
            "p": {"path": "w/p-1.0.tar.gz"},
            "l": {"file": "file:///l%20l"},
        },
    ).read()
    assert {name: pin.origin for name, pin in pins.items()} == {
        "g": Repository(vcs="git", url="https://h/g", commit="0ab", subdirectory="s"),
        "e": Local(path=f"{folder.path}/lib", editable=True),
        "f": Archive(
            file_name="f-1.0-py3-none-any.whl",
            url="https://h/f-1.0-py3-none-any.whl",
            hashes=(("sha256", A),),
        ),
        "p": Archive(file_name="p-1.0.tar.gz", path=f"{folder.path}/w/p-1.0.tar.gz"),
        "l": Local(path="/l l"),
    }
    assert pins["g"].version == "1.5"


def test_another_python(folder: Folder) -> None:
    assert "_meta.requires: The lock needs Python 3.11.*" in lock(folder, default={}).fails(OLD)
    assert lock(folder, python="", default={}).read(OLD) == {}


@pytest.mark.parametrize(
    ("default", "part"),
    [
        ({"one": {"version": "==1.*"}}, "default.one: one is not pinned"),
        ({"one": {"version": ">=1"}}, "default.one: one is not pinned"),
        ({"one": {"version": "==x"}}, "default.one: one is not pinned"),
        ({"one": {"version": 1}}, "default.one: version should be a string"),
        ({"one": "==1"}, "default: one should be a table"),
        ({"one": {"version": "==1", "hashes": ["sha256:1"]}}, "default.one: 'sha256:1' is not a hash"),
        ({"one": {"version": "==1", "markers": "x"}}, "default.one: 'x' is not a valid marker"),
        ({"-": {"version": "==1"}}, "default.-: '-' is not a valid name"),
        ({"one": {"git": "x"}}, "default.one: ref is missing"),
        ({"one": {"file": "https://h/one-1-cp39-cp39-win32.whl"}}, "default.one: one has no wheel"),
        ([], "default should be a table"),
    ],
)
def test_what_does_not_fit_is_named(folder: Folder, default: object, part: str) -> None:
    assert part in lock(folder, default=default).fails()


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("{", "line 1 column 2"),
        ("[]", "not an object"),
        ("{}", "version None of the format"),
        ("[" * 100_000, "nested too deeply"),
        ('{"_meta": {"pipfile-spec": 7}}', "version 7 of the format"),
        ('{"_meta": {"pipfile-spec": "6"}}', "pipfile-spec should be an integer"),
    ],
)
def test_broken_files(folder: Folder, text: str, part: str) -> None:
    assert part in folder.write("Pipfile.lock", text).fails()

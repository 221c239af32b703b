"""Real RECORDs, and the places of their rows."""

from __future__ import annotations

import os
import posixpath

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pipm.core.digest import EMPTY, Digest
from pipm.core.record import Location, RecordPlace, RecordRow, is_bytecode, locate, parse_record

SITE = "lib/python3.12/site-packages"
ROW = f"{EMPTY.record},0"


def parsed(data: bytes) -> list[RecordRow]:
    return list(parse_record(data))


def test_an_ordinary_record() -> None:
    rows = parsed(f"a.py,{ROW}\na-1.dist-info/RECORD,,\n".encode())
    assert rows == [RecordRow("a.py", EMPTY.record, 0), RecordRow("a-1.dist-info/RECORD", "", None)]
    assert [row.digest for row in rows] == [EMPTY, None]


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        (b"", []),
        (b"\n\n\n", []),
        (b",,\n", []),
        (b"a.py,,\r\nb.py,,\r\n", ["a.py", "b.py"]),
        (b"a.py,,\rb.py,,\r", ["a.py", "b.py"]),
        (b"a.py,,", ["a.py"]),
        (b'"a,b.py",,\n', ["a,b.py"]),
        (b'"a""b.py",,\n', ['a"b.py']),
        (b'"a\nb.py",,\nc.py,,\n', ["a\nb.py", "c.py"]),
        (b'"a\r\nb.py",,\n', ["a\r\nb.py"]),
        (b'"unfinished,,\na.py', ["unfinished,,\na.py"]),
        ("a\u2028b.py,,\nc\x85d\x0ce.py,,\n".encode(), ["a\u2028b.py", "c\x85d\x0ce.py"]),
        (b"caf\xe9.py,,\n", ["caf\udce9.py"]),
        (b"a\0b.py,,\n", ["a\0b.py"]),
        (b"a.py\nb.py,\nc.py,,,,\n", ["a.py", "b.py", "c.py"]),
        (b" a.py ,,\n", [" a.py "]),
    ],
)
def test_odd_rows(data: bytes, paths: list[str]) -> None:
    rows = parsed(data)
    assert [row.path for row in rows] == paths
    assert all(row.size is None and row.digest is None for row in rows)


def test_undecodable_names_still_open() -> None:
    (row,) = parsed(b"caf\xe9.py,,\n")
    assert os.fsencode(row.path) == b"caf\xe9.py"


@pytest.mark.parametrize(
    ("size", "read"),
    [("12", 12), ("", None), ("-1", None), ("1.5", None), ("x", None), ("1" * 5000, None), (" 1", None)],
)
def test_sizes(size: str, read: int | None) -> None:
    assert parsed(f"a.py,,{size}\n".encode())[0].size == read


@pytest.mark.parametrize("hash_", ["sha512=AAAA", "md5=1B2M2Y8AsgTpgAmY7PhCfg", "sha256=???", "x", ""])
def test_other_hashes_promise_nothing(hash_: str) -> None:
    (row,) = parsed(f"a.py,{hash_},1\n".encode())
    assert (row.hash, row.digest) == (hash_, None)


def test_a_name_longer_than_the_csv_module_likes() -> None:
    assert parsed(b"x" * 200_000 + b",,\n")[0].path == "x" * 200_000


@given(st.binary(max_size=200))
@example(b'"')
@example(b'a"b"c,"\r\n\0')
def test_any_bytes_are_a_record(data: bytes) -> None:
    for row in parsed(data):
        assert row.path
        assert row.size is None or row.size >= 0


@given(
    st.lists(
        st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).map(lambda name: f"d/{name}"),
        max_size=5,
    )
)
def test_quoted_names_come_back(names: list[str]) -> None:
    text = "".join(f'"{name.replace(chr(34), chr(34) * 2)}",{ROW}\n' for name in names)
    assert [row.path for row in parsed(text.encode())] == names


@pytest.mark.parametrize(
    ("path", "answer"),
    [
        ("a/__pycache__/b.cpython-312.pyc", True),
        ("__pycache__/b.cpython-312.pyc", True),
        ("../../../x/__pycache__/b.pyc", True),
        ("a/b.pyc", False),
        ("a/not__pycache__/b.pyc", False),
        ("a/__pycache__/b.txt", False),
        ("a/__pycache__.pyc", False),
    ],
)
def test_bytecode_by_its_place(path: str, answer: bool) -> None:  # noqa: FBT001
    assert is_bytecode(path) is answer


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("a/b.py", Location(RecordPlace.SITE, "a/b.py")),
        (".hidden/b.py", Location(RecordPlace.SITE, ".hidden/b.py")),
        ("a/.hidden", Location(RecordPlace.SITE, "a/.hidden")),
        ("./a.py", Location(RecordPlace.SITE, "a.py")),
        ("a//b.py", Location(RecordPlace.SITE, "a/b.py")),
        ("a/../b.py", Location(RecordPlace.SITE, "b.py")),
        ("..a/b.py", Location(RecordPlace.SITE, "..a/b.py")),
        ("../site-packages/a.py", Location(RecordPlace.SITE, "a.py")),
        ("../../../bin/tool", Location(RecordPlace.SCRIPT, "bin/tool")),
        ("../../../Scripts/tool.exe", Location(RecordPlace.SCRIPT, "Scripts/tool.exe")),
        ("../../../share/man/tool.1", Location(RecordPlace.DATA, "share/man/tool.1")),
        ("../../../include/a.h", Location(RecordPlace.DATA, "include/a.h")),
        ("../../../etc/a.conf", Location(RecordPlace.CONFIGURATION, "etc/a.conf")),
    ],
)
def test_where_rows_lie(path: str, location: Location) -> None:
    assert locate(path, SITE) == location


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd",
        "//etc/passwd",
        "../../../../victim",
        "../../../../env-2/victim",
        "../../..",
        "..",
        ".",
        "a/..",
        "../../../pyvenv.cfg",
        "../../../x/../pyvenv.cfg",
        "../other.py",
        "../../python3.11/site-packages/a.py",
        "../../../lib64/x",
        "../site-packages2/a.py",
        "a\\..\\..\\b",
        "..\\..\\b",
        "C:\\b",
        "a\0b",
    ],
)
def test_what_lies_outside(path: str) -> None:
    assert locate(path, SITE).place is RecordPlace.OUTSIDE


components = st.sampled_from(
    ["..", ".", "", "a", "b.py", "lib", "bin", "share", "site-packages", "\\", "\0", ".x"]
)


@given(
    st.lists(components, max_size=9).map("/".join) | st.text(max_size=12),
    st.sampled_from([SITE, "site-packages"]),
)
def test_nothing_located_leaves_the_environment(path: str, site: str) -> None:
    place, inside = locate(path, site)
    if place is RecordPlace.OUTSIDE:
        return
    root = "/home/me/env"
    base = f"{root}/{site}" if place is RecordPlace.SITE else root
    whole = posixpath.normpath(f"{base}/{inside}")
    assert posixpath.commonpath([root, whole]) == root
    assert "\0" not in inside
    assert "\\" not in inside
    assert not {"..", "."} & set(inside.split("/"))
    if place is RecordPlace.SITE:
        assert posixpath.commonpath([base, whole]) == base
    else:
        assert whole != f"{root}/pyvenv.cfg"
        # What another place of the environment has is not reached by a way around.
        assert posixpath.commonpath([f"{root}/{site}", whole]) != f"{root}/{site}"


@given(st.lists(components, min_size=1, max_size=6).map("/".join))
def test_locating_twice_is_locating_once(path: str) -> None:
    place, inside = locate(path, SITE)
    if place is RecordPlace.SITE and inside:
        assert locate(inside, SITE) == Location(place, inside)


def test_a_digest_is_what_record_promises() -> None:
    digest = Digest.of(b"x")
    assert RecordRow("a", digest.record, 1).digest == digest

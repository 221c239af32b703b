"""Run paths of shared libraries, of real and of damaged ones."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipm.wheel.elf_run_paths import run_paths


def library(text: bytes, *, tag: int = 29, wide: bool = True, order: str = "<") -> bytes:
    """An ELF file with one loaded and one dynamic segment; the strings follow the dynamic section."""
    head_size, row = (64, 56) if wide else (52, 32)
    start = head_size + 2 * row
    size = struct.calcsize(order + ("qQ" if wide else "iI"))
    strings = start + 3 * size
    base = 0x1000
    dynamic = b"".join(
        struct.pack(order + ("qQ" if wide else "iI"), *pair)
        for pair in ((5, base + strings), (tag, 1), (0, 0))
    )
    body = dynamic + b"\0" + text + b"\0"
    total = start + len(body)
    ident = b"\x7fELF" + bytes([2 if wide else 1, 1 if order == "<" else 2]) + bytes(10)
    if wide:
        head = ident + struct.pack(order + "HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, row, 2, 0, 0, 0)
        form = order + "IIQQQQQQ"
        rows = struct.pack(form, 1, 5, 0, base, base, total, total, 0)
        rows += struct.pack(form, 2, 6, start, base + start, 0, len(dynamic), len(dynamic), 0)
    else:
        head = ident + struct.pack(order + "HHIIIIIHHHHHH", 3, 3, 1, 0, 52, 0, 0, 52, row, 2, 0, 0, 0)
        form = order + "IIIIIIII"
        rows = struct.pack(form, 1, 0, base, base, total, total, 5, 0)
        rows += struct.pack(form, 2, start, base + start, 0, len(dynamic), len(dynamic), 6, 0)
    return head + rows + body


@pytest.mark.parametrize("wide", [True, False])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("tag", [15, 29])
def test_entries_below_origin(tag: int, order: str, wide: bool) -> None:  # noqa: FBT001 - a parameter
    text = b"$ORIGIN/../../nvjitlink/lib:$ORIGIN:/usr/lib:${ORIGIN}/../x.libs"
    found = run_paths(io.BytesIO(library(text, tag=tag, wide=wide, order=order)))
    assert found == ["../../nvjitlink/lib", ".", "../x.libs"]


def test_other_tags_say_nothing() -> None:
    assert run_paths(io.BytesIO(library(b"$ORIGIN/..", tag=14))) == []


@given(st.binary(max_size=300))
def test_no_bytes_are_an_error(data: bytes) -> None:
    run_paths(io.BytesIO(data))


@given(st.integers(0, 250), st.binary(min_size=1, max_size=8))
def test_no_torn_library_is_an_error(place: int, data: bytes) -> None:
    whole = library(b"$ORIGIN/../lib")
    run_paths(io.BytesIO(whole[:place] + data + whole[place + len(data) :]))
    run_paths(io.BytesIO(whole[:place]))

"""The documents of a remote: they are read as they were written; others are refused."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipm.core.digest import EMPTY, Digest
from pipm.core.manifest import identity_of
from pipm.errors import RemoteError, UsageError
from pipm.remote.extra_libraries import compress, decompress, extra_library
from pipm.remote.pack_writer import frame_starts, frames_of
from pipm.remote.pull import checked_manifest
from pipm.remote.remote_values import (
    GRACE_DAYS,
    Blob,
    Frame,
    IndexEntry,
    RemoteFile,
    RemoteIndex,
    RemoteManifest,
)

if TYPE_CHECKING:
    from pathlib import Path

PACK, OLD = Digest.of(b"pack").hex(), Digest.of(b"old").hex()
FRAME = Frame(PACK, 0, 10, 100)
CODE = Digest.of(b"x = 1\n")


def row_of(*files: RemoteFile, **changes: object) -> IndexEntry:
    identity = identity_of(
        (file.path.removeprefix("site/"), file.digest, bool(file.kind & 1)) for file in files
    )
    row = IndexEntry(
        "alpha",
        "1.0",
        "py3-none-any",
        identity,
        (),
        Blob(FRAME, CODE),
        {"cpython-311-3495": Blob(FRAME, CODE, (PACK,))},
        20_000,
    )
    return row._replace(**changes)  # type: ignore[arg-type]


def test_documents_are_read_as_they_were_written() -> None:
    manifest = RemoteManifest((FRAME,), (RemoteFile("site/alpha.py", CODE, 6, 0, 94),))
    assert RemoteManifest.from_json(manifest.to_json()) == manifest
    index = RemoteIndex(3, (row_of(*manifest.files, archives=(CODE,)),), {PACK: 10, OLD: 20}, {OLD: 20_001})
    assert RemoteIndex.from_json(index.to_json()) == index
    assert index.merged(index) == index


def test_an_index_of_another_format_is_not_called_damaged() -> None:
    with pytest.raises(RemoteError, match="has format 1, this pipm reads") as told:
        RemoteIndex.from_json(b'{"format": 1, "serial": 1, "entries": []}')
    assert "same version of pipm" in str(told.value.hint)


def test_what_no_push_names_is_forgotten() -> None:
    """Its packs are named for some days more, unless a push needs them again."""
    index = RemoteIndex(3, (row_of(),), {PACK: 10}, {})
    assert index.without(20_000, 20_100) == index
    forgotten = index.without(20_001, 20_100)
    assert forgotten == RemoteIndex(3, (), {PACK: 10}, {PACK: 20_100})
    assert forgotten.without(20_001, 20_100 + GRACE_DAYS) == forgotten
    assert forgotten.without(20_001, 20_101 + GRACE_DAYS) == RemoteIndex(3, (), {}, {})
    assert forgotten.merged(index) == index


def leaves(document: object, way: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    pairs = (
        document.items()
        if isinstance(document, dict)
        else enumerate(document)
        if isinstance(document, list)
        else ()
    )
    return [way, *(leaf for key, value in pairs for leaf in leaves(value, (*way, key)))]


@pytest.mark.parametrize("value", [None, -1, 2**60, True, 1.5, "", "../x", [], {}, [[]], "é" * 64])
def test_no_odd_value_is_more_than_an_error(value: object) -> None:
    manifest = RemoteManifest((FRAME,), (RemoteFile("site/alpha.py", CODE, 6, 0, 94),))
    for document in (manifest, RemoteIndex(3, (row_of(*manifest.files, archives=(CODE,)),), {PACK: 1}, {})):
        for way in leaves(json.loads(document.to_json())):
            spoiled = {"": json.loads(document.to_json())}
            place: Any = spoiled
            for key in ("", *way)[:-1]:
                place = place[key]
            place[("", *way)[-1]] = value
            try:
                read = type(document).from_json(json.dumps(spoiled[""]).encode())
            except RemoteError:
                continue
            # Another text, an empty list, another number in its limits: no name of a pack, no kind, no size.
            assert all(len(Digest.from_hex(frame.pack)) == 32 for frame in getattr(read, "frames", ()))


@pytest.mark.parametrize(
    "path",
    [
        *("/etc/passwd", "site/../x", "site/a\0b", "other/x", "site", "site//x", "site/" + "x" * 300),
        *("site/__pycache__/a.cpython-311.pyc", "site/alpha-1.0.dist-info/RECORD"),
        *("data/pyvenv.cfg", "scripts/python"),
    ],
)
def test_no_path_is_taken_that_a_wheel_could_not_have(path: str) -> None:
    files = (RemoteFile(path, CODE, 6, 0, 0),)
    with pytest.raises(RemoteError, match=r"alpha 1\.0"):
        checked_manifest(row_of(*files), RemoteManifest((FRAME,), files), 0)


def test_a_manifest_is_that_of_its_entry() -> None:
    files = (RemoteFile("site/alpha.py", CODE, 6, 0, 0), RemoteFile("site/b.py", EMPTY, 0, 0, 0))
    manifest = RemoteManifest((FRAME,), files)
    assert checked_manifest(row_of(*files), manifest, 7).files[0].mtime_ns == 7
    for changes in (
        {"identity": CODE},
        {"name": "Alpha"},
        {"name": "../alpha"},
        {"version": "1.0/.."},
        {"version": "1.00.post"},
        {"tag": "py3/../.."},
        {"tag": ""},
    ):
        with pytest.raises(RemoteError):
            checked_manifest(row_of(*files, **changes), manifest, 0)
    twice = (*files, RemoteFile("site/ALPHA.py", CODE, 6, 0, 0))
    with pytest.raises(RemoteError, match="another member"):
        checked_manifest(row_of(*twice), RemoteManifest((FRAME,), twice), 0)


def test_a_bomb_is_not_unpacked() -> None:
    frame = compress(bytes(1 << 20))
    assert decompress(frame, 1 << 20) == bytes(1 << 20)
    for data, size in (
        (frame, 100),
        (frame, (1 << 20) + 1),
        (frame + b"x", 1 << 20),
        (frame[:-1], 1 << 20),
        (b"", 0),
    ):
        with pytest.raises(RemoteError):
            decompress(data, size)


def test_without_the_extra_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(UsageError, match="obstore") as caught:
        extra_library("obstore")
    assert "venv-dedupe[remote]" in (caught.value.hint or "")


def test_a_library_that_does_not_load_is_not_called_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small container image has the library, but not a library that it is linked to."""
    (tmp_path / "linked_library.py").write_text("raise ImportError('libgcc_s.so.1: cannot open')\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UsageError, match=r"does not load \(libgcc_s"):
        extra_library("linked_library")


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.data())
def test_frames_hold_what_is_asked_for(sizes: list[int], data: st.DataObject) -> None:
    starts = frame_starts(Frame(PACK, 0, 1, size) for size in sizes)
    position = data.draw(st.integers(0, starts[-1] - 1))
    size = data.draw(st.integers(1, starts[-1] - position))
    numbers = frames_of(starts, position, size)
    owners = [number for number, size in enumerate(sizes) for _ in range(size)]
    assert list(numbers) == sorted(set(owners[position : position + size]))

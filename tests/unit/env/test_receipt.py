"""A receipt is checked before it is used."""

from __future__ import annotations

import json
import marshal
import os
from typing import TYPE_CHECKING

import pytest
from pipm.env.receipt import (
    FOLDER,
    RECEIPT,
    STORED_METADATA,
    StoredMetadataFile,
    read_receipt,
    read_stored_metadata,
    stored_metadata_bytes,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SOUND = {
    "a-1.dist-info": {"RECORD": StoredMetadataFile(0o644, b"x"), "LICENSE": StoredMetadataFile(0o644, None)}
}
SERVED = ["a-1.dist-info", "a/1/x", "1-0", ["a.pyc"], [["x", "y"]]]


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    """An open environment with an empty folder of the finder."""
    os.makedirs(tmp_path / FOLDER)
    root = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    yield root
    os.close(root)


@pytest.mark.parametrize(
    "data",
    [
        b"s" + (0x7FFFFFFF).to_bytes(4, "little"),
        b"[\1\0\0\0" * 5000,
        marshal.dumps({1: {"RECORD": (0o644, b"")}}),
        marshal.dumps({"a": {1: (0o644, b"")}}),
        marshal.dumps({"a": {"RECORD": ("0o644", b"")}}),
        marshal.dumps({"a": {"RECORD": (0o644, "text")}}),
        marshal.dumps({"a": {"RECORD": (0o644,)}}),
        marshal.dumps([1]),
        marshal.dumps(None),
        b"",
        b"\xff" * 100,
    ],
)
def test_metadata_of_another_shape_is_none(tmp_path: Path, root: int, data: bytes) -> None:
    (tmp_path / FOLDER / STORED_METADATA).write_bytes(stored_metadata_bytes(SOUND))
    assert read_stored_metadata(root) == SOUND
    (tmp_path / FOLDER / STORED_METADATA).write_bytes(data)
    assert read_stored_metadata(root) == {}


def test_metadata_that_others_can_write_is_not_unmarshalled(
    tmp_path: Path, root: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / FOLDER / STORED_METADATA
    path.write_bytes(stored_metadata_bytes(SOUND))
    path.chmod(0o666)
    monkeypatch.setattr(marshal, "loads", lambda _: pytest.fail("unmarshalled"))
    assert read_stored_metadata(root) == {}
    document = {"version": 1, "store": "/s", "site": "lib", "folded": [SERVED]}
    (tmp_path / FOLDER / RECEIPT).write_text(json.dumps(document))
    assert read_stored_metadata(root) == {"a-1.dist-info": {}}


@pytest.mark.parametrize(
    "change",
    [
        {"store": 7},
        {"site": None},
        {"folded": 7},
        {"folded": [[1, *SERVED[1:]]]},
        {"folded": [[*SERVED[:3], [7], []]]},
        {"folded": [[*SERVED[:3], [], [[1, 2, 3]]]]},
        {"folded": [SERVED[:2]]},
        {"version": 99},
    ],
)
def test_a_receipt_of_another_shape_is_none(tmp_path: Path, root: int, change: dict[str, object]) -> None:
    document = {"version": 1, "store": "/s", "site": "lib", "folded": [SERVED]}
    (tmp_path / FOLDER / RECEIPT).write_text(json.dumps(document))
    assert read_receipt(root) is not None
    (tmp_path / FOLDER / RECEIPT).write_text(json.dumps(document | change))
    assert read_receipt(root) is None

"""The hook in pip cannot import pipm and repeats rules of the store: both are the same."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from hypothesis import given
from hypothesis import strategies as st
from pipm.core.bytecode import bytecode_key, bytecode_mtime_ns, header_time, key_path
from pipm.core.digest import Digest
from pipm.core.importable import is_importable, packages_in
from pipm.pip_wrapper.runtime import store_reader as untyped

if TYPE_CHECKING:
    from pathlib import Path

store_reader: Any = untyped
NAME = st.sampled_from(["a", "b", "__init__.py", "a.py", "b.so", "c.pyd", "t.txt", "demo-1.data", "purelib"])
MEMBER = st.lists(NAME, min_size=1, max_size=4).map("/".join)
CONTENT = st.binary(max_size=8)
TIME = st.integers(0, 2**62)


@given(st.sets(MEMBER, max_size=8))
def test_the_same_members_are_importable(members: set[str]) -> None:
    paths = {store_reader.entry_path(member): member for member in sorted(members)}
    site = [path.removeprefix("site/") for path in paths if path.startswith("site/")]
    packages = packages_in(site)
    expected = {paths[f"site/{path}"] for path in site if is_importable(path, packages)}
    assert store_reader.importable(paths.values()) == expected


@given(CONTENT, st.booleans(), st.booleans(), TIME)
def test_a_content_has_the_same_object(content: bytes, executable: bool, writable: bool, time: int) -> None:  # noqa: FBT001 - Hypothesis calls it
    digest = Digest.of(content)
    row = store_reader.Row(digest.hex(), executable | writable << 1, time)
    assert row.object == digest.object_name(executable=executable, writable=writable)
    assert store_reader.legacy_time(digest.hex()) * 10**9 == digest.legacy_mtime_ns


@given(CONTENT, TIME)
def test_the_bytecode_of_a_source_has_the_same_name(content: bytes, mtime_ns: int) -> None:
    digest, asked = Digest.of(content), []

    class Reader(store_reader.StoreReader):  # type: ignore[misc] # the hook has no types
        def __init__(self) -> None:
            self.pool = "pool"

        def _sound(self, path: str) -> None:
            asked.append(path)

    assert Reader().find_bytecode(digest.hex(), mtime_ns) is None
    assert asked == [f"pool/{key_path(bytecode_key(digest, header_time(mtime_ns)))}"]


def test_stored_bytecode_is_found_by_its_time(tmp_path: Path) -> None:
    digest, mtime_ns = Digest.of(b"x = 1\n"), 1_700_000_000_123_456_789
    (tmp_path / digest.hex()[:2]).mkdir()
    file = tmp_path / key_path(bytecode_key(digest, header_time(mtime_ns)))
    file.write_bytes(b"code")
    reader = store_reader.StoreReader.__new__(store_reader.StoreReader)
    reader.pool, reader.owners = str(tmp_path), (file.stat().st_uid,)
    assert reader.find_bytecode(digest.hex(), mtime_ns) is None
    time = bytecode_mtime_ns(header_time(mtime_ns))

    os.utime(file, ns=(time, time))
    assert reader.find_bytecode(digest.hex(), mtime_ns) == str(file)

"""Publishing wheel entries, and reading them again."""

from __future__ import annotations

import errno
import json
import os
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from pipm.core.digest import EMPTY, Digest
from pipm.core.manifest import Manifest, identity_of
from pipm.errors import StoreError
from pipm.fs.tree_builder import TreeBuilder
from pipm.store import entries
from pipm.store.entries import (
    all_entries,
    entry_names,
    entry_of_wheel,
    find_entry,
    index_wheel,
    is_partial,
    link_archives,
    load_manifest,
    publish_entry,
)
from support.rows import row

if TYPE_CHECKING:
    from pipm.store.layout import Store

A, B = Digest.of(b"a"), Digest.of(b"b")


def manifest(*names: str, missing: tuple[str, ...] = (), identity: Digest | None = None) -> Manifest:
    return Manifest(
        name="demo",
        version="1.0",
        tag="py3-none-any",
        identity=identity or identity_of([("demo.py", A, False)]),
        origin="test",
        files=tuple(row(f"site/{name}", EMPTY, 0) for name in names),
        missing=missing,
    )


def built(run: int, tree: str, value: Manifest) -> None:
    builder = TreeBuilder(run, tree)
    for entry in value.files:
        builder.empty(entry.path, entry.mode, entry.mtime_ns)
    builder.write("manifest.json", value.to_json())
    if value.partial:
        builder.write("partial", b"")


def published(store: Store, value: Manifest) -> str:
    with store.run() as (run, path):
        built(run, "tree", value)
        entry = publish_entry(store, run, "tree", value.label)
        assert os.listdir(path) == []
    return entry


def test_publishing_an_entry(opened: Store) -> None:
    value = manifest("demo.py")
    entry = published(opened, value)
    assert entry == value.label.directory
    assert entry_names(opened, "demo", "1.0") == [entry] == list(all_entries(opened))
    assert find_entry(opened, "demo", "1.0", value.identity) == entry
    assert find_entry(opened, "demo", "1.0", B) is None
    assert find_entry(opened, "demo", "2.0", value.identity) is None
    assert entry_names(opened, "other", "1.0") == []
    assert load_manifest(opened, entry) == value
    assert not is_partial(opened, entry)
    assert published(opened, value) == entry  # and the tree is dropped
    retagged = replace(value, tag="1-cp312-cp312-linux_x86_64")
    assert published(opened, retagged) == entry  # whatever the tag's spelling


def test_the_loser_of_a_race_uses_the_winners(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    value = manifest("demo.py")
    winner = replace(value, origin="winner")
    published(opened, winner)
    inode = os.stat(f"{opened.path}/v1/wheels/{value.label.directory}").st_ino
    with monkeypatch.context() as patch:
        patch.setattr(entries, "find_entry", lambda *_: None)  # looked before the winner came
        assert published(opened, value) == value.label.directory
    assert os.stat(f"{opened.path}/v1/wheels/{value.label.directory}").st_ino == inode
    assert load_manifest(opened, value.label.directory).origin == "winner"


def test_another_error_of_publishing_is_no_race(opened: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_arguments: object, **_options: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with opened.run() as (run, _):
        built(run, "tree", manifest("demo.py"))
        with monkeypatch.context() as patch:
            patch.setattr(os, "rename", full)
            with pytest.raises(OSError, match="No space"):
                publish_entry(opened, run, "tree", manifest("demo.py").label)
    assert list(all_entries(opened)) == []


@pytest.mark.parametrize("exchange", [True, False])
def test_a_partial_entry_is_completed(opened: Store, monkeypatch: pytest.MonkeyPatch, exchange: bool) -> None:  # noqa: FBT001
    partial = manifest("one.py", missing=("site/two.py",))
    whole = manifest("one.py", "two.py")
    entry = published(opened, partial)
    assert is_partial(opened, entry)
    if not exchange:
        monkeypatch.setattr(sys, "platform", "other")
    assert published(opened, whole) == entry
    assert load_manifest(opened, entry) == whole
    assert not is_partial(opened, entry)
    assert sorted(os.listdir(f"{opened.path}/v1/wheels/{entry}/site")) == ["one.py", "two.py"]
    assert published(opened, partial) == entry  # never the way back
    assert load_manifest(opened, entry) == whole


def test_no_entry_is_exchanged_while_its_manifest_is_written(
    opened: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync records an archive while another process completes the entry."""
    entry = published(opened, manifest("one.py", missing=("site/two.py",)))
    other = threading.Thread(target=published, args=(opened, manifest("one.py", "two.py")))

    def meanwhile(_: int) -> None:
        other.start()
        other.join(0.5)  # it is long done if nothing makes it wait

    monkeypatch.setattr("pipm.fs.durability.sync_file_system", meanwhile)
    link_archives(opened, [(entry, A)])
    other.join()
    assert not is_partial(opened, entry)


def test_eight_equal_digits_are_not_the_same_wheel(opened: Store) -> None:
    """An attacker can find two such wheels with some billions of attempts."""
    honest = manifest("demo.py")
    link_identical = Digest(honest.identity[:4] + bytes(28))
    published(opened, honest)
    assert find_entry(opened, "demo", "1.0", link_identical) is None
    with pytest.raises(StoreError, match="short name"):
        published(opened, manifest("evil.py", identity=link_identical))
    assert load_manifest(opened, honest.label.directory) == honest


@pytest.mark.parametrize("data", [None, b"", b"{}", b"[]", b'{"version":1,"name":"demo"'])
def test_a_damaged_manifest_is_told(opened: Store, data: bytes | None) -> None:
    value = manifest("demo.py")
    entry = published(opened, value)
    path = f"{opened.path}/v1/wheels/{entry}/manifest.json"
    os.unlink(path)
    if data is not None:
        with open(path, "wb") as file:
            file.write(data)
    with pytest.raises(StoreError) as caught:
        load_manifest(opened, entry)
    assert entry in caught.value.message
    assert caught.value.hint
    with pytest.raises(StoreError):
        find_entry(opened, "demo", "1.0", value.identity)


def test_a_manifest_of_any_spelling_is_read(opened: Store) -> None:
    value = manifest("demo.py")
    entry = published(opened, value)
    path = f"{opened.path}/v1/wheels/{entry}/manifest.json"
    with open(path, "w", encoding="ascii") as stream:
        json.dump(json.loads(value.to_json()), stream, indent=1, sort_keys=True)
    assert find_entry(opened, "demo", "1.0", value.identity) == entry


def test_archives_of_an_entry(opened: Store) -> None:
    entry = published(opened, manifest("demo.py"))
    assert entry_of_wheel(opened, A) is None
    link_archives(opened, [(entry, A)])
    link_archives(opened, [(entry, B)])
    link_archives(opened, [(entry, A)])
    assert load_manifest(opened, entry).wheels == (A, B)
    index_wheel(opened, A, entry)
    assert entry_of_wheel(opened, A) == entry
    index_wheel(opened, B, "gone/1.0/py3-none-any-00000000")
    assert entry_of_wheel(opened, B) is None
    index_wheel(opened, B, "../../../../etc")
    assert entry_of_wheel(opened, B) is None

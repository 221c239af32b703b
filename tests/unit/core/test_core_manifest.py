"""Manifests and the identity of a distribution."""

from __future__ import annotations

import json
import random  # noqa: TC003 - Hypothesis reads the annotations
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipm.core.digest import Digest
from pipm.core.manifest import FileEntry, Manifest, entry_of, identity_of, rows_in
from support.rows import TIME_NS, row

names = st.text(
    st.characters(codec="utf-8", exclude_characters="/\0")
    | st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF),
    min_size=1,
    max_size=8,
).filter(lambda name: name not in (".", ".."))
paths = st.lists(names, min_size=1, max_size=3).map("/".join)
digests = st.binary(min_size=32, max_size=32).map(Digest)
rows = st.lists(st.tuples(paths, digests, st.booleans()), unique_by=lambda row: row[0], max_size=6)
entries = st.builds(
    FileEntry,
    path=paths.map(lambda path: f"site/{path}"),
    digest=digests,
    size=st.integers(0, 1 << 60),
    executable=st.booleans(),
    writable=st.booleans(),
    mode=st.integers(0, 0o7777),
    mtime_ns=st.integers(-(1 << 60), 1 << 62),
)
manifests = st.builds(
    Manifest,
    name=st.just("demo"),
    version=st.just("1.0"),
    tag=st.just("py3-none-any"),
    identity=digests,
    origin=st.text(st.characters(codec="utf-8")),
    files=st.lists(entries, max_size=5, unique_by=lambda entry: entry.path).map(tuple),
    missing=st.lists(paths, max_size=3).map(tuple),
    wheels=st.lists(digests, max_size=3, unique=True).map(tuple),
)

A, B, C = (Digest.of(text) for text in (b"a", b"b", b"c"))


@given(manifests)
def test_a_manifest_survives_its_file(manifest: Manifest) -> None:
    data = manifest.to_json()
    assert data.isascii()
    assert Manifest.from_json(data) == manifest


@given(rows, st.randoms(use_true_random=False))
def test_identity_knows_no_order(files: list[tuple[str, Digest, bool]], source: random.Random) -> None:
    mixed = files.copy()
    source.shuffle(mixed)
    assert identity_of(mixed) == identity_of(files)


@given(rows, st.data())
def test_identity_sees_path_content_and_bit(
    files: list[tuple[str, Digest, bool]], data: st.DataObject
) -> None:
    files = [(f"pkg/{path}.py", digest, executable) for path, digest, executable in files]
    files.append(("pkg/__init__.py", A, False))
    place = data.draw(st.integers(0, len(files) - 1))
    path, digest, executable = files[place]
    other = Digest(bytes([digest[0] ^ 1]) + digest[1:])
    for changed in (
        (f"{path}x", digest, executable),
        (path, other, executable),
        (path, digest, not executable),
    ):
        assert identity_of([*files[:place], changed, *files[place + 1 :]]) != identity_of(files)
    assert identity_of(files[:place] + files[place + 1 :]) != identity_of(files)


@pytest.mark.parametrize(
    "path",
    [
        *(
            f"demo-1.0.dist-info/{name}"
            for name in ("RECORD", "RECORD.jws", "RECORD.p7s", "INSTALLER", "REQUESTED", "direct_url.json")
        ),
        "demo-1.0.dist-info/uv_cache.json",
        "demo/__pycache__/a.cpython-312.pyc",
        "__pycache__/a.cpython-312.opt-1.pyc",
    ],
)
def test_what_does_not_belong_to_an_identity(path: str) -> None:
    wheel = [("demo/a.py", A, False), ("demo-1.0.dist-info/METADATA", B, False)]
    assert identity_of([*wheel, (path, C, False)]) == identity_of(wheel)


@pytest.mark.parametrize(
    "path",
    [
        "INSTALLER",
        "demo/RECORD",
        "demo/demo-1.0.dist-info/RECORD",
        "demo-1.0.dist-info/licenses/RECORD",
        "demo-1.0.dist-info/entry_points.txt",
        "demo/a.pyc",
        "demo/my__pycache__/a.pyc",
        "demo/__pycache__/table.bin",
    ],
)
def test_what_belongs_to_an_identity(path: str) -> None:
    wheel = [("demo/a.py", A, False), ("demo-1.0.dist-info/METADATA", B, False)]
    assert identity_of([*wheel, (path, C, False)]) != identity_of(wheel)


def manifest_of(
    *files: FileEntry, missing: tuple[str, ...] = (), wheels: tuple[Digest, ...] = ()
) -> Manifest:
    return Manifest(
        name="demo",
        version="1.0",
        tag="py3-none-any",
        identity=A,
        origin="test",
        files=files,
        missing=missing,
        wheels=wheels,
    )


def test_the_folder_of_an_entry() -> None:
    assert manifest_of().label.directory == f"demo/1.0/py3-none-any-{A.hex()[:8]}"


def test_merging_completes() -> None:
    one, two = row("site/one.py", A, 1), row("site/two.py", B, 1)
    partial = manifest_of(one, missing=("site/two.py", "scripts/tool"), wheels=(A,))
    assert partial.partial
    # Another environment brings the module, but it is unsure of the script as well.
    better = partial.merged(manifest_of(one, two, missing=("scripts/tool",), wheels=(B, A)))
    assert {file.path for file in better.files} == {"site/one.py", "site/two.py"}
    assert better.missing == ("scripts/tool",)
    assert better.wheels == (A, B)
    # An archive is sure of all.
    whole = better.merged(manifest_of(one, two, wheels=(C,)))
    assert not whole.partial
    assert (whole.tag, whole.origin, whole.identity) == (partial.tag, partial.origin, partial.identity)


@given(manifests)
def test_merging_with_itself_changes_nothing(manifest: Manifest) -> None:
    here = {entry.path for entry in manifest.files}
    manifest = replace(manifest, missing=tuple(path for path in manifest.missing if path not in here))
    assert manifest.merged(manifest) == manifest


def document() -> dict[str, object]:
    value = json.loads(manifest_of(row("site/a.py", A, 1)).to_json())
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize(
    "data",
    [b"", b"{}", b"[]", b"null", b"7", b'"text"', b"\xff", b'{"version": 3}', b'{"version": 1, "files": 3}'],
)
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"manifest|Expecting|codec"):
        Manifest.from_json(data)


@pytest.mark.parametrize(
    "rows",
    [
        [[]],
        [["site/a.py"]],
        [["site/a.py", "00", 1, 0, 0o444, 1]],
        [[None, A.hex(), 1, 0, 0o444, 1]],
        [["site/a.py", 5, 1, 0, 0o444, 1]],
        [["site/a.py", A.hex(), 1, 0]],
        5,
    ],
)
def test_damaged_rows(rows: object) -> None:
    with pytest.raises(ValueError, match=r"not a manifest|not enough values|not a sha256"):
        Manifest.from_json(json.dumps(document() | {"files": rows}).encode())


@pytest.mark.parametrize(
    "path",
    ["", "/", "/etc/passwd", "..", "../x", "site/../../x", "site/..", "site//x", "site/./x", "site/", "a\0b"],
)
def test_a_path_that_leaves_the_entry(path: str) -> None:
    data = json.dumps(document() | {"files": [[path, A.hex(), 1, 0]]}).encode()
    with pytest.raises(ValueError, match="leaves the entry"):
        Manifest.from_json(data)


@pytest.mark.parametrize("path", ["site/.hidden", "site/..x", "site/x..", "site/...", "data/.\n"])
def test_odd_paths_that_stay(path: str) -> None:
    data = json.dumps(document() | {"files": [[path, A.hex(), 1, 0, 0o444, TIME_NS]]}).encode()
    assert Manifest.from_json(data).files == (row(path, A, 1),)


def test_an_old_format_has_the_mode_and_time_of_its_content() -> None:
    rows = [["site/a.py", A.hex(), 1, 0], ["scripts/b", B.hex(), 2, 1]]
    data = json.dumps(document() | {"version": 1, "files": rows}).encode()
    one, two = Manifest.from_json(data).files
    # 1980-01-02 and the first 30 bits of the sha256, in seconds.
    times = [(315_619_200 + (int(digest.hex()[:8], 16) >> 2)) * 10**9 for digest in (A, B)]
    assert one == FileEntry("site/a.py", A, 1, False, False, 0o444, times[0])
    assert two == FileEntry("scripts/b", B, 2, True, False, 0o555, times[1])
    assert one.object_name == f"{A.hex()[:2]}/{A.hex()[2:]}"
    assert [entry_of(row) for row in rows_in(data)] == [one, two]


@given(manifests)
def test_rows_alone_are_those_of_the_manifest(manifest: Manifest) -> None:
    assert tuple(entry_of(row) for row in rows_in(manifest.to_json())) == manifest.files


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", "null", '{"version": 2, "files": 1}', '{"version": 1, "files": [1]}']
)
def test_what_has_no_rows(text: str) -> None:
    with pytest.raises(ValueError, match=r"manifest|Expecting"):
        rows_in(text.encode())


@pytest.mark.parametrize("length", [200, 201, 255, 5000])
def test_a_tag_of_any_length_makes_a_name_that_a_file_can_have(length: int) -> None:
    label = replace(manifest_of(), tag="t" * length).label
    folder = label.directory.rpartition("/")[2]
    assert len(folder) <= 255
    assert folder.endswith(f"-{A.hex()[:8]}")
    other = replace(manifest_of(), tag="t" * length + "u").label
    assert other.directory != label.directory

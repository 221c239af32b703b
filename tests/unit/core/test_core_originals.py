"""Originals (modes and times before sharing), written and read again."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pipm.core.originals import Original, Originals, originals_bytes, originals_from

NAMES = st.text(st.characters(exclude_characters="/\0"), min_size=1, max_size=5)
PATHS = st.lists(NAMES, min_size=1, max_size=3).map("/".join)
ROWS = st.builds(
    Original,
    mode=st.integers(0, 0o7777),
    group=st.integers(0, 2**32 - 1),
    mtime_ns=st.integers(-(2**63), 2**63 - 1),
)
RECORDS = st.dictionaries(
    PATHS, st.dictionaries(st.one_of(PATHS, PATHS.map(lambda path: f"{path}/")), ROWS, max_size=6), max_size=3
)


@given(RECORDS)
def test_a_record_is_read_as_it_was_written(record: dict[str, dict[str, Original]]) -> None:
    assert originals_from(originals_bytes(record)) == record


@given(RECORDS, st.data())
def test_a_torn_record_is_none(record: dict[str, dict[str, Original]], data: st.DataObject) -> None:
    written = originals_bytes(record)
    assert originals_from(written[: data.draw(st.integers(0, len(written) - 1))]) is None
    assert originals_from(bytes(len(written))) is None


def test_names_that_are_no_utf8() -> None:
    record = {
        "site/a.dist-info": {"site/a/\udcff.py": Original(0o644, 0, 1), "site/a/": Original(0o755, 0, 2)}
    }
    assert originals_from(originals_bytes(record)) == record


@given(RECORDS, RECORDS)
def test_records_follow_one_another(one: Originals, other: Originals) -> None:
    assert originals_from(originals_bytes(one) + originals_bytes(other)) == one | other
    assert originals_from(originals_bytes(one) + b"x") is None

"""Laws of gc's plan: what it keeps and what it removes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pipm.core.plan.gc_plan import (
    DAY,
    EntryFact,
    Fate,
    Limits,
    RootFact,
    UnusedFile,
    evict,
    is_garbage,
    plan_gc,
)
from pipm.core.quantities import parse_age, parse_size
from pipm.errors import UsageError

NOW = 1_000 * DAY
names = st.sampled_from([f"dist{number}/1.0/any-0" for number in range(6)])
times = st.floats(0, NOW)
roots = st.builds(
    RootFact,
    path=st.sampled_from(["/a/1", "/a/2", "/b/1", "/b/2"]),
    marker=st.tuples(st.just(1), st.integers(1, 3)),
    entries=st.lists(names, max_size=4).map(tuple),
    fate=st.sampled_from(Fate),
    seen=times,
    borrows=st.booleans(),
    noted=st.booleans(),
)
all_roots = st.lists(roots, max_size=4, unique_by=lambda root: root.path)
all_entries = st.lists(
    st.builds(EntryFact, name=names, used=times, mapped=st.booleans()),
    unique_by=lambda entry: entry.name,
)
limits = st.builds(
    Limits,
    keep=st.sampled_from([0.0, DAY, 14 * DAY]),
    forget=st.sampled_from([(), ("/a",), ("/b/1",)]),
)


@given(all_roots, all_entries, limits)
def test_what_a_living_environment_needs_stays(
    roots: list[RootFact], entries: list[EntryFact], limits: Limits
) -> None:
    verdict = plan_gc(roots, entries, limits, NOW)
    for root in roots:
        if root.fate is Fate.ALIVE:
            assert root not in verdict.dropped
            assert not set(root.entries) & set(verdict.condemned)
        if root.fate is Fate.UNREACHABLE and not limits.forget:
            assert root not in verdict.dropped


@given(all_roots, all_entries, limits)
def test_each_entry_has_one_fate(roots: list[RootFact], entries: list[EntryFact], limits: Limits) -> None:
    verdict = plan_gc(roots, entries, limits, NOW)
    assert sorted((*verdict.kept, *verdict.condemned)) == sorted(entry.name for entry in entries)
    assert not {entry.name for entry in entries if entry.mapped} & set(verdict.condemned)
    assert {entry.name for entry in verdict.needless} | set(verdict.busy) <= set(verdict.kept)
    assert set(verdict.dropped) | set(verdict.missing) <= set(roots)


@given(all_roots, all_entries)
def test_nothing_stays_when_nothing_is_needed(roots: list[RootFact], entries: list[EntryFact]) -> None:
    gone = [root._replace(fate=Fate.GONE) for root in roots]
    unused = [entry._replace(mapped=False) for entry in entries]
    verdict = plan_gc(gone, unused, Limits(keep=0.0), NOW)
    assert verdict.kept == ()
    assert verdict.missing == ()
    assert not verdict.alive


def test_an_entry_stays_as_long_as_the_last_environment_that_had_it_was_seen() -> None:
    entry = EntryFact("a/1/any-0", 0.0)
    for age, stays in ((13, True), (15, False)):
        root = RootFact("/e", (1, 1), ("a/1/any-0",), Fate.GONE, NOW - age * DAY, False)
        verdict = plan_gc([root], [entry], Limits(), NOW)
        assert (verdict.kept == ("a/1/any-0",)) is stays
        assert (verdict.dropped == ()) is stays


@given(st.integers(0, 700))
def test_eviction_takes_the_least_recently_used_and_no_more_than_it_must(most: int) -> None:
    used = [EntryFact(f"d{n}/1/any-0", float(n)) for n in range(5)]
    verdict = plan_gc([], used, Limits(keep=NOW), NOW / 2)
    inodes = {entry.name: [number, 99] for number, entry in enumerate(used)}  # 99 is in all of them
    sizes = dict.fromkeys(range(5), 100) | {99: 100}
    chosen = evict(verdict, inodes, sizes, most)
    assert chosen == tuple(entry.name for entry in used[: len(chosen)])
    left = 0 if len(chosen) == 5 else 600 - 100 * len(chosen)
    assert left <= most
    assert not chosen or left + (200 if len(chosen) == 5 else 100) > most


@pytest.mark.parametrize(
    ("links", "condemned", "alive", "age", "goes"),
    [
        (2, True, True, 0.0, False),  # an environment has it: removing the name frees nothing
        (2, True, False, 0.0, True),  # nobody that we know of is left
        (1, True, True, 0.0, True),
        (1, False, True, DAY, False),  # of no entry, but young
        (1, False, True, 15 * DAY, True),
    ],
)
def test_files_of_no_kept_entry(*, links: int, condemned: bool, alive: bool, age: float, goes: bool) -> None:
    file = UnusedFile("objects/ab/cd", links, 1, NOW - age)
    assert is_garbage(file, condemned=condemned, alive=alive, limits=Limits(), now=NOW) is goes


def test_ages_and_sizes() -> None:
    assert [parse_age(text) for text in ("0", "12h", "30d", "2w", "1.5d")] == [
        0.0,
        12 * 3600,
        30 * DAY,
        14 * DAY,
        1.5 * DAY,
    ]
    assert [parse_size(text) for text in ("0", "512", "1K", "5g", "1.5 GiB", "2TB")] == [
        0,
        512,
        1024,
        5 << 30,
        3 << 29,
        2 << 40,
    ]
    for text in ("", "14", "-1d", "d", "1y"):
        with pytest.raises(UsageError):
            parse_age(text)
    for text in ("", "-1", "5X", "G"):
        with pytest.raises(UsageError):
            parse_size(text)

"""Paths of one entry must not exclude each other."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pipm.wheel.entry_paths import EntryPaths

PATHS = st.lists(st.sampled_from("abAB"), min_size=1, max_size=4).map(lambda parts: "site/" + "/".join(parts))


@given(st.lists(PATHS, max_size=12))
def test_a_path_is_refused_if_one_before_it_is_the_same_or_its_folder_or_below_it(paths: list[str]) -> None:
    entry = EntryPaths()
    taken: list[str] = []
    for path in paths:
        name = path.casefold()
        clash = any(f"{one}/".startswith(f"{name}/") or f"{name}/".startswith(f"{one}/") for one in taken)
        assert (entry.refusal(path) is not None) is clash
        if not clash:
            taken.append(name)

"""The order in which an adoption of several environments takes their distributions."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from pipm.context.statistics import Statistics
from pipm.core.disk_usage import Accounting
from pipm.env.environment import Environment
from pipm.env.installed import InstalledDistribution
from pipm.share.adopt_job import AdoptJob, lines, work_order
from pipm.share.prepare_adopt import LockedEnvironment

MOST = 16
RELEASE = st.tuples(st.sampled_from("abc"), st.sampled_from(["1", "2"]), st.integers(0, 5))


def job(releases: list[tuple[str, str, int]]) -> AdoptJob:
    """An environment with these releases, each with so many rows in RECORD."""
    left = [
        InstalledDistribution(
            name=name, version=version, site="lib", metadata=f"{name}.dist-info", record=b"x,,\n" * rows
        )
        for name, version, rows in releases
    ]
    environment = Environment(path="/e", python="3.12", sites=("lib",), owner=0, device=0, inode=0)
    locked = LockedEnvironment(
        environment=environment,
        root=-1,
        previous=None,
        distributions=left,
        contested=frozenset(),
        released=(),
    )
    return AdoptJob(path="/e", locked=locked, statistics=Statistics(Accounting()), count=len(left), left=left)


@given(st.lists(st.lists(RELEASE, max_size=5, unique_by=lambda row: row[0]), max_size=40))
def test_each_distribution_has_one_turn_and_a_turn_one_release(
    environments: list[list[tuple[str, str, int]]],
) -> None:
    jobs = [job(releases) for releases in environments]
    order = work_order(jobs)
    taken = [item for turn in order for item in turn]
    assert sorted(taken) == [(n, i) for n, releases in enumerate(environments) for i in range(len(releases))]
    first: dict[tuple[str, str], int] = {}
    for place, turn in enumerate(order):
        releases = {environments[number][index][:2] for number, index in turn}
        assert len(releases) == 1
        assert len(turn) <= MOST
        first.setdefault(releases.pop(), place)
    # The second turn of a release comes after the first turn of every release.
    assert sorted(first.values()) == list(range(len(first)))
    assert lines(jobs) == sum(rows for releases in environments for *_, rows in releases)


def test_the_largest_release_comes_first() -> None:
    order = work_order([job([("a", "1", 1), ("b", "1", 9)]), job([("c", "1", 4)])])
    assert order == [[(0, 1)], [(1, 0)], [(0, 0)]]

"""Materialising wheels over each other, and deciding on the changes of a sync."""

from __future__ import annotations

from typing import TYPE_CHECKING

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given
from pipm.core.digest import Digest
from pipm.core.install_plan import InstallPlan, install_plan_of, is_start_up_file, record_rows, scheme_path
from pipm.core.manifest import Manifest
from pipm.core.plan.materialise_plan import (
    Links,
    PlannedFolder,
    SeparatePlans,
    Wanted,
    are_separate,
    at_hand,
    find_collisions,
    plan_materialisation,
)
from pipm.core.plan.sync_plan import Installed, InstalledMatch, plan_sync, seeds
from pipm.core.record import parse_record
from pipm.core.scheme import Scheme
from support.rows import TIME_NS, row

if TYPE_CHECKING:
    from collections.abc import Iterable

SITE = "lib/python3.12/site-packages"
SCHEME = Scheme(site=SITE, python="/env/bin/python")


def install_plan(name: str, files: dict[str, bytes], version: str = "1.0") -> InstallPlan:
    """The blueprint of a wheel with these files, by entry path, and metadata."""
    whole = {f"site/{path}" if path.count("/") == 0 else path: data for path, data in files.items()}
    whole[f"site/{name}-{version}.dist-info/METADATA"] = b"about"
    rows = tuple(row(path, Digest.of(data), len(data)) for path, data in whole.items())
    return install_plan_of(
        Manifest(
            name=name,
            version=version,
            tag="py3-none-any",
            identity=Digest.of(name.encode()),
            origin="test",
            files=rows,
        ),
        (),
    )


def wanted(name: str, files: dict[str, bytes], version: str = "1.0") -> Wanted:
    return Wanted(entry=f"{name}/{version}/x-12345678", load=at_hand(install_plan(name, files, version)))


def installed(name: str, version: str = "1.0", *, removable: bool = True) -> Installed:
    return Installed(name, version, SITE, f"{name}-{version}.dist-info", removable)


def test_folders_stand_behind_those_that_they_lie_in() -> None:
    one = wanted("one", {"site/a/b/c.py": b"1", "site/a-b/d.py": b"2", "data/share/man/x.1": b"3"})
    plan = plan_materialisation([one], SCHEME)
    paths = [folder.path for folder in plan.folders]
    for number, path in enumerate(paths):
        parent = path.rpartition("/")[0]
        assert not path or parent in paths[:number]
    assert f"{SITE}/a/b" in paths
    assert "share/man" in paths


@given(st.sets(st.tuples(st.sampled_from("abc"), st.sampled_from("abc"), st.sampled_from("xyz")), min_size=1))
def test_every_file_is_placed_once(triples: set[tuple[str, str, str]]) -> None:
    files = {f"site/{'/'.join(parts[:2])}/{parts[2]}.py": "".join(parts).encode() for parts in triples}
    plan = plan_materialisation([wanted("one", files)], SCHEME)
    placed_files = [f"{folder.path}/{name}" for folder in plan.folders for name in folder.names()]
    assert sorted(placed_files) == sorted(path.replace("site/", f"{SITE}/", 1) for path in files)
    assert plan.files == len(files) + 1
    assert len({folder.path for folder in plan.folders}) == len(plan.folders)


def test_a_namespace_is_one_folder_of_two_distributions() -> None:
    both = [wanted("one", {"site/space/a.py": b"1"}), wanted("two", {"site/space/b.py": b"2"})]
    plan = plan_materialisation(both, SCHEME)
    (space,) = (folder for folder in plan.folders if folder.path == f"{SITE}/space")
    assert space.names() == {"a.py", "b.py"}
    assert plan.collisions == ()


def test_the_same_file_twice_is_fine_and_another_is_a_clash() -> None:
    same = {"site/shared/__init__.py": b"same"}
    one = wanted("one", same | {"site/shared/x.py": b"1"})
    two = wanted("two", same | {"site/shared/x.py": b"2"})
    plan = plan_materialisation([one, two], SCHEME)
    assert [(collision.path, collision.one, collision.other) for collision in plan.collisions] == [
        (f"{SITE}/shared/x.py", one, two)
    ]
    (shared,) = (folder for folder in plan.folders if folder.path == f"{SITE}/shared")
    kept = [(part.source, name) for part in shared.links for name in part.names]
    assert kept == [
        ("wheels/two/1.0/x-12345678/site/shared", "__init__.py"),
        ("wheels/two/1.0/x-12345678/site/shared", "x.py"),
    ]


def test_what_acts_at_start_or_configures_is_copied() -> None:
    one = wanted(
        "one",
        {"site/start.pth": b"import x", "data/etc/one.conf": b"1", "data/share/one.txt": b"2"},
    )
    plan = plan_materialisation([one], SCHEME)
    by_path = {folder.path: folder for folder in plan.folders}
    assert by_path[SITE].copies == [Links("wheels/one/1.0/x-12345678/site", ("start.pth",), (TIME_NS,))]
    assert by_path["etc"].copies
    assert by_path["share"].links
    assert is_start_up_file("_virtualenv.py")
    assert not is_start_up_file("module.py")


def test_headers_lie_below_the_distributions_name() -> None:
    one = wanted("one", {"headers/sub/one.h": b"1"})
    (other,) = one.install_plan.data_files
    assert scheme_path(other, "one", SCHEME) == "include/site/python3.12/one/sub/one.h"
    pypy = Scheme(site="lib/pypy3.9/site-packages", python="/env/bin/python")
    assert pypy.headers == "include/site/python3.9"


def test_record_rows_survive_odd_names() -> None:
    rows: list[tuple[str, str, int | str]] = [('a,"b".py', "sha256=x", 3), ("plain.py", "", "")]
    assert [(row.path, row.hash) for row in parse_record(record_rows(rows))] == [
        ('a,"b".py', "sha256=x"),
        ("plain.py", ""),
    ]


def test_two_metadata_folders_make_no_blueprint() -> None:
    with pytest.raises(ValueError, match="2 dist-info"):
        install_plan("one", {"site/two-1.0.dist-info/METADATA": b"x"})


def test_a_plan_compares_by_name() -> None:
    new, same, broken, other = (wanted(name, {}) for name in ("new", "same", "broken", "other"))
    plan = plan_sync(
        [new, same, broken, other],
        [
            (installed("same"), InstalledMatch.SAME),
            (installed("broken"), InstalledMatch.BROKEN),
            (installed("other", "0.9"), InstalledMatch.OTHER),
            (installed("surplus"), InstalledMatch.OTHER),
            (installed("pip"), InstalledMatch.OTHER),
            (installed("egg", removable=False), InstalledMatch.OTHER),
        ],
        frozenset({"pip"}),
    )
    assert (plan.added, plan.repaired, plan.unchanged) == ((new,), (broken,), 1)
    assert [(old.version, one) for old, one in plan.replaced] == [("0.9", other)]
    assert [one.name for one in plan.removed] == ["surplus"]
    assert [one.name for one in plan.stuck] == ["egg"]
    assert plan.materialised == [new, broken, other]


def test_what_stands_there_twice_stands_there_once_afterwards() -> None:
    one = wanted("one", {})
    plan = plan_sync(
        [one],
        [(installed("one", "0.9"), InstalledMatch.OTHER), (installed("one"), InstalledMatch.SAME)],
        frozenset(),
    )
    assert (plan.unchanged, plan.added, plan.replaced) == (1, (), ())
    assert [row.version for row in plan.removed] == ["0.9"]


def test_a_lock_decides_over_pip_when_it_names_it() -> None:
    pip = wanted("pip", {}, "26.0")
    plan = plan_sync([pip], [(installed("pip", "24.0"), InstalledMatch.OTHER)], frozenset({"pip"}))
    assert [(old.version, new.install_plan.version) for old, new in plan.replaced] == [("24.0", "26.0")]


@pytest.mark.parametrize(
    ("version", "uv", "names"),
    [
        ((3, 12), False, {"pip", "uv"}),
        ((3, 11), False, {"pip", "uv", "setuptools", "wheel"}),
        ((3, 11), True, set()),
    ],
)
def test_who_stays_unnamed(version: tuple[int, ...], uv: bool, names: set[str]) -> None:  # noqa: FBT001
    assert seeds(version, uv_without_seed=uv) == names


def distributions(*contents: bytes) -> st.SearchStrategy[list[dict[str, bytes]]]:
    """Return a strategy for the files of several distributions."""
    paths = st.sampled_from(
        [
            "site/a/x.py",
            "site/a/b/x.py",
            "site/a/b/c/x.py",
            "site/x.py",
            "site/x.pth",
            f"data/{SITE}/a/x.py",
            f"data/{SITE}/x.py",
            "data/share/x.txt",
            "headers/x.h",
        ]
    )
    return st.lists(st.dictionaries(paths, st.sampled_from(contents), min_size=1), max_size=3)


@given(distributions(b"1", b"2", b""))
def test_collisions_are_found_without_the_whole_plan(several: list[dict[str, bytes]]) -> None:
    every = [wanted(f"d{number}", files) for number, files in enumerate(several)]
    assert find_collisions(every, SCHEME) == plan_materialisation(every, SCHEME).collisions


def files_in(folders: Iterable[PlannedFolder]) -> dict[str, set[tuple[object, ...]]]:
    """Return all that is planned for each folder."""
    found: dict[str, set[tuple[object, ...]]] = {}
    for folder in folders:
        rows = found.setdefault(folder.path, set())
        for kind, parts in (("link", folder.links), ("copy", folder.copies)):
            rows.update((kind, part.source, *row) for part in parts for row in zip(*part[1:], strict=True))
        rows.update(("empty", *row) for row in folder.empty)
        rows.update(("source", source, *row) for source, several in folder.sources for row in several)
    return found


@given(distributions(b"1", b""), st.integers(1, 4), st.lists(st.integers(1, 20), min_size=3, max_size=3))
def test_separate_plans_make_what_one_plan_makes(
    several: list[dict[str, bytes]], count: int, costs: list[int]
) -> None:
    every = [wanted(f"d{number}", files) for number, files in enumerate(several)]
    assume(are_separate(every, SCHEME))
    whole = plan_materialisation(every, SCHEME)
    assert not whole.collisions
    parts = SeparatePlans(every, costs[: len(every)], SCHEME).parts(count)
    folders = [list(part.folders) for part in parts]
    assert files_in(folder for part in folders for folder in part) == files_in(whole.folders)
    separate = [row for part in parts for row in part.metadata_folders]
    assert {one.entry: files_in(made) for one, made in separate} == {
        one.entry: files_in(made) for one, made in whole.metadata_folders
    }


def test_the_same_file_in_two_distributions_is_not_separate() -> None:
    files = {"site/space/__init__.py": b""}
    both = [wanted("one", files), wanted("two", files)]
    assert not find_collisions(both, SCHEME)
    assert not are_separate(both, SCHEME)
    assert are_separate(both[:1], SCHEME)

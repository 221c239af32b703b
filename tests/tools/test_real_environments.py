"""Three real environments made by pip, uv and Poetry, adopted on each file system.

One adopt a file system serves all tests of this module: they look, and change nothing.
"""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from support.disks import KINDS, Disk, Disks
from support.extents import blocks, free_bytes
from support.installers import Wheelhouse, copy_environment, pdm_project, uv_environment
from support.pipm import Pipm, left_in
from support.places import LARGE, fresh_folder
from support.process import check
from support.snapshot import Snapshot, assert_bytecode_names_kept, assert_kept, snapshot
from support.store import damage, unshared
from support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.synthetic import Environment

pytestmark = [pytest.mark.network, pytest.mark.mounts]

UV_SET = (
    "numpy==2.3.3",
    "pandas==2.3.2",
    "django==5.2.7",
    "requests==2.32.4",
    "rich==14.1.0",
    "matplotlib==3.10.6",
)
IMPORTS = (
    "import numpy, pandas, django, requests, rich.console, matplotlib.pyplot, sys\n"
    "import numpy.fft, numpy.polynomial, pandas.io.excel, django.contrib.admin.sites\n"
    "frame = pandas.DataFrame({'a': numpy.arange(9.0)})\n"
    "assert frame.a.sum() == 36\n"
    "print(numpy.__file__)\n"
)
NUMPY_TESTS = ("numpy.linalg.tests.test_linalg", "numpy.fft.tests.test_helper")


@dataclass(frozen=True, kw_only=True)
class Scene:
    """The three environments of one disk before and after adopt."""

    disk: Disk
    pipm: Pipm
    environments: tuple[Environment, ...]
    before: tuple[Snapshot, ...]
    lists: tuple[str, ...]
    rows: list[dict[str, Any]]
    fell: int


def pip_list(environment: Environment) -> str:
    """Ask for an environment's distributions without writing bytecode anywhere."""
    uv = find_tool("uv")
    return check(uv, "pip", "list", "--python", environment.python)


@pytest.fixture(scope="module", params=KINDS)
def context(
    request: pytest.FixtureRequest,
    disks: Disks,
    large_pip_template: Environment,
    large_poetry_template: Environment,
    large_wheelhouse: Wheelhouse,
) -> Iterator[Scene]:
    """Make three environments, adopt them with one command, measure the disk."""
    folders = fresh_folder(disks, request.param)
    disk = next(folders)
    mode = {"ext4": "hardlink", "xfs": "clone", "btrfs": "copy"}[disk.kind]
    wheels = (*large_wheelhouse.options(), "--offline")
    environments = (
        copy_environment(large_pip_template, disk / "by-pip"),
        uv_environment(disk / "by-uv", *wheels, *UV_SET, cache=disk / "uv-cache", link_mode=mode),
        copy_environment(large_poetry_template, disk / "by-poetry"),
    )
    before = tuple(snapshot(environment.path) for environment in environments)
    lists = tuple(pip_list(environment) for environment in environments)
    pipm = Pipm(store=disk / "store")
    free = free_bytes(disk.path)
    result = pipm.adopt(*(environment.path for environment in environments))
    yield Scene(
        disk=disk,
        pipm=pipm,
        environments=environments,
        before=before,
        lists=lists,
        rows=result.json["environments"],
        fell=free_bytes(disk.path) - free,
    )
    for _ in folders:
        pass


def test_every_file_is_kept(context: Scene) -> None:
    for environment, taken in zip(context.environments, context.before, strict=True):
        assert len(taken) > 4000
        assert_kept(taken, environment.path)
        assert_bytecode_names_kept(taken, environment.path)


def test_every_shareable_file_is_shared(context: Scene) -> None:
    for environment in context.environments:
        assert unshared(environment.site, context.pipm.store) == []
    assert damage(context.pipm.store) == []
    assert [left_in(row) for row in context.rows] == [{}, {}, {}]


def test_the_disk_gains_what_adopt_says(context: Scene) -> None:
    freed = sum(row["bytes_freed"] for row in context.rows)
    assert freed > 150 * 2**20
    assert abs(context.fell - freed) <= freed / 100, f"said {freed}, the disk gained {context.fell}"


def test_pip_still_sees_the_same(context: Scene) -> None:
    for environment, listed in zip(context.environments, context.lists, strict=True):
        assert pip_list(environment) == listed
        check(find_tool("uv"), "pip", "check", "--python", environment.python)
    python = context.environments[0].python
    assert "No broken requirements" in check(python, "-B", "-m", "pip", "check")
    told = check(python, "-B", "-m", "pip", "list", "--format=freeze")
    assert set(LARGE) <= {row.lower() for row in told.splitlines()}


def test_imports_work_and_write_nothing(context: Scene) -> None:
    pip_made = context.environments[0]
    names = sorted(snapshot(pip_made.path))

    def told(environment: Environment) -> str:
        return environment.run(IMPORTS, *(() if environment is pip_made else ("-B",))).strip()

    with ThreadPoolExecutor() as pool:
        places = list(pool.map(told, context.environments))
    assert places == [e.file("numpy/__init__.py") for e in context.environments]
    assert sorted(snapshot(pip_made.path)) == names


def test_no_bytecode_is_stale(context: Scene) -> None:
    verbose = check(
        "sh",
        "-c",
        f"exec '{context.environments[0].python}' -v -c 'import pandas, django.db, rich.table' 2>&1",
    )
    site = context.environments[0].site
    ours = [line for line in verbose.splitlines() if site in line]
    assert len([line for line in ours if "matches" in line]) > 300
    assert [line for line in ours if re.search("stale|wrote|could not", line)] == []


def test_numpys_own_tests_pass(context: Scene, tmp_path: object) -> None:
    python = context.environments[0].python
    options = ("-q", "-x", "-p", "no:cacheprovider", "-m", "not slow")
    command = (python, "-B", "-m", "pytest", *options, "--pyargs", *NUMPY_TESTS)
    told = check(*command, cwd=str(tmp_path), environ={"OPENBLAS_NUM_THREADS": "1"})
    assert re.search(r"\d{3,} passed", told), told


def test_df_adds_up(context: Scene) -> None:
    """The figures of `df` agree with the file system's own."""
    figures = context.pipm("df", "--json").expect().json
    assert {"path", "apparent", "on_disk", "reclaimable", "entries", "objects"} <= set(figures["store"])
    assert figures["store"]["path"] == context.pipm.store
    assert len(figures["environments"]) == 3
    each = [blocks(environment.path) for environment in context.environments]
    saved = 4096 * (sum(map(len, each)) - len(set().union(*each)))
    assert saved > 150 * 2**20
    # Sharing costs the store's own folders (4 KiB each on ext4) and inodes (700 bytes each on btrfs).
    assert saved * 0.85 <= figures["saved"] <= saved * 1.02, (figures["saved"], saved)
    for row in figures["environments"]:
        assert row["exclusive"] <= row["on_disk"] <= row["apparent"] * 1.3
        assert row["state"] == "adopted"


def test_a_pdm_environment(disks: Disks, tmp_path: object) -> None:
    folder = os.path.join(str(tmp_path), "pdm")
    needs = ["requests==2.32.5", "rich==14.1.0", "click==8.1.8"]
    made = pdm_project(f"{folder}/project", needs, cache=f"{folder}/cache")
    for kind in KINDS:
        for disk in fresh_folder(disks, kind):
            first = copy_environment(made, disk / "first")
            second = copy_environment(made, disk / "second")
            pipm = Pipm(store=disk / "store")
            before = snapshot(first.path)
            result = pipm.adopt(first.path, second.path)
            assert_kept(before, first.path)
            assert unshared(first.site, pipm.store) == []
            assert result.all_left == {}
            first.run("import requests, rich.table, click")

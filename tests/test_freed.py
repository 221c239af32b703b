"""The free space of the disk follows what adopt and release say, within 1 % (D13)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.extents import free_bytes
from support.installers import copy_environment
from support.pipm import Pipm
from support.snapshot import assert_kept, snapshot
from support.store import still_shared
from support.synthetic import install, make_environment

if TYPE_CHECKING:
    from support.disks import Disk
    from support.synthetic import Environment


def near(said: int, seen: int) -> bool:
    """Tell whether two figures agree within 1 %."""
    return abs(said - seen) <= max(said, seen) / 100


def test_large_files(filesystem: Disk) -> None:
    """Few large files: no metadata hides an error of a file."""
    environments = [make_environment(filesystem / name) for name in ("one", "two", "three")]
    content = {f"alpha/part{n}.bin": os.urandom(8 * 2**20 + 5) for n in range(4)}
    for environment in environments:
        install(environment, "alpha==1.0", content)
    pipm = Pipm(store=filesystem / "store")
    before = free_bytes(filesystem.path)
    result = pipm.adopt(*(environment.path for environment in environments))
    gained = free_bytes(filesystem.path) - before
    freed = sum(row["bytes_freed"] for row in result.json["environments"])
    assert near(freed, gained), (freed, gained)
    assert near(freed, 2 * sum(map(len, content.values())))
    assert near(result.json["environments"][1]["bytes_freed"], sum(map(len, content.values())))


def test_dry_run_promises_what_adopt_gives(filesystem: Disk) -> None:
    environments = [make_environment(filesystem / name) for name in ("one", "two")]
    content = {"alpha/part.bin": os.urandom(20 * 2**20), "alpha/other.bin": os.urandom(2**20)}
    for environment in environments:
        install(environment, "alpha==1.0", content)
    pipm = Pipm(store=filesystem / "store")
    paths = [environment.path for environment in environments]
    promised = pipm("adopt", "-n", "--json", *paths).expect().json["environments"]
    done = pipm.adopt(*paths).json["environments"]
    assert near(sum(r["bytes_freed"] for r in promised), sum(r["bytes_freed"] for r in done))


@pytest.mark.network
def test_release_takes_back_what_adopt_freed(filesystem: Disk, pip_template: Environment) -> None:
    """Thousands of small files: here the metadata counts, too."""
    names = ("one", "two", "three", "four")
    environments = [copy_environment(pip_template, filesystem / name) for name in names]
    before = [snapshot(environment.path) for environment in environments]
    paths = [environment.path for environment in environments]
    pipm = Pipm(store=filesystem / "store")
    free = free_bytes(filesystem.path)
    result = pipm.adopt(*paths)
    gained = free_bytes(filesystem.path) - free
    freed = sum(row["bytes_freed"] for row in result.json["environments"])
    assert freed > 60 * 2**20
    assert near(freed, gained), (freed, gained)
    free = free_bytes(filesystem.path)
    released = pipm.release(*paths)
    used = sum(row["bytes_used"] for row in released.json["environments"])
    taken = free - free_bytes(filesystem.path)
    assert near(used, taken), (used, taken)
    for environment, was in zip(environments, before, strict=True):
        assert_kept(was, environment.path)
        assert sorted(snapshot(environment.path)) == sorted(was)
        assert still_shared(environment.path) == []

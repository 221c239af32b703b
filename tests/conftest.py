"""Fixtures: real file systems, the command, environments made once and copied."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from pipm.store.layout import VERSION, Store, open_store
from support.disks import KINDS, Disk, Disks, MountError
from support.installers import Wheelhouse, pip_install, poetry_project, venv
from support.pipm import Pipm
from support.places import (
    LARGE,
    LARGE_OTHER,
    LARGE_POETRY,
    SMALL,
    SMALL_OTHER,
    TESTERS,
    WINDOWS_ONLY,
    fresh_folder,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.synthetic import Environment

# How fast the machine is, and what else it does, is no property of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")


@pytest.fixture(autouse=True)
def stores_closed() -> Iterator[None]:
    """Close the folders of stores that a test opened in its own process, where a command would end."""
    before = set(os.listdir("/proc/self/fd"))
    yield
    for name in set(os.listdir("/proc/self/fd")) - before:
        with suppress(OSError):  # the listing itself
            target = os.readlink(f"/proc/self/fd/{name}")
            if f"/{VERSION}" in target and os.path.isdir(f"/proc/self/fd/{name}"):
                os.close(int(name))


@pytest.fixture(scope="session")
def disks() -> Iterator[Disks]:
    """The run's file systems; a machine that can't mount skips its tests and says why.

    `PIPM_TEST_IMAGES` names another place for the images than the system's temporary folder.
    """
    place = os.environ.get("PIPM_TEST_IMAGES")
    try:
        with tempfile.TemporaryDirectory(prefix="pipm-disks-", dir=place) as folder:
            os.chmod(folder, 0o755)  # normal users walk through it, too
            with Disks(folder=folder) as disks:
                yield disks
    except MountError as error:
        pytest.skip(f"no loop mounts: {error}")


@pytest.fixture(params=[pytest.param(kind, marks=pytest.mark.mounts) for kind in KINDS])
def filesystem(request: pytest.FixtureRequest, disks: Disks) -> Iterator[Disk]:
    """A fresh folder on ext4, on XFS with reflinks, and on btrfs."""
    yield from fresh_folder(disks, request.param)


@pytest.fixture(params=[pytest.param(k, marks=pytest.mark.mounts) for k in ("ext4", "xfs")])
def either_mode(request: pytest.FixtureRequest, disks: Disks) -> Iterator[Disk]:
    """A fresh folder where files are hardlinked, and one where they are reflinked."""
    yield from fresh_folder(disks, request.param)


@pytest.fixture
def images(disks: Disks, tmp_path: Path) -> Iterator[Disk]:
    """A folder for images on XFS, so that copying one takes a moment."""
    whole = disks.get("xfs")
    path = whole / f"images-{tmp_path.name}"
    os.mkdir(path)
    yield Disk(kind="xfs", path=path)
    os.rmdir(path)


@pytest.fixture
def store(tmp_path: object) -> str:
    """Where the test's own store will be."""
    return os.path.join(str(tmp_path), "store")


@pytest.fixture
def pipm(store: str) -> Pipm:
    """The command with a store of the test's own."""
    return Pipm(store=store)


@pytest.fixture(scope="session")
def wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """A few small real distributions in two versions."""
    house = Wheelhouse(path=str(tmp_path_factory.mktemp("wheels")))
    house.fetch(*SMALL, WINDOWS_ONLY)
    house.fetch("--no-deps", *SMALL_OTHER)
    return house


@pytest.fixture(scope="session")
def large_wheelhouse(tmp_path_factory: pytest.TempPathFactory) -> Wheelhouse:
    """Large real distributions in two versions."""
    house = Wheelhouse(path=str(tmp_path_factory.mktemp("large-wheels")))
    house.fetch(*LARGE, *TESTERS, WINDOWS_ONLY)
    house.fetch("--no-deps", *LARGE_OTHER)
    return house


@pytest.fixture(scope="session")
def pip_template(wheelhouse: Wheelhouse, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """A small environment made by venv and pip, with bytecode."""
    environment = venv(str(tmp_path_factory.mktemp("pip") / "env"))
    pip_install(environment, *wheelhouse.options(), *SMALL)
    return environment


@pytest.fixture(scope="session")
def other_pip_template(wheelhouse: Wheelhouse, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The same distributions installed by another run of pip, at another time and place."""
    environment = venv(str(tmp_path_factory.mktemp("other-pip") / "another-env"))
    pip_install(environment, *wheelhouse.options(), *SMALL)
    return environment


@pytest.fixture(scope="session")
def large_pip_template(large_wheelhouse: Wheelhouse, tmp_path_factory: pytest.TempPathFactory) -> Environment:
    """The large distributions installed by pip, with bytecode."""
    environment = venv(str(tmp_path_factory.mktemp("large-pip") / "env"))
    pip_install(environment, *large_wheelhouse.options(), *LARGE, *TESTERS)
    return environment


@pytest.fixture(scope="session")
def large_poetry_template(
    large_wheelhouse: Wheelhouse, tmp_path_factory: pytest.TempPathFactory
) -> Environment:
    """Overlapping large distributions installed by Poetry."""
    folder = tmp_path_factory.mktemp("poetry")
    cache = str(folder / "cache")
    needs = large_wheelhouse.direct(*LARGE_POETRY)
    return poetry_project(str(folder / "project"), needs, cache=cache)


@pytest.fixture(scope="session")
def uv_cache(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A cache for uv where a test has no reason to put it on a mount."""
    return str(tmp_path_factory.mktemp("uv-cache"))


@pytest.fixture
def opened(tmp_path: Path) -> Store:
    """A new store."""
    made = open_store(str(tmp_path / "store"))
    assert made is not None
    return made

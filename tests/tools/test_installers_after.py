"""Installers work in an adopted environment, and change no other one."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.installers import (
    copy_environment,
    find_version,
    pip_install,
    poetry_project,
    poetry_variables,
    uv_environment,
    uv_install,
    uv_project,
    uv_variables,
)
from support.pipm import Pipm
from support.places import fresh_folder
from support.process import NORMAL_USER, check, interpreter_for, needs_root, run
from support.snapshot import changes, fingerprint, snapshot
from support.store import damage, unshared
from support.synthetic import Environment, make_wheel, package
from support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.disks import Disk, Disks
    from support.installers import Wheelhouse

OLDER = ("six==1.16.0", "click==8.1.7", "rich==14.0.0")


class Pair:
    """Two adopted environments; the test works in the first, the second must stay as it is."""

    def __init__(self, disk: Disk, first: Environment, second: Environment) -> None:
        self.first, self.second = first, second
        self.pipm = Pipm(store=disk / "store")
        self.pipm.adopt(first.path, second.path)
        self._store = fingerprint(self.pipm.store)
        self._second = fingerprint(second.path)

    def assert_untouched(self) -> None:
        """Check that neither the store nor the second environment changed in anything."""
        assert changes(self._store, fingerprint(self.pipm.store)) == []
        assert changes(self._second, fingerprint(self.second.path)) == []

    def adopt_again(self) -> None:
        """Adopt what the installer left."""
        before = snapshot(self.first.path)
        self.pipm.adopt(self.first.path)
        after = snapshot(self.first.path)
        kept = [name for name in before if before[name] != after.get(name)]
        assert [name for name in kept if not name.endswith(".pyc")] == []
        assert unshared(self.first.site, self.pipm.store) == []
        assert damage(self.pipm.store) == []


def two_made_by_pip(disk: Disk, one: Environment, other: Environment) -> Pair:
    """Two environments made by pip, adopted."""
    return Pair(disk, copy_environment(one, disk / "first"), copy_environment(other, disk / "second"))


@pytest.fixture
def pair(either_mode: Disk, pip_template: Environment, other_pip_template: Environment) -> Pair:
    """Two environments, shared by hardlinks and by reflinks."""
    return two_made_by_pip(either_mode, pip_template, other_pip_template)


@pytest.fixture
def linked_pair(disks: Disks, pip_template: Environment, other_pip_template: Environment) -> Iterator[Pair]:
    """Two environments shared by hardlinks, where a write in place would reach the other."""
    for disk in fresh_folder(disks, "ext4"):
        yield two_made_by_pip(disk, pip_template, other_pip_template)


pytestmark = pytest.mark.network


def test_pip_upgrade_and_downgrade(pair: Pair, wheelhouse: Wheelhouse) -> None:
    pip_install(pair.first, *wheelhouse.options(), "--no-deps", *OLDER)
    pair.assert_untouched()
    assert pair.first.run("import six; print(six.__version__)") == "1.16.0\n"
    pip_install(pair.first, *wheelhouse.options(), "--upgrade", "six", "click", "rich")
    pair.assert_untouched()
    assert pair.first.run("import six; print(six.__version__)") == "1.17.0\n"
    check(pair.first.python, "-m", "pip", "check")
    pair.adopt_again()


def test_pip_uninstall(pair: Pair) -> None:
    pip = (pair.first.python, "-m", "pip")
    check(*pip, "uninstall", "-q", "-y", "click", "rich")
    pair.assert_untouched()
    left = [name for name in snapshot(pair.first.site) if name.startswith(("click", "rich"))]
    assert left == []
    assert "click" not in check(*pip, "list")
    pair.adopt_again()


@pytest.mark.mounts
def test_pip_force_reinstall(linked_pair: Pair, wheelhouse: Wheelhouse) -> None:
    options = (*wheelhouse.options(), "--force-reinstall", "--no-deps")
    pip_install(linked_pair.first, *options, "click==8.1.8", "attrs==25.3.0")
    linked_pair.assert_untouched()
    pip_install(linked_pair.first, *options, "--ignore-installed", "click==8.1.8")
    linked_pair.assert_untouched()
    linked_pair.first.run("import click, attr")
    linked_pair.adopt_again()


@pytest.mark.mounts
def test_pip_replaces_itself(linked_pair: Pair) -> None:
    base = check(linked_pair.first.python, "-c", "import ensurepip as e; print(e.__path__[0])").strip()
    pip_install(
        linked_pair.first, "--no-index", "--find-links", f"{base}/_bundled", "--force-reinstall", "pip"
    )
    linked_pair.assert_untouched()
    check(linked_pair.first.python, "-m", "pip", "check")


def test_uv_pip_install_and_uninstall(pair: Pair, wheelhouse: Wheelhouse, uv_cache: str) -> None:
    options = (*wheelhouse.options(), "--offline")
    for mode in ("hardlink", "clone", "copy"):
        uv_install(pair.first.path, *options, "--reinstall", *OLDER, cache=uv_cache, link_mode=mode)
        pair.assert_untouched()
    uv = (find_tool("uv"), "pip", "uninstall", "-q", "--python", pair.first.python)
    check(*uv, "click", environ=uv_variables(uv_cache))
    pair.assert_untouched()
    assert not os.path.exists(pair.first.file("click"))


@pytest.mark.mounts
def test_compileall(linked_pair: Pair) -> None:
    for options in (("-q",), ("-q", "-f", "--invalidation-mode", "checked-hash")):
        run(linked_pair.first.python, "-m", "compileall", *options, linked_pair.first.site)
        linked_pair.assert_untouched()
    linked_pair.first.run("import click, rich.console, attr")
    linked_pair.assert_untouched()


@pytest.mark.mounts
def test_venv_upgrade(linked_pair: Pair) -> None:
    base = os.path.realpath(linked_pair.first.python)
    check(base, "-m", "venv", "--upgrade", linked_pair.first.path)
    linked_pair.assert_untouched()
    check(base, "-m", "venv", "--upgrade", "--upgrade-deps", linked_pair.first.path)
    linked_pair.assert_untouched()
    check(linked_pair.first.python, "-m", "pip", "check")


@pytest.mark.mounts
def test_venv_clear(linked_pair: Pair) -> None:
    check(os.path.realpath(linked_pair.first.python), "-m", "venv", "--clear", linked_pair.first.path)
    linked_pair.assert_untouched()
    assert not os.path.exists(linked_pair.first.file("click"))


def test_uv_sync(either_mode: Disk, uv_cache: str) -> None:
    variables = uv_variables(uv_cache)
    project = either_mode / "project"
    uv_project(project, ["six==1.16.0", "click==8.1.7"], variables=variables)
    first = find_version(f"{project}/.venv")
    second = uv_environment(either_mode / "second", "six==1.16.0", "click==8.1.7", cache=uv_cache)
    pair = Pair(either_mode, first, second)
    uv_project(project, ["six==1.17.0", "packaging==24.2"], variables=variables)
    pair.assert_untouched()
    assert first.run("import six, packaging; print(six.__version__)") == "1.17.0\n"
    assert not os.path.exists(first.file("click"))
    pair.adopt_again()


def test_poetry_install(either_mode: Disk, wheelhouse: Wheelhouse) -> None:
    cache = either_mode / "cache"
    project = either_mode / "project"
    old = wheelhouse.direct("six==1.16.0", "click==8.1.7", "rich==14.0.0")
    first = poetry_project(project, old, cache=cache)
    second = copy_environment(first, either_mode / "second")
    pair = Pair(either_mode, first, second)
    poetry, variables = find_tool("poetry"), poetry_variables(cache)
    check(poetry, "install", cwd=project, environ=variables)
    pair.assert_untouched()
    new = wheelhouse.direct("six==1.17.0", "click==8.1.8", "rich==14.1.0")
    poetry_project(project, [need for need in new if not need.startswith("attrs")], cache=cache)
    check(poetry, "sync", cwd=project, environ=variables)
    pair.assert_untouched()
    assert first.run("import six, rich; print(six.__version__)") == "1.17.0\n"
    assert not os.path.exists(first.file("attrs"))
    pair.adopt_again()


def test_an_installer_that_overwrites_in_place_is_refused(filesystem: Disk) -> None:
    """Poetry opens a file that two distributions share for writing: 0444 stops it."""
    needs_root()
    wheel = make_wheel(filesystem / "wheels", "alpha==1.0", package("alpha"))
    first = uv_environment(filesystem / "first", wheel, cache=filesystem / "cache")
    second = uv_environment(filesystem / "second", wheel, cache=filesystem / "cache")
    check("chown", "-Rh", str(NORMAL_USER), filesystem.path)
    pipm = Pipm(store=filesystem / "store", user=NORMAL_USER)
    pipm.adopt(first.path, second.path, mode="hardlink")
    before = fingerprint(pipm.store), fingerprint(second.path)
    python, _ = interpreter_for(NORMAL_USER)
    code = f"open({first.file('alpha/__init__.py')!r}, 'wb')"
    done = run(python, "-I", "-c", code, user=NORMAL_USER)
    assert "PermissionError" in done.stderr
    assert (fingerprint(pipm.store), fingerprint(second.path)) == before

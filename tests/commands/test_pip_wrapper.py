"""A wrapped pip has the same results as pip, but its files are shared with the store."""

from __future__ import annotations

import hashlib
import os
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.installers import venv
from support.pipm import Pipm
from support.pips import (
    Twins,
    assert_same,
    environment_with_pip,
    fetch_pips,
    rich_wheel,
    run_pip,
    wrap,
)
from support.process import check
from support.snapshot import difference, snapshot
from support.store import damage, unshared
from support.synthetic import Environment, make_wheel, package
from support.tools import any_interpreter, newest_interpreter

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk

pytestmark = pytest.mark.network

VERSIONS = {"3.9": "21.3.1", "3.11": "24.3.1", "3.13": "26.3", "pypy3.11": "25.3"}
NEWEST = "26.3"


@pytest.fixture(scope="session")
def pips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """pip's wheels, one for each interpreter of the quick tests."""
    return fetch_pips(str(tmp_path_factory.mktemp("pips")), *VERSIONS.values())


@pytest.fixture(scope="module")
def pipm(tmp_path_factory: pytest.TempPathFactory) -> Pipm:
    """The command with one store for these tests: each would have to let pip itself in."""
    return Pipm(store=str(tmp_path_factory.mktemp("shared") / "store"))


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory, pips: dict[str, str]) -> Environment:
    """An environment with the newest pip."""
    path = str(tmp_path_factory.mktemp("template") / "env")
    return environment_with_pip(path, python=newest_interpreter(), pip=pips[NEWEST])


@pytest.fixture(scope="module")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder of small wheels with each feature, in two versions."""
    folder = str(tmp_path_factory.mktemp("wheels"))
    rich_wheel(folder, "alpha==1.0")
    rich_wheel(folder, "alpha==2.0", {"alpha/new.py": b"NEW = 1\n"})
    make_wheel(folder, "beta==1.0", package("beta"))
    return folder


@pytest.fixture
def newest(tmp_path: Path, template: Environment) -> Environment:
    """An environment with the newest pip, not wrapped."""
    return copied(template, str(tmp_path / "env"))


def copied(template: Environment, path: str) -> Environment:
    """Copy an environment that has no scripts yet."""
    check("cp", "-a", template.path, path)
    return replace(template, path=path)


def local(folder: str) -> tuple[str, ...]:
    """Options by which pip takes wheels from one folder only."""
    return ("--no-index", "--find-links", folder)


def unexpected(environment: Environment, pipm: Pipm) -> list[str]:
    """The files of the environment that should be the store's and are not."""
    return unshared(environment.site, pipm.store)


@pytest.mark.parametrize(("python", "pip"), VERSIONS.items())
def test_the_same_as_plain_pip(
    python: str, pip: str, tmp_path: Path, pipm: Pipm, pips: dict[str, str], wheels: str
) -> None:
    base = any_interpreter(python)
    first = environment_with_pip(str(tmp_path / "first"), python=base, pip=pips[pip])
    wrap(pipm, first)
    check(first.python, "-m", "pip", "install", "-q", *local(wheels), "alpha==1.0", "beta")
    assert unexpected(first, pipm) == []

    env = environment_with_pip(str(tmp_path / "env"), python=base, pip=pips[pip])
    identical = Twins(environment=env)
    identical.copy()
    wrap(pipm, env)
    for arguments in (
        ("install", *local(wheels), "alpha==1.0", "beta"),
        ("install", *local(wheels), "alpha==1.0"),
        ("install", *local(wheels), "--upgrade", "alpha"),
        ("list", "--format", "json"),
        ("install", *local(wheels), "no-such-thing"),
        ("uninstall", "-y", "alpha", "beta"),
    ):
        assert_same(identical.wrapped(*arguments), identical.plain(*arguments))
        assert unexpected(env, pipm) == []
    assert damage(pipm.store) == []


def test_files_and_bytecode_are_the_stores(
    newest: Environment, template: Environment, tmp_path: Path, pipm: Pipm, wheels: str
) -> None:
    """What the store knows needs no second pipm: files and bytecode are links when pip ends."""
    wrap(pipm, newest)
    check(newest.python, "-m", "pip", "install", "-q", *local(wheels), "alpha==1.0", "beta")
    second = copied(template, str(tmp_path / "two"))
    wrap(pipm, second)
    settings = tmp_path / "two" / ".pipm" / "pip.json"
    settings.write_text(settings.read_text().replace('"pipm"', '"no_such_module"'))
    done = run_pip(second, "install", *local(wheels), "alpha==1.0", "beta")
    assert (done.returncode, done.stderr) == (0, "")
    assert unexpected(second, pipm) == []
    private = [
        name
        for name in snapshot(second.site)
        if name.endswith(".pyc") and "_pipm" not in name and os.stat(second.file(name)).st_nlink == 1
    ]
    assert private == []
    assert second.run("import alpha.large as m; print(m.f7(), m.__file__)").startswith(f"7 {second.path}")
    row = next(row for row in pipm("list", "--json").json["environments"] if row["path"] == second.path)
    assert row["state"] == "adopted"


def test_no_compile_stays_without_bytecode(newest: Environment, pipm: Pipm, wheels: str) -> None:
    identical = Twins(environment=newest)
    identical.copy()
    wrap(pipm, newest)
    arguments = ("install", *local(wheels), "--no-compile", "beta")
    assert_same(identical.wrapped(*arguments), identical.plain(*arguments))


@pytest.mark.parametrize("option", ["--target", "--prefix", "--root"])
def test_other_places(option: str, newest: Environment, tmp_path: Path, pipm: Pipm, wheels: str) -> None:
    identical = Twins(environment=newest)
    identical.copy()
    wrap(pipm, newest)
    trees = []
    for run in (identical.wrapped, identical.wrapped, identical.plain):
        place = str(tmp_path / "place")
        outcome = run("install", "--no-warn-script-location", *local(wheels), option, place, "alpha==1.0")
        assert (outcome.code, outcome.err) == (0, "")
        found = snapshot(place)
        trees.append({path: entry for path, entry in found.items() if not path.endswith(".pyc")})
        check("rm", "-r", place)
    assert trees[0] == trees[2]
    assert trees[1] == trees[2]


def test_dry_run_and_report_change_nothing(newest: Environment, pipm: Pipm, wheels: str) -> None:
    identical = Twins(environment=newest)
    identical.copy()
    wrap(pipm, newest)
    arguments = ("install", *local(wheels), "--dry-run", "--quiet", "--report", "-", "beta")
    assert_same(identical.wrapped(*arguments), identical.plain(*arguments))


@pytest.mark.parametrize("mode", ["hardlink", "symlink"])
def test_link_modes_of_one_file_system(
    mode: str, newest: Environment, template: Environment, tmp_path: Path, pipm: Pipm, wheels: str
) -> None:
    wrap(pipm, newest, mode)
    check(newest.python, "-m", "pip", "install", "-q", *local(wheels), "alpha==1.0")
    second = copied(template, str(tmp_path / "two"))
    wrap(pipm, second, mode)
    check(second.python, "-m", "pip", "install", "-q", *local(wheels), "alpha==1.0")
    kinds = {entry.kind for name, entry in snapshot(second.file("alpha")).items() if name.endswith("ge.py")}
    assert kinds == {"link" if mode == "symlink" else "file"}
    assert second.run("import alpha.large as m; print(m.f7())") == "7\n"
    assert os.path.samefile(second.file("alpha/large.py"), newest.file("alpha/large.py"))
    check(second.python, "-m", "pip", "uninstall", "-q", "-y", "alpha")
    assert newest.run("import alpha.large as m; print(m.f7())") == "7\n"
    assert damage(pipm.store) == []


def test_reflinks_and_hardlinks(either_mode: Disk, template: Environment, wheels: str) -> None:
    pipm = Pipm(store=either_mode / "store")
    for name in ("one", "two"):
        env = copied(template, either_mode / name)
        wrap(pipm, env)
        check(env.python, "-m", "pip", "install", "-q", *local(wheels), "alpha==1.0", "beta")
        assert unexpected(env, pipm) == []
        assert env.run("import alpha.large as m; print(m.f7())") == "7\n"
        before = snapshot(env.path)
        pipm.adopt(env.path)
        assert difference(before, snapshot(env.path)) == []
        assert os.access(env.file("alpha/run.sh"), os.X_OK)
    assert damage(pipm.store) == []


def test_pip_replaces_itself_and_stays_wrapped(
    newest: Environment, tmp_path: Path, pipm: Pipm, pips: dict[str, str], wheels: str
) -> None:
    wrap(pipm, newest)
    folder = os.path.dirname(pips[NEWEST])
    for version in ("25.3", NEWEST):
        done = run_pip(newest, "install", *local(folder), f"pip=={version}")
        assert (done.returncode, done.stderr) == (0, "")
        assert version in check(newest.python, "-m", "pip", "--version")
    check(newest.python, "-m", "pip", "install", "-q", *local(wheels), "beta")
    assert unexpected(newest, pipm) == []
    assert check(f"{newest.path}/bin/pip", "--version").startswith(f"pip {NEWEST}")
    assert str(tmp_path) in newest.path


def test_every_way_of_calling_pip(newest: Environment, pipm: Pipm, wheels: str, pips: dict[str, str]) -> None:
    wrap(pipm, newest)
    folder = os.path.dirname(pips[NEWEST])
    run_pip(newest, "install", *local(folder), "--force-reinstall", f"pip=={NEWEST}")
    options = ["install", "-q", *local(wheels), "--force-reinstall", "beta"]
    runpy = f"import runpy, sys; sys.argv[1:] = {options!r}; runpy.run_module('pip', run_name='__main__')"
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-m', 'pip', *{options!r}], check=True)"
    script = f"{newest.path}/bin/pip"
    check(newest.python, "-m", "pip", "install", "-q", *local(wheels), "beta")
    for command in (
        (script, *options),
        (f"{script}{newest.version}", *options),
        (newest.python, "-I", "-m", "pip", *options),
        (newest.python, "-c", runpy),
        (newest.python, "-c", child),
        (newest_interpreter(), pips[NEWEST] + "/pip", "--python", newest.path, *options),
    ):
        before = os.stat(newest.file("beta-1.0.dist-info/RECORD")).st_ino
        check(*command)
        assert os.stat(newest.file("beta-1.0.dist-info/RECORD")).st_ino != before, command
        assert unexpected(newest, pipm) == [], command


def test_an_archive_that_lies_gives_what_pip_gives(newest: Environment, pipm: Pipm, tmp_path: Path) -> None:
    """RECORD of the second wheel claims the files of the first, which the store has."""
    honest = make_wheel(str(tmp_path / "honest"), "gamma==1.0", {"gamma.py": b"GOOD = 1\n"})
    wrap(pipm, newest)
    check(newest.python, "-m", "pip", "install", "-q", "--no-index", honest)
    liar = lying_wheel(str(tmp_path / "liar"), honest)
    for _ in range(2):
        done = run_pip(newest, "install", "--no-index", "--force-reinstall", liar)
        assert (done.returncode, done.stderr) == (0, "")
        assert newest.run("import gamma; print(gamma.BAD)") == "2\n"
    check(newest.python, "-m", "pip", "install", "-q", "--no-index", "--force-reinstall", honest)
    assert newest.run("import gamma; print(gamma.GOOD)") == "1\n"


def lying_wheel(folder: str, honest: str) -> str:
    import zipfile  # noqa: PLC0415 - one test spoils an archive

    os.makedirs(folder)
    path = os.path.join(folder, os.path.basename(honest))
    with zipfile.ZipFile(honest) as source, zipfile.ZipFile(path, "w") as target:
        for info in source.infolist():
            content = source.read(info)
            target.writestr(info, b"BAD = 2 #\n"[: len(content)] if info.filename == "gamma.py" else content)
    return path


def test_release_leaves_no_trace(newest: Environment, pipm: Pipm, wheels: str) -> None:
    identical = Twins(environment=newest)
    identical.copy()
    before = set(snapshot(newest.path))
    wrap(pipm, newest)
    assert set(snapshot(newest.path)) - before
    pipm.release(newest.path)
    assert set(snapshot(newest.path)) == before
    arguments = ("install", *local(wheels), "beta")
    assert_same(identical.wrapped(*arguments), identical.plain(*arguments))
    assert os.stat(newest.file("beta/__init__.py")).st_nlink == 1


def test_no_wrap_pip_takes_it_away_and_keeps_sharing(newest: Environment, pipm: Pipm, wheels: str) -> None:
    before = set(snapshot(newest.path))
    wrap(pipm, newest)
    check(newest.python, "-m", "pip", "install", "-q", *local(wheels), "beta")
    pipm("adopt", "--no-wrap-pip", newest.path).expect()
    assert not [name for name in set(snapshot(newest.path)) - before if "beta" not in name]
    assert unexpected(newest, pipm) == []


def test_switched_off(newest: Environment, pipm: Pipm, wheels: str) -> None:
    wrap(pipm, newest)
    done = run_pip(newest, "install", *local(wheels), "beta", PIPM_PIP="off")
    assert (done.returncode, done.stderr) == (0, "")
    assert os.stat(newest.file("beta/__init__.py")).st_nlink == 1


def test_the_root_follows_what_is_installed(newest: Environment, pipm: Pipm, wheels: str) -> None:
    wrap(pipm, newest)
    name = hashlib.sha256(newest.path.encode()).hexdigest()[:32]

    def text() -> str:
        with open(os.path.join(pipm.store, "v1", "roots", name), encoding="ascii") as stream:
            return stream.read()

    assert "beta/" not in text()
    check(newest.python, "-m", "pip", "install", "-q", *local(wheels), "beta")
    assert "beta/1.0/" in text()
    check(newest.python, "-m", "pip", "uninstall", "-q", "-y", "beta")
    assert "beta/" not in text()
    check(newest.python, "-m", "pip", "install", "-q", *local(wheels), "beta")
    assert "beta/1.0/" in text()


def test_pip_and_install_from_outside(newest: Environment, pipm: Pipm, wheels: str) -> None:
    wrap(pipm, newest)
    inside = replace(pipm, cwd=os.path.dirname(newest.path))
    done = inside("install", "--env", "env", *local(wheels), "beta")
    assert (done.code, done.err) == (0, "")
    assert done.out.endswith("Successfully installed beta-1.0\n")
    assert inside("pip", "--env=env", "list").out.splitlines()[2].split() == ["beta", "1.0"]
    assert inside("pip", "install", "--env", "env", *local(wheels), "no-such-thing").code == 1
    assert unexpected(newest, pipm) == []
    pipm("adopt", "--no-wrap-pip", newest.path).expect()
    assert inside("install", "--env", "env", *local(wheels), "alpha").code == 0
    assert unexpected(newest, pipm) == []
    refused = pipm("pip", "--env", "/nonexistent", "list")
    assert refused.code == 1
    assert "error: There is no folder /nonexistent" in refused.err


def test_an_environment_without_pip_is_served_by_pips_own(pipm: Pipm, tmp_path: Path, wheels: str) -> None:
    bare = venv(str(tmp_path / "bare"), python=newest_interpreter(), pip=False)
    assert pipm("install", "--env", bare.path, *local(wheels), "beta").code == 0
    assert unexpected(bare, pipm) == []
    listed = pipm("pip", "--env", bare.path, "list").out
    assert listed.splitlines()[2].split() == ["beta", "1.0"]
    assert pipm("pip", "--env", bare.path, "uninstall", "-y", "beta").code == 0
    assert not os.path.exists(bare.file("beta"))

"""pipm neither runs nor trusts files that other users can write; root is the strictest."""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.locks import pylock
from support.model import put_pip
from support.pipm import FAILED, Pipm, Result
from support.process import NORMAL_USER, check, interpreter_for, needs_root, run
from support.snapshot import snapshot
from support.synthetic import install, make_environment, make_wheel, write

if TYPE_CHECKING:
    from collections.abc import Iterator

OTHER_USER = 12346
VERSION = f"{sys.version_info.major}.{sys.version_info.minor}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Trap:
    """An environment of `NORMAL_USER`; its interpreter records that it ran."""

    path: str
    marker: str

    @property
    def python(self) -> str:
        """Its interpreter."""
        return f"{self.path}/bin/python"

    def assert_not_run(self) -> None:
        """Check that nobody ran it."""
        assert not os.path.exists(self.marker)


def give(path: str, user: int) -> None:
    """Make *path* with all below it the property of *user*."""
    check("chown", "-Rh", f"{user}:{user}", path)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """A folder that all users may enter, which pytest's own is not."""
    needs_root()
    with tempfile.TemporaryDirectory(prefix="pipm-users-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    """An environment in the home of another user."""
    home = str(tmp_path / "home")
    trap = Trap(path=f"{home}/env", marker=f"{home}/ran")
    os.makedirs(f"{trap.path}/lib/python{VERSION}/site-packages")
    write(f"{trap.path}/pyvenv.cfg", f"home = /usr/bin\nversion = {VERSION}.0\n".encode())
    write(trap.python, f"#!/bin/sh\necho ran > {trap.marker}\n".encode(), mode=0o755)
    os.symlink("python", f"{trap.path}/bin/python3")
    give(home, NORMAL_USER)
    return trap


RUNNING = {
    "run": ("run", "-e", "{env}", "python", "-c", "1"),
    "pip": ("pip", "--env", "{env}", "list"),
    "install": ("install", "--env", "{env}", "x"),
    "venv": ("venv", "--python", "{env}/bin/python", "{new}"),
    "lock": ("lock", "{source}", "--python", "{env}/bin/python"),
    "sync": ("sync", "{lock}", "--env", "{env}"),
    "sync with it": ("sync", "{lock}", "--env", "{new}", "--python", "{env}/bin/python"),
    "adopt": ("adopt", "{env}"),
    "wrap": ("adopt", "--wrap-pip", "{env}"),
    "stacked": ("run", "--no-lock", "-e", "{env}", "--with", "x", "python"),
}


@pytest.mark.parametrize(
    ("case", "user"),
    [*((case, None) for case in RUNNING), *((case, OTHER_USER) for case in ("run", "pip", "venv", "sync"))],
)
def test_no_command_runs_the_interpreter_of_another_user(
    trap: Trap, tmp_path: Path, case: str, user: int | None
) -> None:
    place = tmp_path / "place"
    place.mkdir()
    write(str(place / "pylock.toml"), b'lock-version = "1.0"\ncreated-by = "test"\npackages = []\n')
    write(str(place / "requirements.in"), b"")
    if user is not None:
        give(str(place), user)
    names = {"env": trap.path, "new": str(place / "new"), "lock": str(place / "pylock.toml")}
    names["source"] = str(place / "requirements.in")
    pipm = Pipm(store=str(place / "store"), user=user, cwd=str(place), environ={"HOME": str(place)})
    result = pipm(*(word.format(**names) for word in RUNNING[case]))
    result.expect(FAILED)
    assert "belongs to another user" in result.err
    assert "as that user: sudo -u '#12345'" in result.err or "as the user who owns it" in result.err
    assert "Traceback" not in result.err
    trap.assert_not_run()


@pytest.mark.parametrize("full", [(), ("--full",)], ids=["", "full"])
def test_verify_reads_it_and_does_not_run_it(
    trap: Trap, pipm: Pipm, tmp_path: Path, full: tuple[str, ...]
) -> None:
    wheel = make_wheel(str(tmp_path), "demo==1.0", {"demo.py": b"x = 1\n"})
    pipm("store", "add", wheel).expect()
    before = snapshot(trap.path)
    result = pipm("verify", *full, trap.path)
    result.expect()
    assert f"{trap.python} is not run: " in result.err
    assert "sudo -u '#12345' pipm" in result.err
    (reason,) = pipm("verify", *full, trap.path, "--json").expect().json["not_run"]
    assert trap.python in reason
    assert snapshot(trap.path) == before
    trap.assert_not_run()


def known_environment(pipm: Pipm, folder: str) -> str:
    """An environment of ours that the store knows."""
    os.makedirs(folder)
    write(f"{folder}/pylock.toml", b'lock-version = "1.0"\ncreated-by = "test"\npackages = []\n')
    pipm("sync", f"{folder}/pylock.toml", "--env", f"{folder}/env").expect()
    return f"{folder}/env"


def test_a_pyvenv_cfg_that_became_a_link_leads_nowhere(trap: Trap, pipm: Pipm, tmp_path: Path) -> None:
    """Its home would be another user's standard library."""
    environment = known_environment(pipm, str(tmp_path / "mine"))
    os.unlink(f"{environment}/pyvenv.cfg")
    os.symlink(f"{trap.path}/pyvenv.cfg", f"{environment}/pyvenv.cfg")
    for words in (("verify", "--full"), ("verify",), ("list",), ("doctor",), ("gc", "-n")):
        assert "Traceback" not in pipm(*words).err
    result = pipm("verify", environment)
    result.expect(FAILED)
    assert "pyvenv.cfg is a symbolic link" in result.err
    trap.assert_not_run()


def test_root_runs_nothing_below_a_folder_that_others_write_to(pipm: Pipm, tmp_path: Path) -> None:
    environment = known_environment(pipm, str(tmp_path / "mine"))
    os.chmod(tmp_path / "mine", 0o777)
    result = pipm("run", "-e", environment, "python", "-c", "1")
    result.expect(FAILED)
    assert f"other users can write to {tmp_path}/mine" in result.err
    assert f"hint: chmod go-w {tmp_path}/mine" in result.err
    os.chmod(tmp_path / "mine", 0o1777)
    pipm("run", "-e", environment, "python", "-c", "1").expect()


@pytest.mark.parametrize("command", ["sync", "venv"])
def test_root_makes_nothing_in_the_folder_of_another_user(pipm: Pipm, tmp_path: Path, command: str) -> None:
    write(str(tmp_path / "pylock.toml"), b'lock-version = "1.0"\ncreated-by = "test"\npackages = []\n')
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    give(str(theirs), NORMAL_USER)
    words = {"sync": ("sync", f"{tmp_path}/pylock.toml", "--env"), "venv": ("venv",)}[command]
    result = pipm(*words, f"{theirs}/new")
    result.expect(FAILED)
    assert f"{theirs} belongs to another user" in result.err
    assert os.listdir(theirs) == []


@pytest.mark.parametrize(
    ("part", "user"),
    [("", None), ("pipm", None), ("pipm/environments/*", None), ("pipm/environments", OTHER_USER)],
)
def test_a_cache_of_another_owner_is_not_believed(tmp_path: Path, part: str, user: int | None) -> None:
    place, cache = tmp_path / "place", tmp_path / "place/cache"
    cache.mkdir(parents=True)
    write(str(place / "pylock.toml"), b'lock-version = "1.0"\ncreated-by = "test"\npackages = []\n')
    if user is not None:
        give(str(place), user)
    pipm = Pipm(
        store=str(place / "store"),
        user=user,
        cwd=str(place),
        environ={"HOME": str(place), "XDG_CACHE_HOME": str(cache)},
    )
    words = ("run", "--lock", str(place / "pylock.toml"), "python", "-c", "print('ran')")
    assert "ran" in pipm(*words).expect().out
    (site,) = cache.glob("pipm/environments/*/lib/python*/site-packages")
    write(str(site / "evil.pth"), b"import sys; print('evil')\n")
    (owned,) = cache.parent.glob(f"cache/{part}") if part else [cache]
    give(str(owned), NORMAL_USER)
    check("chmod", "-R", "a+rX", str(cache))
    result: Result = pipm(*words)
    result.expect(FAILED)
    assert "belongs to another user: pipm runs nothing from there" in result.err
    assert "evil" not in result.out


FINDING = {
    "run": ("run", "python", "-c", "1"),
    "sync": ("sync",),
    "activate": ("-c", "import pipm; pipm.activate()"),
}


@pytest.mark.parametrize(("case", "user"), [("run", OTHER_USER), *((case, None) for case in FINDING)])
def test_a_lock_that_lies_above_by_chance_is_not_followed(
    tmp_path: Path, case: str, user: int | None
) -> None:
    """A lock in /tmp would decide which code runs for all users below."""
    ran = tmp_path / "shared/ran"
    shared = tmp_path / "shared"
    work = shared / "work"
    work.mkdir(parents=True)
    shared.chmod(0o1777)
    code = f"import sys; open({str(ran)!r}, 'w').close()\n".encode()
    wheel = make_wheel(str(shared), "evil==1.0", {"evil.pth": code, "evil.py": b"x = 1\n"})
    lock = pylock(str(shared), [wheel])
    give(lock, NORMAL_USER)
    if user is not None:
        give(str(work), user)
    places = {"HOME": str(work), "XDG_CACHE_HOME": str(work / "cache")}
    pipm = Pipm(store=str(work / "store"), user=user, cwd=str(work), environ=places)
    words = FINDING[case]
    if case == "activate":
        command, variables = pipm.command()
        done = run(command[0], *words, cwd=str(work), environ=variables, user=user)
        code_, err = done.returncode, done.stderr
    else:
        result = pipm(*words)
        code_, err = result.code, result.err
    assert code_ == FAILED
    assert f"{lock} is not used: it belongs to another user" in err
    assert "if you trust it, name it: pipm sync LOCK, pipm run --lock LOCK" in err
    assert f"export PIPM_TRUSTED_USERS={NORMAL_USER}" in err
    assert not ran.exists()
    if case != "run":
        return
    # Whoever names it, or is that user, gets it.
    pipm("run", "--lock", lock, "python", "-c", "1").expect()
    assert ran.exists()
    trusting = Pipm(
        store=pipm.store, user=user, cwd=str(work), environ=places | {"PIPM_TRUSTED_USERS": str(NORMAL_USER)}
    )
    trusting("run", "python", "-c", "1").expect()


def test_an_environment_does_not_follow_the_change_of_anothers_lock(tmp_path: Path) -> None:
    lock = tmp_path / "pylock.toml"
    lock.write_text('lock-version = "1.0"\ncreated-by = "test"\npackages = []\n')
    give(str(lock), NORMAL_USER)
    pipm = Pipm(store=str(tmp_path / "store"), environ={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    environment = str(tmp_path / "env")
    pipm("sync", str(lock), "--env", environment).expect()
    pipm("run", "-e", environment, "python", "-c", "1").expect()
    lock.write_text(f"{lock.read_text()}# changed\n")
    result = pipm("run", "-e", environment, "python", "-c", "1").expect(FAILED)
    assert f"{lock} is not used: it belongs to another user" in result.err


PIPS = {
    "sync": ("sync", "{top}/requirements.txt", "--env", "{top}/other"),
    "pip": ("pip", "list", "--env", "{top}/env"),
    "pip of its own": ("pip", "list", "--env", "{top}/own"),
    "lock": ("lock", "{top}/requirements.in", "--output", "{top}/pylock.toml"),
}


@pytest.mark.parametrize("case", PIPS)
def test_pip_is_not_what_lies_in_the_current_folder(tmp_path: Path, case: str) -> None:
    """`python -m pip` takes it, and every module that pip imports, from there first."""
    here = tmp_path / "here"
    here.mkdir()
    for name in ("pip", "logging", "json", "runpy"):
        write(str(here / f"{name}.py"), f"open({str(here / 'ran')!r}, 'w').close()\n".encode())
    give(str(here), NORMAL_USER)
    wheel = make_wheel(str(tmp_path / "wheels"), "demo==1.0", {"demo.py": b"x = 1\n"})
    for name in ("requirements.txt", "requirements.in"):
        (tmp_path / name).write_text("demo==1.0\n")
    places = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": "/usr/bin:/bin"}
    settings = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": os.path.dirname(wheel)}
    python, variables = interpreter_for(None)
    pipm = Pipm(store=str(tmp_path / "store"), environ=places | settings, cwd=str(here))
    made = make_environment(str(tmp_path / "env"))
    install(made, "demo==1.0", {"demo.py": b"x = 1\n"})
    put_pip(make_environment(str(tmp_path / "own")), str(tmp_path))
    words = [word.format(top=tmp_path) for word in PIPS[case]]
    done = run(python, "-P", "-m", "pipm", *words, cwd=str(here), environ=variables | pipm.command()[1])
    assert not (here / "ran").exists()
    assert done.returncode == 0, done.stderr

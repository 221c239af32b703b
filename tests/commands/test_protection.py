"""Writing to an adopted file: private with reflinks, refused or detected with hard links."""

from __future__ import annotations

import glob
import hashlib
import os
from typing import TYPE_CHECKING

import pytest
from pipm.cli.changed_files_output import daily_changes_below
from support.locks import pylock
from support.pipm import PARTLY, Pipm
from support.process import NORMAL_USER, check, interpreter_for, needs_root, run
from support.snapshot import file_digest, snapshot
from support.store import damage, object_path
from support.synthetic import Environment, install, make_environment, make_wheel, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.disks import Disk

TARGET = "alpha/data/table.bin"
EDIT = "with open({path!r}, 'r+b') as file: file.seek(5000); file.write(b'edited')"


def pair(disk: Disk) -> tuple[Environment, Environment]:
    """Two environments with the same distribution."""
    first, second = make_environment(disk / "a"), make_environment(disk / "b")
    for environment in (first, second):
        install(environment, "alpha==1.0", package("alpha"))
    return first, second


@pytest.mark.parametrize("target", [TARGET, "alpha/module_1.py"])
def test_a_write_through_a_reflink_stays_private(filesystem: Disk, target: str) -> None:
    if not filesystem.reflinks:
        pytest.skip("no reflinks on ext4")
    first, second = pair(filesystem)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path, second.path)
    before, store = snapshot(second.path), snapshot(pipm.store)
    old = file_digest(first.file(target))
    check(first.python, "-c", f"open({first.file(target)!r}, 'r+b').write(b'# edited')")
    assert file_digest(first.file(target)) != old
    assert snapshot(second.path) == before
    assert snapshot(pipm.store) == store
    assert damage(pipm.store) == []


def test_a_normal_users_write_through_a_hardlink_is_refused(filesystem: Disk) -> None:
    needs_root()
    first, second = pair(filesystem)
    check("chown", "-Rh", f"{NORMAL_USER}:{NORMAL_USER}", filesystem.path)
    pipm = Pipm(store=filesystem / "store", user=NORMAL_USER)
    pipm.adopt(first.path, second.path, mode="hardlink")
    path = first.file("alpha/module_1.py")
    assert os.path.samefile(path, second.file("alpha/module_1.py"))
    assert os.stat(path).st_uid == NORMAL_USER
    old = file_digest(path)
    python, _ = interpreter_for(NORMAL_USER)
    code = EDIT.format(path=path)
    done = run(python, "-I", "-c", code, user=NORMAL_USER)
    assert done.returncode != 0
    assert "PermissionError" in done.stderr
    assert file_digest(path) == old


def test_a_normal_user_adopts_and_releases(filesystem: Disk) -> None:
    needs_root()
    first, second = pair(filesystem)
    check("chown", "-Rh", f"{NORMAL_USER}:{NORMAL_USER}", filesystem.path)
    before = snapshot(first.path)
    pipm = Pipm(store=filesystem / "store", user=NORMAL_USER)
    result = pipm.adopt(first.path, second.path)
    assert result.json["environments"][0]["link_mode"] == filesystem.link_mode
    assert os.stat(pipm.store).st_mode & 0o077 == 0  # one store a user
    pipm.release(first.path)
    assert snapshot(first.path) == before
    assert {os.lstat(f"{first.path}/{name}").st_uid for name in before} == {NORMAL_USER}


def test_roots_write_through_a_hardlink_is_seen_by_stat(filesystem: Disk) -> None:
    """Root ignores modes; the time that the manifest records must then give the change away."""
    first, second = pair(filesystem)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path, second.path, mode="hardlink")
    stored = object_path(pipm.store, file_digest(first.file(TARGET)))
    assert damage(pipm.store) == []
    expected = os.stat(stored).st_mtime_ns
    check(first.python, "-c", EDIT.format(path=first.file(TARGET)))
    assert os.stat(stored).st_mtime_ns != expected
    pipm("verify").expect(1)


def test_a_normal_users_forced_write_is_told_and_mended(filesystem: Disk) -> None:
    """An editor that is forced makes the file writable, writes in place, and sets the mode back."""
    needs_root()
    first, second = pair(filesystem)
    wheel = make_wheel(filesystem / "wheels", "alpha==1.0", package("alpha"))
    check("chown", "-Rh", f"{NORMAL_USER}:{NORMAL_USER}", filesystem.path)
    index = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": os.path.dirname(wheel)}
    pipm = Pipm(store=filesystem / "store", user=NORMAL_USER, environ=index)
    pipm.adopt(first.path, second.path, mode="hardlink")
    name = "alpha/module_1.py"
    path, old = first.file(name), file_digest(first.file(name))
    python, _ = interpreter_for(NORMAL_USER)
    forced = f"import os\nos.chmod({path!r}, 0o644)\n{EDIT.format(path=path)}\nos.chmod({path!r}, 0o444)"
    check(python, "-I", "-c", forced, user=NORMAL_USER)
    assert file_digest(second.file(name)) == file_digest(path) != old
    for environment in (second, first):
        told = pipm("adopt", environment.path, "--link-mode", "hardlink").expect(PARTLY)
        assert "1 shared file was changed in place, for all environments: pipm verify --repair" in told.err
    told = pipm("gc").expect()
    assert "alpha/module_1.py" in told.err
    assert "pipm verify --repair" in told.err
    pipm("verify", "--repair").expect()
    assert file_digest(first.file(name)) == file_digest(second.file(name)) == old
    assert "changed in place" not in pipm("gc").expect().err
    pipm("adopt", first.path, second.path, "--link-mode", "hardlink").expect()


def test_an_attribute_on_a_shared_file_is_told(filesystem: Disk) -> None:
    first, second = pair(filesystem)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path, second.path, mode="hardlink")
    os.setxattr(first.file(TARGET), "user.note", b"mine")
    for environment in (second, first):
        again = pipm("adopt", environment.path, "--link-mode", "hardlink").expect(PARTLY)
        assert "after it was shared" in again.err
        assert "pipm verify --repair" in again.err
        assert "Nothing to do" not in again.out
    pipm("verify", "--repair").expect()
    for environment in (second, first):
        assert "Nothing to do" in pipm("adopt", environment.path, "--link-mode", "hardlink").expect().out


def test_a_damaged_object_never_enters_another_environment(filesystem: Disk) -> None:
    first, second = pair(filesystem)
    third = make_environment(filesystem / "third")
    install(third, "alpha==1.0", package("alpha"))
    before = snapshot(third.path)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path, second.path, mode="hardlink")
    stored = object_path(pipm.store, file_digest(first.file(TARGET)))
    os.chmod(stored, 0o644)
    check(first.python, "-c", EDIT.format(path=stored))
    os.chmod(stored, 0o444)
    pipm.adopt(third.path, mode="hardlink", codes=(0, 3))
    assert snapshot(third.path) == before


def test_a_damage_that_stat_cannot_see_never_enters_either(filesystem: Disk) -> None:
    """The content is proven at the moment of sharing: size and mtime may lie."""
    first, second = pair(filesystem)
    before = snapshot(second.path)
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(first.path, mode="hardlink")
    stored = object_path(pipm.store, file_digest(first.file(TARGET)))
    status = os.stat(stored)
    os.chmod(stored, 0o644)
    check(first.python, "-c", EDIT.format(path=stored))
    os.chmod(stored, 0o444)
    os.utime(stored, ns=(status.st_atime_ns, status.st_mtime_ns))
    pipm.adopt(second.path, mode="hardlink", codes=(0, 3))
    assert snapshot(second.path) == before


@pytest.mark.parametrize("mode", ["hardlink", "reflink"])
def test_sync_never_spreads_a_changed_file(filesystem: Disk, mode: str) -> None:
    """A stored file that was written to shows it by its time; the wheel is asked for again instead."""
    if mode == "reflink" and not filesystem.reflinks:
        pytest.skip("no reflinks on ext4")
    content = package("alpha")
    wheel = make_wheel(filesystem / "wheels", "alpha==1.0", content)
    pipm = Pipm(store=filesystem / "store", environ={"PIP_NO_INDEX": "1"})
    pipm("store", "add", wheel).expect()
    with open(filesystem / "requirements.txt", "w", encoding="ascii") as file:
        file.write(f"alpha @ file://{wheel} --hash=sha256:{file_digest(wheel)}\n")
    stored = object_path(pipm.store, hashlib.sha256(content[TARGET]).hexdigest())
    check("python3", "-c", EDIT.format(path=stored))
    synced = pipm("sync", filesystem / "requirements.txt", "--env", filesystem / "env", "--link-mode", mode)
    environment = Environment(path=filesystem / "env")
    if synced.code == 0:
        with open(environment.file(TARGET), "rb") as file:
            assert file.read() == content[TARGET]
    else:
        assert not os.path.exists(environment.file(TARGET)) or (
            file_digest(environment.file(TARGET)) == hashlib.sha256(content[TARGET]).hexdigest()
        )
        assert "pipm verify --full --repair" in synced.err


def test_sync_and_run_look_once_a_day_for_forced_writes(pipm: Pipm, tmp_path: Path) -> None:
    pipm = Pipm(store=pipm.store, environ={"XDG_CACHE_HOME": str(tmp_path / "cache")})
    lock = pylock(str(tmp_path), [make_wheel(str(tmp_path / "wheels"), "alpha==1.0", package("alpha"))])
    environment = make_environment(str(tmp_path / "env"))
    sync = ("sync", lock, "--env", environment.path, "--link-mode", "hardlink")
    run = ("run", "--lock", lock, "--", "python", "-c", "import alpha")
    for words in (sync, sync, run):
        assert "changed in place" not in pipm(*words).expect().err
    stored = object_path(pipm.store, file_digest(environment.file("alpha/module_1.py")))
    os.chmod(stored, 0o644)
    with open(stored, "ab") as file:
        file.write(b"# edited\n")
        os.fchmod(file.fileno(), 0o444)
    cache = tmp_path / "cache/pipm"
    (used,) = glob.glob(f"{cache}/environments/*/.pipm/ready")
    for looked in glob.glob(f"{cache}/changes-*"):
        os.unlink(looked)
    os.utime(used, (0, 0))
    for words in (sync, run):
        told = pipm(*words).expect().err
        assert "1 shared file was changed in place, for all environments: pipm verify --repair" in told
        assert "alpha/module_1.py" in told


def test_an_environment_is_looked_at_again_on_the_next_day(
    pipm: Pipm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environment = make_environment(str(tmp_path / "env"))
    install(environment, "alpha==1.0", package("alpha"))
    pipm.adopt(environment.path, mode="hardlink")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    day = 100
    monkeypatch.setattr("time.time", lambda: day * 86400.0)
    assert daily_changes_below(pipm.store, environment.path) == ()
    os.utime(object_path(pipm.store, file_digest(environment.file("alpha/module_1.py"))), (1, 1))
    assert daily_changes_below(pipm.store, environment.path) == ()
    day = 101
    for _ in range(2):
        (changed,) = daily_changes_below(pipm.store, environment.path)
        assert changed.endswith("alpha/module_1.py")

"""why: reasons for distributions and files. doctor: faults that it finds."""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from support.pipm import USAGE, Pipm, assert_refused
from support.snapshot import changes, fingerprint
from support.store import entry_names, object_names
from support.synthetic import install, make_environment, package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.disks import Disk, Disks
    from support.synthetic import Environment


def why(pipm: Pipm, subject: str) -> dict[str, Any]:
    return pipm("why", subject, "--json").expect().json


@pytest.fixture
def context(filesystem: Disk) -> tuple[Pipm, Environment, Environment, Environment]:
    """Two environments that share alpha, one that is not adopted; two versions of beta."""
    one, two, own = (make_environment(filesystem / name) for name in ("one", "two", "own"))
    for environment in (one, two, own):
        install(environment, "alpha==1.0", package("alpha"))
    install(one, "beta==1.0", package("beta"))
    install(two, "beta==2.0", package("beta", seed=2))
    pipm = Pipm(store=filesystem / "store")
    pipm.adopt(one.path, two.path)
    return pipm, one, two, own


def test_why_a_name(context: tuple[Pipm, Environment, Environment, Environment]) -> None:
    pipm, one, two, _ = context
    (alpha,) = why(pipm, "Alpha")["entries"]
    assert (alpha["name"], alpha["version"]) == ("alpha", "1.0")
    assert alpha["tag"].startswith("py3-none-any-")
    assert alpha["environments"] == [one.path, two.path]
    assert alpha["on_disk"] > 70_000
    versions = {row["version"]: row["environments"] for row in why(pipm, "beta")["entries"]}
    assert versions == {"1.0": [one.path], "2.0": [two.path]}
    assert [row["version"] for row in why(pipm, "beta<2")["entries"]] == ["1.0"]
    assert_refused(pipm("why", "beta<", "--json"), "not a requirement", code=USAGE)
    assert {row["how"] for row in alpha["kept_by"]} == {"adopted"}
    told = pipm("why", "alpha").expect().out
    assert "kept by 2 environments" in told
    assert one.path in told
    assert_refused(pipm("why", "gamma", "--json"), "gamma")


def test_why_an_environment(context: tuple[Pipm, Environment, Environment, Environment]) -> None:
    """One row for each distribution: its bytes, and the other environments that need it."""
    pipm, one, two, own = context
    rows = [line.split() for line in pipm("why", one.path).expect().out.splitlines()[3:]]
    assert rows[0] == ["DISTRIBUTION", "VERSION", "ON", "DISK", "ALSO", "KEPT", "BY"]
    assert {(row[0], row[1], row[-1]) for row in rows[1:]} == {
        ("alpha", "1.0", two.path),
        ("beta", "1.0", "-"),
    }
    pipm.adopt(own.path)
    assert "2 other environments" in pipm("why", one.path).expect().out


def test_why_something_that_nothing_keeps(
    context: tuple[Pipm, Environment, Environment, Environment],
) -> None:
    pipm, one, two, _ = context
    pipm.release(one.path)
    (first, second) = why(pipm, "beta")["entries"]
    assert (first["environments"], second["environments"]) == ([], [two.path])
    told = pipm("why", "beta").expect().out
    assert "kept by nothing" in told
    shutil.rmtree(two.path)
    users = why(pipm, "beta")["entries"][1]["kept_by"]
    assert [(row["path"], row["missing"]) for row in users] == [(two.path, True)]


def test_why_files(context: tuple[Pipm, Environment, Environment, Environment], filesystem: Disk) -> None:
    pipm, one, two, own = context
    os.unlink(one.file("alpha/module_1.py"))  # an editor that replaces: the store's stays as it was
    with open(one.file("alpha/module_1.py"), "wb") as file:
        file.write(b"EDITED = True\n")
    shared = why(pipm, one.file("alpha/data/table.bin"))
    assert shared["path"]["shared_by"] == filesystem.link_mode
    assert shared["path"]["shared_with"] == [two.path]
    assert shared["path"]["distribution"] == "alpha 1.0"
    assert [row["name"] for row in shared["entries"]] == ["alpha"]
    edited = why(pipm, one.file("alpha/module_1.py"))["path"]
    assert (edited["shared_by"], edited["reason"]) == ("", "differs from what was installed")
    private = why(pipm, own.file("alpha/data/table.bin"))["path"]
    assert (private["shared_by"], private["reason"]) == ("", "not adopted yet")
    assert "pipm adopt" in pipm("why", own.file("alpha/data/table.bin")).err
    record = why(pipm, one.file("alpha-1.0.dist-info/RECORD"))["path"]
    assert "installer" in record["reason"]
    empty = why(pipm, one.file("alpha/py.typed"))["path"]
    assert empty["reason"] == "empty"
    stray = one.file("stray.txt")
    with open(stray, "w", encoding="ascii") as text:
        text.write("nobody's")
    assert why(pipm, stray)["path"]["reason"] == "of no distribution"


def test_why_folders_and_the_store(context: tuple[Pipm, Environment, Environment, Environment]) -> None:
    pipm, one, _, own = context
    whole = why(pipm, one.path)
    assert whole["path"]["kind"] == "environment"
    assert {row["name"] for row in whole["entries"]} == {"alpha", "beta"}
    folder = why(pipm, one.file("alpha"))
    assert folder["path"]["distribution"] == "alpha 1.0"
    assert folder["path"]["shared"] > 70_000
    assert why(pipm, own.path)["path"]["shared"] == 0
    entry = min(entry_names(pipm.store))
    assert [row["name"] for row in why(pipm, f"{pipm.store}/v1/wheels/{entry}")["entries"]] == ["alpha"]
    for name in object_names(pipm.store):
        found = why(pipm, f"{pipm.store}/v1/objects/{name}")
        assert found["entries"], name
        break
    assert_refused(pipm("why", "/etc/hostname", "--json"), "/etc/hostname")
    assert_refused(pipm("why", f"{one.path}/nothing", "--json"), "nothing")


def checks(pipm: Pipm, code: int) -> dict[str, dict[str, Any]]:
    result = pipm("doctor", "--json").expect(code).json
    for check in result["checks"]:
        assert set(check) >= {"name", "ok", "detail", "hint"}
        assert check["ok"] or check["hint"], check
    return {check["name"]: check for check in result["checks"]}


def test_doctor_where_all_is_well(
    context: tuple[Pipm, Environment, Environment, Environment], filesystem: Disk
) -> None:
    pipm, one, _, _ = context
    before = fingerprint(filesystem.path)
    times = os.stat(one.path).st_mtime_ns
    found = checks(pipm, 0)
    assert changes(before, fingerprint(filesystem.path)) == []
    assert os.stat(one.path).st_mtime_ns == times
    (links,) = (check for name, check in found.items() if name.startswith("links to"))
    assert links["ok"]
    assert filesystem.kind in links["detail"]
    assert ("reflink, hardlink" in links["detail"]) == filesystem.reflinks
    assert not [check for check in found.values() if not check["ok"] and check["severity"] == "error"]
    told = pipm("doctor").expect()
    assert "flock works" in told.out


def test_doctor_names_what_is_gone_and_wrong(pipm: Pipm, tmp_path: Path) -> None:
    gone, anew = make_environment(str(tmp_path / "gone")), make_environment(str(tmp_path / "anew"))
    for environment in (gone, anew):
        install(environment, "alpha==1.0", package("alpha"))
    pipm.adopt(gone.path, anew.path)
    shutil.rmtree(gone.path)
    os.mkdir(f"{pipm.store}/v1/tmp/run-0123456789abcdef")
    os.chmod(pipm.store, 0o755)
    spoilt = Pipm(store=pipm.store, environ={"PIPM_STOER": "x"})
    found = checks(spoilt, 0)
    assert found["environment"]["hint"] == "pipm gc --missing"
    assert found["PIPM_STOER"]["hint"] == "unset PIPM_STOER"
    assert found["permissions"]["hint"] == f"chmod 700 {pipm.store}"
    assert found["temporaries"]["hint"] == "pipm gc"
    os.chmod(pipm.store + "/v1", 0o777)
    assert checks(pipm, 1)["store"]["severity"] == "error"
    os.chmod(pipm.store + "/v1", 0o700)
    broken = Pipm(store=pipm.store, environ={"PIPM_LOCK_TIMEOUT": "soon"})
    assert "PIPM_LOCK_TIMEOUT" in checks(broken, 1)


@pytest.fixture
def other_mounts(disks: Disks, tmp_path: Path) -> Iterator[Path]:
    """A folder where tmpfs and overlay file systems can be mounted, in this process's namespace."""
    assert disks.folder  # entered its own namespace, or the test was skipped
    yield tmp_path
    for name in ("merged", "memory"):
        subprocess.run(["umount", "--lazy", str(tmp_path / name)], check=False, capture_output=True)


@pytest.mark.mounts
def test_doctor_on_another_file_system(other_mounts: Path) -> None:
    """The store on a disk, an environment in memory that was moved there: nothing can be linked."""
    memory = other_mounts / "memory"
    memory.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", str(memory)], check=True)
    pipm = Pipm(store=str(other_mounts / "store"))
    environment = make_environment(str(memory / "env"))
    install(environment, "alpha==1.0", package("alpha"))
    pipm.adopt(environment.path, mode="symlink")
    found = checks(pipm, 1)
    links = found[f"links to {memory}"]
    assert not links["ok"]
    assert "hardlink does not" in links["detail"]
    assert "symlink works" in links["detail"]
    assert links["hint"] == f"pipm --store {memory}/.pipm-store adopt {environment.path}"
    inside = Pipm(store=str(memory / "store"))
    inside("store", "ls").expect()
    inside("adopt", environment.path, "--link-mode", "hardlink").expect(0, 3)
    assert checks(inside, 0)[f"links to {memory}"]["ok"]


@pytest.mark.mounts
def test_doctor_on_an_overlay(other_mounts: Path) -> None:
    for name in ("lower", "upper", "work", "merged"):
        (other_mounts / name).mkdir()
    options = ",".join(f"{key}dir={other_mounts / key}" for key in ("lower", "upper", "work"))
    merged = str(other_mounts / "merged")
    subprocess.run(["mount", "-t", "overlay", "none", "-o", options, merged], check=True)
    environment = make_environment(f"{merged}/env")
    install(environment, "alpha==1.0", package("alpha"))
    pipm = Pipm(store=f"{merged}/store")
    pipm.adopt(environment.path, mode="hardlink")
    links = checks(pipm, 0)[f"links to {merged}"]
    assert (links["ok"], links["severity"]) == (False, "warning")
    assert "copies it first" in links["detail"]


@pytest.mark.mounts
def test_doctor_on_a_read_only_disk(disks: Disks) -> None:
    with disks.small("ext4", size="64M", name="frozen") as disk:
        pipm = Pipm(store=disk / "store")
        environment = make_environment(disk / "env")
        install(environment, "alpha==1.0", package("alpha"))
        pipm.adopt(environment.path)
        subprocess.run(["mount", "-o", "remount,ro", disk.path], check=True)
        found = checks(pipm, 1)
        assert "Read-only" in found[f"links to {disk.path}"]["detail"]
        assert found[f"links to {disk.path}"]["hint"] == f"mount -o remount,rw {disk.path}"
        for command in (("df",), ("list",), ("why", "alpha")):
            assert pipm(*command, "--json").expect().json["command"] == command[0]

"""list, df and store: their JSON and their text; they change nothing."""

from __future__ import annotations

import os
import random
import re
import shutil
import zipfile
from typing import TYPE_CHECKING

import pytest
from support.pipm import Pipm, assert_refused
from support.process import check
from support.snapshot import changes, fingerprint
from support.store import damage, entry_names, leftovers, object_names, still_shared
from support.synthetic import (
    Environment,
    Files,
    dist_info,
    install,
    make_environment,
    make_wheel,
    package,
    record_text,
    wheel_files,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.disks import Disk


LARGE = random.Random(1).randbytes(6 * 2**20)


def adopted_pair(disk: Disk) -> tuple[Pipm, Environment, Environment]:
    """Two adopted environments with one distribution in common."""
    first, second = make_environment(disk / "first"), make_environment(disk / "second")
    for environment in (first, second):
        install(environment, "alpha==1.0", package("alpha") | {"alpha/large.bin": LARGE})
    install(second, "beta==1.0", {"beta/data.bin": os.urandom(600_000)})
    pipm = Pipm(store=disk / "store")
    pipm.adopt(first.path, second.path)
    return pipm, first, second


def test_list_tells_the_states(filesystem: Disk) -> None:
    pipm, first, second = adopted_pair(filesystem)
    own = make_environment(filesystem / "own")
    install(own, "alpha==1.0", package("alpha"))
    before = fingerprint(filesystem.path)
    result = pipm("list", filesystem.path, "--json").expect().json
    assert changes(before, fingerprint(filesystem.path)) == []
    assert (result["version"], result["command"]) == (1, "list")
    rows = {row["path"]: row for row in result["environments"]}
    states = {path: row["state"] for path, row in rows.items()}
    assert states == {first.path: "adopted", second.path: "adopted", own.path: "own copy"}
    keys = {"python", "link_mode", "distributions", "apparent", "on_disk", "exclusive", "last_used"}
    for row in rows.values():
        assert set(row) >= keys
    assert rows[second.path]["distributions"] == 2
    assert rows[first.path]["link_mode"] == filesystem.link_mode


def test_list_knows_what_is_gone(filesystem: Disk) -> None:
    pipm, first, second = adopted_pair(filesystem)
    shutil.rmtree(first.path)
    rows = pipm("list", "--json").expect().json["environments"]
    assert {row["path"]: row["state"] for row in rows} == {
        first.path: "missing",
        second.path: "adopted",
    }


def test_exclusive_is_what_deleting_would_free(filesystem: Disk) -> None:
    """Of the second environment's large files one is shared with the first, one with the store."""
    pipm, first, second = adopted_pair(filesystem)
    own = make_environment(filesystem / "own")
    install(own, "gamma==1.0", {"gamma/data.bin": os.urandom(800_000)})
    rows = {row["path"]: row for row in pipm("list", filesystem.path, "--json").expect().json["environments"]}
    assert rows[own.path]["exclusive"] >= 800_000
    for environment in (first, second):
        row = rows[environment.path]
        assert row["exclusive"] < 100_000 < len(LARGE) < row["apparent"]


def test_df_counts_once_what_is_shared(filesystem: Disk) -> None:
    pipm, first, second = adopted_pair(filesystem)
    before = fingerprint(filesystem.path)
    result = pipm("df", "--json").expect().json
    assert changes(before, fingerprint(filesystem.path)) == []
    assert (result["version"], result["command"]) == (1, "df")
    assert result["store"]["path"] == pipm.store
    assert result["store"]["entries"] == len(entry_names(pipm.store)) == 2
    assert result["store"]["objects"] == len(object_names(pipm.store))
    assert {row["path"] for row in result["environments"]} == {first.path, second.path}
    assert 0.95 * len(LARGE) <= result["saved"] <= 1.1 * len(LARGE)


def test_df_of_an_empty_store(pipm: Pipm) -> None:
    result = pipm("df", "--json").expect().json
    assert result["environments"] == []
    assert (result["saved"], result["store"]["entries"], result["store"]["objects"]) == (0, 0, 0)


def test_store_path(pipm: Pipm, tmp_path: Path) -> None:
    assert pipm("store", "path").expect().out.strip() == pipm.store
    assert pipm("--store", str(tmp_path / "x"), "store", "path").out.strip() == str(tmp_path / "x")
    assert pipm("store", "path", "--store", str(tmp_path / "x")).out.strip() == str(tmp_path / "x")
    home = Pipm(store="", environ={"XDG_DATA_HOME": str(tmp_path)})
    assert home("store", "path").expect().out.strip() == str(tmp_path / "pipm")


def test_store_ls(pipm: Pipm, tmp_path: Path) -> None:
    for spec in ("alpha==1.0", "alpha==2.0", "beta==1.0"):
        name, version = spec.split("==")
        files = package(name, seed=int(version[0]))
        pipm("store", "add", make_wheel(str(tmp_path), spec, files)).expect()
    told = pipm("store", "ls").expect().out
    assert re.search(r"alpha\W+1\.0", told)
    assert re.search(r"beta\W+1\.0", told)
    told = pipm("store", "ls", "beta").expect().out
    assert "beta" in told
    assert "alpha" not in told


def test_store_add_twice_is_nothing_new(pipm: Pipm, tmp_path: Path) -> None:
    wheel = make_wheel(str(tmp_path), "alpha==1.0", package("alpha"))
    pipm("store", "add", wheel).expect()
    before = fingerprint(f"{pipm.store}/v1/wheels")
    pipm("store", "add", wheel).expect()
    assert changes(before, fingerprint(f"{pipm.store}/v1/wheels")) == []
    assert damage(pipm.store) == []
    (name,) = os.listdir(f"{pipm.store}/v1/by-wheel")
    assert check("sha256sum", wheel).split()[0] == name


def hostile(folder: str, spoil: Callable[[Files], Files]) -> str:
    """Write a wheel whose files were changed after its RECORD was made."""
    good = wheel_files("alpha", "1.0", package("alpha"))
    path = f"{folder}/alpha-1.0-py3-none-any.whl"
    record = f"{dist_info('alpha', '1.0')}/RECORD"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in spoil(dict(good)).items():
            archive.writestr(name, content)
        archive.writestr(record, record_text(good, record))
    return path


SPOILS: dict[str, Callable[[Files], Files]] = {
    "climbs": lambda files: files | {"../../evil.py": b"x"},
    "absolute": lambda files: files | {"/tmp/pipm-test-evil.py": b"x"},
    "lies": lambda files: files | {"alpha/__init__.py": b"other"},
    "unlisted": lambda files: files | {"alpha/unlisted.py": b"x"},
    "missing": lambda files: {k: v for k, v in files.items() if k != "alpha/__init__.py"},
    "newer": lambda files: files | {"alpha-1.0.dist-info/WHEEL": b"Wheel-Version: 9.0\n"},
}


@pytest.mark.parametrize("spoil", SPOILS)
def test_a_hostile_wheel_leaves_nothing(pipm: Pipm, tmp_path: Path, spoil: str) -> None:
    wheel = hostile(str(tmp_path), SPOILS[spoil])
    assert_refused(pipm("store", "add", wheel, "--json"), "alpha-1.0-py3-none-any.whl")
    if os.path.isdir(pipm.store):
        assert entry_names(pipm.store) == set()
        assert leftovers(pipm.store) == []
    assert not os.path.exists("/tmp/pipm-test-evil.py")
    assert not [name for name in os.listdir(tmp_path) if name.startswith("evil")]


def test_a_wheel_that_is_none(pipm: Pipm, tmp_path: Path) -> None:
    path = tmp_path / "alpha-1.0-py3-none-any.whl"
    path.write_bytes(b"not a zip")
    assert_refused(pipm("store", "add", str(path), "--json"), "alpha-1.0-py3-none-any.whl")
    assert_refused(pipm("store", "add", str(tmp_path / "gone.whl"), "--json"), "gone.whl")


def test_a_store_entry_is_importable_as_it_is(filesystem: Disk) -> None:
    """`site/` is what purelib gets: real files, and what Python imports is read-only."""
    pipm, first, _ = adopted_pair(filesystem)
    (entry,) = (name for name in entry_names(pipm.store) if name.startswith("alpha/"))
    site = f"{pipm.store}/v1/wheels/{entry}/site"
    code = f"import sys; sys.path[0] = {site!r}; import alpha; print(alpha.NAME)"
    told = check(first.python, "-S", "-B", "-c", code)
    assert told == "alpha\n"
    modes = {name: os.stat(f"{site}/{name}").st_mode & 0o222 for name in package("alpha")}
    assert {modes[name] for name in modes if name.endswith(".py")} == {0}
    assert {modes[name] for name in modes if not name.endswith(".py")} == {0o200}
    assert still_shared(site)


def test_version_and_help(pipm: Pipm) -> None:
    assert re.fullmatch(r"pipm \d+\.\d+\S*\n", pipm("-V").expect().out)
    told = pipm("-h").expect().out
    for command in ("adopt", "release", "list", "df", "store"):
        assert command in told
    assert "--link-mode" in pipm("adopt", "-h").expect().out

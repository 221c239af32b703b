"""`pipm uninstall`: all environments get own copies, and all files of pipm are removed."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path

import pytest
from support.pipm import PARTLY, Pipm
from support.snapshot import snapshot
from support.synthetic import Environment, import_all, install, make_environment, package

PLAIN = "export EDITOR=vi\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder with a line in .bashrc and completions, as ``--install-completion`` writes them."""
    home = tmp_path / "home"
    (home / ".bash_completions").mkdir(parents=True)
    script = home / ".bash_completions/pipm.sh"
    script.write_text("_PIPM_COMPLETE=complete_bash pipm\n")
    bashrc = home / ".bashrc"
    bashrc.write_text(f"{PLAIN}\nsource '{script}'\n")
    bashrc.chmod(0o640)
    for name in ("CACHE", "CONFIG", "DATA"):
        monkeypatch.delenv(f"XDG_{name}_HOME", raising=False)
    monkeypatch.setenv("HOME", str(home))
    return home


def pipm_of(home: Path) -> Pipm:
    """The command for the user of *home*, with the store at its usual place."""
    places = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "XDG_CONFIG_HOME": str(home / ".config"),
        "XDG_DATA_HOME": str(home / ".local/share"),
        "UV_CACHE_DIR": str(home / ".cache/uv"),
    }
    return Pipm(store=str(home / ".local/share/pipm"), environ=places)


def with_alpha(path: Path) -> Environment:
    """An environment with one distribution."""
    environment = make_environment(str(path))
    install(environment, "alpha==1.0", package("alpha", modules=4))
    return environment


def times(environment: Environment) -> dict[str, tuple[int, int]]:
    """Mode and time of each file of the package."""
    files = sorted(Path(environment.site, "alpha").rglob("*.py"))
    return {file.name: (file.stat().st_mode, file.stat().st_mtime_ns) for file in files}


def test_nothing_stays(home: Path) -> None:
    pipm = pipm_of(home)
    first, second = with_alpha(home / "first"), with_alpha(home / "second")
    for name in ("__init__", "module_1"):
        os.utime(second.file(f"alpha/{name}.py"), (1e9, 1e9))
    # uv links the files of an environment to its cache.
    cached = home / ".cache/uv/archive-v0/x/module.py"
    cached.parent.mkdir(parents=True)
    os.link(first.file("alpha/module_1.py"), cached)
    with open(f"{second.path}/pyvenv.cfg", "a", encoding="ascii") as configuration:
        configuration.write("uv = 0.9.0\n")
    before = {one.path: (snapshot(one.path), times(one)) for one in (first, second)}
    pipm.adopt(first.path, second.path)
    named = home / ".local/share/pipm-environments/science"
    with_alpha(named)
    pipm.adopt(str(named))
    (home / ".config/pipm").mkdir(parents=True)
    for name, program in (("science", f"{named}/bin/python"), ("other", "/usr/bin/python3")):
        kernel = home / f".local/share/jupyter/kernels/{name}/kernel.json"
        kernel.parent.mkdir(parents=True)
        kernel.write_text(json.dumps({"argv": [program, "-m", "ipykernel_launcher"]}))
    all_there = snapshot(str(home))

    told = pipm("uninstall", "-n").expect()
    assert "2 environments would get" in told.out
    assert "1 environment that uv made: the copies" in told.err
    assert re.search(r"Would remove \S+/pipm \(\d.* [KM]iB\)", told.out)
    assert snapshot(str(home)) == all_there

    told = pipm("uninstall").expect()
    assert "jupyter kernelspec remove science\n" in told.err
    assert "left shared with uv's cache, as uv made them: 1 file" in told.err
    assert told.out.rstrip().endswith("pip uninstall venv-dedupe")
    for one in (first, second):
        assert (snapshot(one.path), times(one)) == before[one.path]
        import_all(one)
    assert os.stat(first.file("alpha/module_1.py")).st_ino == cached.stat().st_ino
    assert os.stat(first.file("alpha/module_2.py")).st_nlink == 1
    assert os.stat(second.file("alpha/module_1.py")).st_nlink == 1
    assert (home / ".bashrc").read_text() == PLAIN
    assert (home / ".bashrc").stat().st_mode & 0o777 == 0o640
    ours = {"pipm", "pipm-environments", "pipm.sh", ".bash_completions"}
    assert [path for path in home.rglob("*") if path.name in ours] == []


def test_a_signing_key_stays(home: Path) -> None:
    pipm = pipm_of(home)
    key = home / ".config/pipm/signing.key"
    key.parent.mkdir(parents=True)
    key.write_text("secret")
    told = pipm("uninstall").expect()
    assert "signing.key stays" in told.err
    assert key.read_text() == "secret"


def test_what_needs_the_store_and_is_away_keeps_it(home: Path) -> None:
    """An environment of the finder on a disk that is not mounted would lose its modules."""
    pipm = pipm_of(home)
    near, away = with_alpha(home / "near"), with_alpha(home / "disk/away")
    pipm.adopt(near.path)
    pipm("adopt", "--link-mode", "finder", away.path).expect()
    for file in Path(pipm.store, "v1/roots").iterdir():
        root = json.loads(file.read_text())
        if root["path"] == away.path:
            file.write_text(json.dumps(root | {"device": 1}))
    shutil.move(home / "disk", home / "unmounted")
    told = pipm("uninstall").expect(PARTLY)
    assert "stays: 1 environment may need its files" in told.err
    assert os.stat(near.file("alpha/module_1.py")).st_nlink == 1
    shutil.move(home / "unmounted", home / "disk")
    import_all(away)
    pipm("uninstall").expect()
    import_all(away)
    assert not os.path.exists(pipm.store)

"""Finder environments that import directly from a layer: a `pipm store pack` image, or another store."""

from __future__ import annotations

import os
import re
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from support.pipm import FAILED, Pipm, assert_refused
from support.remotes import files_below, lock_of, person
from support.snapshot import snapshot
from support.store import damage
from support.synthetic import Environment, import_all, package

if TYPE_CHECKING:
    from pathlib import Path

ENTRY_POINT = {"alpha-1.0.dist-info/entry_points.txt": b"[console_scripts]\nalpha-run = gc:enable\n"}
WHEELS = {
    "alpha==1.0": package("alpha", modules=3)
    | ENTRY_POINT
    | {"alpha-1.0.data/data/share/alpha.txt": b"data\n"},
    "beta-two==2.0": package("beta", modules=2) | {"beta/shared.txt": b"data of beta\n"},
}
PYTHON = ("--python", sys.executable)
FINDER = ("--link-mode", "finder", "--json")
WHERE = "import alpha.module_1 as m; print(m.__file__, m.__cached__)"


class Served:
    """An environment at `path` that imports the wheels of `lock` from the layer at `layer`."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.folder, self.layer = str(folder), f"{folder}/layer"
        maker = person(self.folder, "maker")
        self.lock = lock_of(self.folder, WHEELS, maker)
        maker("store", "pack", self.lock, "-o", self.layer, "--env", f"{folder}/none", *PYTHON).expect()
        self.before = snapshot(self.layer)
        self.pipm = person(self.folder, "user", PIPM_STORE_LAYERS=self.layer)
        self.environment = Environment(path=f"{folder}/env")
        self.sync(*options)

    def sync(self, *options: str, lock: str = "") -> dict[str, object]:
        """Sync with the finder."""
        words = ("sync", lock or self.lock, "--env", self.environment.path, *PYTHON)
        return self.pipm(*words, *FINDER, *options).expect().json

    def entries(self) -> list[str]:
        """The files of entries that the own store has."""
        return files_below(f"{self.pipm.store}/v1/wheels")

    def unmount(self) -> None:
        """Move the layer away."""
        os.rename(self.layer, f"{self.layer}-away")

    def mount(self) -> None:
        """Move the layer back."""
        os.rename(f"{self.layer}-away", self.layer)


@pytest.mark.parametrize("options", [(), ("--no-dist-info",)])
def test_modules_and_bytecode_are_the_layers(tmp_path: Path, options: tuple[str, ...]) -> None:
    served = Served(tmp_path, *options)
    environment = served.environment
    assert served.entries() == []
    # What lies in the environment is its own: it shares no inode with the layer, whose owner may be another.
    assert {os.stat(name).st_nlink for name in files_below(environment.site)} <= {1, 2}
    assert os.stat(f"{environment.path}/share/alpha.txt").st_nlink == 1
    import_all(environment)
    source, cached = environment.run(WHERE).split()
    assert source.startswith(f"{served.layer}/v1/wheels/alpha/")
    assert os.path.samefile(os.path.dirname(cached), f"{os.path.dirname(source)}/__pycache__")
    assert os.path.isfile(cached)
    # Nothing was compiled, and nothing written to the layer.
    assert not os.path.exists(f"{environment.path}/.pipm/bytecode")
    assert snapshot(served.layer) == served.before
    code = (
        "import importlib.metadata as m; d = m.distribution('beta-two');"
        "print(len(list(m.distributions(name='alpha'))), d.version,"
        " all(f.locate().exists() for f in d.files if f.suffix == '.txt' or f.suffix == '.py'))"
    )
    assert environment.run(code) == "1 2.0 True\n"
    # A module that is compiled anew is the environment's.
    environment.run("import importlib.util as u, py_compile; import alpha.module_1", "-O")
    assert snapshot(served.layer) == served.before
    again = served.sync()
    assert (again["added"], again["repaired"], again["unchanged"]) == ([], [], 2)
    served.pipm("gc", "--keep", "0").expect()
    import_all(environment)
    assert served.pipm("list", "--json").expect().json["environments"][0]["path"] == environment.path
    report = served.pipm("verify", "--json").expect().json
    assert (report["damaged"], report["not_mounted"]) == ([], [])
    assert any(served.layer in reason for reason in report["not_run"])
    assert served.pipm("verify", environment.path).expect().code == 0
    assert damage(served.pipm.store) == []


def test_few_inodes_are_the_users(tmp_path: Path) -> None:
    served = Served(tmp_path, "--no-dist-info")
    names = [
        os.path.join(base, name)
        for top in (served.environment.path, served.pipm.store)
        for base, folders, files in os.walk(top)
        for name in (*folders, *files)
    ]
    # However many distributions and files there are.
    of_distributions = {os.path.relpath(name, tmp_path) for name in names if re.search("alpha|beta", name)}
    assert of_distributions == {"env/bin/alpha-run", "env/share/alpha.txt"}


def test_a_layer_that_is_not_mounted_is_named(tmp_path: Path) -> None:
    served = Served(tmp_path)
    environment, pipm = served.environment, served.pipm
    before = snapshot(environment.path)
    served.unmount()
    code = "try:\n import alpha\nexcept ImportError as error: print(error)"
    told = environment.run(code)
    assert f"layer {served.layer}" in told
    assert "alpha 1.0" in told
    assert "mount" in told
    report = pipm("verify", "--json").expect(FAILED).json
    assert len(report["not_mounted"]) == 1
    assert served.layer in report["not_mounted"][0]
    assert "not mounted" in pipm("verify", environment.path).expect(FAILED).out
    assert_refused(pipm("release", environment.path, "--json"), served.layer)
    assert_refused(pipm("release", environment.path, "--dist", "alpha", "--json"), served.layer)
    assert_refused(pipm("adopt", environment.path, "--link-mode", "finder", "--json"), served.layer)
    row = pipm("list", "--json").expect().json["environments"][0]
    assert served.layer in str(row)
    pipm("gc", "--keep", "0").expect()
    assert snapshot(environment.path) == before
    served.mount()
    import_all(environment)


def test_an_empty_mount_point_stops_a_sync(tmp_path: Path) -> None:
    served = Served(tmp_path)
    served.unmount()
    os.mkdir(served.layer)
    words = ("sync", served.lock, "--env", served.environment.path, *FINDER)
    assert_refused(served.pipm(*words), served.layer, "mount")
    os.rmdir(served.layer)
    served.mount()
    assert served.sync()["unchanged"] == 2


def test_release_copies_out_of_the_layer(tmp_path: Path) -> None:
    served = Served(tmp_path)
    environment = served.environment
    assert served.pipm("release", environment.path, "-n", "--json").expect().json
    assert served.entries() == []
    served.pipm("release", environment.path, "--dist", "beta-two").expect()
    assert environment.run("import beta; print(beta.__file__)").startswith(environment.site)
    assert environment.run(WHERE).startswith(served.layer)
    served.pipm("release", environment.path).expect()
    served.unmount()
    import_all(environment)
    shutil.rmtree(served.pipm.store)
    import_all(environment)


def test_distributions_of_layer_and_store_together(tmp_path: Path) -> None:
    served = Served(tmp_path)
    environment = served.environment
    # `gamma` is in the own store; `delta` brings a file into a package of `alpha`: both need real files.
    more = {"gamma==1.0": package("gamma"), "delta==1.0": {"alpha/extra.py": b"VALUE = 1\n"}}
    lock = lock_of(served.folder, {"gamma==1.0": more["gamma==1.0"]}, served.pipm)
    whole = f"{tmp_path}/whole.txt"
    with open(whole, "w", encoding="ascii") as stream:
        for path in (served.lock, lock):
            with open(path, encoding="ascii") as part:
                stream.write(part.read())
    assert served.sync(lock=whole)["added"] == [{"name": "gamma", "version": "1.0"}]
    import_all(environment)
    assert environment.run("import gamma; print(gamma.__file__)").startswith(served.pipm.store)
    assert environment.run(WHERE).startswith(served.layer)
    lock = lock_of(served.folder, {"delta==1.0": more["delta==1.0"]}, served.pipm)
    with open(whole, "a", encoding="ascii") as stream, open(lock, encoding="ascii") as part:
        stream.write(part.read())
    served.sync(lock=whole)
    assert environment.run("import alpha.extra, beta; print(alpha.extra.VALUE)") == "1\n"
    assert environment.run(WHERE).startswith(environment.site)
    assert environment.run("import beta; print(beta.__file__)").startswith(served.layer)
    assert snapshot(served.layer) == served.before
    # Without the layer the same wheels come from elsewhere: the environment no longer needs it.
    served.unmount()
    served.pipm("store", "add", *files_below(f"{tmp_path}/wheels")).expect()
    served.sync(lock=whole)
    import_all(environment)
    assert served.pipm("verify", "--json").expect().json["not_mounted"] == []


@pytest.mark.skipif(os.geteuid() != 0, reason="gives files to another user")
def test_root_imports_from_no_layer_of_another_user(tmp_path: Path) -> None:
    served = Served(tmp_path)
    for base, _, _ in os.walk(f"{served.layer}/v1/wheels/alpha"):
        os.chown(base, 1234, 1234)
    shutil.rmtree(served.environment.path)
    served.sync()
    assert served.environment.run(WHERE).startswith(served.pipm.store)
    assert served.environment.run("import beta; print(beta.__file__)").startswith(served.layer)


def test_a_store_is_a_layer(tmp_path: Path) -> None:
    """It has no bytecode where imports look: the environment keeps its own, and the layer stays as it is."""
    maker = person(str(tmp_path), "maker")
    lock = lock_of(str(tmp_path), WHEELS, maker)
    before = snapshot(maker.store)
    pipm = Pipm(store=f"{tmp_path}/user", environ={"PIPM_STORE_LAYERS": maker.store, "PIP_NO_INDEX": "1"})
    environment = Environment(path=f"{tmp_path}/env")
    pipm("sync", lock, "--env", environment.path, *PYTHON, *FINDER).expect()
    import_all(environment)
    assert environment.run(WHERE).startswith(f"{maker.store}/v1/wheels/alpha/")
    assert snapshot(maker.store) == before
    assert os.path.isdir(f"{environment.path}/.pipm/bytecode")


@pytest.mark.parametrize("mode", [FINDER, ("--link-mode", "auto", "--json")])
def test_a_preview_fetches_nothing_that_a_layer_has(tmp_path: Path, mode: tuple[str, ...]) -> None:
    served = Served(tmp_path)
    words = ("sync", served.lock, "-n", *PYTHON, *mode, "--env")
    again = served.pipm(*words, served.environment.path).expect().json
    assert (again["fetched"], again["added"], again["unchanged"]) == (0, [], 2)
    new = served.pipm(*words, f"{tmp_path}/new").expect().json
    assert (new["fetched"], len(new["added"])) == (0, 2)
    assert served.entries() == []


@pytest.mark.parametrize("options", [(), ("--no-dist-info",)])
def test_a_sync_with_nothing_to_do_reads_no_manifest_of_a_layer(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    served = Served(tmp_path, *options)
    shutil.rmtree(served.pipm.environ["XDG_CACHE_HOME"])
    served.sync(*options)  # looks at everything, and remembers that
    for name in files_below(f"{served.layer}/v1/wheels"):
        if name.endswith("/manifest.json"):
            os.truncate(name, 0)
    assert served.sync(*options)["unchanged"] == 2

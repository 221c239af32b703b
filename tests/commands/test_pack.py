"""`pipm store pack` and `pipm layers`: images are equal byte for byte, and work."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tarfile
from typing import TYPE_CHECKING

import pytest
from support.pipm import USAGE, Pipm, assert_refused
from support.process import check
from support.remotes import files_below, lock_of, person
from support.store import damage
from support.synthetic import VERSION, Environment, import_all, package

if TYPE_CHECKING:
    from pathlib import Path

WHEELS = {"alpha==1.0": package("alpha", modules=3), "beta-two==2.0": package("beta", modules=2)}
ENTRY_POINT = b"[console_scripts]\nalpha-run = gc:enable\n"
PYTHON = ("--python", sys.executable)
IMAGES = [
    pytest.param("", id="directory"),
    pytest.param(
        ".squashfs", marks=pytest.mark.skipif(not shutil.which("mksquashfs"), reason="no mksquashfs")
    ),
    pytest.param(".erofs", marks=pytest.mark.skipif(not shutil.which("mkfs.erofs"), reason="no mkfs.erofs")),
]


def two_stores(folder: str) -> tuple[list[Pipm], str]:
    """Two stores that got the same wheels at different times, one with bytecode; and the lock."""
    wheels = {
        **WHEELS,
        "alpha==1.0": WHEELS["alpha==1.0"] | {"alpha-1.0.dist-info/entry_points.txt": ENTRY_POINT},
    }
    first, second = person(folder, "first"), person(folder, "second")
    lock = lock_of(folder, wheels, first)
    first("sync", lock, "--env", f"{folder}/env", *PYTHON).expect()
    second("store", "add", *reversed(files_below(f"{folder}/wheels"))).expect()
    return [first, second], lock


def content(path: str) -> dict[str, tuple[int, float, str]]:
    """What a file or a directory holds: bytes, modes, times."""
    if os.path.isfile(path):
        with open(path, "rb") as stream:
            return {"": (0, 0, hashlib.sha256(stream.read()).hexdigest())}
    rows = {}
    for name in files_below(path):
        status = os.lstat(name)
        with open(name, "rb") as stream:
            digest = hashlib.sha256(stream.read()).hexdigest()
        rows[os.path.relpath(name, path)] = (status.st_mode, status.st_mtime, digest)
    return rows


@pytest.mark.parametrize("ending", IMAGES)
def test_a_packed_store_is_equal_everywhere(tmp_path: Path, ending: str) -> None:
    stores, lock = two_stores(str(tmp_path))
    image, images = "", []
    for number, pipm in enumerate(stores):
        image = f"{tmp_path}/image-{number}{ending}"
        done = pipm("store", "pack", lock, "-o", image, "--env", f"{tmp_path}/none", *PYTHON, "--json")
        assert done.expect().json["distributions"] == 2
        images.append(content(image))
    assert images[0] == images[1]
    assert_refused(stores[0]("store", "pack", lock, "-o", image, "--json"), "already", code=USAGE)
    if ending:
        shown = stores[0]("store", "mount", image, "/mnt/x").expect().out
        assert ending[1:-2] in shown


def test_a_packed_store_is_a_layer(tmp_path: Path) -> None:
    (pipm, _), lock = two_stores(str(tmp_path))
    pipm("store", "pack", lock, "-o", f"{tmp_path}/layer", "--env", f"{tmp_path}/env").expect()
    user = person(str(tmp_path), "user", PIPM_STORE_LAYERS=f"{tmp_path}/layer")
    done = user("sync", lock, "--env", f"{tmp_path}/other", *PYTHON, "--json").expect().json
    assert done["fetched"] == 0
    environment = Environment(path=f"{tmp_path}/other")
    import_all(environment)
    assert damage(user.store) == []
    # Its bytecode is the layer's: none was compiled.
    with open(environment.bytecode("alpha/module_1.py"), "rb") as stream:
        assert str(tmp_path).encode() not in stream.read()


def test_a_packed_environment_runs_where_it_is_used(tmp_path: Path) -> None:
    (pipm, _), lock = two_stores(str(tmp_path))
    place = f"{tmp_path}/place"
    arguments = ("--env", f"{tmp_path}/env", "--prefix", place)
    pipm("store", "pack", lock, "-o", place, *arguments).expect()
    before = content(place)
    environment = Environment(path=place)
    import_all(environment)
    code = "import importlib.metadata as m; print({f.locate().stat().st_size - f.size for f in m.files('alpha') if f.size})"  # noqa: E501
    assert environment.run(code) == "{0}\n"
    with open(f"{place}/bin/alpha-run", encoding="utf-8") as stream:
        assert stream.readline() == f"#!{place}/bin/python\n"
    check(f"{place}/bin/alpha-run", cwd=place)
    # Python believes the bytecode: it writes none.
    environment.run("import alpha.module_1")
    assert content(place) == before
    assert_refused(
        pipm("store", "pack", lock, "-o", f"{tmp_path}/x", "--prefix", "rel", "--json"), code=USAGE
    )


def test_layers_are_equal_everywhere(tmp_path: Path) -> None:
    stores, lock = two_stores(str(tmp_path))
    rows = []
    words = ("layers", lock, *PYTHON, "--env", f"{tmp_path}/none", "--json", "-o")
    for number, pipm in enumerate(stores):
        rows = pipm(*words, f"{tmp_path}/oci-{number}").expect().json["layers"]
        assert [row["title"] for row in rows] == ["environment", "alpha-1.0", "beta-two-2.0"]
    first, second = (
        {name: digest for name, (_, _, digest) in content(f"{tmp_path}/oci-{number}").items()}
        for number in (0, 1)
    )
    assert first == second
    # Each blob is what its name says, and the layers are an environment.
    for name, digest in first.items():
        assert name in ("index.json", "oci-layout") or name == f"blobs/sha256/{digest}"
    os.mkdir(f"{tmp_path}/root")
    for row in rows:
        with tarfile.open(f"{tmp_path}/oci-0/blobs/sha256/{row['digest'][7:]}") as layer:
            layer.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)  # not in 3.11.2
            layer.extractall(f"{tmp_path}/root")
    site = f"{tmp_path}/root/opt/venv/lib/python{VERSION}/site-packages"
    check(sys.executable, "-c", f"import sys; sys.path.insert(0, {site!r}); import alpha, beta", cwd="/")
    with open(f"{tmp_path}/root/opt/venv/bin/alpha-run", encoding="utf-8") as stream:
        assert stream.readline() == "#!/opt/venv/bin/python\n"
    if shutil.which("skopeo"):
        shown = subprocess.run(
            ["skopeo", "inspect", f"oci:{tmp_path}/oci-0:latest"], capture_output=True, check=True, text=True
        )
        assert len(json.loads(shown.stdout)["Layers"]) == 3
    grouped = stores[0](*words, f"{tmp_path}/few", "--max-layers", "1")
    assert len(grouped.expect().json["layers"]) == 2


def test_what_the_store_lacks_is_told(tmp_path: Path) -> None:
    (pipm, _), _ = two_stores(str(tmp_path))
    lock = lock_of(str(tmp_path), {"gamma==1.0": package("gamma")})
    words = (lock, "-o", f"{tmp_path}/x", "--env", f"{tmp_path}/env", "--json")
    assert_refused(pipm("store", "pack", *words), "gamma", "pull")
    assert_refused(pipm("layers", *words), "gamma")
    assert not os.path.exists(f"{tmp_path}/x")

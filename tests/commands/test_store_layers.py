"""Layers (read-only stores): their files are used, and they are never written."""

from __future__ import annotations

import hashlib
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.pipm import Pipm, assert_refused
from support.places import fresh_folder
from support.snapshot import file_digest, fingerprint, snapshot, sources
from support.store import damage, entry_names, object_names, object_path, unshared
from support.synthetic import Environment, import_all, install, make_environment, make_wheel, package

if TYPE_CHECKING:
    from support.disks import Disk, Disks

TARGET = "alpha/data/table.bin"


def with_layer(disk: Disk, layer: str, store: str) -> Pipm:
    """The command with a store of its own above *layer*; no index is to be asked."""
    environ = {"PIPM_STORE_LAYERS": f"/nowhere{os.pathsep}{layer}", "PIP_NO_INDEX": "1"}
    return Pipm(store=disk / store, environ=environ)


def adopted_layer(disk: Disk) -> str:
    """A store that has a distribution, and no environment any more."""
    environment = make_environment(disk / "site-wide")
    install(environment, "alpha==1.0", package("alpha"))
    environment.compile()
    Pipm(store=disk / "layer").adopt(environment.path)
    shutil.rmtree(environment.path)
    return disk / "layer"


def test_adopt_shares_with_a_layer(either_mode: Disk) -> None:
    layer = adopted_layer(either_mode)
    before = fingerprint(layer)
    pipm = with_layer(either_mode, layer, "store")
    environment = make_environment(either_mode / "env")
    install(environment, "alpha==1.0", package("alpha"))
    taken = snapshot(environment.path)
    row = pipm.adopt(environment.path).environment
    assert row["bytes_freed"] > -(1 << 20)
    assert sources(snapshot(environment.path)) == sources(taken)
    assert unshared(environment.site, layer) == []
    assert unshared(environment.site, pipm.store) == []
    # Neither a check, nor a repair, nor a collection touches the layer.
    pipm("verify", "--full", "--repair").expect()
    pipm("gc", "--keep", "0").expect()
    shutil.rmtree(environment.path)
    pipm("gc", "--keep", "0").expect()
    assert object_names(pipm.store) == set()
    links_left = {name: row[:1] + row[2:] for name, row in fingerprint(layer).items()}
    assert links_left == {name: row[:1] + row[2:] for name, row in before.items()}
    assert damage(layer) == []


@pytest.mark.mounts
@pytest.mark.parametrize("kinds", [("xfs", "xfs"), ("ext4", "xfs")])
def test_sync_takes_wheels_from_a_layer(disks: Disks, kinds: tuple[str, str]) -> None:
    """On the layer's own disk by links, on another one by a copy in the own store."""
    for disk in fresh_folder(disks, kinds[0]):
        for own in fresh_folder(disks, kinds[1]):
            wheel = make_wheel(disk / "wheels", "alpha==1.0", package("alpha"))
            Pipm(store=disk / "layer")("store", "add", wheel).expect()
            before = fingerprint(disk / "layer")
            with open(wheel, "rb") as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
            with open(own / "requirements.txt", "w", encoding="ascii") as file:
                file.write(f"alpha==1.0 --hash=sha256:{digest}\n")
            pipm = with_layer(own, disk / "layer", "store")
            lock, path = own / "requirements.txt", own / "env"
            done = pipm("sync", lock, "--env", path, "--json").expect().json
            assert (done["fetched"], done["added"]) == (0, [{"name": "alpha", "version": "1.0"}])
            environment = Environment(path=path)
            import_all(environment)
            assert unshared(environment.site, pipm.store) == []
            if kinds[0] == kinds[1]:
                assert unshared(environment.site, disk / "layer") == []
            assert fingerprint(disk / "layer") == before
            assert damage(pipm.store) == []
            assert len(entry_names(pipm.store)) == 1
            # With the layer gone everything is still there.
            shutil.rmtree(disk / "layer")
            pipm("verify", "--full").expect()
            pipm("sync", lock, "--env", own / "other", "--json").expect()
            import_all(Environment(path=own / "other"))


def test_a_changed_file_of_a_layer_is_not_taken(either_mode: Disk) -> None:
    layer = adopted_layer(either_mode)
    environment = make_environment(either_mode / "env")
    install(environment, "alpha==1.0", package("alpha"))
    taken = snapshot(environment.path)
    for keep_time in (False, True):
        stored = object_path(layer, file_digest(environment.file(TARGET)))
        status = os.stat(stored)
        with open(stored, "r+b") as file:
            file.write(b"changed")
        if keep_time:
            os.utime(stored, ns=(status.st_atime_ns, status.st_mtime_ns))
        pipm = with_layer(either_mode, layer, f"store-{keep_time}")
        pipm.adopt(environment.path)
        assert sources(snapshot(environment.path)) == sources(taken)
        assert damage(pipm.store) == []
        pipm.release(environment.path)


def test_what_is_no_store_is_told(either_mode: Disk) -> None:
    environment = make_environment(either_mode / "env")
    install(environment, "alpha==1.0", package("alpha"))
    pipm = with_layer(either_mode, either_mode / "env", "store")
    assert_refused(pipm("adopt", environment.path, "--json"), "layer", "PIPM_STORE_LAYERS")

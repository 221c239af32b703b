"""`pipm push` and `pull` with a container registry."""

from __future__ import annotations

import base64
import json
import os
from typing import TYPE_CHECKING

import pytest
from support.pipm import USAGE, Pipm, assert_refused
from support.registry import PASSWORD, USER, Registry, registry
from support.remotes import key_of, lock_of, person
from support.store import damage, entry_names, object_names
from support.synthetic import package

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

WHEELS = {"alpha==1.0": package("alpha", modules=1), "beta==2.0": package("beta", modules=1)}


def pusher_of(folder: str, name: str, wheels: dict[str, dict[str, bytes]], key: str = "") -> Pipm:
    """A user with *wheels*, and with the signing key of the user *key* or a new one."""
    environ = {"PIPM_SIGNING_KEY": f"{folder}/{key}/config/pipm/signing.key"} if key else {}
    pusher = person(folder, name, **environ)
    if not key:
        key_of(pusher)
    lock_of(folder, wheels, pusher)
    return pusher


def puller_of(folder: str, pusher: Pipm, name: str) -> Pipm:
    key = pusher("key", "show", "--json").expect().json["key"]
    return person(folder, name, PIPM_TRUSTED_KEYS=key)


@pytest.mark.parametrize(("deletes", "ranges"), [(True, True), (False, False)])
def test_what_was_pushed_is_pulled(tmp_path: Path, *, deletes: bool, ranges: bool) -> None:
    """It works with each registry, also without removal or without parts of blobs."""
    pusher = pusher_of(str(tmp_path), "pusher", WHEELS)
    puller = puller_of(str(tmp_path), pusher, "puller")
    with registry(deletes=deletes, ranges=ranges) as place:
        for number, name in enumerate(("alpha", "beta", "gamma")):
            if name == "gamma":
                lock_of(str(tmp_path), {"gamma==1.0": package("gamma", modules=1)}, pusher)
            done = pusher("push", place.remote, "--all", "--json").expect().json
            assert done["serial"] == max(number, 1)
        assert len(place.tags) == (1 if deletes else 2)
        asked = len(place.requests)
        assert pusher("push", place.remote, "--all", "--json").expect().json["uploaded"] == 0
        assert len(place.requests) - asked <= 2 + len(place.tags)  # tags, manifest, index
        asked = len(place.requests)
        puller("pull", place.remote, "--all").expect()
        assert len(place.requests) - asked <= 9
        # The registry keeps exactly what the newest index names.
        newest = place.manifests[place.tags[max(place.tags)]]
        named = {layer["digest"] for layer in json.loads(newest)["layers"][1:]}
        assert len(named) == 4
    assert object_names(puller.store) == object_names(pusher.store)
    assert damage(puller.store) == []


def test_pushes_at_once_lose_nothing(tmp_path: Path) -> None:
    """A push between the reading and the writing of another one: both are in the index."""
    first = pusher_of(str(tmp_path), "first", {"alpha==1.0": WHEELS["alpha==1.0"]})
    second = pusher_of(str(tmp_path), "second", {"beta==2.0": WHEELS["beta==2.0"]}, key="first")
    with registry() as place:
        running = [one.start("push", place.remote, "--all") for one in (first, second)]
        for process in running:
            _, err = process.communicate(timeout=120)
            assert process.returncode == 0, err
        puller = puller_of(str(tmp_path), first, "puller")
        assert puller("pull", place.remote, "--all", "--json").expect().json["entries"] == 2
        lock_of(str(tmp_path), {"gamma==1.0": package("gamma", modules=1)}, first)
        first("push", place.remote, "--all").expect()
        assert len(place.tags) == 1
        assert puller("pull", place.remote, "--all", "--json").expect().json["entries"] == 3


def test_a_login_is_docker_s(tmp_path: Path) -> None:
    pusher = pusher_of(str(tmp_path), "pusher", WHEELS)
    os.mkdir(f"{tmp_path}/docker")
    with registry(login=True) as place:
        words = ("push", place.remote, "--all", "--json")
        assert_refused(pusher(*words), "docker login")
        auth = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        with open(f"{tmp_path}/docker/config.json", "w", encoding="ascii") as stream:
            json.dump({"auths": {f"127.0.0.1:{place.server_port}": {"auth": auth}}}, stream)
        known = Pipm(store=pusher.store, environ={**pusher.environ, "DOCKER_CONFIG": f"{tmp_path}/docker"})
        done = known(*words).expect()
        assert auth not in done.out + done.err
        with open(f"{tmp_path}/docker/config.json", "w", encoding="ascii") as stream:
            json.dump({"credHelpers": {f"127.0.0.1:{place.server_port}": "here"}}, stream)
        with open(f"{tmp_path}/docker/docker-credential-here", "w", encoding="ascii") as stream:
            stream.write(f'#!/bin/sh\nread host; echo \'{{"Username":"{USER}","Secret":"{PASSWORD}"}}\'\n')
            os.fchmod(stream.fileno(), 0o755)
        helped = Pipm(
            store=pusher.store,
            environ={**known.environ, "PATH": f"{tmp_path}/docker:{os.environ['PATH']}"},
        )
        helped(*words).expect()


@pytest.mark.parametrize("way", ["cut_before", "cut_after"])
def test_a_push_goes_on_after_the_network_failed(tmp_path: Path, way: str) -> None:
    """The connection is cut at each request: the remote is as before or as after; the next push does it."""
    pusher = pusher_of(str(tmp_path), "pusher", WHEELS)
    puller = puller_of(str(tmp_path), pusher, "puller")
    with registry() as place:
        allowed, code = 0, 1
        while code:
            place.requests.clear()
            setattr(place, way, allowed)
            code = pusher("push", place.remote, "--all").code
            setattr(place, way, None)
            pulled = puller("pull", place.remote, "--all", "--json")
            if pulled.code:
                assert_refused(pulled, "signed")
                assert entry_names(puller.store) == set()
            else:
                assert pulled.json["entries"] == 2
            allowed += 3
            assert allowed < 100
        puller("pull", place.remote, "--all").expect()
    assert object_names(puller.store) == object_names(pusher.store)
    assert damage(puller.store) == []


def spoiled_blob(place: Registry) -> None:
    for name, data in place.blobs.items():
        place.blobs[name] = bytes([*data[:-1], data[-1] ^ 1])


def other_manifest(place: Registry) -> None:
    for name in place.manifests:
        place.manifests[name] = b'{"layers": [{"digest": "sha256:../../x"}]}'


def no_blobs(place: Registry) -> None:
    place.blobs.clear()


def endless_tags(place: Registry) -> None:
    (tag,) = place.tags
    place.tags |= {f"{tag}{number}": "sha256:none" for number in range(5)}


@pytest.mark.parametrize("change", [spoiled_blob, other_manifest, no_blobs, endless_tags])
def test_what_was_changed_is_refused(tmp_path: Path, change: Callable[[Registry], None]) -> None:
    pusher = pusher_of(str(tmp_path), "pusher", WHEELS)
    with registry() as place:
        pusher("push", place.remote, "--all").expect()
        change(place)
        puller = puller_of(str(tmp_path), pusher, "puller")
        assert_refused(puller("pull", place.remote, "--all", "--json"))
        assert entry_names(puller.store) == set()
        assert object_names(puller.store) == set()


@pytest.mark.parametrize(
    "name", ["oci://", "oci://host", "oci://host/Upper", "oci://u:p@host/x", "oci://host/../x"]
)
def test_what_is_no_repository_is_told(tmp_path: Path, name: str) -> None:
    pusher = pusher_of(str(tmp_path), "pusher", {})
    assert_refused(pusher("push", name, "--all", "--json"), code=USAGE)

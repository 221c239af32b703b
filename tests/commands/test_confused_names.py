"""Locks with the hash of an archive of another distribution or version."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from support.pipm import FAILED, Pipm
from support.remotes import key_of, person
from support.snapshot import file_digest
from support.synthetic import Environment, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

PACKAGES = {
    "a wheel": '[[packages.wheels]]\nname = "{file}"\npath = "{path}"\nhashes = {{ sha256 = "{digest}" }}\n',
    "an archive": '[packages.archive]\npath = "{path}"\nhashes = {{ sha256 = "{digest}" }}\n',
}


@pytest.fixture
def wheel(tmp_path: Path) -> str:
    """The path of a wheel of ``small 1.0``."""
    return make_wheel(f"{tmp_path}/wheels", "small==1.0", {"small.py": b""})


def lock_of(folder: Path, wheel: str, kind: str, name: str = "other", version: str = "1.0") -> str:
    """Write a lock that calls the archive *wheel* so."""
    os.makedirs(f"{folder}/renamed", exist_ok=True)
    path, digest = f"{folder}/renamed/{name}-{version}-py3-none-any.whl", file_digest(wheel)
    if not os.path.exists(path):
        os.link(wheel, path)
    if kind == "requirements.txt":
        text = f"{name}=={version} --hash=sha256:{digest}\n"
    else:
        text = 'lock-version = "1.0"\ncreated-by = "test"\n[[packages]]\n'
        text += f'name = "{name}"\nversion = "{version}"\n'
        text += PACKAGES[kind].format(file=os.path.basename(path), path=path, digest=digest)
        kind = "pylock.toml"
    lock = folder / kind
    lock.write_text(text)
    return str(lock)


def refused(pipm: Pipm, lock: str, folder: Path, why: str) -> None:
    """Check that a sync refuses *lock* for that reason and makes no environment, previewed or done."""
    for words in ((), ("--dry-run",)):
        failed = pipm("sync", lock, "--env", f"{folder}/env", "--json", *words).expect(FAILED)
        assert failed.error["kind"] == "fetch"
        assert why in failed.error["message"]
        assert not os.path.exists(f"{folder}/env")


@pytest.mark.parametrize("kind", [*PACKAGES, "requirements.txt"])
def test_another_distribution_is_refused_though_the_store_has_it(
    tmp_path: Path, wheel: str, kind: str
) -> None:
    pipm = person(str(tmp_path), "me")
    pipm("store", "add", wheel).expect()
    lock = lock_of(tmp_path, wheel, kind)
    refused(pipm, lock, tmp_path, "is another distribution: its archive is small 1.0")
    lock = lock_of(tmp_path, wheel, kind, "small", "2.0")
    refused(pipm, lock, tmp_path, "small has version 1.0, but the lock says 2.0")
    lock = lock_of(tmp_path, wheel, kind, "small")
    pipm("sync", lock, "--env", f"{tmp_path}/env").expect()
    assert os.path.exists(Environment(path=f"{tmp_path}/env").file("small.py"))


def test_another_distribution_is_refused_when_it_is_fetched(tmp_path: Path, wheel: str) -> None:
    pipm, lock = person(str(tmp_path), "me"), tmp_path / "requirements.txt"
    lock.write_text(f"other @ file://{wheel} --hash=sha256:{file_digest(wheel)}\n")
    for _ in range(2):
        failed = pipm("sync", str(lock), "--env", f"{tmp_path}/env", "--json").expect(FAILED)
        assert "other" in failed.error["message"]
        assert "is another distribution: its archive is small 1.0" in failed.error["message"]


def test_another_distribution_is_refused_from_a_layer_and_a_remote(tmp_path: Path, wheel: str) -> None:
    maker, remote = person(str(tmp_path), "maker"), f"{tmp_path}/remote"
    maker("store", "add", wheel).expect()
    key = key_of(maker)
    lock = lock_of(tmp_path, wheel, "a wheel", "small")
    maker("push", remote, lock).expect()
    lock = lock_of(tmp_path, wheel, "a wheel")
    why = "other (packages[0]) is another distribution: its archive is small 1.0"
    for name, variables in (
        ("of a layer", {"PIPM_STORE_LAYERS": maker.store}),
        ("of a remote", {"PIPM_REMOTE": remote}),
    ):
        user = person(str(tmp_path), name, **variables)
        user("key", "trust", key).expect()
        failed = user("sync", lock, "--env", f"{tmp_path}/env", "--json").expect(FAILED)
        assert why in failed.error["message"]
        assert not os.path.exists(f"{tmp_path}/env")

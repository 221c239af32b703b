"""A thousand environments in seconds: a few distributions for real, the rest hard links and roots."""

from __future__ import annotations

import base64
import hashlib
import os
import random
import time
import zipfile
from dataclasses import dataclass

from pipm.fs.durability import Durability
from pipm.share.add_wheels import add_wheel_file
from pipm.store.layout import Store, open_store
from pipm.store.roots import ADOPTED, Root, write_root

PYTHON = "3.11.7"


@dataclass(frozen=True, slots=True, kw_only=True)
class Crowd:
    """How many of each: ``known`` distributions lie in the store, an environment has ``distributions``."""

    environments: int
    distributions: int = 150
    known: int = 400
    files: int = 12


def make_store(path: str, crowd: Crowd, scratch: str) -> tuple[Store, list[str]]:
    """Fill the store at *path* with wheels; returns it and the entries."""
    entries = []
    os.makedirs(scratch, exist_ok=True)
    for number in range(crowd.known):
        wheel = _wheel(scratch, number, crowd.files)
        entries.append(add_wheel_file(path, wheel).entry)
        os.unlink(wheel)
    store = open_store(path)
    assert store is not None
    return store, entries


def _wheel(folder: str, number: int, files: int) -> str:
    name, source = f"package{number}", random.Random(number)
    content = {
        f"{name}/module_{file}.py": source.randbytes(source.choice((300, 3_000, 9_000))).hex().encode()
        for file in range(files)
    }
    content[f"{name}/__init__.py"] = f"NAME = {number}\n".encode()
    info = f"{name}-1.0.dist-info"
    content[f"{info}/METADATA"] = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode()
    wheel = f"Wheel-Version: 1.0\nGenerator: crowd ({number})\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    content[f"{info}/WHEEL"] = wheel.encode()  # one a wheel: an inode has at most 65 000 names in ext4
    rows = [
        f"{path},sha256={base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b'=').decode()},{len(data)}"
        for path, data in content.items()
    ]
    path = f"{folder}/{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, data in content.items():
            archive.writestr(member, data)
        archive.writestr(f"{info}/RECORD", "\n".join([*rows, f"{info}/RECORD,,", ""]))
    return path


def add_environments(store: Store, entries: list[str], folder: str, crowd: Crowd, *, first: int) -> None:
    """Make environments number *first* to the crowd's last below *folder*, known to the store."""
    for number in range(first, crowd.environments):
        path = f"{folder}/project{number // 50}/env{number}"
        chosen = random.Random(number).sample(entries, crowd.distributions)
        site = f"{path}/lib/python3.11/site-packages"
        os.makedirs(site)
        with open(f"{path}/pyvenv.cfg", "w", encoding="ascii") as file:
            file.write(f"home = /usr/bin\nversion = {PYTHON}\n")
        for entry in chosen:
            _link_tree(f"{store.path}/v1/wheels/{entry}/site", site)
        marker = os.stat(f"{path}/pyvenv.cfg")
        root = Root(
            path=path,
            device=marker.st_dev,
            inode=marker.st_ino,
            python=PYTHON,
            link_mode="hardlink",
            state=ADOPTED,
            entries=tuple(sorted(chosen)),
            seen=time.time(),
        )
        write_root(store, root, Durability.LATER)


def _link_tree(source: str, target: str) -> None:
    with os.scandir(source) as scan:
        for entry in scan:
            if entry.is_dir():
                os.makedirs(f"{target}/{entry.name}", exist_ok=True)
                _link_tree(entry.path, f"{target}/{entry.name}")
            else:
                os.link(entry.path, f"{target}/{entry.name}")

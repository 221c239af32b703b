"""Power cuts while adopt runs beside a program that calls fsync for its own file."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from support.disks import KINDS, Disk
from support.powercut import PowerCut
from support.process import clean_environ

if TYPE_CHECKING:
    from pathlib import Path

# A design without a sync: write the store's copy, rename it into place, link it over the file.
_UNSYNCED = """
import hashlib, os, sys
site, store = sys.argv[1:]
os.makedirs(store)
for folder, _, names in os.walk(site):
    for name in names:
        path = os.path.join(folder, name)
        content = open(path, "rb").read()
        if not content:
            continue
        stored = os.path.join(store, hashlib.sha256(content).hexdigest())
        with open(stored + ".new", "wb") as file:
            file.write(content)
        os.rename(stored + ".new", stored)
        os.link(stored, path + ".new")
        os.rename(path + ".new", path)
"""


@pytest.mark.mounts
@pytest.mark.parametrize("kind", KINDS)
def test_no_durable_file_is_ever_bad(kind: str, images: Disk, tmp_path: Path) -> None:
    cut = PowerCut(kind, images=images, point=str(tmp_path / "mount"))
    outcome = cut.run(cut.adopt, most=16)
    assert outcome.faults == []
    assert outcome.checked >= 8


@pytest.mark.mounts
def test_an_unsynced_design_is_caught(images: Disk, tmp_path: Path) -> None:
    cut = PowerCut("xfs", images=images, point=str(tmp_path / "mount"), modules=300)

    def work() -> subprocess.Popen[str]:
        command = [sys.executable, "-I", "-c", _UNSYNCED, cut.durable.site, cut.pipm.store]
        pipe = subprocess.PIPE
        return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=clean_environ())

    for _ in range(3):
        if cut.run(work, most=20).faults:
            return
    pytest.fail("three runs without a fault: the check is blind")

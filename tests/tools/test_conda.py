"""A conda environment made from local packages by rattler, which is pixi's installer."""

from __future__ import annotations

import hashlib
import io
import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING

import pytest
from support.process import check
from support.snapshot import assert_kept, snapshot
from support.store import unshared
from support.synthetic import VERSION, Environment, dist_info, install, package, record_text, wheel_files
from support.tools import find_tool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from support.pipm import Pipm

_INSTALL = """\
import asyncio, os, sys
from rattler import Channel, Platform, index, install, solve
async def main():
    channel, prefix = sys.argv[1:]
    await index.index_fs(channel)
    platforms = [Platform("linux-64"), Platform("noarch")]
    records = await solve([Channel("file://" + channel)], ["python", "owned"], platforms=platforms)
    await install(records, target_prefix=prefix, cache_dir=channel + "-cache", show_progress=False)
asyncio.run(main())
os._exit(0)
"""
"""Its threads at times crash an interpreter that ends as usual."""


def tools_python() -> str:
    """The interpreter of the test tools, which may have py-rattler."""
    python = os.path.join(os.path.dirname(find_tool("poetry")), "python")
    if subprocess.run([python, "-c", "import rattler"], capture_output=True, check=False).returncode:
        pytest.skip("no py-rattler")
    return python


def conda_package(folder: str, spec: str, files: Mapping[str, bytes], **index: object) -> None:
    """Write a package by conda's specification: the files, and their list in `info`."""
    name, version = spec.split("==")
    build, subdir = "0", "noarch" if index else "linux-64"
    about = {"name": name, "version": version, "build": build, "build_number": 0, "depends": []}
    paths = [
        {
            "_path": path,
            "path_type": "hardlink",
            "sha256": hashlib.sha256(content).hexdigest(),
            "size_in_bytes": len(content),
        }
        for path, content in files.items()
    ]
    whole = {
        "info/index.json": json.dumps(
            about | {"subdir": subdir, "timestamp": 1_700_000_000_000} | index
        ).encode(),
        "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
        **files,
    }
    os.makedirs(f"{folder}/{subdir}")
    with tarfile.open(f"{folder}/{subdir}/{name}-{version}-{build}.tar.bz2", "w:bz2") as archive:
        for path, content in whole.items():
            member = tarfile.TarInfo(path)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_what_rattler_installed_stays_as_it_is(tmp_path: Path, pipm: Pipm) -> None:
    channel, prefix = f"{tmp_path}/channel", f"{tmp_path}/env"
    info = dist_info("owned", "1.0")
    owned = wheel_files("owned", "1.0", package("owned"))
    owned[f"{info}/RECORD"] = record_text(owned, f"{info}/RECORD").encode()
    conda_package(channel, f"python=={VERSION}.0", {f"lib/python{VERSION}/os.py": b"x = 1\n" * 500})
    inside = {f"site-packages/{path}": content for path, content in owned.items()}
    conda_package(channel, "owned==1.0", inside, noarch="python", depends=["python"])
    check(tools_python(), "-c", _INSTALL, channel, prefix)
    assert os.stat(f"{prefix}/lib/python{VERSION}/site-packages/owned/sub/__init__.py").st_size == 0
    environment = Environment(path=prefix)
    install(environment, "alpha==1.0", package("alpha"))  # as pip does
    before = snapshot(prefix)
    cache = snapshot(f"{channel}-cache")
    adopted = pipm("adopt", prefix, "--link-mode", "hardlink", "--json").expect()
    assert adopted.environment["kind"] == "conda"
    left = unshared(environment.site, pipm.store)
    assert left
    assert [path for path in left if not path.startswith("owned")] == []
    assert os.stat(f"{prefix}/lib/python{VERSION}/os.py").st_nlink == 2  # conda's cache has it, too
    assert_kept(cache, f"{channel}-cache")
    pipm.release(prefix)
    assert_kept(before, prefix)

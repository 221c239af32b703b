"""`pipm run` with a folder of wheels instead of an index, and with a private cache."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from support.pipm import Pipm
from support.synthetic import make_wheel

if TYPE_CHECKING:
    from support.synthetic import Files


def make_runner(folder: str, **environ: str) -> Pipm:
    """Return the command in *folder*, with its own folders for store, cache and data."""
    wheels = os.path.join(folder, "index")
    os.makedirs(wheels, exist_ok=True)
    variables = {
        "XDG_CACHE_HOME": os.path.join(folder, "cache"),
        "XDG_DATA_HOME": os.path.join(folder, "data"),
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": wheels,
        "UV_NO_INDEX": "1",
        "UV_FIND_LINKS": wheels,
    }
    return Pipm(store=os.path.join(folder, "store"), cwd=folder, environ=variables | environ)


def publish(folder: str, spec: str, *needs: str, text: str = "") -> str:
    """Put a wheel of one module and a program into the index of *folder*; returns its path."""
    name, version = spec.split("==")
    metadata = "".join(f"Requires-Dist: {need}\n" for need in needs)
    about = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{metadata}"
    files: Files = {
        f"{name}.py": (text or f"VERSION = '{version}'\ndef main(): print('{name}', VERSION)\n").encode(),
        f"{name}-{version}.dist-info/METADATA": about.encode(),
        f"{name}-{version}.dist-info/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n".encode(),
    }
    return make_wheel(os.path.join(folder, "index"), spec, files)


def withdraw_index(folder: str) -> None:
    """Remove the index: all files must be available already."""
    os.rename(os.path.join(folder, "index"), os.path.join(folder, "gone"))


def environments(folder: str) -> list[str]:
    """The environments of the cache."""
    return sorted(os.listdir(os.path.join(folder, "cache/pipm/environments")))

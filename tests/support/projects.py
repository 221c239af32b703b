"""Projects with their own build backend (PEP 517), which need no index."""

from __future__ import annotations

import os
import shutil
import tarfile

from support.process import check

_BACKEND = """\
import base64, hashlib, os, zipfile
INFO = "{name}-{version}.dist-info"
def _wheel(folder, files):
    name = "{name}-{version}-py3-none-any.whl"
    files = dict(files)
    files[INFO + "/METADATA"] = b"Metadata-Version: 2.1\\nName: {name}\\nVersion: {version}\\n"
    wheel = b"Wheel-Version: 1.0\\nGenerator: t\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n"
    files[INFO + "/WHEEL"] = wheel
    rows = []
    with zipfile.ZipFile(os.path.join(folder, name), "w") as archive:
        for path, content in files.items():
            archive.writestr(zipfile.ZipInfo(path), content)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            rows.append(f"{{path}},sha256={{digest}},{{len(content)}}")
        rows.append(INFO + "/RECORD,,")
        archive.writestr(INFO + "/RECORD", "\\n".join(rows) + "\\n")
    return name
def build_wheel(folder, config_settings=None, metadata_directory=None):
    with open("{name}.py", "rb") as stream:
        return _wheel(folder, {{"{name}.py": stream.read()}})
def build_editable(folder, config_settings=None, metadata_directory=None):
    return _wheel(folder, {{"__editable__{name}.pth": os.getcwd().encode() + b"\\n"}})
"""


def make_project(
    folder: str, name: str, version: str = "1.0", text: str = "VALUE = 1\n", requires: str = ""
) -> str:
    """Write a project of one module into *folder* and return that; *requires* is needed to build it."""
    os.makedirs(folder, exist_ok=True)
    # Bytecode of a backend of the same size and second would pass for that of the new one.
    shutil.rmtree(os.path.join(folder, "__pycache__"), ignore_errors=True)
    project = f'[project]\nname = "{name}"\nversion = "{version}"\n'
    needs = f'"{requires}"' if requires else ""
    build = f'[build-system]\nrequires = [{needs}]\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    for file, content in (
        ("pyproject.toml", project + build),
        ("backend.py", _BACKEND.format(name=name, version=version)),
        (f"{name}.py", text),
    ):
        with open(os.path.join(folder, file), "w", encoding="utf-8") as stream:
            stream.write(content)
    return folder


def make_sdist(folder: str, name: str, version: str = "1.0") -> str:
    """Write the source archive of a project and return its path."""
    project = make_project(os.path.join(folder, f"{name}-{version}"), name, version)
    path = os.path.join(folder, f"{name}-{version}.tar.gz")
    with open(os.path.join(project, "PKG-INFO"), "w", encoding="utf-8") as stream:
        stream.write(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    with tarfile.open(path, "w:gz") as archive:
        archive.add(project, arcname=f"{name}-{version}")
    return path


def make_repository(folder: str, name: str) -> str:
    """Make a git repository with one project in it and return its commit."""
    make_project(folder, name)
    git = ("git", "-C", folder, "-c", "user.name=t", "-c", "user.email=t@t")
    check(*git, "init", "-q")
    check(*git, "add", ".")
    check(*git, "commit", "-q", "-m", "all of it")
    return check(*git, "rev-parse", "HEAD").strip()

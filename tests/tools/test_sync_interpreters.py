"""One lock for several interpreters: each gets the files for its own markers and tags.

The full comparison, real distributions against pip and uv, is `scripts/campaign-sync --python`.
"""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

import pytest
from support.installers import find_version
from support.locks import assert_record, stale_bytecode
from support.process import check
from support.snapshot import file_digest
from support.store import damage
from support.synthetic import import_all, make_wheel, package
from support.tools import VERSIONS, interpreter, pypy

if TYPE_CHECKING:
    from support.pipm import Pipm

LINUX = f"linux_{platform.machine()}"
CHOICE = (
    f"cp312-cp312-{LINUX}",
    f"cp313-cp313-{LINUX}",
    f"cp39-cp39-manylinux1_x86_64.manylinux2014_{platform.machine()}.{LINUX}",
    f"cp310-abi3-{LINUX}",
    f"pp39-pypy39_pp73-{LINUX}",
    f"pp310-pypy310_pp73-{LINUX}",
    "cp310-cp310-win_amd64",
    "cp310-cp310-macosx_11_0_arm64",
    "py38-none-any",
    "py2-none-any",
    "py3-none-any",
)
"""Tags of the wheels of one distribution; each wheel says which it is.

The last is the tag under which each of them is made.
"""
MARKERS = {
    "old": "python_version < '3.10'",
    "middle": "python_full_version >= '3.10.0' and python_version != '3.13'",
    "new": "python_version >= '3.13'",
    "jit": "platform_python_implementation == 'PyPy'",
    "compiled": "implementation_name == 'cpython' and os_name == 'posix'",
    "windows": "sys_platform == 'win32'",
    "never": "python_version > '3.10' and python_version < '3.9'",
}


def chosen(implementation: str, version: str) -> str:
    """The wheel of `choice` that is the best for an interpreter."""
    if implementation == "PyPy":
        name = f"pp{version.replace('.', '')}"
        return next((tag for tag in CHOICE if tag.startswith(f"{name}-")), "py3-none-any")
    exact = [tag for tag in CHOICE if tag.startswith(f"cp{version.replace('.', '')}-cp") and LINUX in tag]
    return exact[0] if exact else f"cp310-abi3-{LINUX}"


def expected(implementation: str, version: str) -> set[str]:
    """The distributions that an interpreter gets."""
    minor = int(version.partition(".")[2])
    return {
        *("choice", "everywhere"),
        *(("old",) if minor < 10 else ()),
        *(("middle",) if minor >= 10 and minor != 13 else ()),
        *(("new",) if minor >= 13 else ()),
        "jit" if implementation == "PyPy" else "compiled",
    }


def wheel(folder: str, spec: str, tag: str, **values: str) -> str:
    """Write a wheel with *tag* and a package with *values*; return its entry in a lock."""
    name = spec.partition("==")[0]
    text = "".join(f"{key} = {value!r}\n" for key, value in values.items())
    files = package(name, modules=2) | {f"{name}/__init__.py": text.encode()}
    files[f"{name}-1.0.dist-info/entry_points.txt"] = f"[console_scripts]\n{name}-it = {name}:main\n".encode()
    files[f"{name}/__init__.py"] = f"{text}def main():\n    print(TAG)\n".encode()
    made = make_wheel(folder, spec, files)
    path = made.replace("py3-none-any", tag)
    os.rename(made, path)
    digest = file_digest(path)
    return f'{{ name = "{os.path.basename(path)}", path = "{path}", hashes = {{ sha256 = "{digest}" }} }}'


def lock_of_many(folder: str) -> str:
    """Write a lock for all interpreters."""
    rows = ['lock-version = "1.0"\ncreated-by = "test"\nrequires-python = ">=3.9"\n']
    choice = ", ".join(wheel(f"{folder}/wheels", "choice==1.0", tag, TAG=tag) for tag in CHOICE)
    rows.append(f'[[packages]]\nname = "choice"\nversion = "1.0"\nwheels = [{choice}]\n')
    for name, marker in ({"everywhere": ""} | MARKERS).items():
        line = f'marker = "{marker}"\n' if marker else ""
        made = wheel(f"{folder}/wheels", f"{name}==1.0", "py3-none-any", TAG=name)
        rows.append(f'[[packages]]\nname = "{name}"\nversion = "1.0"\n{line}wheels = [{made}]\n')
    path = f"{folder}/pylock.toml"
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(rows))
    return path


@pytest.fixture(scope="module")
def lock(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The lock; all interpreters share one store as well."""
    return lock_of_many(str(tmp_path_factory.mktemp("many")))


def assert_fits(pipm: Pipm, lock: str, path: str, python: str, implementation: str) -> None:
    """Sync for one interpreter and look at everything that depends on it."""
    version = check(python, "-c", "import sys; print('%d.%d' % sys.version_info[:2])").strip()
    command = ("sync", lock, "--env", path, "--python", python, "--json")
    done = pipm(*command).expect().json
    assert {row["name"] for row in done["added"]} == expected(implementation, version)
    env = find_version(path)
    assert env.run("import choice; choice.main()").strip() == chosen(implementation, version)
    assert check(f"{path}/bin/choice-it").strip() == chosen(implementation, version)
    code = "import platform, everywhere; print(platform.python_implementation(), everywhere.TAG)"
    assert env.run(code).strip() == f"{implementation} everywhere"
    import_all(env)
    assert stale_bytecode(env) == []
    for name in expected(implementation, version):
        assert_record(env, f"{name}-1.0.dist-info")
    again = pipm(*command).expect().json
    assert (again["unchanged"], again["files"]) == (len(expected(implementation, version)), 0)
    assert damage(pipm.store) == []


@pytest.mark.parametrize("version", [version for version in VERSIONS if version != "3.11"])
def test_cpython(pipm: Pipm, tmp_path: object, lock: str, version: str) -> None:
    assert_fits(pipm, lock, f"{tmp_path}/env", interpreter(version), "CPython")


def test_pypy(pipm: Pipm, tmp_path: object, lock: str) -> None:
    assert_fits(pipm, lock, f"{tmp_path}/env", pypy()[0], "PyPy")

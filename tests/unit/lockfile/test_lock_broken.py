"""Invalid locks of every format: always a LockError that names the file.

`PIPM_FUZZ_RUNS` and `PIPM_FUZZ_SEED` make more of it.
"""

from __future__ import annotations

import json
import os
import random
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest
from lock_files import LINUX, OLD, A, Folder, assert_harmless
from pipm.core.selection import Selection
from pipm.errors import LockError
from pipm.lockfile.read_lock import read_lock

if TYPE_CHECKING:
    from pipm.core.pins import Pin

SEED = int(os.environ.get("PIPM_FUZZ_SEED", "1"))
RUNS = int(os.environ.get("PIPM_FUZZ_RUNS", "20"))

_FILES = f"""[
  {{ file = "one-1.0-py3-none-any.whl", hash = "sha256:{A}" }},
  {{ file = "one-1.0.tar.gz", hash = "sha256:{A}" }},
]"""
_PROJECT = """
[project]
name = "app"
version = "1"
dependencies = ["one[x]>=1; python_version>'3'", "two @ https://h/two-1-py3-none-any.whl"]
[project.optional-dependencies]
fast = ["one"]
[dependency-groups]
dev = ["one", {include-group = "docs"}]
docs = ["two"]
[tool.poetry]
name = "app"
version = "1"
[tool.poetry.dependencies]
python = "^3.9"
one = [{version = "^1", extras = ["x"]}, {version = "~1", markers = "os_name == 'nt'"}]
two = {version = "*", optional = true, platform = "win32"}
[tool.poetry.extras]
fast = ["two"]
[tool.poetry.group.dev.dependencies]
one = ">=1,<2 || ^3"
[tool.uv]
default-groups = ["dev"]
[tool.pdm]
distribution = true
[[tool.pdm.source]]
name = "pypi"
url = "https://i"
"""
LOCKS = {
    "pylock.toml": f"""
lock-version = "1.0"
requires-python = ">=3.8"
environments = ["sys_platform == 'linux'"]
extras = ["fast"]
dependency-groups = ["dev"]
default-groups = ["dev"]
created-by = "x"
[[packages]]
name = "one"
version = "1.0"
marker = "'dev' in dependency_groups"
requires-python = ">=3.8"
index = "https://i"
wheels = [{{ url = "https://h/one-1.0-py3-none-any.whl", size = 3, hashes = {{ sha256 = "{A}" }} }}]
sdist = {{ path = "one-1.0.tar.gz", hashes = {{ sha256 = "{A}" }} }}
[[packages]]
name = "two"
vcs = {{ type = "git", url = "https://h/g", commit-id = "0ab", subdirectory = "s" }}
[[packages]]
name = "three"
directory = {{ path = "d", editable = true }}
[[packages]]
name = "four"
archive = {{ url = "https://h/four.zip", hashes = {{ sha256 = "{A}" }} }}
""",
    "uv.lock": f"""
version = 1
revision = 3
requires-python = ">=3.8"
conflicts = [[{{ package = "app", extra = "fast" }}, {{ package = "app", group = "none" }}]]
[manifest]
members = ["app"]
requirements = [{{ name = "one", extras = ["x"], marker = "python_version > '3'" }}]
[manifest.dependency-groups]
dev = [{{ name = "one" }}]
[[package]]
name = "app"
version = "1"
source = {{ editable = "." }}
dependencies = [
  {{ name = "one", extra = ["x"], marker = "extra == 'extra-3-app-fast' or os_name == 'posix'" }},
]
[package.optional-dependencies]
fast = [{{ name = "two" }}]
[package.dev-dependencies]
dev = [{{ name = "two", version = "2", source = {{ git = "https://h/g?rev=v#0ab" }} }}]
[package.metadata]
provides-extras = ["fast"]
[[package]]
name = "one"
version = "1.0"
source = {{ registry = "https://i" }}
resolution-markers = ["python_version > '3'"]
sdist = {{ url = "https://h/one-1.0.tar.gz", hash = "sha256:{A}", size = 3 }}
wheels = [{{ url = "https://h/one-1.0-py3-none-any.whl", hash = "sha256:{A}", size = 3 }}]
[package.optional-dependencies]
x = [{{ name = "two" }}]
[[package]]
name = "two"
version = "2"
source = {{ git = "https://h/g?rev=v#0ab" }}
""",
    "poetry.lock": f"""
[[package]]
name = "one"
version = "1.0"
optional = false
python-versions = ">=3.8"
groups = ["main", "dev"]
files = {_FILES}
[package.markers]
main = "extra == 'fast' or os_name == 'posix'"
[package.dependencies]
two = {{ version = "*", optional = true }}
[package.extras]
x = ["two (>=1)"]
[[package]]
name = "two"
version = "1"
python-versions = "^3.8 || *"
groups = ["main"]
develop = true
[package.source]
type = "git"
url = "https://h/g"
reference = "v1"
resolved_reference = "0ab"
[extras]
fast = ["two"]
[metadata]
lock-version = "2.1"
python-versions = ">=3.9,<4"
""",
    "pdm.lock": f"""
[metadata]
groups = ["default", "dev", "docs", "fast"]
strategy = ["inherit_metadata"]
lock_version = "4.5.0"
[[metadata.targets]]
requires_python = "~=3.8"
platform = "manylinux_2_17_x86_64"
implementation = "cpython"
[[package]]
name = "one"
version = "1.0"
requires_python = ">=3.8"
groups = ["default"]
marker = "python_version > '3'"
dependencies = ["two>=1; python_version > '3'"]
files = {_FILES}
[[package]]
name = "one"
version = "1.0"
extras = ["x"]
groups = ["default"]
dependencies = ["one==1.0"]
files = {_FILES}
[[package]]
name = "two"
version = "1"
groups = ["dev"]
git = "https://h/g"
revision = "0ab"
subdirectory = "s"
""",
    "Pipfile.lock": json.dumps(
        {
            "_meta": {
                "pipfile-spec": 6,
                "requires": {"python_version": "3.11"},
                "sources": [{"name": "pypi", "url": "https://i", "verify_ssl": False}],
            },
            "default": {
                "one": {
                    "version": "==1.0",
                    "hashes": [f"sha256:{A}"],
                    "markers": "python_version > '3'",
                    "index": "pypi",
                },
                "two": {"git": "https://h/g", "ref": "0ab", "subdirectory": "s"},
                "three": {"file": "https://h/three-1-py3-none-any.whl", "hashes": [f"sha256:{A}"]},
            },
            "develop": {"four": {"path": "./four", "editable": True}},
        },
        indent=1,
    ),
    "requirements.txt": f"""
--index-url https://i
-f ./wheels
-c constraints.txt
one[x]==1.0 ; python_version > '3' \\
    --hash=sha256:{A}
two @ git+https://h/g@{"0" * 40}#subdirectory=s
-e ./three#egg=three
https://h/four-1-py3-none-any.whl#sha256={A}
""",
}
_ODD: list[Any] = [
    *(
        "",
        " ",
        "\0",
        "../..",
        "/etc",
        "x" * 300,
        "é",
        "$HOME",
        "${A}",
        "==",
        "1.0.*",
        "http://[",
        "-",
        "*",
        "\n",
    ),
    *("%00", "a/b", "sha256:", "os_name", "(" * 200, "'", "\ud800", "~~1", "[x]", "file://", "9" * 5000),
    *(0, -1, 10**30, 1.5, float("nan"), True, False, None),
    *([], [[]], [None], ["x"], [{}], {}, {"x": 1}, {"x": {"y": []}}, {"": ""}),
]


def paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:  # noqa: ANN401
    """The place of every value in a document."""
    found = [at] if at else []
    if isinstance(value, dict | list):
        items = value.items() if isinstance(value, dict) else enumerate(value)
        for key, item in items:
            found += paths(item, (*at, key))
    return found


def toml(value: Any) -> str:  # noqa: ANN401
    """Spell any value as TOML; what TOML has no word for as a string."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str | int | float):
        return json.dumps(value) if isinstance(value, str) else str(value)
    return '""'


def spelled(name: str, document: dict[str, Any]) -> str:
    if name.endswith(".toml") or name != "Pipfile.lock":
        return "".join(f"{json.dumps(key)} = {toml(value)}\n" for key, value in document.items())
    return json.dumps(document)


def with_a_change(chance: random.Random, document: Any) -> Any:  # noqa: ANN401
    """A copy in which one value is something else, gone, or twice there."""
    changed = json.loads(json.dumps(document))
    *above, last = chance.choice(paths(changed))
    place = changed
    for key in above:
        place = place[key]
    what = chance.randrange(4)
    if what == 0:
        del place[last]
    elif what == 1 and isinstance(place, list):
        place.append(place[last])
    elif what == 2 and isinstance(place[last], str):
        text = place[last]
        cut = chance.randrange(len(text) + 1)
        place[last] = text[:cut] + chance.choice(["", " ", "=", "\0", "[", "'", "/"]) + text[cut + 1 :]
    else:
        place[last] = chance.choice(_ODD)
    return changed


def torn(chance: random.Random, text: str) -> bytes:
    """A copy with some bytes changed, cut out, or said twice."""
    data = bytearray(text.encode())
    for _ in range(chance.randrange(1, 4)):
        at, length = chance.randrange(len(data)), chance.randrange(1, 20)
        what = chance.randrange(3)
        if what == 0:
            data[at] = chance.choice(b"\0\n\r\t \"'[]{}=,;#\\-.:/\xff09azAZ@")
        elif what == 1:
            del data[at : at + length]
        else:
            data[at:at] = data[max(0, at - length) : at]
        data = data or bytearray(b"x")
    return bytes(data)


def read(path: str) -> list[tuple[Pin, ...]]:
    """Read a file for two interpreters and two selections; ignore LockError, raise others."""
    found, messages = [], []
    for target in (LINUX, OLD):
        for selection in (Selection(), Selection(extras=("fast",), groups=("dev",), default_groups=False)):
            try:
                found.append(read_lock(path, target, selection))
            except LockError as error:
                messages.append(error.message)
    for pins in found:
        assert_harmless(pins)
    for message in messages:
        assert os.path.dirname(path) in message
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_the_sound_ones_are_read(tmp_path: object, name: str) -> None:
    folder = Folder(path=str(tmp_path))
    folder.write("pyproject.toml", _PROJECT)
    folder.write("constraints.txt", "one==1.0")
    folder.write("three/setup.py", "")
    pins = read(folder.write(name, LOCKS[name]).path)
    assert any(len(found) >= 2 for found in pins)


@pytest.mark.parametrize("name", [name for name in LOCKS if name != "requirements.txt"])
@pytest.mark.parametrize("old", [False, True])
def test_wrong_values(tmp_path: object, name: str, *, old: bool) -> None:
    """*old* formats are walked from the project; every other time its values are wrong."""
    chance = random.Random(SEED)
    folder = Folder(path=str(tmp_path))
    text = LOCKS[name]
    if old:
        text = re.sub('lock-version = "2.1"', 'lock-version = "2.0"', text.replace('"inherit_metadata"', ""))
    document = json.loads(text) if name == "Pipfile.lock" else tomllib.loads(text)
    project = tomllib.loads(_PROJECT)
    for number in range(RUNS):
        wrong, beside = with_a_change(chance, document), project
        if old and number % 2:
            wrong, beside = document, with_a_change(chance, project)
        try:
            written = spelled("x.toml", beside).encode(), spelled(name, wrong).encode()
        except UnicodeEncodeError:
            continue
        for file_name, content in zip(("pyproject.toml", name), written, strict=True):
            with open(os.path.join(folder.path, file_name), "wb") as file:
                file.write(content)
        read(os.path.join(folder.path, name))


@pytest.mark.parametrize("name", LOCKS)
def test_numbers_of_thousands_of_digits(tmp_path: object, name: str) -> None:
    """int() refuses such, by an error that is none of packaging's own."""
    folder = Folder(path=str(tmp_path))
    long = "9" * 5000
    for old, new in (
        ("1.0", long),
        (">=3.8", f">={long}"),
        ("python_version > '3'", f"python_version > '{long}'"),
        (">=1", f">={long}"),
        ("4.5.0", long),
    ):
        folder.write("pyproject.toml", _PROJECT.replace(old, new))
        folder.write("constraints.txt", f"one=={new}")
        folder.write("three/setup.py", "")
        read(folder.write(name, LOCKS[name].replace(old, new)).path)


@pytest.mark.parametrize("name", LOCKS)
def test_torn_files(tmp_path: object, name: str) -> None:
    chance = random.Random(SEED)
    folder = Folder(path=str(tmp_path))
    folder.write("pyproject.toml", _PROJECT)
    folder.write("constraints.txt", "one==1.0")
    path = os.path.join(folder.path, name)
    for _ in range(RUNS):
        with open(path, "wb") as file:
            file.write(torn(chance, LOCKS[name]))
        read(path)

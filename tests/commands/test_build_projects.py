"""`pipm sync` of local projects: their backends build them in environments that are kept."""

from __future__ import annotations

import glob
import os
import shutil
from typing import TYPE_CHECKING

import pytest
from support.pipm import FAILED, Pipm
from support.projects import make_project
from support.store import damage
from support.synthetic import Environment, make_wheel

if TYPE_CHECKING:
    from pathlib import Path

NEEDED = "VALUE = 1\n"


class Place:
    """A store with a cache of its own, and an index that is a folder of wheels."""

    def __init__(self, base: Path) -> None:
        self.base = str(base)
        self.index = f"{base}/index"
        os.mkdir(self.index)
        for name in ("needed", "more"):
            make_wheel(self.index, f"{name}==1.0", {f"{name}.py": NEEDED.encode()})
        environ = {
            "XDG_CACHE_HOME": f"{base}/cache",
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": self.index,
            "PIP_CONFIG_FILE": os.devnull,
        }
        self.pipm = Pipm(store=f"{base}/store", environ=environ)

    def project(self, folder: str, name: str = "mine", backend: str = "", **options: str) -> str:
        """Make a project with *backend* added to its backend; its builds are counted in ``builds``."""
        path = make_project(f"{self.base}/{folder}", name, **options)
        with open(f"{path}/backend.py", "a", encoding="utf-8") as stream:
            stream.write(f"open({self.base!r} + '/builds', 'a').write('x')\n{backend}")
        return path

    def lock(self, *folders: str, name: str = "mine", editable: bool = True) -> str:
        os.makedirs(f"{self.base}/locks", exist_ok=True)
        path = f"{self.base}/locks/pylock.toml"
        with open(path, "w", encoding="utf-8") as file:
            file.write('lock-version = "1.0"\ncreated-by = "test"\n')
            for folder in folders:
                file.write(f'[[packages]]\nname = "{name}"\ndirectory = {{ path = "{folder}"')
                file.write(f"{', editable = true' if editable else ''} }}\n")
        return path

    def sync(self, lock: str, env: str, *words: str) -> Environment:
        self.pipm("sync", lock, "--env", f"{self.base}/{env}", *words).expect()
        return Environment(path=f"{self.base}/{env}")

    def hooks(self) -> int:
        """How many hooks ran since the last look."""
        path = f"{self.base}/builds"
        count = os.path.getsize(path) if os.path.exists(path) else 0
        if count:
            os.unlink(path)
        return count


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def value(environment: Environment) -> str:
    return environment.run("import mine; print(mine.VALUE)").strip()


IMPORTS_NEEDED = "import needed\n"
ASKS_FOR_MORE = """
def get_requires_for_build_editable(config_settings=None):
    return ["more"]
_build = build_editable
def build_editable(*arguments, **options):
    import more, needed
    return _build(*arguments, **options)
"""


def test_what_a_build_requires_is_fetched_once(place: Place) -> None:
    """Also what the backend asks for; afterwards another folder of the project needs no index."""
    one = place.project("one", requires="needed", backend=IMPORTS_NEEDED + ASKS_FOR_MORE)
    assert value(place.sync(place.lock(one), "env")) == "1"
    shutil.rmtree(place.index)
    other = place.project(
        "other", requires="needed", backend=IMPORTS_NEEDED + ASKS_FOR_MORE, text="VALUE = 2\n"
    )
    assert value(place.sync(place.lock(other), "second")) == "2"
    assert damage(place.pipm.store) == []


def test_what_a_backend_requires_is_asked_again_if_a_build_fails(place: Place) -> None:
    """For equal worktrees it is remembered."""
    asks = ASKS_FOR_MORE.replace("return [", f"open({place.base!r} + '/asked', 'a').write('x')\n    return [")
    for number in (1, 2):
        folder = place.project(f"tree-{number}", backend=asks, requires="needed")
        place.sync(place.lock(folder), f"env-{number}")
    with open(f"{place.base}/asked", encoding="ascii") as stream:
        assert stream.read() == "x"
    make_wheel(place.index, "later==1.0", {"later.py": b""})
    asks = asks.replace('["more"]', '["more", "later"]').replace("import more,", "import later, more,")
    place.sync(place.lock(place.project("tree-3", backend=asks, requires="needed")), "env-3")
    with open(f"{place.base}/asked", encoding="ascii") as stream:
        assert stream.read() == "xx"


def test_what_is_not_to_be_had_is_named_with_the_project(place: Place) -> None:
    folder = place.project("one", requires="nowhere-to-be-found")
    failed = place.pipm("sync", place.lock(folder), "--env", f"{place.base}/env", "--json").expect(FAILED)
    assert "mine cannot be built" in failed.error["message"]
    assert "nowhere-to-be-found" in failed.error["message"]
    assert not os.path.exists(f"{place.base}/env")


def test_an_unchanged_project_is_built_once(place: Place) -> None:
    """Not for the same environment again, and not for a second one."""
    lock = place.lock(place.project("one"))
    place.sync(lock, "env")
    assert place.hooks()
    place.sync(lock, "env")
    place.sync(lock, "second")
    assert not place.hooks()
    with open(f"{place.base}/one/pyproject.toml", "a", encoding="utf-8") as stream:
        stream.write("# changed\n")
    place.sync(lock, "second")
    assert place.hooks()


def test_each_worktree_gets_its_own_folder(place: Place) -> None:
    one, other = place.project("one"), place.project("other", text="VALUE = 2\n")
    first, second = place.sync(place.lock(one), "env"), place.sync(place.lock(other), "second")
    assert (value(first), value(second)) == ("1", "2")
    place.sync(place.lock(one), "second")
    assert value(second) == "1"


def test_an_editable_project_stands_for_no_release(place: Place) -> None:
    place.sync(place.lock(place.project("one")), "env")
    make_wheel(place.index, "mine==1.0", {"mine.py": b"VALUE = 'of the index'\n"})
    requirements = f"{place.base}/requirements.txt"
    with open(requirements, "w", encoding="ascii") as stream:
        stream.write("mine==1.0\n")
    assert value(place.sync(requirements, "second")) == "of the index"
    assert damage(place.pipm.store) == []


BREAKS = """
def build_editable(*arguments, **options):
    print("first line of many")
    raise SystemExit("no compiler here")
"""


def test_all_that_a_failed_build_printed_is_shown(place: Place) -> None:
    folder = place.project("one", backend=BREAKS)
    failed = place.pipm("sync", place.lock(folder), "--env", f"{place.base}/env").expect(FAILED)
    assert "mine cannot be built: no compiler here" in failed.err
    assert "first line of many" in failed.err
    assert folder in failed.err


@pytest.mark.parametrize("name", ["../mine-1.0-py3-none-any.whl", "mine", "/etc/x.whl"])
def test_a_backend_that_names_another_file_is_refused(place: Place, name: str) -> None:
    folder = place.project("one", backend=f"def build_editable(*a, **k):\n    return {name!r}\n")
    failed = place.pipm("sync", place.lock(folder), "--env", f"{place.base}/env", "--json").expect(FAILED)
    assert "mine cannot be built" in failed.error["message"]


SCRIPT = """
import os
_plain = _wheel
def _wheel(folder, files):
    with open("tool", "rb") as stream:
        return _plain(folder, {**files, "mine-1.0.data/scripts/tool": stream.read()})
"""


@pytest.mark.parametrize("editable", [True, False])
def test_another_script_beside_the_same_modules(place: Place, editable: bool) -> None:  # noqa: FBT001
    folder = place.project("one", backend=SCRIPT)
    lock = place.lock(folder, editable=editable)
    for number in (1, 2, 1):
        with open(f"{folder}/tool", "w", encoding="ascii") as stream:
            stream.write(f"#!python\nprint({number})\n")
        with open(f"{folder}/setup.cfg", "w", encoding="ascii") as stream:
            stream.write(f"# {number}\n")
        environment = place.sync(lock, "env")
        with open(f"{environment.path}/bin/tool", encoding="utf-8") as stream:
            assert f"print({number})" in stream.read()
    assert damage(place.pipm.store) == []


HOOKED = """
def build_editable(folder, config_settings=None, metadata_directory=None):
    line = b"import _mine_finder\\n"
    module = b"import sys\\nsys.path.append(" + repr(os.getcwd()).encode() + b")\\n"
    return _wheel(folder, {"__editable__.mine.pth": line, "_mine_finder.py": module})
"""


@pytest.mark.parametrize("mode", ["hardlink", "finder"])
def test_a_path_file_that_imports_a_module_of_its_own(place: Place, mode: str) -> None:
    """As setuptools and meson-python have them."""
    lock = place.lock(place.project("one", backend=HOOKED))
    environment = place.sync(lock, "env", "--link-mode", mode)
    assert value(environment) == "1"
    again = place.pipm("sync", lock, "--env", environment.path, "--json").expect().json
    assert again["unchanged"] == 1
    place.pipm("adopt", environment.path).expect()
    place.pipm("gc", "--keep", "0s").expect()
    assert value(environment) == "1"
    assert place.pipm("sync", lock, "--env", environment.path, "--json").expect().json["unchanged"] == 1


def test_settings_of_the_lock_reach_the_backend(place: Place) -> None:
    told = "def build_editable(a, config_settings, m=None):\n    raise SystemExit(repr(config_settings))\n"
    folder = place.project("one", backend=told)
    requirements = f"{place.base}/requirements.txt"
    with open(requirements, "w", encoding="ascii") as stream:
        stream.write(f'-e {folder} --config-settings="a=b" --config-settings="a=c"\n')
    failed = place.pipm("sync", requirements, "--env", f"{place.base}/env", "--json").expect(FAILED)
    assert "{'a': ['b', 'c']}" in failed.error["message"]


def test_gc_removes_what_no_build_used(place: Place) -> None:
    lock = place.lock(place.project("one", requires="needed"))
    environment = place.sync(lock, "env")
    kept = glob.glob(f"{place.base}/cache/pipm/environments/build-*")
    assert kept
    for path in kept:
        os.utime(f"{path}/.pipm/ready", (1, 1))
        os.utime(f"{path}/pyvenv.cfg", (1, 1))
    place.pipm("gc").expect()
    assert glob.glob(f"{place.base}/cache/pipm/environments/build-*") == []
    assert value(environment) == "1"

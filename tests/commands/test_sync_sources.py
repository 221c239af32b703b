"""`pipm sync` of sources: archives, repositories, folders, editable projects."""

from __future__ import annotations

import glob
import json
import os
import sys
from typing import TYPE_CHECKING

import pytest
from support.installers import uv_environment, uv_variables, venv
from support.locks import assert_record, pylock
from support.pipm import FAILED, Pipm
from support.process import check, run
from support.projects import make_project, make_repository, make_sdist
from support.snapshot import file_digest
from support.store import damage
from support.synthetic import Environment
from support.tools import find_tool
from support.trees import differences, record_differences

if TYPE_CHECKING:
    from pathlib import Path

    from support.installers import Wheelhouse


@pytest.fixture
def pipm(tmp_path: object) -> Pipm:
    """The command with a store and a cache of the test's own: the cache has environments for builds."""
    return Pipm(store=f"{tmp_path}/store", environ={"XDG_CACHE_HOME": f"{tmp_path}/cache"})


def lock_of(folder: str, *packages: str) -> str:
    lock = os.path.join(folder, "pylock.toml")
    os.makedirs(folder, exist_ok=True)
    with open(lock, "w", encoding="utf-8") as file:
        file.write('lock-version = "1.0"\ncreated-by = "test"\n')
        if not packages:
            file.write("packages = []\n")
        file.write("".join(f"[[packages]]\n{package}\n" for package in packages))
    return lock


def direct_url(env: Environment, info: str) -> dict[str, object]:
    with open(env.file(f"{info}/direct_url.json"), encoding="utf-8") as file:
        document: dict[str, object] = json.load(file)
        return document


def test_builds_what_has_no_wheel_and_builds_it_once(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    sdist = make_sdist(f"{base}/dist", "sourced")
    commit = make_repository(f"{base}/repo", "versioned")
    folder = make_project(f"{base}/folder", "local")
    digest = file_digest(sdist)
    lock = lock_of(
        base,
        'name = "sourced"\nversion = "1.0"\n'
        f'sdist = {{ path = "{sdist}", hashes = {{ sha256 = "{digest}" }} }}',
        f'name = "versioned"\nvcs = {{ type = "git", url = "file://{base}/repo", commit-id = "{commit}" }}',
        f'name = "local"\nversion = "1.0"\ndirectory = {{ path = "{folder}" }}',
    )
    env = Environment(path=f"{base}/env")
    done = pipm("sync", lock, "--env", env.path, "--json").expect().json
    assert (len(done["added"]), done["fetched"]) == (3, 3)
    assert env.run("import sourced, versioned, local; print(local.VALUE)").strip() == "1"
    vcs = direct_url(env, "versioned-1.0.dist-info")
    assert vcs["vcs_info"] == {"vcs": "git", "commit_id": commit}
    assert direct_url(env, "local-1.0.dist-info") == {"dir_info": {}, "url": f"file://{folder}"}
    assert not os.path.exists(env.file("sourced-1.0.dist-info/direct_url.json"))
    second = pipm("sync", lock, "--env", f"{base}/second", "--json").expect().json
    assert (len(second["added"]), second["fetched"]) == (3, 1)  # a folder may have changed meanwhile
    assert pipm("sync", lock, "--env", env.path, "--json").expect().json["unchanged"] == 3
    make_project(folder, "local", text="VALUE = 2\n")
    third = pipm("sync", lock, "--env", env.path, "--json").expect().json
    assert [row["name"] for row in third["replaced"]] == ["local"]
    assert env.run("import local; print(local.VALUE)").strip() == "2"
    assert damage(pipm.store) == []


def test_an_editable_project_stays_editable(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    folder = make_project(f"{base}/folder", "editable")
    text = f'name = "editable"\ndirectory = {{ path = "{folder}", editable = true }}'
    lock = lock_of(base, text)
    env = Environment(path=f"{base}/env")
    done = pipm("sync", lock, "--env", env.path, "--json").expect().json
    assert [row["name"] for row in done["added"]] == ["editable"]
    make_project(folder, "editable", text="VALUE = 3\n")
    assert env.run("import editable; print(editable.VALUE)").strip() == "3"
    again = pipm("sync", lock, "--env", env.path, "--json").expect().json
    assert (again["added"], again["unchanged"]) == ([], 1)
    gone = pipm("sync", lock_of(f"{base}/empty"), "--env", env.path, "--json").expect().json
    assert [row["name"] for row in gone["removed"]] == ["editable"]
    assert os.path.isfile(f"{folder}/editable.py")


def test_a_changed_editable_project_is_installed_anew(pipm: Pipm, tmp_path: object) -> None:
    """The name of its folder looks like extras."""
    base = str(tmp_path)
    folder = make_project(f"{base}/br[x]", "editable")
    lock = lock_of(base, f'name = "editable"\ndirectory = {{ path = "{folder}", editable = true }}')
    env = Environment(path=f"{base}/env")
    pipm("sync", lock, "--env", env.path).expect()
    make_project(folder, "editable", version="2.0")
    preview = pipm("sync", lock, "--env", env.path, "-n", "--json").expect().json
    done = pipm("sync", lock, "--env", env.path, "--json").expect().json
    assert done["replaced"] == [{"name": "editable", "version": "2.0", "old_version": "1.0"}]
    assert (done["added"], done["removed"], done["unchanged"]) == ([], [], 0)
    assert [row["name"] for row in preview["replaced"]] == ["editable"]
    show = "from importlib.metadata import version; import editable; print(version('editable'))"
    assert env.run(show).strip() == "2.0"
    assert_record(env, "editable-2.0.dist-info")
    assert pipm("sync", lock, "--env", env.path, "--json").expect().json["unchanged"] == 1
    make_project(folder, "editable", version="3.0")
    with open(f"{folder}/backend.py", "a", encoding="utf-8") as file:
        file.write("def build_editable(*arguments, **options):\n    raise SystemExit('no')\n")
    pipm("sync", lock, "--env", env.path, "--json").expect(FAILED)
    assert env.run(show).strip() == "2.0"  # the old one stays until the new one is built
    check(sys.executable, "-m", "pip", "--python", env.python, "uninstall", "-q", "-y", "editable")
    assert glob.glob(f"{env.site}/*ditable*") == []


def test_uv_takes_an_editable_project_as_its_own(pipm: Pipm, tmp_path: Path) -> None:
    folder = make_project(str(tmp_path / "folder"), "editable")
    os.mkdir(f"{folder}/src")
    uv = (find_tool("uv"), "--offline")
    variables = uv_variables(f"{tmp_path}/cache") | {"UV_PYTHON": sys.executable}
    check(*uv, "lock", cwd=folder, environ=variables)
    env = Environment(path=f"{folder}/.venv")
    pipm("sync", f"{folder}/uv.lock", "--env", env.path).expect()
    assert_record(env, "editable-1.0.dist-info")
    wants = run(*uv, "sync", "--frozen", "--dry-run", cwd=folder, environ=variables)
    assert "Would make no changes" in wants.stderr
    make_project(folder, "editable", version="2.0")
    check(*uv, "sync", cwd=folder, environ=variables)
    assert not os.path.exists(env.file("editable-1.0.dist-info"))


def test_what_cannot_be_built_changes_nothing(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    folder = make_project(f"{base}/folder", "broken")
    with open(f"{folder}/backend.py", "a", encoding="utf-8") as file:
        file.write("def build_wheel(*arguments, **options):\n    raise SystemExit('no compiler here')\n")
    lock = lock_of(base, f'name = "broken"\nversion = "1.0"\ndirectory = {{ path = "{folder}" }}')
    failed = pipm("sync", lock, "--env", f"{base}/env", "--json").expect(FAILED)
    assert "broken 1.0" in failed.error["message"]
    assert failed.error["hint"]
    assert not os.path.exists(f"{base}/env")
    assert damage(pipm.store) == []


def test_an_index_that_is_down(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    url = "http://127.0.0.1:9/away-1.0-py3-none-any.whl"
    text = (
        f'name = "away"\nversion = "1.0"\nwheels = [{{ name = "away-1.0-py3-none-any.whl", url = "{url}",'
        f' hashes = {{ sha256 = "{"0" * 64}" }} }}]'
    )
    down = {"PIP_RETRIES": "0", "PIP_TIMEOUT": "2", "PIP_INDEX_URL": "http://127.0.0.1:9/simple"}
    offline = type(pipm)(store=pipm.store, environ={**pipm.environ, **down})
    failed = offline("sync", lock_of(base, text), "--env", f"{base}/env", "--json").expect(FAILED)
    assert "away 1.0" in failed.error["message"]
    assert not os.path.exists(f"{base}/env")
    assert damage(pipm.store) == []


def test_the_same_tree_as_pip_and_uv_make(
    pipm: Pipm, wheelhouse: Wheelhouse, tmp_path: object, uv_cache: str
) -> None:
    """Real distributions; scripts/campaign-sync does this with hundreds."""
    base = str(tmp_path)
    names = [os.path.join(wheelhouse.path, name) for name in sorted(os.listdir(wheelhouse.path))]
    newest = {os.path.basename(path).split("-")[0].lower(): path for path in names}
    lock = pylock(base, newest.values())
    pipm("sync", lock, "--env", f"{base}/mine", "--json").expect()
    by_pip = venv(f"{base}/pip", pip=False)
    pip = (sys.executable, "-m", "pip", "--python", by_pip.python)
    check(*pip, "install", "-q", "--no-deps", "--no-index", *newest.values())
    by_uv = uv_environment(f"{base}/uv", "--no-deps", "--no-index", *newest.values(), cache=uv_cache)
    for theirs in (by_pip.path, by_uv.path):
        assert list(differences(f"{base}/mine", theirs)) == []
    assert list(record_differences(f"{base}/mine", by_pip.path)) == []

"""`pipm sync` and package indexes: which is asked, which settings count, where passwords are."""

from __future__ import annotations

import json
import os
import shutil
import sys
from typing import TYPE_CHECKING

import pytest
from support.indexes import index_of
from support.pipm import FAILED
from support.process import check
from support.projects import make_project, make_repository, make_sdist
from support.snapshot import file_digest, walk
from support.synthetic import Environment, make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.indexes import Index
    from support.pipm import Pipm

DEAD = "http://127.0.0.1:9/files"
"""Where nobody answers."""


@pytest.fixture
def private(tmp_path: object) -> Iterator[Index]:
    make_wheel(f"{tmp_path}/private", "internal==1.0", {"internal.py": b"FROM = 'private'\n"})
    with index_of(f"{tmp_path}/private") as index:
        yield index


@pytest.fixture
def public(tmp_path: object) -> Iterator[Index]:
    """Has a wheel of the private name that pip likes better."""
    wheel = make_wheel(f"{tmp_path}/public", "internal==1.0", {"internal.py": b"FROM = 'public'\n"})
    os.rename(wheel, wheel.replace("-1.0-", "-1.0-1-"))
    with index_of(f"{tmp_path}/public") as index:
        yield index


def write(folder: str, name: str, text: str) -> str:
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text)
    return path


def environ(**variables: str) -> dict[str, str]:
    """Settings of pip: none but these."""
    empty = dict.fromkeys([name for name in os.environ if name.startswith("PIP_")], "")
    return empty | {"PIP_CONFIG_FILE": os.devnull, "PIP_RETRIES": "0", "PIP_TIMEOUT": "5"} | variables


def lock_of(kind: str, folder: str, private: Index) -> str:
    digest = file_digest(f"{private.folder}/internal-1.0-py3-none-any.whl")
    name, dead = "internal-1.0-py3-none-any.whl", f"{DEAD}/internal-1.0-py3-none-any.whl"
    if kind == "requirements.txt":
        write(folder, "base.txt", f"--extra-index-url {DEAD}\n-i {private.url}\n")
        return write(folder, kind, "-r base.txt\ninternal==1.0\n")
    if kind == "Pipfile.lock":
        meta = {"pipfile-spec": 6, "requires": {}, "sources": [{"name": "mine", "url": private.url}]}
        return write(folder, kind, json.dumps({"_meta": meta, "default": {"internal": {"version": "==1.0"}}}))
    assert kind == "uv.lock"
    return write(
        folder,
        kind,
        'version = 1\nrequires-python = ">=3.8"\n[manifest]\nrequirements = [{ name = "internal" }]\n'
        f'[[package]]\nname = "internal"\nversion = "1.0"\nsource = {{ registry = "{private.url}" }}\n'
        f'wheels = [{{ url = "{dead}", filename = "{name}", hash = "sha256:{digest}" }}]\n',
    )


@pytest.mark.parametrize("kind", ["requirements.txt", "Pipfile.lock", "uv.lock"])
def test_an_exclusive_index_stays_exclusive(
    pipm: Pipm, tmp_path: object, private: Index, public: Index, kind: str
) -> None:
    """The settings name the public one, twice."""
    lock = lock_of(kind, str(tmp_path), private)
    variables = environ(PIP_INDEX_URL=public.url, PIP_EXTRA_INDEX_URL=f"{public.url}/")
    env = Environment(path=f"{tmp_path}/env")
    type(pipm)(store=pipm.store, environ=variables)("sync", lock, "--env", env.path).expect()
    assert env.run("import internal; print(internal.FROM)").strip() == "private"
    assert public.asked == []


def test_a_mirror_stands_for_an_index_that_is_down(pipm: Pipm, tmp_path: object, private: Index) -> None:
    """The lock has hashes, and the settings name the mirror."""
    lock = lock_of("uv.lock", str(tmp_path), private)
    with open(lock, encoding="utf-8") as stream:
        text = stream.read()
    write(str(tmp_path), "uv.lock", text.replace(f"{private.url}", DEAD))
    offline = type(pipm)(store=pipm.store, environ=environ(PIP_INDEX_URL=private.url))
    offline("sync", lock, "--env", f"{tmp_path}/env").expect()


def test_what_pip_is_called_for_is_set_by_pipm(pipm: Pipm, tmp_path: object, private: Index) -> None:
    base = str(tmp_path)
    project = make_project(f"{base}/project", "local")
    lock = write(base, "requirements.txt", f"internal==1.0\n-e {project}\n")
    limits = write(base, "limits.txt", "internal==7\n")
    elsewhere = f"{base}/elsewhere"
    settings = write(
        base,
        "pip.conf",
        f"[global]\nindex-url = {private.url}\nconstraint = {limits}\nrequire-hashes = yes\n"
        f"[install]\nprefix = {elsewhere}\nroot = {elsewhere}\ndry-run = true\nuser = true\n"
        f"[wheel]\nwheel-dir = {elsewhere}\n",
    )
    variables = environ(
        PIP_CONFIG_FILE=settings,
        PIP_TARGET=elsewhere,
        PIP_PREFIX=elsewhere,
        PIP_ROOT=elsewhere,
        PIP_USER="1",
        PIP_DRY_RUN="1",
        PIP_REQUIRE_HASHES="1",
        PIP_REQUIRE_VIRTUALENV="1",
        PIP_REPORT=f"{elsewhere}.json",
        PIP_REQUIREMENT=limits,
        PIP_PYTHON="/nowhere",
        PIP_QUIET="3",
    )
    env = Environment(path=f"{base}/env")
    done = type(pipm)(store=pipm.store, environ=variables)("sync", lock, "--env", env.path, "--json")
    assert [row["name"] for row in done.expect().json["added"]] == ["internal", "local"]
    assert env.run("import internal, local; print(internal.FROM, local.VALUE)").split() == ["private", "1"]
    assert not os.path.exists(elsewhere)
    assert not os.path.exists(f"{elsewhere}.json")


def test_the_setting_no_index_is_the_users(pipm: Pipm, tmp_path: object, private: Index) -> None:
    lock = write(str(tmp_path), "requirements.txt", f"-i {private.url}\ninternal==1.0\n")
    closed = type(pipm)(store=pipm.store, environ=environ(PIP_NO_INDEX="1"))
    closed("sync", lock, "--env", f"{tmp_path}/env", "--json").expect(FAILED)
    assert private.asked == []


@pytest.mark.skipif(sys.platform != "linux", reason="command lines are read from /proc")
def test_passwords_stay_where_they_are(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    for name in ("internal", "direct"):
        make_wheel(f"{base}/wheels", f"{name}==1.0", {f"{name}.py": b"1\n"})
    with index_of(f"{base}/wheels", login="me:hunter2") as index:
        links = index.with_login(index.files)
        direct = f"{links}/direct-1.0-py3-none-any.whl"
        text = f"-i {index.with_login(index.url)}\ninternal==1.0\ndirect @ {direct}\n".replace(
            "hunter2", "${WORD}"
        )
        lock = write(base, "requirements.txt", text)
        places = {"XDG_CACHE_HOME": f"{base}/cache", "WORD": "hunter2"}
        knowing = type(pipm)(store=pipm.store, environ=environ(**places, PIP_NO_CACHE_DIR="1"))
        env = Environment(path=f"{base}/env")
        done = knowing("sync", lock, "--env", env.path, "--json").expect()
        with open(env.file("direct-1.0.dist-info/direct_url.json"), encoding="utf-8") as stream:
            assert json.load(stream)["url"] == direct.replace("me:hunter2@", "")
        write(base, "requirements.txt", text.replace("internal==1.0", "internal==2.0"))
        failed = knowing("-v", "sync", lock, "--env", f"{base}/other").expect(FAILED)
        assert "internal 2.0 is not on http://me:****@127" in failed.err
        wrong = write(base, "requirements.txt", f"direct @ {direct}/nothing\n")
        refused = knowing("-v", "sync", wrong, "--env", f"{base}/other").expect(FAILED)
    assert index.seen == []
    for said in (done, failed, refused):
        assert "hunter2" not in said.out + said.err
    for top in (pipm.store, env.path, f"{base}/cache"):
        for folder, _, names in os.walk(top):
            for name in names:
                with open(os.path.join(folder, name), "rb") as content:
                    assert b"hunter2" not in content.read(), f"{folder}/{name}"


UV = '[[tool.uv.index]]\nname = "my-own"\nurl = "{url}/"\n'
POETRY = '[[tool.poetry.source]]\nname = "my.own"\nurl = "{url}"\n'


def locked_file(index: Index, name: str) -> str:
    digest = file_digest(f"{index.folder}/{name}")
    return f"{{ url = '{index.files}/{name}', hash = 'sha256:{digest}' }}"


@pytest.mark.skipif(sys.platform != "linux", reason="command lines are read from /proc")
@pytest.mark.parametrize(
    ("settings", "variables"),
    [
        (UV, {"UV_INDEX_MY_OWN_USERNAME": "me", "UV_INDEX_MY_OWN_PASSWORD": "hunter2"}),
        ("", {"UV_INDEX": "https://example.org/other my-own={url}", "UV_INDEX_MY_OWN_PASSWORD": "hunter2"}),
        ("", {"UV_DEFAULT_INDEX": "{login}"}),
        (POETRY, {"POETRY_HTTP_BASIC_MY_OWN_USERNAME": "me", "POETRY_HTTP_BASIC_MY_OWN_PASSWORD": "hunter2"}),
    ],
    ids=["uv's project", "uv's variable", "URL", "Poetry"],
)
def test_logins_in_variables_of_uv_and_poetry(
    pipm: Pipm, tmp_path: object, settings: str, variables: dict[str, str]
) -> None:
    """A wheel, which pipm fetches, and an archive that pip builds."""
    base = str(tmp_path)
    make_wheel(f"{base}/wheels", "internal==1.0", {"internal.py": b"1\n"})
    user = "" if variables.keys() == {"UV_INDEX", "UV_INDEX_MY_OWN_PASSWORD"} else "me"
    with index_of(f"{base}/wheels", login=f"{user}:hunter2") as index:
        wheel, sdist = os.listdir(index.folder)[0], os.path.basename(make_sdist(index.folder, "built"))
        source = f'source = {{ registry = "{index.url}" }}'
        lock = write(
            base,
            "uv.lock",
            'version = 1\nrequires-python = ">=3.8"\n[manifest]\n'
            'requirements = [{ name = "internal" }, { name = "built" }]\n'
            f'[[package]]\nname = "internal"\nversion = "1.0"\n{source}\n'
            f"wheels = [{locked_file(index, wheel)}]\n"
            f'[[package]]\nname = "built"\nversion = "1.0"\n{source}\nsdist = {locked_file(index, sdist)}\n',
        )
        write(base, "pyproject.toml", settings.format(url=index.url))
        named = {
            name: value.format(url=index.url, login=index.with_login(index.url))
            for name, value in variables.items()
        }
        env = Environment(path=f"{base}/env")
        words = ("sync", lock, "--env", env.path)
        knowing = type(pipm)(store=pipm.store, environ=environ(**named, PIP_NO_CACHE_DIR="1"))
        done = knowing(*words).expect()
        assert index.seen == []
        assert "hunter2" not in done.out + done.err
        asked = len(index.asked)
        type(pipm)(store=pipm.store, environ=environ())(*words).expect()  # what is stored needs no login
        assert len(index.asked) == asked
    for top in (pipm.store, env.path):
        for folder, _, names in os.walk(top):
            for name in names:
                with open(os.path.join(folder, name), "rb") as content:
                    assert b"hunter2" not in content.read(), f"{folder}/{name}"


@pytest.mark.skipif(sys.platform != "linux", reason="command lines are read from /proc")
def test_what_pip_starts_shows_no_passwords(pipm: Pipm, tmp_path: Path) -> None:
    """git, and the pip that installs what a build needs."""
    base = str(tmp_path)
    make_wheel(f"{base}/served", "needed==1.0", {"needed.py": b"1\n"})
    commit = make_repository(f"{base}/cloned", "cloned")
    check("git", "clone", "-q", "--bare", f"{base}/cloned", f"{base}/served/cloned.git")
    check("git", "-C", f"{base}/served/cloned.git", "update-server-info")
    built = make_project(f"{base}/built", "built", requires="needed==1.0")
    edited = make_project(f"{base}/edited", "edited", requires="needed==1.0")
    with index_of(f"{base}/served", login="me:hunter2") as index:
        place = index.with_login(f"http://127.0.0.1:{index.port}/git/cloned.git")
        lock = write(base, "requirements.txt", f"cloned @ git+{place}@{commit}\n{built}\n-e {edited}\n")
        settings = environ(PIP_INDEX_URL=index.with_login(index.url), PIP_NO_CACHE_DIR="1", HOME=base)
        env = Environment(path=f"{base}/env")
        type(pipm)(store=pipm.store, environ=settings)("sync", lock, "--env", env.path).expect()
    env.run("import built, cloned, edited")
    assert {path.split("/")[1] for path in index.asked} == {"files", "git", "simple"}
    assert index.seen == []
    assert not [row.path for row in walk(pipm.store) if row.name == "netrc"]


def test_a_local_version_serves_where_none_is_asked_for(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    make_wheel(f"{base}/wheels", "fast==2.1.0+cpu", {"fast.py": b"1\n"})
    make_wheel(f"{base}/wheels", "fast==1.9", {"fast.py": b"1\n"})
    make_wheel(f"{base}/wheels", "fast==2.2", {"fast.py": b"1\n"})
    with index_of(f"{base}/wheels") as index:
        lock = write(base, "requirements.txt", f"-i {index.url}\nfast==2.1.0\n")
        mine = type(pipm)(store=pipm.store, environ=environ())
        done = mine("sync", lock, "--env", f"{base}/env", "--json").expect().json
        assert done["added"] == [{"name": "fast", "version": "2.1.0+cpu"}]
        index.asked.clear()
        again = mine("sync", lock, "--env", f"{base}/again", "--json").expect().json
        assert (again["added"], again["fetched"], index.asked) == (done["added"], 0, [])
        write(base, "requirements.txt", f"-i {index.url}\nfast==2.0\n")
        failed = mine("sync", lock, "--env", f"{base}/env", "--json").expect(FAILED)
        python = ".".join(map(str, sys.version_info[:3]))
        assert failed.error["message"] == f"fast 2.0 is not on {index.url}, or not for Python {python}"
        assert "1.9, 2.1.0+cpu, 2.2;" in failed.error["hint"]


def test_a_wheel_in_the_store_is_no_build_of_the_source(pipm: Pipm, tmp_path: object) -> None:
    base = str(tmp_path)
    make_wheel(f"{base}/wheels", "both==1.0", {"both.py": b"FROM = 'wheel'\n"})
    shutil.move(make_sdist(f"{base}/dist", "both"), f"{base}/wheels")
    with index_of(f"{base}/wheels") as index:
        mine = type(pipm)(store=pipm.store, environ=environ())
        for number, (options, wanted) in enumerate(
            (
                ("", "'wheel'"),
                ("--no-binary both\n", "1"),
                ("--only-binary :all:\n", "'wheel'"),
                ("", "'wheel'"),
            )
        ):
            lock = write(base, "requirements.txt", f"-i {index.url}\n{options}both==1.0\n")
            env = Environment(path=f"{base}/env-{number}")
            mine("sync", lock, "--env", env.path).expect()
            code = "import both; print(repr(getattr(both, 'FROM', None) or both.VALUE))"
            assert env.run(code).strip() == wanted
        index.asked.clear()
        for options in ("--no-binary both\n", "--only-binary :all:\n"):
            lock = write(base, "requirements.txt", f"-i {index.url}\n{options}both==1.0\n")
            mine("sync", lock, "--env", f"{base}/env-0").expect()
    assert index.asked == []

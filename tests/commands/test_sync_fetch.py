"""`pipm sync` downloads wheels with a known hash from a web server, without pip."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from support.file_server import Answer, FileServer, Script
from support.pipm import FAILED
from support.remotes import served
from support.snapshot import file_digest
from support.synthetic import Environment, make_wheel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.pipm import Pipm

NAMES = ("one", "two")


def file_name(name: str) -> str:
    return f"{name}-1.0-py3-none-any.whl"


@pytest.fixture
def server(tmp_path: Path) -> Iterator[FileServer]:
    """An index of two wheels, by JSON."""
    script = Script()
    for name in NAMES:
        path = make_wheel(f"{tmp_path}/wheels", f"{name}==1.0", {f"{name}.py": f"NAME = '{name}'\n".encode()})
        with open(path, "rb") as file:
            script.files[f"/files/{file_name(name)}"] = file.read()
        row = {
            "filename": file_name(name),
            "url": f"../../files/{file_name(name)}",
            "hashes": {"sha256": file_digest(path)},
        }
        headers = (("Content-Type", "application/vnd.pypi.simple.v1+json"),)
        body = json.dumps({"files": [row]}).encode()
        script.answers[f"/simple/{name}/"] = [Answer(headers=headers, body=body)]
    with served(FileServer(script)) as server:
        yield server


def lock_of(kind: str, folder: Path, server: FileServer) -> str:
    hashes = {name: file_digest(f"{folder}/wheels/{file_name(name)}") for name in NAMES}
    if kind == "pylock.toml":
        text = 'lock-version = "1.0"\ncreated-by = "test"\n' + "".join(
            f'[[packages]]\nname = "{name}"\nversion = "1.0"\n'
            f'[[packages.wheels]]\nname = "{file_name(name)}"\n'
            f'url = "{server.url}/files/{file_name(name)}"\nhashes = {{ sha256 = "{digest}" }}\n'
            for name, digest in hashes.items()
        )
    elif kind == "poetry.lock":
        text = "".join(
            f'[[package]]\nname = "{name}"\nversion = "1.0"\ngroups = ["main"]\noptional = false\n'
            f'python-versions = "*"\nfiles = [{{ file = "{file_name(name)}", hash = "sha256:{digest}" }}]\n'
            for name, digest in hashes.items()
        )
        text += '[metadata]\nlock-version = "2.1"\npython-versions = "*"\ncontent-hash = "0"\n'
        (folder / "pyproject.toml").write_text(
            '[project]\nname = "it"\nversion = "1"\ndependencies = ["one", "two"]\n'
            "[tool.poetry]\npackage-mode = false\n"
        )
    elif kind == "Pipfile.lock":
        sources = [{"name": "mine", "url": f"{server.url}/simple"}]
        rows = {name: {"version": "==1.0", "hashes": [f"sha256:{one}"]} for name, one in hashes.items()}
        meta = {"pipfile-spec": 6, "requires": {}, "sources": sources}
        text = json.dumps({"_meta": meta, "default": rows})
    else:
        text = "".join(f"{name}==1.0 --hash=sha256:{digest}\n" for name, digest in hashes.items())
    (folder / kind).write_text(text)
    return str(folder / kind)


def quiet(pipm: Pipm, folder: Path, index: str = "") -> Pipm:
    """*pipm* with no settings of pip but these; a pip that runs writes its log."""
    environ = dict.fromkeys([name for name in os.environ if name.startswith("PIP_")], "")
    environ |= {"PIP_CONFIG_FILE": os.devnull, "PIP_LOG": f"{folder}/pip.log", "PIP_NO_CACHE_DIR": "1"}
    environ |= {"PIP_INDEX_URL": index, "PIP_RETRIES": "0"}
    return type(pipm)(store=pipm.store, environ=environ)


@pytest.mark.parametrize("kind", ["pylock.toml", "poetry.lock", "Pipfile.lock", "requirements.txt"])
def test_a_lock_with_hashes_needs_no_pip(pipm: Pipm, tmp_path: Path, server: FileServer, kind: str) -> None:
    lock = lock_of(kind, tmp_path, server)
    env = Environment(path=f"{tmp_path}/env")
    done = quiet(pipm, tmp_path, f"{server.url}/simple")("sync", lock, "--env", env.path, "--json").expect()
    assert done.json["fetched"] == 2
    assert env.run("import one, two; print(one.NAME, two.NAME)").split() == ["one", "two"]
    assert not os.path.exists(f"{tmp_path}/pip.log")
    assert os.listdir(f"{pipm.store}/v1/tmp") == []


def test_what_came_is_kept_when_the_rest_fails(pipm: Pipm, tmp_path: Path, server: FileServer) -> None:
    lock = lock_of("pylock.toml", tmp_path, server)
    path = f"/files/{file_name('two')}"
    server.script.answers[path] = [Answer(body=b"not a wheel"), Answer(403)]
    mine = quiet(pipm, tmp_path)
    for why in ("two 1.0 is not the file in the lock", "Cannot fetch two 1.0: HTTP error 403"):
        failed = mine("sync", lock, "--env", f"{tmp_path}/env", "--json").expect(FAILED)
        assert failed.error["kind"] == "fetch"
        assert why in failed.error["message"]
        assert os.listdir(f"{pipm.store}/v1/tmp") == []
    assert mine("sync", lock, "--env", f"{tmp_path}/env", "--json").expect().json["fetched"] == 1
    assert [asked.path for asked in server.script.asked].count(f"/files/{file_name('one')}") == 1
    assert not os.path.exists(f"{tmp_path}/pip.log")


def test_what_came_is_kept_when_the_downloader_dies(pipm: Pipm, tmp_path: Path, server: FileServer) -> None:
    """Its wheels get their names while others are downloaded."""
    lock = lock_of("pylock.toml", tmp_path, server)
    server.script.answers[f"/files/{file_name('two')}"] = [Answer(drips=0.05)]
    mine = quiet(pipm, tmp_path)
    process = mine.start("sync", lock, "--env", f"{tmp_path}/env", "--json")
    until = time.monotonic() + 60
    while not os.path.exists(f"{pipm.store}/v1/wheels/one/1.0"):
        assert time.monotonic() < until
        time.sleep(0.01)
    (downloader,) = (
        one for one in psutil.Process(process.pid).children() if one.net_connections(kind="tcp4")
    )
    downloader.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == FAILED, err
    assert "A worker process ended unexpectedly" in err
    assert os.listdir(f"{pipm.store}/v1/tmp") == []
    assert mine("sync", lock, "--env", f"{tmp_path}/env", "--json").expect().json["fetched"] == 1
    assert [asked.path for asked in server.script.asked].count(f"/files/{file_name('one')}") == 1


def test_modules_are_compiled_while_others_are_downloaded(
    pipm: Pipm, tmp_path: Path, server: FileServer
) -> None:
    """If the process that does it dies, the sync compiles the rest."""
    lock = lock_of("pylock.toml", tmp_path, server)
    server.script.answers[f"/files/{file_name('two')}"] = [Answer(503, (("Retry-After", "10"),))]
    mine = quiet(pipm, tmp_path)
    environ = {**mine.environ, "PIP_RETRIES": "1"}
    mine = type(pipm)(store=pipm.store, environ=environ)
    process = mine.start("sync", lock, "--env", f"{tmp_path}/env", "--compile")
    while not [path for path in Path(pipm.store).glob("v1/bytecode/*/*/*") if path.stat().st_size]:
        assert process.poll() is None
        time.sleep(0.01)
    assert [asked.path for asked in server.script.asked].count(f"/files/{file_name('two')}") == 1
    (compiler,) = (one for one in psutil.Process(process.pid).children() if one.children())
    compiler.send_signal(signal.SIGKILL)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    environment = Environment(path=f"{tmp_path}/env")
    assert all(os.path.exists(environment.bytecode(f"{name}.py")) for name in NAMES)

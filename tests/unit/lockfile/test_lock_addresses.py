"""Values that would have another meaning in a requirements file are refused in every format."""

from __future__ import annotations

import json
import os
import tempfile
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lock_files import LINUX, A, assert_harmless, lines_of
from pipm.core.addresses import AddressError, has_credentials, without_credentials
from pipm.core.pins import Archive, Pin, Repository, SourceFolder
from pipm.errors import FetchError, LockError, PipmError, redacted
from pipm.lockfile.read_lock import read_lock
from pipm.wheel.environment_files import direct_url
from pipm.wheel.pip_download import request_for

if TYPE_CHECKING:
    from collections.abc import Callable

COMMIT = "0" * 40
BREAKS = ("\n", "\r", "\v", "\f", "\x1c", "\x85", "\u2028", "\u2029")
BAD = (*BREAKS, "\0", "\x1b", " --index-url=https://evil", "\t", "\\", "${TOKEN}", "\u00a0")


def toml(text: str) -> str:
    return json.dumps(text)


def pylock(url: str, commit: str, folder: str) -> str:
    hashes = f'hashes = {{ sha256 = "{A}" }}'
    return f"""lock-version = "1.0"
created-by = "x"
[[packages]]
name = "one"
version = "1.0"
index = {toml(url + "/simple")}
wheels = [{{ url = {toml(url + "/one-1.0-py3-none-any.whl")}, name = "one-1.0-py3-none-any.whl", {hashes} }}]
[[packages]]
name = "two"
vcs = {{ type = "git", url = {toml(url + "/g")}, commit-id = {toml(commit)}, subdirectory = {toml(folder)} }}
[[packages]]
name = "three"
archive = {{ url = {toml(url + "/three.zip")}, subdirectory = {toml(folder)}, {hashes} }}
"""


def uv_lock(url: str, commit: str, folder: str) -> str:
    git = f"{url}/g?subdirectory={folder}#{commit}"
    return f"""version = 1
requires-python = ">=3.8"
[manifest]
requirements = [{{ name = "one" }}, {{ name = "two" }}, {{ name = "three" }}]
[[package]]
name = "one"
version = "1.0"
source = {{ registry = {toml(url)} }}
wheels = [{{ url = {toml(url + "/one-1.0-py3-none-any.whl")}, hash = "sha256:{A}" }}]
[[package]]
name = "two"
version = "1"
source = {{ git = {toml(git)} }}
[[package]]
name = "three"
version = "1"
source = {{ url = {toml(url + "/three.zip")}, subdirectory = {toml(folder)} }}
"""


def poetry_lock(url: str, commit: str, folder: str) -> str:
    head = 'optional = false\npython-versions = ">=3.8"\ngroups = ["main"]\n'
    wheel = f'files = [{{ file = "one-1.0-py3-none-any.whl", hash = "sha256:{A}" }}]\n'
    return f"""[[package]]
name = "one"
version = "1.0"
{head}{wheel}
[package.source]
type = "legacy"
url = {toml(url)}
reference = "mine"
[[package]]
name = "two"
version = "1"
{head}files = []
[package.source]
type = "git"
url = {toml(url + "/g")}
reference = "main"
resolved_reference = {toml(commit)}
subdirectory = {toml(folder)}
[metadata]
lock-version = "2.1"
python-versions = ">=3.8"
"""


def pdm_lock(url: str, commit: str, folder: str) -> str:
    return f"""[metadata]
groups = ["default"]
strategy = ["inherit_metadata"]
lock_version = "4.5.0"
[[package]]
name = "one"
version = "1.0"
groups = ["default"]
files = [{{ url = {toml(url + "/one-1.0-py3-none-any.whl")}, hash = "sha256:{A}" }}]
[[package]]
name = "two"
version = "1"
groups = ["default"]
git = {toml(url + "/g")}
revision = {toml(commit)}
subdirectory = {toml(folder)}
"""


def pipfile_lock(url: str, commit: str, folder: str) -> str:
    meta = {"pipfile-spec": 6, "requires": {}, "sources": [{"name": "mine", "url": url}]}
    packages = {
        "one": {"version": "==1.0", "hashes": [f"sha256:{A}"], "index": "mine"},
        "two": {"git": f"{url}/g", "ref": commit, "subdirectory": folder},
        "three": {"file": f"{url}/three.zip", "hashes": [f"sha256:{A}"], "subdirectory": folder},
    }
    return json.dumps({"_meta": meta, "default": packages})


def requirements(url: str, commit: str, folder: str) -> str:
    """What a line holds comes through variables: the lines themselves are the author's."""
    os.environ.update(PIPM_TEST_URL=url.replace("\0", ""), PIPM_TEST_COMMIT=commit.replace("\0", ""))
    os.environ["PIPM_TEST_FOLDER"] = folder.replace("\0", "")
    return (
        "--index-url ${PIPM_TEST_URL}/simple\n"
        f"three @ ${{PIPM_TEST_URL}}/three.zip#subdirectory=${{PIPM_TEST_FOLDER}} --hash=sha256:{A}\n"
        f"one==1.0 --hash=sha256:{A}\n"
        "two @ git+${PIPM_TEST_URL}/g@${PIPM_TEST_COMMIT}#subdirectory=${PIPM_TEST_FOLDER}\n"
    )


FORMATS: dict[str, Callable[[str, str, str], str]] = {
    "pylock.toml": pylock,
    "uv.lock": uv_lock,
    "poetry.lock": poetry_lock,
    "pdm.lock": pdm_lock,
    "Pipfile.lock": pipfile_lock,
    "requirements.txt": requirements,
}


def read(name: str, url: str, commit: str, folder: str) -> list[Pin] | str:
    """The pins of a lock with these values, or what the error says."""
    with tempfile.TemporaryDirectory() as place:
        path = f"{place}/{name}"
        with open(path, "w", encoding="utf-8", newline="") as stream:
            stream.write(FORMATS[name](url, commit, folder))
        try:
            return list(read_lock(path, LINUX))
        except LockError as error:
            return error.message


@pytest.mark.parametrize("name", FORMATS)
def test_sound_values_go_through(name: str) -> None:
    pins = read(name, "https://h.example/x", COMMIT, "src/lib")
    assert not isinstance(pins, str), pins
    assert len(pins) >= 2
    assert_harmless(pins)
    assert f"two @ git+https://h.example/x/g@{COMMIT}#subdirectory=src/lib" in lines_of(pins)


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("bad", BAD, ids=ascii)
def test_bad_values_are_refused_where_they_are(name: str, bad: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "hunter2")
    for values in (
        (f"https://h.example/x{bad}y", COMMIT, "src"),
        ("https://h.example/x", f"{COMMIT[1:]}{bad}1", "src"),
        ("https://h.example/x", COMMIT, f"src{bad}y"),
    ):
        if name == "requirements.txt" and bad == "\0":  # no variable can hold it
            continue
        answer = read(name, *values)
        if isinstance(answer, list):  # a format of addresses, which encodes it
            assert_harmless(answer)
            continue
        assert f"/{name}: " in answer
        assert "hunter2" not in answer


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(FORMATS)),
    url=st.lists(
        st.sampled_from(["a", "/", "@", ":", "#", "?", "'", '"', "%", "$", "-", *BAD]), max_size=6
    ).map("".join),
    commit=st.lists(st.sampled_from(["0", "-", "@", "#", ".", "/", *BAD]), max_size=5).map("".join),
    folder=st.lists(st.sampled_from(["s", "/", ".", "#", "&", "%", "-", *BAD]), max_size=5).map("".join),
)
def test_whatever_a_lock_holds_pip_reads_what_is_meant(name: str, url: str, commit: str, folder: str) -> None:
    answer = read(name, f"https://h.example/{url}", f"{COMMIT}{commit}", folder)
    if isinstance(answer, list):
        assert_harmless(answer)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Archive("x.whl", url="x.whl"),
        lambda: Archive("x.zip", url="https://h/x.zip", subdirectory="../../etc"),
        lambda: Archive("x.zip", url="https://me:p/w@h/x.zip"),
        lambda: Archive("x.zip", url="https://me:p?w@h:80/x.zip"),
        lambda: Repository("git", "git+https://me:p/w@h/x", COMMIT),
        lambda: Pin("x", "1", index_url="https://me:p#w@h/simple"),
        lambda: Archive("x.zip", url="https://h/x.zip", subdirectory="/etc"),
        lambda: Repository("git", "https://h/g#egg=x", COMMIT),
        lambda: Repository("git", "https://h/g?x", COMMIT),
        lambda: Repository("git", "--upload-pack=touch", COMMIT),
        lambda: Repository("git", "https://h/g", "--upload-pack=touch"),
        lambda: Repository("git\n", "https://h/g", COMMIT),
        lambda: SourceFolder("/x", subdirectory="../y"),
        lambda: Pin("x", "1", index_url="--extra-index-url"),
        lambda: Pin("x", "1", options=("--find-links", "a\nb")),
        *(lambda bad=bad: Repository("git", "https://h/g", COMMIT, f"main{bad}x") for bad in BREAKS),
    ],
)
def test_values_are_checked_when_they_are_made(make: Callable[[], object]) -> None:
    with pytest.raises(AddressError):
        make()


def test_ssh_as_people_write_it() -> None:
    pin = Pin("x", None, origin=Repository("git", "git@forge.example:group/x.git", COMMIT))
    assert request_for(pin).line == f"x @ git+ssh://git@forge.example/group/x.git@{COMMIT}"


@pytest.mark.parametrize(
    ("url", "plain", "shown"),
    [
        ("https://me:pw@h/x.whl", "https://h/x.whl", "https://me:****@h/x.whl"),
        ("https://token@h/x.whl", "https://h/x.whl", "https://****@h/x.whl"),
        ("https://a:b@c@h/x", "https://h/x", "https://a:****@h/x"),
        ("ssh://git@h/x", "ssh://git@h/x", "ssh://git@h/x"),
        ("https://h/x@1.0", "https://h/x@1.0", "https://h/x@1.0"),
        ("https://${USER}:${PW}@h/x", "https://${USER}:${PW}@h/x", "https://${USER}:****@h/x"),
        ("https://me:p/w@h/x", "https://me:p/w@h/x", "https://me:****@h/x"),
        ("https://me:p?#@h:80/x@1", "https://me:p?#@h:80/x@1", "https://me:****@1"),
        ("https://[::1]:80/x@1", "https://[::1]:80/x@1", "https://[::1]:80/x@1"),
        ("https://${USER}@h/x", "https://${USER}@h/x", "https://****@h/x"),
    ],
)
def test_credentials(url: str, plain: str, shown: str) -> None:
    assert without_credentials(url) == plain
    assert has_credentials(url) is (url != plain)
    assert redacted(f"cannot reach '{url}' today") == f"cannot reach '{shown}' today"
    error = PipmError(url, hint=url, details=url)
    assert {error.message, error.hint, error.details, str(error)} == {shown}


def test_direct_url_names_no_password() -> None:
    archive = Archive("x-1-py3-none-any.whl", url="https://me:pw@h/x-1-py3-none-any.whl")
    repository = Repository("git", "ssh://git@h/x", COMMIT)
    assert (
        json.loads(direct_url(Pin("x", "1", origin=archive)) or b"")["url"]
        == "https://h/x-1-py3-none-any.whl"
    )
    assert json.loads(direct_url(Pin("x", "1", origin=repository)) or b"")["url"] == "ssh://git@h/x"


def test_hashes_that_pip_takes_elsewhere() -> None:
    weak = (("md5", "0" * 32),)
    archive = Archive("x-1.tar.gz", url="https://h/x-1.tar.gz#sha256=0", hashes=weak, subdirectory="s")
    request = request_for(Pin("x", "1", sdist=archive))
    assert request == (f"x @ https://h/x-1.tar.gz#subdirectory=s&md5={'0' * 32}", False, (), ())
    both = request_for(Pin("x", "1", hashes=(*weak, ("sha256", A))))
    assert (both.line, both.hashed) == (f"x==1 --hash=sha256:{A}", True)
    with pytest.raises(FetchError, match="only md5"):
        request_for(Pin("x", "1", hashes=weak))

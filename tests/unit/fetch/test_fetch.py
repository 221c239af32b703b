"""Fetching archives from servers that break off, redirect, refuse, lie, or send too much."""

from __future__ import annotations

import base64
import gzip
import hashlib
import os
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from pipm.core.pins import Archive, Pin
from pipm.errors import FetchError, InterruptedRunError
from pipm.fetch import http_client
from pipm.fetch.http_client import HttpClient, Request, RequestError, Transfer
from pipm.fetch.index_pages import parse_page
from pipm.fetch.network_settings import LeftToPipError, NetworkSettings
from pipm.fetch.sources import index_urls, is_ours
from pipm.fetch.write_archive import ArchiveWriter
from support.file_server import Answer, FileServer, Script
from support.remotes import served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "demo-1.0-py3-none-any.whl"
CONTENT = bytes(range(256)) * 5000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
FILE = f"/files/{NAME}"
JSON = ("Content-Type", "application/vnd.pypi.simple.v1+json")
HTML = ("Content-Type", "text/html; charset=utf-8")


@pytest.fixture
def server() -> Iterator[FileServer]:
    with served(FileServer(Script({FILE: CONTENT}))) as server:
        yield server


@pytest.fixture
def other() -> Iterator[FileServer]:
    with served(FileServer(Script({FILE: CONTENT}))) as server:
        yield server


@pytest.fixture(autouse=True)
def waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between requests, which nobody waits for."""
    found: list[float] = []
    monkeypatch.setattr(HttpClient, "wait", lambda _, seconds: found.append(seconds))
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return found


def settings(**variables: str) -> NetworkSettings:
    """pip's settings, these alone."""
    return NetworkSettings.of({"PIP_NO_CACHE_DIR": "1", "NETRC": "/dev/null", **variables})


def pin(url: str | None = None, *, index: str | None = None, size: int | None = None) -> Pin:
    """Return a lock's pin for `NAME`."""
    archive = Archive(NAME, url, size=size, hashes=(("sha256", DIGEST),))
    return Pin("demo", "1.0", wheels=(archive,), index_url=index)


def fetch(folder: Path, wanted: Pin, known: NetworkSettings | None = None) -> bytes:
    """Fetch *wanted* into the new *folder*, where nothing else may stay; return its content."""
    folder.mkdir()
    file = os.open(folder, os.O_RDONLY)
    try:
        client = HttpClient(known or settings(), lambda: False)
        archive = ArchiveWriter(client, file, ("py3-none-any",), lambda _: None).write(wanted)
        assert archive.file_name == NAME
        assert os.listdir(folder) == [archive.name]
        return (folder / archive.name).read_bytes()
    except FetchError:
        assert os.listdir(folder) == []
        raise
    finally:
        os.close(file)


def test_a_broken_transfer_goes_on_where_it_broke(tmp_path: Path, server: FileServer) -> None:
    early = Answer(body=CONTENT[:900_000])  # as a proxy sends that lost its server
    server.script.answers[FILE] = [Answer(cut=300_000), Answer(cut=500_000), early]
    assert fetch(tmp_path / "run", pin(server.url + FILE, size=len(CONTENT))) == CONTENT
    starts = [asked.range for asked in server.script.asked]
    assert starts == [None, "bytes=300000-", "bytes=800000-", "bytes=900000-"]


@pytest.mark.parametrize(
    "more",
    [Answer(headers=(("ETag", '"two"'),)), Answer(headers=(("ETag", ""),)), Answer(416)],
    ids=["another state", "no range", "no such part"],
)
def test_what_cannot_go_on_begins_again(tmp_path: Path, server: FileServer, more: Answer) -> None:
    server.script.answers[FILE] = [Answer(cut=300_000), more]
    assert fetch(tmp_path / "run", pin(server.url + FILE)) == CONTENT


def test_a_part_that_was_not_asked_for_is_refused(tmp_path: Path, server: FileServer) -> None:
    for name, begin in (("one", "5"), ("two", "9" * 5000)):
        part = Answer(206, (("Content-Range", f"bytes {begin}-9/10"),), b"12345")
        server.script.answers[FILE] = [Answer(cut=300_000), part]
        with pytest.raises(FetchError, match="another part"):
            fetch(tmp_path / name, pin(server.url + FILE))


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again_when_it_says(
    tmp_path: Path, server: FileServer, waits: list[float], status: int
) -> None:
    server.script.answers[FILE] = [Answer(status, (("Retry-After", "7"),)), Answer(status)]
    assert fetch(tmp_path / "run", pin(server.url + FILE)) == CONTENT
    assert waits == [7, 0.5]


def test_a_server_is_not_waited_for_too_long(tmp_path: Path, server: FileServer, waits: list[float]) -> None:
    server.script.answers[FILE] = [Answer(429, (("Retry-After", "86400"),))]
    with pytest.raises(FetchError, match=r"demo 1\.0: HTTP error 429, the server asks to wait 86400 seconds"):
        fetch(tmp_path / "run", pin(server.url + FILE))
    server.script.answers[FILE] = [Answer(503)] * 9
    with pytest.raises(FetchError, match="HTTP error 503"):
        fetch(tmp_path / "again", pin(server.url + FILE), settings(PIP_RETRIES="2"))
    assert waits == [0.25, 0.5]


@pytest.mark.parametrize(
    ("answer", "size", "why"),
    [
        (Answer(body=b"another"), None, "not the file in the lock: its hash is"),
        (Answer(body=CONTENT + b"more"), len(CONTENT), "larger than the size in the lock"),
        (
            Answer(body=gzip.compress(CONTENT), headers=(("Content-Encoding", "gzip"),)),
            None,
            "not the file in the lock",
        ),
        (Answer(404), None, "HTTP error 404"),
        (Answer(302, (("Location", "ftp://127.0.0.1/x"),)), None, "a redirect to ftp://127.0.0.1 is refused"),
        (Answer(302, (("Location", "file:///etc/passwd"),)), None, "a redirect to file:// is refused"),
        (Answer(302, (("Location", "http://[/"),)), None, "is not valid"),
    ],
)
def test_what_is_not_in_the_lock_does_not_stay(
    tmp_path: Path, server: FileServer, answer: Answer, size: int | None, why: str
) -> None:
    server.script.answers[FILE] = [answer]
    with pytest.raises(FetchError, match=why) as caught:
        fetch(tmp_path / "run", pin(server.url + FILE, size=size))
    assert "demo 1.0" in caught.value.message
    assert caught.value.hint


def test_a_length_that_is_too_short_is_no_end(tmp_path: Path, server: FileServer) -> None:
    server.script.answers[FILE] = [Answer(length=2 * len(CONTENT))] * 9
    with pytest.raises(FetchError, match="broke"):
        fetch(tmp_path / "run", pin(server.url + FILE), settings(PIP_RETRIES="1"))


def test_without_a_size_the_disk_is_the_limit(
    tmp_path: Path, server: FileServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Free:
        size = 2 * len(CONTENT) - 2

    monkeypatch.setattr("pipm.fetch.write_archive.free_space", lambda _: Free)
    with pytest.raises(FetchError, match=r"half of the free space: more than 1\.2 MiB"):
        fetch(tmp_path / "run", pin(server.url + FILE))


def test_a_head_that_never_ends_is_not_waited_for(tmp_path: Path, server: FileServer) -> None:
    """No single read is late; the next answer is whole."""
    server.script.answers[FILE] = [Answer(drips=0.01)]
    known = settings(PIP_TIMEOUT="0.1", PIP_RETRIES="0")
    with pytest.raises(FetchError, match="no answer in time"):
        fetch(tmp_path / "one", pin(server.url + FILE), known)
    assert fetch(tmp_path / "two", pin(server.url + FILE)) == CONTENT


def test_redirects_end(tmp_path: Path, server: FileServer) -> None:
    server.script.answers[FILE] = [Answer(302, (("Location", FILE),))] * 50
    with pytest.raises(FetchError, match="too many redirects"):
        fetch(tmp_path / "run", pin(server.url + FILE))


def test_a_redirect_out_of_https_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    class Response:
        status = 302
        headers = {"Location": "http://127.0.0.1/x"}  # noqa: RUF012 - read only

        def close(self) -> None:
            pass

    monkeypatch.setattr(HttpClient, "_send", lambda *_: Response())
    with pytest.raises(RequestError, match=r"a redirect to http://127\.0\.0\.1 is refused"):
        list(Transfer(HttpClient(settings(), lambda: False), Request("https://127.0.0.1/y")))


def test_a_login_goes_to_its_host_alone(tmp_path: Path, server: FileServer, other: FileServer) -> None:
    server.script.answers[FILE] = [Answer(302, (("Location", other.url + FILE),)), Answer(401), Answer(403)]
    url = server.url.replace("//", "//me:hunter%2F2@") + FILE
    assert fetch(tmp_path / "run", pin(url)) == CONTENT
    basic = "Basic " + base64.b64encode(b"me:hunter/2").decode()
    assert [asked.login for asked in server.script.asked] == [basic]
    assert [asked.login for asked in other.script.asked] == [None]
    for name in ("401", "403"):
        with pytest.raises(FetchError, match=f"HTTP error {name}") as caught:
            fetch(tmp_path / name, pin(url))
        assert "hunter" not in caught.value.message
        assert "login" in str(caught.value.hint)


def test_a_login_goes_to_the_host_that_is_compared(
    tmp_path: Path, server: FileServer, other: FileServer
) -> None:
    target = f"{other.url}\\[::1]:1{FILE}"
    server.script.answers[FILE] = [Answer(302, (("Location", target),))]
    known = settings(PIP_INDEX_URL="http://me:word@[::1]:1/simple", PIP_RETRIES="0")
    with pytest.raises(FetchError):
        fetch(tmp_path / "run", pin(server.url + FILE), known)
    assert not any(asked.login for asked in other.script.asked)


@pytest.mark.parametrize("url", ["http://[/x", "file:///a%00b", "file:///"])
def test_an_address_that_is_none(tmp_path: Path, url: str) -> None:
    with pytest.raises(FetchError, match=r"is not valid|is not a file"):
        fetch(tmp_path / "run", pin(url))


def test_a_bad_index_does_not_show_its_password(tmp_path: Path, server: FileServer) -> None:
    known = settings(PIP_INDEX_URL="http://me:hunter/2@127.0.0.1/simple")
    with pytest.raises(FetchError) as caught:
        fetch(tmp_path / "run", pin(server.url + FILE), known)
    assert "hunter" not in f"{caught.value.message} {caught.value.hint}"


def test_odd_numbers_end(tmp_path: Path, server: FileServer) -> None:
    date = ("Retry-After", "Mon, 01 Jan 99999999999 00:00:00 GMT")
    server.script.answers[FILE] = [Answer(503, (date,))] * 20
    with pytest.raises(FetchError, match="HTTP error 503"):
        fetch(tmp_path / "run", pin(server.url + FILE), settings(PIP_RETRIES="-1"))


def test_logins_of_indexes_and_netrc(tmp_path: Path, server: FileServer, other: FileServer) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login file password word\n")
    index = server.url.replace("//", "//token:secret@") + "/simple"
    known = settings(PIP_INDEX_URL=index, NETRC=str(netrc))
    fetch(tmp_path / "one", pin(server.url + FILE), known)
    fetch(tmp_path / "two", pin(other.url + FILE), known)
    logins = [asked.login for each in (server, other) for asked in each.script.asked]
    assert logins == ["Basic " + base64.b64encode(word).decode() for word in (b"token:secret", b"file:word")]


def page(kind: str, digest: str) -> Answer:
    """A project's page on an index."""
    if kind == "JSON":
        row = f'{{"filename": "{NAME}", "url": "..{FILE}", "hashes": {{"sha256": "{digest}"}}}}'
        return Answer(headers=(JSON,), body=f'{{"files": [{row}]}}'.replace("../", "../../").encode())
    packed = gzip.compress(f'<base href="/files/"><a href="{NAME}#sha256={digest}">x</a>'.encode())
    return Answer(headers=(HTML, ("Content-Encoding", "gzip")), body=packed)


@pytest.mark.parametrize("kind", ["JSON", "HTML"])
@pytest.mark.parametrize("named", [True, False])
def test_an_index_is_searched_by_the_hash(
    tmp_path: Path, server: FileServer, other: FileServer, kind: str, *, named: bool
) -> None:
    server.script.answers["/simple/demo/"] = [page(kind, DIGEST)]
    wanted = pin(index=f"{server.url}/simple")
    if not named:
        hashes = (("sha256", "0" * 64), ("sha256", DIGEST))
        wanted = Pin("demo", "1.0", hashes=hashes, index_url=f"{server.url}/simple/")
    known = settings(PIP_INDEX_URL=f"{other.url}/simple", PIP_EXTRA_INDEX_URL=other.url)
    assert is_ours(wanted, known)
    assert fetch(tmp_path / "run", wanted, known) == CONTENT
    assert other.script.asked == []


def test_what_an_index_does_not_have_is_left_to_pip(tmp_path: Path, server: FileServer) -> None:
    nested = Answer(headers=(HTML, ("Content-Encoding", "gzip, gzip")))
    for number, answer in enumerate((page("JSON", "0" * 64), Answer(404), Answer(body=b"what"), nested)):
        server.script.answers["/simple/demo/"] = [answer]
        with pytest.raises(LeftToPipError):
            fetch(tmp_path / f"{number}", pin(index=f"{server.url}/simple"))


@pytest.mark.parametrize("text", ["[]", "{}", '{"files": 1}', '{"files": [1]}', "[" * 100_000, "\xff"])
def test_pages_that_are_none_are_left_to_pip(text: str) -> None:
    with pytest.raises(LeftToPipError):
        parse_page(text.encode("latin-1"), JSON[1], "http://127.0.0.1/simple/demo/")


@pytest.mark.parametrize(
    "variables",
    [
        {"PIP_CLIENT_CERT": "/x"},
        {"PIP_NO_PROXY_ENV": "1"},
        {"PIP_KEYRING_PROVIDER": "import"},
        {"PIP_USE_DEPRECATED": "legacy-certs"},
        {"PIP_TIMEOUT": "soon"},
        {"PIP_TIMEOUT": "inf"},
    ],
)
def test_what_only_pip_does_is_left_to_pip(variables: dict[str, str]) -> None:
    with pytest.raises(LeftToPipError):
        settings(**variables)


@pytest.mark.parametrize(
    "variables", [{"PIP_NO_INDEX": "1"}, {"PIP_FIND_LINKS": "/x"}, {"PIP_NO_BINARY": "demo"}]
)
def test_only_indexes_are_searched(variables: dict[str, str]) -> None:
    assert not is_ours(pin(), settings(**variables))
    assert is_ours(pin("http://127.0.0.1/x"), settings(**variables))


def test_a_file_is_checked_by_the_hash_that_the_lock_has(tmp_path: Path) -> None:
    (tmp_path / NAME).write_bytes(CONTENT)

    def local(*hashes: tuple[str, str]) -> Pin:
        return Pin("demo", "1.0", wheels=(Archive(NAME, path=f"{tmp_path}/{NAME}", hashes=hashes),))

    assert fetch(tmp_path / "run", local(("sha256", DIGEST))) == CONTENT
    with pytest.raises(FetchError, match="not the file in the lock"):
        fetch(tmp_path / "other", local(("sha256", "0" * 64)))
    assert is_ours(local(), settings())
    assert not is_ours(local(("sha512", "0" * 128)), settings())
    os.mkfifo(tmp_path / "pipe")
    for name, why in (("none", "No such file"), ("pipe", "it is not a file")):
        wheel = Archive(NAME, path=f"{tmp_path}/{name}", hashes=(("sha256", DIGEST),))
        with pytest.raises(FetchError, match=why):
            fetch(tmp_path / f"{name}-run", Pin("demo", "1.0", wheels=(wheel,)))


def test_an_interrupt_ends_a_transfer(server: FileServer) -> None:
    client = HttpClient(settings(), lambda: bool(server.script.asked))
    with pytest.raises(InterruptedRunError):
        list(Transfer(client, Request(server.url + FILE)))


def test_a_file_in_pips_cache_is_believed_by_its_hash(tmp_path: Path, server: FileServer) -> None:
    url = server.url + FILE
    name = hashlib.sha224(url.encode()).hexdigest()
    cached = tmp_path / "cache/http-v2" / "/".join(name[:5]) / f"{name}.body"
    cached.parent.mkdir(parents=True)
    cached.write_bytes(CONTENT)
    before = cached.stat()
    known = settings(PIP_CACHE_DIR=str(tmp_path / "cache"), PIP_NO_CACHE_DIR="")
    assert fetch(tmp_path / "run", pin(url), known) == CONTENT
    assert server.script.asked == []
    assert cached.stat() == before
    cached.write_bytes(b"another")
    assert fetch(tmp_path / "again", pin(url), known) == CONTENT
    cached.write_bytes(CONTENT)
    cached.chmod(0o666)  # so another user can change it
    asked = len(server.script.asked)
    assert fetch(tmp_path / "last", pin(url), known) == CONTENT
    assert len(server.script.asked) == asked + 1


def test_a_proxy_is_asked(tmp_path: Path, server: FileServer) -> None:
    """It gets the whole address, and its login."""
    address = f"http://index.invalid{FILE}"
    server.script.files[address] = CONTENT
    proxy = server.url.replace("//", "//me:word@")
    assert fetch(tmp_path / "run", pin(address), settings(PIP_PROXY=proxy)) == CONTENT
    assert [(asked.path, asked.login) for asked in server.script.asked] == [(address, None)]


def test_a_proxy_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "127.0.0.1:3128")
    monkeypatch.setenv("no_proxy", "near.invalid")
    known = settings()
    proxies = [
        known.proxy_for(urlsplit(f"{url}.invalid/x")) for url in ("http://far", "http://near", "https://far")
    ]
    assert proxies == ["http://127.0.0.1:3128", "", ""]
    monkeypatch.setenv("all_proxy", "socks5://127.0.0.1")
    monkeypatch.setenv("no_proxy", "10.0.0.0/8")
    for variables in ({}, {"PIP_PROXY": "https://127.0.0.1"}):
        with pytest.raises(LeftToPipError):
            settings(**variables).proxy_for(urlsplit("https://far.invalid/x"))


def test_chunks_are_bounded(server: FileServer) -> None:
    chunks = list(Transfer(HttpClient(settings(), lambda: False), Request(server.url + FILE)))
    assert max(map(len, chunks)) <= http_client._CHUNK


def test_the_default_index_is_pips() -> None:
    urls = index_urls(pin(), settings(PIP_EXTRA_INDEX_URL="https://index.invalid/more"), configured=False)
    assert urls[1:] == ("https://index.invalid/more",)
    assert urls[0].startswith("https://")
    assert urls[0].endswith("/simple")

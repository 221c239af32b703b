"""A container registry in memory, with the calls of the distribution specification, and with faults."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.server
import json
import re
import threading
import uuid
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlsplit

from support.remotes import served

if TYPE_CHECKING:
    from collections.abc import Iterator

USER, PASSWORD, TOKEN = "user", "secret", "the-token"


class _Handler(http.server.BaseHTTPRequestHandler):
    server: Registry
    protocol_version = "HTTP/1.1"

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        registry, path = self.server, urlsplit(self.path).path
        with registry.lock:
            registry.requests.append(f"{self.command} {path}")
            number = len(registry.requests)
        if registry.cut_before is not None and number > registry.cut_before:
            self.close_connection = True
            return
        if path == "/token":
            self._token()
            return
        if registry.login and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            realm = f'Bearer realm="{registry.url}/token",service="here",scope="repository:x:pull,push"'
            self._answer(401, headers={"WWW-Authenticate": realm})
            return
        with registry.lock:
            answer = registry.answer(self.command, self.path, body, self.headers.get("Range"))
        if registry.cut_after is not None and number > registry.cut_after:
            self.close_connection = True
            return
        self._answer(*answer)

    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = _serve  # noqa: N815 - the library's names

    def _token(self) -> None:
        known = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != known:
            self._answer(401)
            return
        self._answer(200, json.dumps({"token": TOKEN}).encode())

    def _answer(self, status: int, body: bytes = b"", headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class Registry(http.server.ThreadingHTTPServer):
    """Repositories in memory.

    ``blobs`` and ``manifests`` by digest, ``tags`` with their digests. A request after ``cut_before`` others
    is not worked on, one after ``cut_after`` others is, but its answer is lost.
    """

    daemon_threads = True

    def __init__(self, *, deletes: bool = True, ranges: bool = True, login: bool = False) -> None:
        self.deletes, self.ranges, self.login = deletes, ranges, login
        self.blobs: dict[str, bytes] = {}
        self.manifests: dict[str, bytes] = {}
        self.tags: dict[str, str] = {}
        self.requests: list[str] = []
        self.cut_before: int | None = None
        self.cut_after: int | None = None
        self.lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)

    @property
    def url(self) -> str:
        """Its address on the web."""
        return f"http://127.0.0.1:{self.server_port}"

    @property
    def remote(self) -> str:
        """A remote in it."""
        return f"oci://127.0.0.1:{self.server_port}/team/python"

    def answer(
        self, method: str, target: str, body: bytes, asked: str | None
    ) -> tuple[int, bytes, dict[str, str]]:
        """Work on a request."""
        parts = urlsplit(target)
        found = re.fullmatch(r"/v2/team/python/(blobs|manifests|tags)/(.+)", parts.path)
        assert found is not None, target
        kind, name = found.groups()
        if kind == "tags":
            return self._tags(parse_qs(parts.query))
        if kind == "manifests":
            return self._manifest(method, name, body)
        if method in ("POST", "PUT"):
            return self._upload(parse_qs(parts.query), body)
        if name not in self.blobs:
            return 404, b"", {}
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", asked or "")
        if span and self.ranges:
            return 206, self.blobs[name][int(span[1]) : int(span[2]) + 1], {}
        return 200, self.blobs[name], {}

    def _upload(self, query: dict[str, list[str]], body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if "digest" not in query:
            return 202, b"", {"Location": f"/v2/team/python/blobs/uploads/{uuid.uuid4()}?state=x"}
        name = query["digest"][0]
        if name != f"sha256:{hashlib.sha256(body).hexdigest()}":
            return 400, b"DIGEST_INVALID", {}
        self.blobs[name] = body
        return 201, b"", {}

    def _tags(self, query: dict[str, list[str]]) -> tuple[int, bytes, dict[str, str]]:
        """One tag a page."""
        if not self.manifests:
            return 404, b"", {}
        names = sorted(name for name in self.tags if name > query.get("last", [""])[0])
        more = {"Link": f'</v2/team/python/tags/list?n=1&last={names[0]}>; rel="next"'} if names[1:] else {}
        return 200, json.dumps({"name": "team/python", "tags": names[:1] or None}).encode(), more

    def _manifest(self, method: str, name: str, body: bytes) -> tuple[int, bytes, dict[str, str]]:
        if method == "PUT":
            layers = json.loads(body)["layers"]
            if any(layer["digest"] not in self.blobs for layer in layers):
                return 404, b"MANIFEST_BLOB_UNKNOWN", {}
            assert all(layer["size"] == len(self.blobs[layer["digest"]]) for layer in layers)
            digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
            self.manifests[digest] = body
            self.tags[name] = digest
            return 201, b"", {}
        if method == "DELETE":
            if not self.deletes:
                return 405, b"UNSUPPORTED", {}
            self.manifests.pop(name)
            self.tags = {tag: digest for tag, digest in self.tags.items() if digest != name}
            return 202, b"", {}
        digest = self.tags.get(name, name)
        if digest not in self.manifests:
            return 404, b"", {}
        return 200, self.manifests[digest], {"Docker-Content-Digest": digest}


@contextlib.contextmanager
def registry(*, deletes: bool = True, ranges: bool = True, login: bool = False) -> Iterator[Registry]:
    """Run a registry for the length of a with block."""
    with served(Registry(deletes=deletes, ranges=ranges, login=login)) as server:
        yield server

"""Remotes for tests: a user with keys, and a web server with range requests."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import os
import re
import threading
from typing import TYPE_CHECKING, TypeVar

from support.pipm import Pipm
from support.synthetic import make_wheel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_Server = TypeVar("_Server", bound=http.server.ThreadingHTTPServer)


def person(folder: str, name: str, **environ: str) -> Pipm:
    """The command with a store, settings and caches of its own; no index is to be asked."""
    home = os.path.join(folder, name)
    variables = {
        "XDG_CONFIG_HOME": f"{home}/config",
        "XDG_CACHE_HOME": f"{home}/cache",
        "PIP_NO_INDEX": "1",
    }
    return Pipm(store=f"{home}/store", environ=variables | environ)


def key_of(pipm: Pipm) -> str:
    """Make a signing key; returns its public part."""
    return pipm("key", "new", "--json").expect().json["key"]  # type: ignore[no-any-return]


def files_below(folder: str) -> list[str]:
    """All files below *folder*."""
    return sorted(os.path.join(base, name) for base, _, names in os.walk(folder) for name in names)


def lock_of(folder: str, wheels: Mapping[str, Mapping[str, bytes]], pipm: Pipm | None = None) -> str:
    """Write wheels (``name==version`` to files) and a lock with their hashes; *pipm*'s store gets them."""
    lines = []
    for spec, files in wheels.items():
        wheel = make_wheel(os.path.join(folder, "wheels"), spec, files)
        with open(wheel, "rb") as stream:
            lines.append(f"{spec} --hash=sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}\n")
        if pipm is not None:
            pipm("store", "add", wheel).expect()
    path = os.path.join(folder, f"requirements-{len(os.listdir(folder))}.txt")
    with open(path, "w", encoding="ascii") as stream:
        stream.writelines(lines)
    return path


class _Handler(http.server.SimpleHTTPRequestHandler):
    """Serves files and parts of them; a request beyond the server's *allowed* ones is cut off."""

    server: WebServer

    def do_GET(self) -> None:
        self.server.requests.append(self.path)
        self.server.meanwhile(len(self.server.requests))
        if self.server.allowed is not None and len(self.server.requests) > self.server.allowed:
            self.close_connection = True
            return
        path = self.translate_path(self.path)
        if not os.path.isfile(path):
            self.send_error(404)
            return
        with open(path, "rb") as stream:
            data = stream.read()
        tag = f'"{hashlib.sha256(data).hexdigest()}"'
        if self.headers.get("If-None-Match") == tag:
            self.send_response(304)
            self.send_header("ETag", tag)
            self.end_headers()
            return
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        part = data[int(asked[1]) : int(asked[2]) + 1] if asked else data
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {asked[1]}-{int(asked[1]) + len(part) - 1}/{len(data)}")
        self.send_header("Content-Length", str(len(part)))
        self.send_header("ETag", tag)
        self.send_header("Last-Modified", self.date_time_string(os.stat(path).st_mtime))
        self.end_headers()
        self.server.sent += len(part)
        self.wfile.write(part)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class WebServer(http.server.ThreadingHTTPServer):
    """A static web server of a folder; ``requests`` are the paths that were asked for.

    ``meanwhile`` is called before each answer, with the number of the request.
    """

    daemon_threads = True

    def __init__(self, folder: str) -> None:
        self.requests: list[str] = []
        self.sent = 0
        self.allowed: int | None = None
        self.meanwhile: Callable[[int], object] = bool
        super().__init__(("127.0.0.1", 0), lambda *a: _Handler(*a, directory=folder))

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self.server_port}"


@contextlib.contextmanager
def served(server: _Server) -> Iterator[_Server]:
    """Let *server* answer for the length of a with block."""
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextlib.contextmanager
def web_server(folder: str) -> Iterator[WebServer]:
    """Serve *folder* for the length of a with block."""
    with served(WebServer(folder)) as server:
        yield server

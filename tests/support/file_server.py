"""A web server with faults that real servers have."""

from __future__ import annotations

import http.server
import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple

TAG = '"one"'


class Answer(NamedTuple):
    """How one request is answered: with ``body`` instead of the file, cut after some bytes, or with lies.

    With ``drips`` the server sends headers for as long as the client waits, one each so many seconds.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes | None = None
    cut: int | None = None
    length: int | None = None
    drips: float = 0


@dataclass
class Asked:
    """A request."""

    path: str
    range: str | None
    login: str | None


@dataclass
class Script:
    """Files by path, and what comes first instead of them; ``asked`` are all requests."""

    files: dict[str, bytes] = field(default_factory=dict)
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)


class _Handler(http.server.BaseHTTPRequestHandler):
    server: FileServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        script = self.server.script
        part = self.headers.get("Range")
        with script.lock:
            script.asked.append(Asked(self.path, part, self.headers.get("Authorization")))
            planned = script.answers.get(self.path)
            answer = planned.pop(0) if planned else Answer(200 if self.path in script.files else 404)
        body = script.files.get(self.path, b"") if answer.body is None else answer.body
        headers = {"ETag": TAG, "Content-Type": "application/octet-stream", **dict(answer.headers)}
        status = answer.status
        if part is not None and status == 200 and self.headers.get("If-Range") == headers["ETag"]:
            first = int(part.removeprefix("bytes=").rstrip("-"))
            status = 206
            headers.setdefault("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
            body = body[first:]
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        while answer.drips:
            self.send_header("X-More", "0")
            self.flush_headers()
            time.sleep(answer.drips)
        self.send_header("Content-Length", str(len(body) if answer.length is None else answer.length))
        self.end_headers()
        self.wfile.write(body[: answer.cut])
        if answer.cut is not None or answer.length is not None:
            self.close_connection = True


class FileServer(http.server.ThreadingHTTPServer):
    """Serves a `Script` on this machine, at ``url``."""

    daemon_threads = True

    def __init__(self, script: Script) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.script = script
        self.url = f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Ignore errors: clients close connections."""

"""Local package indexes (PEP 503) that record their requests."""

from __future__ import annotations

import base64
import contextlib
import glob
import http.server
import os
import threading
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Iterator


@dataclass(kw_only=True)
class Index:
    """An index over the wheels in ``folder``, by distribution below ``simple/``, by name below ``files/``.

    Repositories that are prepared for it (`git update-server-info`) are below ``git/``.

    ``asked`` are the paths of requests. With ``login`` (``user:password``) nobody else gets an answer;
    ``seen`` are command lines of other processes that had the password meanwhile.
    """

    folder: str
    login: str = ""
    port: int = 0
    asked: list[str] = field(default_factory=list)
    seen: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Its simple API."""
        return f"http://127.0.0.1:{self.port}/simple"

    @property
    def files(self) -> str:
        """Where its files are."""
        return f"http://127.0.0.1:{self.port}/files"

    def with_login(self, url: str) -> str:
        """*url* of this index with user and password."""
        return url.replace("http://", f"http://{self.login}@")

    def page(self, path: str) -> bytes | None:
        """Return the content at *path*; None if there is none."""
        kind, _, name = path.strip("/").partition("/")
        if kind == "simple":
            names = [one for one in sorted(os.listdir(self.folder)) if one.startswith(f"{name}-")]
            return "".join(f'<a href="/files/{one}">{one}</a>\n' for one in names).encode() if names else None
        own = name.partition("?")[0] if kind == "git" else os.path.basename(unquote(name))
        try:
            with open(os.path.join(self.folder, own), "rb") as stream:
                return stream.read()
        except OSError:
            return None

    def look_around(self) -> None:
        """Note the command lines that show the password."""
        password = self.login.partition(":")[2].encode()
        for path in glob.glob("/proc/[0-9]*/cmdline"):
            with contextlib.suppress(OSError), open(path, "rb") as stream:
                line = stream.read()
                if password in line:
                    self.seen.append(line.decode("utf-8", "replace"))


@contextlib.contextmanager
def index_of(folder: str, *, login: str = "") -> Iterator[Index]:
    """Serve the wheels in *folder*."""
    os.makedirs(folder, exist_ok=True)
    index = Index(folder=folder, login=login)
    wanted = "Basic " + base64.b64encode(login.encode()).decode() if login else None

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

        def do_GET(self) -> None:
            index.asked.append(self.path)
            if index.login:
                index.look_around()
            allowed = wanted is None or self.headers.get("Authorization") == wanted
            content = index.page(self.path) if allowed else None
            self.send_response(200 if content is not None else 404 if allowed else 401)
            if not allowed:
                self.send_header("WWW-Authenticate", 'Basic realm="x"')
            self.send_header(
                "Content-Type", "text/html" if "/simple" in self.path else "application/octet-stream"
            )
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        index.port = server.server_port
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield index
        server.shutdown()
        thread.join()

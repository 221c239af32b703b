"""A package index (PEP 691) and the files of a remote behind a slow line, in one process.

    python -m benchmarks.slow_link WHEELS REMOTE PORT

All answers together have a rate and each has a delay, as behind a line of that rate and round-trip time; a
new connection costs a round trip more. The kernel's netem would do it, where it is compiled in.
GET /line/RATE/MILLISECONDS sets another line, in bytes a second; without a limit if RATE is 0.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import re
import sys
import zipfile
from pathlib import Path
from urllib.parse import unquote

RATE, ROUND_TRIP = 100_000_000 / 8, 0.020
JSON = "application/vnd.pypi.simple.v1+json"
_PIECE, _LARGE_PIECE = 16 << 10, 1 << 20


class SlowLink:
    """Serves ``/simple/``, ``/files/``, ``/remote/``, and ``/count``: requests and bytes since then."""

    def __init__(self, wheels: Path, remote: Path) -> None:
        self.remote = remote
        self.files = {path.name: path for path in wheels.glob("*.whl")}
        self.pages: dict[str, list[dict[str, object]]] = {}
        self.metadata: dict[str, bytes] = {}
        for name, path in self.files.items():
            with zipfile.ZipFile(path) as wheel:
                (member,) = (
                    one for one in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", one)
                )
                self.metadata[f"{name}.metadata"] = wheel.read(member)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            project = re.sub(r"[-_.]+", "-", name.split("-")[0]).lower()
            row: dict[str, object] = {"filename": name, "url": f"/files/{name}", "hashes": {"sha256": digest}}
            row |= {"size": path.stat().st_size, "core-metadata": True}
            self.pages.setdefault(project, []).append(row)
        self.rate, self.round_trip = RATE, ROUND_TRIP
        self.free = 0.0
        self.requests = self.sent = 0

    def content(self, path: str) -> tuple[bytes, str] | None:
        """Return what is at *path*, and its type."""
        kind, _, name = unquote(path).strip("/").partition("/")
        if kind == "simple":
            files = self.pages.get(name.strip("/"))
            page = {"meta": {"api-version": "1.1"}, "name": name.strip("/"), "files": files}
            return None if files is None else (json.dumps(page).encode(), JSON)
        if kind == "files" and name in self.metadata:
            return self.metadata[name], "text/plain"
        place = self.files.get(name) if kind == "files" else self.remote / name
        known = kind in ("files", "remote") and place is not None and place.is_file()
        return (place.read_bytes(), "application/octet-stream") if known and place else None

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of a connection."""
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await asyncio.sleep(self.round_trip)
            while head := (await reader.readuntil(b"\r\n\r\n")).decode("latin-1"):
                method, path, _ = head.split(" ", 2)
                await self._answer(
                    writer, method, path, re.search(r"(?i)^range: bytes=(\d+)-(\d+)", head, re.MULTILINE)
                )
        writer.close()

    async def _answer(
        self, writer: asyncio.StreamWriter, method: str, path: str, span: re.Match[str] | None
    ) -> None:
        if path.startswith(("/count", "/line/")):
            data = f"{self.requests} {self.sent}".encode()
            self.requests = self.sent = 0
            if path != "/count":
                rate, delay = map(int, path.split("/")[2:])
                self.rate, self.round_trip = rate, delay / 1000
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(data), data))
            return
        found = self.content(path)
        data, kind = found or (b"", "text/plain")
        lines = ["404 Not Found" if found is None else "200 OK"]
        if span and found:
            begin, end = int(span[1]), min(int(span[2]) + 1, len(data))
            lines = ["206 Partial Content", f"Content-Range: bytes {begin}-{end - 1}/{len(data)}"]
            data = data[begin:end]
        lines += [f"Content-Length: {len(data)}", f"Content-Type: {kind}", "Accept-Ranges: bytes"]
        lines += ["Last-Modified: Tue, 01 Jan 1980 00:00:00 GMT"]
        self.requests += 1
        await asyncio.sleep(self.round_trip)
        await self._send(writer, ("HTTP/1.1 " + "\r\n".join(lines) + "\r\n\r\n").encode())
        piece = _PIECE if self.rate else _LARGE_PIECE
        for start in range(0, 0 if method == "HEAD" else len(data), piece):
            await self._send(writer, data[start : start + piece])

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        now = asyncio.get_running_loop().time()
        self.free = max(self.free, now) + (len(data) / self.rate if self.rate else 0)
        self.sent += len(data)
        if self.free > now:
            await asyncio.sleep(self.free - now)
        writer.write(data)
        await writer.drain()


async def main(wheels: str, remote: str, port: str) -> None:
    """Serve until this process is ended."""
    link = SlowLink(Path(wheels), Path(remote))
    server = await asyncio.start_server(link.serve, "127.0.0.1", int(port))
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))

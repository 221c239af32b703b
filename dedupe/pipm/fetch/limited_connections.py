"""Connections to servers that send the head of an answer so slowly that no single read is late."""

from __future__ import annotations

import contextlib
import socket
import threading
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUTS = 4
"""The whole head of an answer may take so many times as long as a single read."""


@contextlib.contextmanager
def _in_time(connection: HTTPConnection) -> Iterator[None]:
    """Shut *connection* down if the block takes too long, and raise TimeoutError then."""
    late = threading.Event()

    def end() -> None:
        late.set()
        if connection.sock is not None:
            with contextlib.suppress(OSError):
                socket.socket.shutdown(connection.sock, socket.SHUT_RDWR)  # TLS would wait for an answer

    timer = threading.Timer(_TIMEOUTS * float(connection.timeout or 0), end)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        if late.is_set():  # the end of a connection also ends a head
            raise TimeoutError


class _LimitedConnection(HTTPConnection):
    def getresponse(self) -> Any:  # noqa: ANN401 - of the library
        with _in_time(self):
            return super().getresponse()


class _LimitedTlsConnection(HTTPSConnection):
    def connect(self) -> None:  # a proxy answers here
        with _in_time(self):
            super().connect()

    def getresponse(self) -> Any:  # noqa: ANN401 - of the library
        with _in_time(self):
            return super().getresponse()


class _LimitedPool(HTTPConnectionPool):
    ConnectionCls = _LimitedConnection


class _LimitedTlsPool(HTTPSConnectionPool):
    ConnectionCls = _LimitedTlsConnection


LIMITED = {"http": _LimitedPool, "https": _LimitedTlsPool}
"""The pools for a manager of urllib3."""

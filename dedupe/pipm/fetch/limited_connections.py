"""Connections with a time limit for the whole head of an answer: a server may send it byte by byte."""

from __future__ import annotations

import contextlib
import errno
import socket
import threading
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

if TYPE_CHECKING:
    from collections.abc import Iterator

_TIMEOUTS = 4
"""The limit for the whole head of an answer, as a multiple of the limit for a single read."""


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
        if late.is_set():  # the head may be incomplete
            raise TimeoutError(errno.ETIMEDOUT, "no answer in time")


class _LimitedConnection(HTTPConnection):
    def getresponse(self) -> Any:  # noqa: ANN401 - of the library
        with _in_time(self):
            return super().getresponse()


class _LimitedTlsConnection(HTTPSConnection):
    def connect(self) -> None:  # this reads the answer of a proxy
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

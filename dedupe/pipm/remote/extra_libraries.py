"""The libraries that only remotes need: the extra ``venv-dedupe[remote]``."""

from __future__ import annotations

import importlib
import sys
from typing import Any

from pipm.errors import RemoteError, UsageError

_LEVEL = 19
"""Of zstd. Each pull then has 10 % fewer bytes than with level 9; a push takes eight times as long."""


def extra_library(name: str) -> Any:  # noqa: ANN401 - a module
    """Import the library *name* of the extra; raise UsageError if it is not installed or does not load."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        why = "is not installed" if isinstance(error, ModuleNotFoundError) else f"does not load ({error})"
        raise UsageError(
            f"Remotes need a library that {why}: {name.partition('.')[0]}",
            hint="uv tool install 'venv-dedupe[remote]', or pip install 'venv-dedupe[remote]'",
        ) from error


def _zstd() -> Any:  # noqa: ANN401 - a module
    return extra_library("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")


def compress(data: bytes) -> bytes:
    """Return *data* as one zstd frame."""
    frame: bytes = _zstd().compress(data, _LEVEL)
    return frame


def decompress(frame: bytes | memoryview, size: int) -> bytes:
    """Return the *size* bytes of a zstd *frame*; raise RemoteError for other data, even a larger content."""
    zstd = _zstd()
    try:
        decompressor = zstd.ZstdDecompressor()
        data: bytes = decompressor.decompress(frame, size + 1)
    except zstd.ZstdError as error:
        raise RemoteError(f"Data of the remote does not decompress: {error}") from error
    if len(data) != size or not decompressor.eof or decompressor.unused_data:
        raise RemoteError(f"Data of the remote does not decompress to {size} bytes")
    return data

"""Making things durable: one syncfs for a batch, an fsync for a single small file."""

from __future__ import annotations

import contextlib
import ctypes
import os
import secrets
import sys
from functools import cache
from typing import Any


@cache
def _libc() -> Any:  # noqa: ANN401 - ctypes gives no better type
    return ctypes.CDLL(None, use_errno=True)


def sync_file_system(file: int) -> None:
    """Write all that is dirty on the file system of *file*; raises OSError where that failed.

    syncfs(2) reports an error once: the caller drops the whole batch then, it never tries again.
    """
    if sys.platform != "linux":
        os.sync()
        return
    if _libc().syncfs(file):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def write_durably(directory: int, name: str, data: bytes, *, sync: bool = True) -> None:
    """Replace *name* in *directory* by *data*: temporary file, fsync, rename, fsync of the directory.

    Without *sync* nothing is durable yet: the caller syncs the file system before anybody needs it.
    """
    temporary = f".{name}.{secrets.token_hex(8)}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
    file = os.open(temporary, flags, 0o600, dir_fd=directory)
    try:
        try:
            with open(file, "wb", closefd=False) as stream:
                stream.write(data)
            if sync:
                os.fsync(file)
        finally:
            os.close(file)
        os.rename(temporary, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary, dir_fd=directory)
        raise
    if sync:
        os.fsync(directory)

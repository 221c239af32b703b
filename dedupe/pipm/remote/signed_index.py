"""Reading, checking and writing the index of a signer."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pipm.core.digest import Digest
from pipm.core.size_text import size_text
from pipm.errors import RemoteError
from pipm.fs.beneath import directory_beneath, read_beneath
from pipm.fs.durability import write_durably
from pipm.fs.share_file import ensure_folder
from pipm.remote.extra_libraries import compress, decompress
from pipm.remote.remote_values import LARGEST_MANIFEST, NOTHING, RemoteIndex
from pipm.remote.transport import Version

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.remote.keys import PublicKey, SecretKey
    from pipm.remote.transport import Transport
    from pipm.store.layout import Store

INDEXES = "v1/index/"
_SIZE = 8
_ATTEMPTS = 20
_MEMORY = "remotes"


class KnownIndex(NamedTuple):
    """An index, and the version of its file."""

    content: RemoteIndex
    version: Version


def read_index(transport: Transport, key: PublicKey) -> KnownIndex | None:
    """Read the index of *key*, or None; raise RemoteError if the signature is wrong."""
    documents, version = transport.read(f"{INDEXES}{key.name}")
    indexes = [unpacked_index(key.opened(document)) for document in documents]
    if not indexes:
        return None
    newest = max(indexes, key=lambda index: index.serial)
    for index in indexes:
        newest = newest.merged(index)
    return KnownIndex(newest, version)


def unpacked_index(data: bytes) -> RemoteIndex:
    """Read an index without its signature."""
    size = int.from_bytes(data[:_SIZE], "big")
    if size > LARGEST_MANIFEST:
        raise RemoteError(f"The remote's index unpacks to {size_text(size)}", hint="do not use it")
    return RemoteIndex.from_json(decompress(data[_SIZE:], size))


def write_index(
    transport: Transport,
    key: SecretKey,
    known: KnownIndex | None,
    change: Callable[[RemoteIndex], RemoteIndex],
) -> RemoteIndex:
    """Apply *change* to the index (*known*, or one that another push wrote meanwhile), and write it.

    Return it with the next serial, or unchanged if *change* changes nothing.
    """
    for _ in range(_ATTEMPTS):
        before = NOTHING if known is None else known.content
        index = change(before)
        if index == before:
            return before
        index = index._replace(serial=before.serial + 1)
        text = index.to_json()
        signed = key.signed(len(text).to_bytes(_SIZE, "big") + compress(text))
        seen = Version(None) if known is None else known.version
        if transport.swap(f"{INDEXES}{key.public.name}", signed, seen, index.packs):
            return index
        known = read_index(transport, key.public)
    raise RemoteError("Others keep writing to the remote's index", hint="push again; nothing was lost")


def check_serial(store: Store, destination: str, key: PublicKey, index: RemoteIndex) -> None:
    """Record the index's serial; raise RemoteError if an earlier pull saw a later one.

    Otherwise a person who can write to the remote, but cannot sign, could restore what the signer replaced.
    """
    ensure_folder(store.v1, _MEMORY, 0o700)
    name = Digest.of(f"{destination}\0{key.text}".encode()).hex()[:32]
    kept = read_beneath(store.v1, f"{_MEMORY}/{name}") or b""
    seen = int(kept) if kept.strip().isdigit() else 0
    if index.serial < seen:
        raise RemoteError(
            f"The remote's index is older than the last one: number {index.serial}, not {seen}",
            hint=f"somebody restored an old index; if you did that, remove {store.path}/v1/{_MEMORY}/{name}",
        )
    if index.serial > seen:
        with directory_beneath(store.v1, _MEMORY) as folder:
            assert folder is not None
            write_durably(folder, name, f"{index.serial}\n".encode())

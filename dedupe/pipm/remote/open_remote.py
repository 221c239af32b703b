"""Opening a remote for a pull: the entries of all trusted signers."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote, urlsplit

from pipm.errors import RemoteError, UsageError, redacted
from pipm.remote.folder_transport import FolderTransport
from pipm.remote.keys import trusted_keys
from pipm.remote.signed_index import check_serial, read_index

if TYPE_CHECKING:
    from pipm.core.digest import Digest
    from pipm.remote.remote_values import IndexEntry
    from pipm.remote.transport import Transport
    from pipm.store.layout import Store

_SCHEME = re.compile(r"([a-z][a-z0-9+.-]*)://")


def open_transport(destination: str) -> Transport:
    """Return the transport for *destination*: a path, or a URL of file, https, s3, gs, az or oci."""
    scheme = _SCHEME.match(destination)
    if scheme is None:
        return FolderTransport(os.path.abspath(os.path.expanduser(destination)))
    if scheme[1] == "file":
        parts = urlsplit(destination)
        if parts.netloc not in ("", "localhost"):
            raise UsageError(f"{destination} is on another machine", hint="file:///path")
        return FolderTransport(os.path.abspath(unquote(parts.path)))
    if scheme[1].startswith("oci"):
        from pipm.remote.oci_registry import OciTransport  # noqa: PLC0415 - its library

        return OciTransport(destination)
    from pipm.remote.object_store import ObjectStoreTransport, is_object_store  # noqa: PLC0415 - its library

    if not is_object_store(scheme[1]):
        raise UsageError(
            f"{redacted(destination)}: pipm knows no remotes with {scheme[1]}://",
            hint="use a path, file://, https:// (pull), s3://, gs://, az:// or oci://",
        )
    return ObjectStoreTransport(destination)


class Remote(NamedTuple):
    """A remote, and the entries that a pull may use."""

    transport: Transport
    entries: tuple[IndexEntry, ...]


def open_remote(store: Store, destination: str) -> Remote:
    """Read the indexes of all trusted keys at *destination*.

    Raise RemoteError if a signature is wrong, an index is older than one seen before, or there is none.
    """
    transport = open_transport(destination)
    if isinstance(transport, FolderTransport) and not os.path.isdir(transport.path):
        raise RemoteError(f"There is no folder {transport.path}", hint="check the address")
    entries: dict[tuple[str, str, Digest], IndexEntry] = {}
    signed = 0
    for key in trusted_keys():
        known = read_index(transport, key)
        if known is None:
            continue
        signed += 1
        check_serial(store, destination, key, known.content)
        for row in known.content.entries:
            entries[row.key] = entries[row.key].merged(row) if row.key in entries else row
    if not signed:
        raise RemoteError(
            f"No key that you trust has signed anything at {redacted(destination)}",
            hint="check the address; pipm key trust KEY adds the key of the person who pushed",
        )
    return Remote(transport, tuple(entries.values()))

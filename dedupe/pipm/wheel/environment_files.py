"""The files that are different in each environment: scripts, RECORD, INSTALLER, direct_url.json."""

from __future__ import annotations

import base64
import os

from pipm.core.addresses import without_credentials
from pipm.core.pins import Archive, Repository, SourceFolder
from pipm.core.sha256 import sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from pipm.core.pins import Pin

INSTALLER = b"pipm\n"
_LONGEST_SIMPLE = 127 - len("#!\n")
"""Maximum bytes of an interpreter's path in a ``#!`` line that each kernel reads."""
_BESIDE = b"""#!/bin/sh
'''exec' "$(dirname -- "$(realpath -- "$0")")"/'PYTHON' "$0" "$@"
' '''
"""


def entry_point_script(body: bytes, python: str) -> bytes:
    """Return the script of an entry point for the interpreter *python*; *body* is all but its first line.

    A *python* without "/" is a program beside the script (uv's relocatable form).
    """
    if "/" not in python:
        return _BESIDE.replace(b"PYTHON", python.encode("utf-8", "surrogateescape")) + body
    if " " not in python and len(python.encode("utf-8", "surrogateescape")) <= _LONGEST_SIMPLE:
        return b"#!" + python.encode("utf-8", "surrogateescape") + b"\n" + body
    from installer.scripts import Script  # noqa: PLC0415 - it takes 40 ms, and only unusual paths need it

    # Via /bin/sh, like installer and pip; the body does not depend on the interpreter.
    _, code = Script("odd", "odd", "odd", "console").generate(python, "posix")
    head, _, _ = code.partition(b"# -*- coding")
    return head + body


def wheels_own_script(content: bytes, python: str) -> bytes:
    """Return a script of the wheel with ``#!python`` replaced by this environment's interpreter."""
    first, newline, rest = content.partition(b"\n")
    if not first.startswith(b"#!python"):
        return content
    return entry_point_script(rest, python) if newline else content


def record_digest_of(data: bytes) -> str:
    """Return the hash of *data* in RECORD's spelling."""
    digest = base64.urlsafe_b64encode(sha256(data).digest())
    return "sha256=" + digest.rstrip(b"=").decode("ascii")


def direct_url(pin: Pin) -> bytes | None:
    """Return the content of direct_url.json (PEP 610); None for a distribution from an index."""
    match pin.origin:
        case None:
            return None
        case Archive() as archive:
            url = without_credentials(archive.url or file_url(archive.path or ""))
            info: dict[str, object] = {}
            if archive.hashes:
                name, value = archive.hashes[0]
                info = {"hash": f"{name}={value}", "hashes": dict(archive.hashes)}
            return _json({"url": url, "archive_info": info})
        case Repository() as repository:
            vcs = {"vcs": repository.vcs, "commit_id": repository.commit}
            if repository.requested_revision:
                vcs["requested_revision"] = repository.requested_revision
            return _json(
                {"url": without_credentials(repository.url), "vcs_info": vcs}, repository.subdirectory
            )
        case SourceFolder() as folder:
            information = {"editable": True} if folder.editable else {}
            return _json({"url": file_url(folder.path), "dir_info": information}, folder.subdirectory)


def _json(document: dict[str, object], subdirectory: str | None = None) -> bytes:
    if subdirectory:
        document["subdirectory"] = subdirectory
    import json  # noqa: PLC0415 - few distributions come from elsewhere than an index

    return json.dumps(document, sort_keys=True, separators=(", ", ": ")).encode("ascii")


def file_url(path: str) -> str:
    """Return the URL of an absolute path."""
    from urllib.parse import quote  # noqa: PLC0415 - few locks name files

    return "file://" + quote(os.fsencode(path))

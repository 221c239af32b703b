"""A remote in an OCI registry, by the distribution specification: ``oci://registry/name``.

A pack is a blob. An index is a blob of an image manifest, whose other layers are the packs that the index
names, so that the registry itself removes what no index needs. A registry cannot compare and swap: each
version of an index has its own tag (KEY.NUMBER.RANDOM), whose manifest names the tags that it replaces; a
push at the same time adds another tag, and both together are the index until the next push.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urljoin, urlsplit

from pipm.core.digest import Digest
from pipm.errors import RemoteError, UsageError, redacted
from pipm.remote.extra_libraries import extra_library
from pipm.remote.registry_login import RegistryLogin
from pipm.remote.transport import LARGEST_INDEX, Version

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pipm.remote.transport import StoredFile

_SCHEMES = {"oci": "https", "oci+http": "http"}
_NAME = re.compile(r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*(?:/[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*)*")
_LOCAL = frozenset({"localhost", "127.0.0.1", "::1"})
_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
_EMPTY = "application/vnd.oci.empty.v1+json"
_INDEX, _PACK = "application/vnd.pipm.index.v1", "application/vnd.pipm.pack.v1"
_REPLACES = "pipm.replaces"
_LARGEST_MANIFEST = 4 << 20
"""Bytes: the specification allows registries to refuse larger manifests."""
_CONNECT_SECONDS, _READ_SECONDS = 5, 60
_ATTEMPTS = 3
_TRY_AGAIN = frozenset({429, 500, 502, 503, 504})
_MOST_TAGS = 100_000


class OciTransport:
    """A repository of a registry."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        name = parts.path.strip("/")
        if parts.scheme not in _SCHEMES or not parts.hostname or "@" in parts.netloc:
            raise UsageError(
                f"{redacted(url)} names no registry", hint="oci://registry.example.org/team/python"
            )
        if not _NAME.fullmatch(name):
            raise UsageError(
                f"{url}: {name!r} is not a valid name of a repository", hint="small letters, digits, - _ . /"
            )
        scheme = "http" if parts.hostname in _LOCAL else _SCHEMES[parts.scheme]
        self._url = url
        self._base = f"{scheme}://{parts.netloc}/v2/{name}/"
        self._requests = extra_library("requests")
        self._session = self._requests.Session()
        self._session.mount(f"{scheme}://", self._requests.adapters.HTTPAdapter(pool_maxsize=16))
        self._login = RegistryLogin(self._session, parts.netloc, plain=scheme == "http")
        self._session.auth = self._login.authorize

    def read(self, name: str) -> tuple[list[bytes], Version]:
        """Read the newest tag of an index, and the tags that no other replaces."""
        for _ in range(_ATTEMPTS):
            tags = self._tags(_last(name))
            documents, replaced = [], set[str]()
            for tag in sorted(tags, key=_number, reverse=True):
                if tag not in replaced:
                    manifest = self._manifest(tag)
                    if manifest is None:
                        break  # a push replaced it meanwhile
                    documents.append(manifest[0])
                    replaced |= manifest[1]
            else:
                return documents, Version("\n".join(sorted(tags)) if tags else None)
        raise self._failed("tags", "others keep writing to it")

    def read_range(self, name: str, start: int, length: int) -> bytes:
        """GET a part of a blob, or the whole blob if the registry does not send parts."""
        asked = {"Range": f"bytes={start}-{start + length - 1}"}
        answer = self._ask("GET", f"blobs/sha256:{_last(name)}", headers=asked, most=start + length)
        data: bytes = answer.body if answer.status == 206 else answer.body[start:]
        if answer.status not in (200, 206) or len(data) != length:
            raise self._failed(name, f"answer {answer.status}, {len(data)} bytes instead of {length}")
        return data

    def check_writable(self) -> None:
        """Start an upload: only a trial tells what the login may do."""

    def modified(self, name: str) -> float | None:
        """HEAD a blob; an existing one counts as new, because the registry keeps it for a while."""
        answer = self._ask("HEAD", f"blobs/sha256:{_last(name)}")
        if answer.status == 404:
            return None
        self._expect(answer, name, 200)
        return time.time()

    def write(self, name: str, data: bytes) -> None:
        """Upload a blob; the registry checks its digest."""
        digest = f"sha256:{_last(name)}"
        begun = self._ask("POST", "blobs/uploads/")
        self._expect(begun, name, 202)
        place = urljoin(self._base, begun.headers.get("Location", ""))
        place += f"{'&' if '?' in place else '?'}digest={digest}"
        sent = {"Content-Type": "application/octet-stream"}
        self._expect(self._ask("PUT", place, data=data, headers=sent), name, 201)

    def swap(self, name: str, data: bytes, seen: Version, packs: Mapping[str, int]) -> bool:
        """Add a tag that replaces the *seen* ones, and remove these if the registry allows it."""
        before = seen.tag.split("\n") if seen.tag else []
        number = max(map(_number, before), default=0) + 1
        tag = f"{_last(name)}.{number}.{os.urandom(8).hex()}"
        digest = Digest.of(data).hex()
        for blob, content in ((digest, data), (Digest.of(b"{}").hex(), b"{}")):
            if self.modified(blob) is None:
                self.write(blob, content)
        layers = [_descriptor(_INDEX, digest, len(data))]
        layers += [_descriptor(_PACK, pack, size) for pack, size in packs.items()]
        manifest = {
            "schemaVersion": 2,
            "mediaType": _MANIFEST,
            "artifactType": _INDEX,
            "config": _descriptor(_EMPTY, Digest.of(b"{}").hex(), 2),
            "layers": layers,
            "annotations": {_REPLACES: " ".join(before)},
        }
        document = json.dumps(manifest, separators=(",", ":")).encode("ascii")
        sent = {"Content-Type": _MANIFEST}
        self._expect(self._ask("PUT", f"manifests/{tag}", data=document, headers=sent), tag, 201)
        with contextlib.suppress(RemoteError):  # some registries allow no deletion
            for old in before:
                self._forget(old)
        return True

    def stored(self) -> list[StoredFile]:
        """Return nothing: the registry removes blobs that no manifest names."""
        return []

    def remove(self, names: Sequence[str]) -> None:
        """Do nothing, for the same reason."""

    def _tags(self, key: str) -> list[str]:
        found: list[str] = []
        page: str | None = "tags/list?n=1000"
        while page is not None:
            answer = self._ask("GET", page)
            if answer.status == 404:
                break  # the first push makes the repository
            self._expect(answer, "tags", 200)
            found += [
                tag for tag in _text_list(answer, "tags") if re.fullmatch(rf"{key}\.\d{{1,15}}\.\w+", tag)
            ]
            page = answer.next_page
            if len(found) > _MOST_TAGS:
                raise self._failed("tags", "there are too many")
        return found

    def _manifest(self, tag: str) -> tuple[bytes, set[str]] | None:
        """Return the index of *tag*, and the tags that it replaces."""
        answer = self._ask("GET", f"manifests/{tag}", headers={"Accept": _MANIFEST}, most=_LARGEST_MANIFEST)
        if answer.status == 404:
            return None
        self._expect(answer, tag, 200)
        try:
            document = json.loads(answer.body)
            digest = Digest.from_hex(document["layers"][0]["digest"].removeprefix("sha256:"))
            before = set(str(document["annotations"][_REPLACES]).split())
        except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise self._failed(tag, "it is not an index of pipm") from error
        blob = self._ask("GET", f"blobs/sha256:{digest.hex()}", most=LARGEST_INDEX)
        self._expect(blob, tag, 200)
        if Digest.of(blob.body) != digest:
            raise self._failed(tag, "its sha256 is not that of its name")
        return blob.body, before

    def _forget(self, tag: str) -> None:
        """Remove the manifest of *tag*; if it stays, readers still see that it is replaced."""
        answer = self._ask("HEAD", f"manifests/{tag}", headers={"Accept": _MANIFEST})
        digest = answer.headers.get("Docker-Content-Digest", "")
        if answer.status == 200 and re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
            self._expect(self._ask("DELETE", f"manifests/{digest}"), tag, 202)

    def _ask(
        self,
        method: str,
        path: str,
        *,
        data: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        most: int = LARGEST_INDEX,
    ) -> _Response:
        """Send a request; repeat it after a temporary error, or with the login that the registry wants."""
        url, cause, asked_again = urljoin(self._base, path), "", False
        for attempt in range(_ATTEMPTS + 1):
            try:
                seconds = (_CONNECT_SECONDS, _READ_SECONDS)
                with self._session.request(
                    method, url, data=data, headers=headers, timeout=seconds, stream=True
                ) as response:
                    answer = _Response(response, most)
            except self._requests.exceptions.ConnectTimeout as error:
                raise self._failed(path, "it does not answer") from error
            except self._requests.RequestException as error:
                cause = _cause(error)
                time.sleep(0.1 * 4**attempt if attempt < _ATTEMPTS else 0)
                continue
            if answer.status == 401 and not asked_again:
                asked_again = True
                self._login.answer(answer.headers.get("WWW-Authenticate", ""))
                continue
            if answer.status not in _TRY_AGAIN:
                return answer
            cause = f"answer {answer.status}"
            time.sleep(0.1 * 4**attempt if attempt < _ATTEMPTS else 0)
        raise self._failed(path, cause)

    def _expect(self, answer: _Response, what: str, status: int) -> None:
        if answer.status != status:
            said = answer.body[:300].decode("utf-8", "replace").strip()
            raise self._failed(what, f"answer {answer.status} {said}")

    def _failed(self, what: str, why: str) -> RemoteError:
        return RemoteError(
            f"Cannot use {self._url} ({what}): {why}",
            hint="check the address, the network and the login (docker login)",
        )


class _Response:
    """The answer to a request, with at most so many bytes of its body."""

    def __init__(self, response: Any, most: int) -> None:  # noqa: ANN401 - of a library
        self.status: int = response.status_code
        self.headers: Mapping[str, str] = response.headers
        following = response.links.get("next", {}).get("url")
        self.next_page: str | None = None if following is None else urljoin(response.url, following)
        parts, left = [], most
        for part in response.iter_content(1 << 20):
            parts.append(part[:left])
            left -= len(parts[-1])
            if not left:
                break
        self.body = b"".join(parts)


def _descriptor(media_type: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": size}


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _number(tag: str) -> int:
    return int(tag.split(".")[1])


def _text_list(answer: _Response, key: str) -> list[str]:
    try:
        return [word for word in json.loads(answer.body)[key] or () if isinstance(word, str)]
    except (ValueError, LookupError, TypeError, RecursionError):
        return []


def _cause(error: Exception) -> str:
    """Return what happened without the library's wrapping."""
    inner: BaseException = error
    while inner.__cause__ or inner.__context__:
        inner = inner.__cause__ or inner.__context__ or inner
    return redacted(str(inner))[:200] or type(inner).__name__

"""Pages of package indexes: as JSON (PEP 691) and as HTML (PEP 503)."""

from __future__ import annotations

import json
from html.parser import HTMLParser
from typing import Any, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from pipm.fetch.network_settings import LeftToPipError

ACCEPT = "application/vnd.pypi.simple.v1+json, application/vnd.pypi.simple.v1+html;q=0.1, text/html;q=0.01"


class IndexFile(NamedTuple):
    """A file on an index; ``sha256`` is "" if the index does not have it."""

    name: str
    url: str
    sha256: str


def parse_page(content: bytes, content_type: str, address: str) -> list[IndexFile]:
    """Return the files on a project's page from *address*; raise LeftToPipError for unknown formats."""
    kind = content_type.partition(";")[0].strip().lower()
    try:
        if kind == "application/vnd.pypi.simple.v1+json":
            return [_of_row(row, address) for row in json.loads(content)["files"]]
        if kind in ("application/vnd.pypi.simple.v1+html", "text/html"):
            parser = _Page()
            parser.feed(content.decode("utf-8", "replace"))
            base = urljoin(address, parser.base)
            return [_of_link(urljoin(base, link)) for link in parser.links]
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError, AssertionError) as error:
        raise LeftToPipError from error
    raise LeftToPipError


def _of_row(row: dict[str, Any], address: str) -> IndexFile:
    sha256 = str((row.get("hashes") or {}).get("sha256", ""))
    return IndexFile(str(row["filename"]), urljoin(address, str(row["url"])), sha256.lower())


def _of_link(link: str) -> IndexFile:
    parts = urlsplit(link)
    algorithm, _, value = parts.fragment.partition("&")[0].partition("=")
    name = unquote(parts.path.rpartition("/")[2])
    return IndexFile(
        name, parts._replace(fragment="").geturl(), value.lower() if algorithm == "sha256" else ""
    )


class _Page(HTMLParser):
    """Collects the links of an HTML page."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.base = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        target = dict(attrs).get("href") or ""
        if tag == "base" and not self.base:
            self.base = target
        elif tag == "a" and target:
            self.links.append(target.strip())

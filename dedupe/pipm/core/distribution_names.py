"""Names and versions of distributions, as their metadata folders have them."""

from __future__ import annotations

import re

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_NUMBER = "(?:0|[1-9][0-9]*)"
_PLAIN = re.compile(
    rf"(?P<name>[A-Za-z0-9]+(?:[._][A-Za-z0-9]+)*)"
    rf"-(?P<version>{_NUMBER}(?:\.{_NUMBER})*(?:(?:a|b|rc|\.post|\.dev){_NUMBER})?)\.[a-z-]+"
)
"""Matches the usual names of metadata folders: a normalised version, and a nearly normalised name."""


def name_and_version(metadata: str) -> tuple[str, str]:
    """Split ``Name-1.0.dist-info``; both normalised (PEP 503, PEP 440), safe as folder names."""
    plain = _PLAIN.fullmatch(metadata)
    if plain is not None:
        return plain["name"].lower().replace("_", "-").replace(".", "-"), plain["version"]
    from packaging.utils import canonicalize_name  # noqa: PLC0415 - 6 ms that most environments do without
    from packaging.version import Version  # noqa: PLC0415

    stem = metadata.rpartition(".")[0]
    name, _, version = stem.partition("-")
    try:
        release = str(Version(version))
    except ValueError:
        release = "".join(c if c.isalnum() or c in ".+!_" else "_" for c in version) or "0"
    safe = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    return canonicalize_name(safe) or "_", release


def without_metadata_folder(away: Iterable[str], names: Iterable[str]) -> list[str]:
    """Return the folders of *away* whose projects have no metadata folder among *names* in site-packages."""
    real = {name_and_version(name)[0] for name in names if name.endswith(".dist-info")}
    return [metadata for metadata in sorted(away) if name_and_version(metadata)[0] not in real]

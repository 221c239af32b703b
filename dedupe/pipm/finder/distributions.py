"""The distributions of an environment as the finder sees them: which of them it may serve."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from pipm.core.import_names import ImportLayout, import_layout
from pipm.core.reasons import Reason
from pipm.core.record import RecordPlace
from pipm.env.installed import installed_distributions
from pipm.errors import StoreError
from pipm.finder.colocation import SITE, StoredLayout
from pipm.store.entries import load_manifest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pipm.core.manifest import Manifest
    from pipm.env.environment import Environment
    from pipm.env.installed import InstalledDistribution
    from pipm.env.receipt import Receipt, ServedDistribution
    from pipm.store.layout import Store


@dataclass(frozen=True, kw_only=True, slots=True)
class SiteDistribution:
    """A distribution in site-packages.

    ``manifest`` (and ``entry``) are the store's, None where the finder cannot serve it; ``served`` says that
    it does already.
    """

    distribution: InstalledDistribution
    layout: ImportLayout
    entry: str = ""
    manifest: Manifest | None = None
    served: ServedDistribution | None = None

    @property
    def stored_layout(self) -> StoredLayout:
        """What `apart` looks at."""
        return StoredLayout(self.layout, self.entry)


def site_distributions(
    store: Store,
    environment: Environment,
    root: int,
    site: str,
    receipt: Receipt | None,
    entries: Mapping[tuple[str, str], str],
) -> list[SiteDistribution]:
    """List the distributions in *site*; *entries* are what the environment uses, by name and version."""
    found = []
    for distribution in installed_distributions(environment, root):
        if distribution.site != site:
            continue
        served = None
        entry = None
        if distribution.refusal is Reason.IMPORTED and receipt is not None:
            served = receipt.served[distribution.metadata]
            entry = served.entry
        elif distribution.refusal is None:
            entry = entries.get((distribution.name, distribution.version))
        manifest = None if entry is None else _whole_manifest(store, entry)
        if manifest is None:
            paths = [
                location.path for _, location in distribution.located if location.place is RecordPlace.SITE
            ]
            found.append(SiteDistribution(distribution=distribution, layout=import_layout(paths)))
        else:
            paths = [file.path[len(SITE) :] for file in manifest.files if file.path.startswith(SITE)]
            found.append(
                SiteDistribution(
                    distribution=distribution,
                    layout=import_layout(paths),
                    entry=entry or "",
                    manifest=manifest,
                    served=served,
                )
            )
    return found


def _whole_manifest(store: Store, entry: str) -> Manifest | None:
    """The manifest of an entry that has all that belongs into site-packages; scripts stay in environments."""
    try:
        manifest = load_manifest(store, entry)
    except StoreError:
        return None
    return None if any(path.startswith(SITE) for path in manifest.missing) else manifest

"""The distributions of an environment, with what the finder must know to serve them."""

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
from pipm.store.layers import home_of

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

    ``entry`` and ``manifest`` are the store's; ``manifest`` is None if the finder cannot serve it. ``served``
    is its row of the receipt if the finder already serves it.
    """

    distribution: InstalledDistribution
    layout: ImportLayout
    entry: str = ""
    manifest: Manifest | None = None
    served: ServedDistribution | None = None

    @property
    def stored_layout(self) -> StoredLayout:
        """The layout and entry, for `needs_real_files`."""
        return StoredLayout(self.layout, self.entry)


def site_distributions(
    store: Store,
    environment: Environment,
    root: int,
    site: str,
    receipt: Receipt | None,
    entries: Mapping[tuple[str, str], str],
) -> list[SiteDistribution]:
    """List the distributions in *site*; *entries* are the environment's entries, by name and version."""
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
        manifest = None if entry is None else _whole_manifest(home_of(store, entry), entry)
        if manifest is None and served is not None and served.layer:
            raise StoreError(
                f"The layer {served.layer}, from which {environment.path} imports, is not here",
                hint="mount it there, and name it in PIPM_STORE_LAYERS",
            )
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
    """Return the manifest of an entry that has all files for site-packages; None for others.

    Missing scripts do not matter: the environment has its own.
    """
    try:
        manifest = load_manifest(store, entry)
    except StoreError:
        return None
    return None if any(path.startswith(SITE) for path in manifest.missing) else manifest

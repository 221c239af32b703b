"""Files of environments that have, or should have, the content of stored files."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING, NamedTuple

from pipm.context.liveness import environment_fate
from pipm.core.plan.gc_plan import Fate
from pipm.core.record import RecordPlace, is_installers_own
from pipm.env.environment import load_environment
from pipm.env.installed import installed_distributions
from pipm.errors import NotAnEnvironmentError
from pipm.fs.beneath import directory_beneath
from pipm.fs.file_content import digest_at
from pipm.fs.opened import opened_folder
from pipm.share.file_facts import FactGatherer
from pipm.store.known import Releases
from pipm.store.roots import all_roots

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pipm.core.digest import Digest
    from pipm.core.plan.adopt_plan import FileFact
    from pipm.env.environment import Environment
    from pipm.store.layout import Store


class EnvironmentFile(NamedTuple):
    """A file of an environment with the facts that RECORD and the store record about it."""

    environment: str
    fact: FileFact

    @property
    def path(self) -> str:
        """The absolute path."""
        return f"{self.environment}/{self.fact.shown}"


def known_environments(store: Store) -> list[Environment]:
    """Return the environments that *store* knows and that still exist."""
    device = os.fstat(store.objects).st_dev
    found = []
    for root in all_roots(store):
        if environment_fate(root, store.path, device)[0] is Fate.ALIVE:
            try:
                found.append(load_environment(root.path))
            except NotAnEnvironmentError:
                continue
    return found


def environment_files(store: Store, environment: Environment) -> Iterator[EnvironmentFile]:
    """Yield the files of *environment* that may be shared and whose digest is recorded."""
    with opened_folder(environment.path, follow=False) as root:
        observer = FactGatherer(
            root=root, store=store, releases=Releases(store), trusted=False, by_inode=True
        )
        for distribution in installed_distributions(environment, root):
            if distribution.refusal is None:
                for _, _, facts in observer.folders(distribution):
                    yield from (EnvironmentFile(environment.path, fact) for fact in facts if _counts(fact))


def _counts(fact: FileFact) -> bool:
    return (
        fact.status is not None
        and fact.digest is not None
        and stat.S_ISREG(fact.status.st_mode)
        and (fact.program or fact.place in (RecordPlace.SITE, RecordPlace.DATA, RecordPlace.HEADERS))
        and not (fact.place is RecordPlace.SITE and is_installers_own(fact.path))
        and not fact.contested
    )


def digest_of_environment_file(environment_file: EnvironmentFile) -> Digest | None:
    """Hash the file; return None if it is missing or unreadable."""
    fact = environment_file.fact
    try:
        with (
            opened_folder(environment_file.environment) as root,
            directory_beneath(root, fact.directory) as folder,
        ):
            return None if folder is None else digest_at(folder, fact.name)
    except OSError:
        return None

"""The programs that are compared, each as it is told to share files by one kind of link."""

from __future__ import annotations

import enum
import shutil
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class Link(enum.Enum):
    """How equal files share their blocks."""

    HARDLINK = "hardlink"
    REFLINK = "reflink"


FILE_SYSTEMS = {
    Link.HARDLINK: frozenset({"ext4", "xfs", "btrfs"}),
    Link.REFLINK: frozenset({"xfs", "btrfs"}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A program with its options; the environments' paths follow them."""

    name: str
    link: Link
    options: tuple[str, ...]
    is_pipm: bool = False

    def command(self, mount: Path, environments: Sequence[Path]) -> list[str]:
        """Return the command line for environments that lie on the file system at `mount`."""
        options = [option.format(mount=mount) for option in self.options]
        return [*options, *map(str, environments)]

    def succeeded(self, exit_code: int) -> bool:
        """Return whether the work was done; pipm's 3 says that it left some files as they were."""
        return exit_code == 0 or (self.is_pipm and exit_code == 3)

    def available(self, file_system: str) -> bool:
        """Return whether the program is installed and its links work on that file system."""
        return file_system in FILE_SYSTEMS[self.link] and shutil.which(self.options[0]) is not None


def contenders(python: str) -> list[Contender]:
    """Return all contenders, pipm as run by the interpreter `python`."""
    return [
        Contender(name="pipm hardlink", link=Link.HARDLINK, options=pipm(python, "hardlink"), is_pipm=True),
        Contender(name="pipm reflink", link=Link.REFLINK, options=pipm(python, "reflink"), is_pipm=True),
        Contender(name="jdupes -L", link=Link.HARDLINK, options=("jdupes", "-q", "-r", "-L")),
        Contender(name="jdupes -B", link=Link.REFLINK, options=("jdupes", "-q", "-r", "-B")),
        Contender(
            name="rdfind",
            link=Link.HARDLINK,
            options=("rdfind", "-makehardlinks", "true", "-makeresultsfile", "false"),
        ),
        Contender(name="hardlink -c", link=Link.HARDLINK, options=("hardlink", "-q", "-c")),
    ]


def pipm(python: str, link_mode: str) -> tuple[str, ...]:
    """Return pipm's command line up to the environments, the store beside them."""
    store = ("--store", "{mount}/store", "--json")
    return (python, "-m", "pipm", *store, "adopt", "--link-mode", link_mode)

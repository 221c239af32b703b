"""The part of a lock that a sync installs."""

from __future__ import annotations

from pipm.core.named_tuple import NamedTuple


class Selection(NamedTuple):
    """The part of a lock that a user asks for.

    ``extras`` are optional dependencies of the project, ``groups`` dependency groups (PEP 735) besides
    those that are installed by default. ``project`` says whether the project itself is installed, where
    the lock belongs to one that can be. ``packages`` are members of a workspace instead of the project
    beside the lock; ``all_packages`` is every member.
    """

    extras: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    default_groups: bool = True
    project: bool = True
    packages: tuple[str, ...] = ()
    all_packages: bool = False

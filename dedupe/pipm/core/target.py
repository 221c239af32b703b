"""The interpreter that an environment is for, as markers and tags see it."""

from __future__ import annotations

from pipm.core.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping


class Target(NamedTuple):
    """``markers`` are the variables of PEP 508; ``tags`` those of PEP 425 as text, the best first."""

    markers: Mapping[str, str]
    tags: tuple[str, ...]

    @property
    def python(self) -> str:
        """The full version of Python."""
        return self.markers["python_full_version"]

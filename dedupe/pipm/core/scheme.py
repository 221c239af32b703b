"""The folders of one environment for the parts of a wheel."""

from __future__ import annotations

import posixpath

from pipm.core.named_tuple import NamedTuple


class Scheme(NamedTuple):
    """The folders of one environment, relative to it, and its interpreter.

    ``python`` is the interpreter in scripts: an absolute path, or in a relocatable environment the name of a
    file beside them. ``cache_tag`` (PEP 3147) is "" if no bytecode is wanted.
    """

    site: str
    python: str
    cache_tag: str = ""

    def without_bytecode(self) -> Scheme:
        """Return the same scheme without bytecode."""
        return self._replace(cache_tag="")

    @property
    def version(self) -> str:
        """Major and minor version of Python: ``3.12``."""
        return posixpath.basename(posixpath.dirname(self.site)).lstrip("abcdefghijklmnopqrstuvwxyz")

    @property
    def headers(self) -> str:
        """The folder of all distributions' headers; pip names it ``python`` for PyPy, too."""
        return f"include/site/python{self.version}"

    def folder(self, scheme: str, name: str) -> str:
        """Return the folder for a wheel's *scheme* of the distribution *name*; "" is the environment."""
        match scheme:
            case "headers":
                return f"{self.headers}/{name}"
            case "scripts":
                return "bin"
            case "data":
                return ""
        return self.site

    def recorded(self, path: str) -> str:
        """Return *path* (relative to the environment) as RECORD writes it: relative to site-packages."""
        if path.startswith(f"{self.site}/"):
            return path[len(self.site) + 1 :]
        site, other = self.site.split("/"), path.split("/")
        while site and other and site[0] == other[0]:
            del site[0], other[0]
        return "/".join([".."] * len(site) + other)

"""The order in which files of a package appear and go, so that each import finds its module meanwhile."""

from __future__ import annotations


def package_last(path: str) -> tuple[bool, int]:
    """Return a sort key of paths: a package's ``__init__`` comes after all else of the package.

    Python passes over a folder without ``__init__`` where a later entry of ``sys.path`` has the package, here
    the finder; in a folder with one it looks for all that the package has.
    """
    is_package = path.rpartition("/")[2].startswith("__init__.")
    return is_package, -path.count("/") if is_package else 0

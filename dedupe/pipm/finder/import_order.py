"""The order in which files of a package are added and removed, so that imports always find their modules."""

from __future__ import annotations


def package_last(path: str) -> tuple[bool, int]:
    """Return a sort key for paths: a package's ``__init__`` comes after all other files of the package.

    Python skips a folder without ``__init__`` if a later entry of ``sys.path``, here the finder, has the
    package; in a folder with ``__init__`` it looks for all modules of the package.
    """
    is_package = path.rpartition("/")[2].startswith("__init__.")
    return is_package, -path.count("/") if is_package else 0

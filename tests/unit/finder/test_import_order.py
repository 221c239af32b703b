"""While a package is added or removed, each of its modules can be imported."""

from __future__ import annotations

from importlib import invalidate_caches
from importlib.machinery import PathFinder
from typing import TYPE_CHECKING

from pipm.finder.import_order import package_last
from support.synthetic import write

if TYPE_CHECKING:
    from pathlib import Path

FILES = [
    "pkg/Early.py",
    "pkg/__init__.py",
    "pkg/later.py",
    "pkg/sub/Early.py",
    "pkg/sub/__init__.py",
    "pkg/sub/later.py",
    "single.py",
    "space/pkg/Early.py",
    "space/pkg/__init__.py",
]


def is_found(path: str, places: list[str]) -> bool:
    """Whether Python finds the module of the file *path* on the search path *places*."""
    name, origin = "", ""
    for part in path.removesuffix(".py").removesuffix("/__init__").split("/"):
        name = f"{name}.{part}" if name else part
        spec = PathFinder.find_spec(name, places)
        if spec is None:
            return False
        places, origin = list(spec.submodule_search_locations or ()), spec.origin or ""
    return origin.endswith(path)


def test_each_module_is_found_at_any_moment(tmp_path: Path) -> None:
    site, store = tmp_path / "site", tmp_path / "store"
    for path in FILES:
        write(str(store / path), b"")
        (site / path).parent.mkdir(parents=True, exist_ok=True)
    for path in sorted(FILES, key=package_last):
        write(str(site / path), b"")
        invalidate_caches()
        assert [path for path in FILES if not is_found(path, [str(site), str(store)])] == []
    for path in sorted(FILES, key=package_last, reverse=True):
        (site / path).unlink()
        invalidate_caches()
        assert [path for path in FILES if not is_found(path, [str(site), str(store)])] == []

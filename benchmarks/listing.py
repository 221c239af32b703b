"""Print the tree of an environment for `floor.c`: its folders, then the stored object of each file.

python -m benchmarks.listing ENV STORE
"""

from __future__ import annotations

import hashlib
import os
import sys
from pathlib import Path


def main(env: str, store: str) -> None:
    """Print lines that begin with D (a folder) or F (a file)."""
    (site,) = Path(env).glob("lib/python*/site-packages")
    files = []
    for path, folders, names in os.walk(site):
        folders.sort()
        here = os.path.relpath(path, site)
        if here != ".":
            print(f"D {here}")
        files += [("" if here == "." else here, name) for name in sorted(names)]
    for here, name in files:
        digest = hashlib.sha256((site / here / name).read_bytes()).hexdigest()
        stored = f"{store}/v1/objects/{digest[:2]}/{digest[2:]}"
        known = next((one for one in (stored, f"{stored}-x", f"{stored}-w") if os.path.exists(one)), None)
        if known:
            print(f"F {here}\t{name}\t{known}")


if __name__ == "__main__":
    main(*sys.argv[1:])

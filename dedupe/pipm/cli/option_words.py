"""Options of `pipm sync` that are repeated, or have no value, with the argument that each sets."""

from __future__ import annotations

LISTS = {"--extra": "extras", "--group": "groups", "--package": "packages"}
FLAGS = {
    "--no-default-groups": ("default_groups", False),
    "--all-packages": ("all_packages", True),
    "--prefer-stored": ("prefer_stored", True),
    "--trust-adopted": ("trust_adopted", True),
    "--no-compile": ("compiled", False),
    "--compile": ("compiled", True),
    "--clobber": ("clobber", True),
    "--dist-info": ("dist_info", True),
    "--no-dist-info": ("dist_info", False),
    "--dry-run": ("dry_run", True),
    "-n": ("dry_run", True),
}

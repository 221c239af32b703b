"""The output of `pipm config`."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from pipm.cli.format_text import path_text
from pipm.store.configuration import VARIABLES, find_setting, plugins, settings_files
from pipm.store.paths import store_path

if TYPE_CHECKING:
    from pipm.cli.output import Output

_DEFAULTS = {"link-mode": "auto"}


def show_settings(output: Output, store: str) -> int:
    """Print each setting with its value and its origin; *store* is the value of --store, or empty."""
    found = {key: find_setting(key) for key in VARIABLES}
    found["store"] = (store, found["store"][1] if store == store_path(None) else "--store")
    files = list(settings_files())
    plugins()  # refuses wrong names
    if output.json:
        rows = {
            key: {"value": value or _DEFAULTS.get(key), "from": source or None, "variable": VARIABLES[key]}
            for key, (value, source) in found.items()
        }
        output.document("config", {"settings": rows, "files": files})
        return 0
    output.table(
        [
            ("<SETTING", "<VALUE", "<FROM"),
            *(
                (key, path_text(value) or _DEFAULTS.get(key, "-"), path_text(source) or "default")
                for key, (value, source) in found.items()
            ),
        ]
    )
    shown = (f"{path_text(path)}{'' if os.path.exists(path) else ' (does not exist)'}" for path in files)
    output.note("note", f"settings are read from {', '.join(shown)}")
    return 0

"""The manual page has the texts of the help, and no errors in its markup."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pipm
from pipm.cli import application
from pipm.cli.help_topics import topics

TOP = os.path.dirname(os.path.dirname(os.path.dirname(pipm.__file__)))
SCRIPT = os.path.join(TOP, "scripts", "man")


def test_the_manual_page() -> None:
    page = subprocess.run([sys.executable, SCRIPT], capture_output=True, text=True, check=True).stdout
    with open(os.path.join(TOP, "dedupe/pipm.1"), encoding="utf-8") as installed:
        assert page == installed.read(), "python scripts/man > dedupe/pipm.1"
    commands = [one.name for one in application.app.registered_commands if not one.hidden]
    for name in (*commands, "store path", "store add", "store ls"):
        assert f".SS pipm {name} [OPTIONS]" in page
    assert all(f'.SH "{name.upper()}"' in page for name in topics())
    assert "after" + "\\-pip" not in page
    if shutil.which("groff") is not None:
        checked = subprocess.run(
            ["groff", "-man", "-ww", "-z"], input=page, capture_output=True, text=True, check=True
        )
        assert checked.stderr == ""

"""doctor recognises hooks by their files; the wrapper's must be complete."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pipm
from pipm.inspect import hook_check
from pipm.pip_wrapper import install_wrapper

if TYPE_CHECKING:
    from pathlib import Path

PACKAGE = os.path.dirname(os.path.abspath(pipm.__file__))


def test_the_wrapper_is_known_by_its_files() -> None:
    (wrapper,) = (hook for hook in hook_check._HOOKS if hook.what == "pip wrapper")
    assert wrapper.marker == f"{install_wrapper.FOLDER}/{install_wrapper.SETTINGS}"
    assert wrapper.path_file == install_wrapper.PATH_FILE
    assert wrapper.modules == {
        f"{install_wrapper.FOLDER}/{install_wrapper.PACKAGE}/{name}": f"pip_wrapper/runtime/{source}"
        for name, source in install_wrapper.MODULES.items()
    }


def test_a_torn_wrapper_is_told(tmp_path: Path) -> None:
    site = tmp_path / "lib/python3.11/site-packages"
    site.mkdir(parents=True)
    (tmp_path / "pyvenv.cfg").write_text("version = 3.11.7\n")
    path = os.path.realpath(tmp_path)
    assert list(hook_check.hook_faults(path, "/store")) == []
    (tmp_path / ".pipm").mkdir()
    (tmp_path / ".pipm/pip.json").write_text('{"store": "/other", "command": ["/gone/python"]}')
    (tmp_path / ".pipm/_pipm_pip").mkdir()
    (tmp_path / ".pipm/_pipm_pip/__init__.py").write_text("changed\n")
    found = " ".join(fault.detail for fault in hook_check.hook_faults(path, "/store"))
    for word in (
        "never starts",
        "hook.py is missing",
        "another version",
        "/other",
        "/gone/python, which runs pipm, is gone",
    ):
        assert word in found
    assert {fault.hint for fault in hook_check.hook_faults(path, "/store")} == {
        f"pipm adopt --wrap-pip {path}"
    }
    (tmp_path / ".pipm/pip.json").write_text("{")
    assert "damaged" in " ".join(fault.detail for fault in hook_check.hook_faults(path, "/store"))

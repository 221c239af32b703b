"""A distribution that was released by name is not shared until it is adopted by name."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

import pytest
from support.pipm import USAGE, Pipm
from support.synthetic import Environment, install, make_environment, package

if TYPE_CHECKING:
    from pathlib import Path


def is_writable(environment: Environment, path: str) -> bool:
    status = os.lstat(environment.file(path)) if os.path.lexists(environment.file(path)) else None
    own = status is not None and stat.S_ISREG(status.st_mode) and status.st_nlink == 1
    return status is not None and own and bool(status.st_mode & 0o200)


@pytest.mark.parametrize("mode", ["hardlink", "finder"])
def test_adopt_leaves_what_was_released_alone(tmp_path: Path, pipm: Pipm, mode: str) -> None:
    environment = make_environment(str(tmp_path / "env"))
    for name in ("alpha", "beta"):
        install(environment, f"{name}==1.0", package(name))
    pipm("adopt", environment.path, "--link-mode", mode).expect()
    again = f"pipm adopt --dist alpha {environment.path}"
    assert again in pipm("release", "--dist", "alpha", environment.path).expect().err
    with open(environment.file("alpha/__init__.py"), "a", encoding="ascii") as stream:
        stream.write("# a person's own\n")
    for options in ((), ("-n",), ()):
        told = pipm("adopt", environment.path, *options).expect()
        assert again in told.err
        assert "share " not in told.out
        assert is_writable(environment, "alpha/module_1.py")
    assert "has no distribution alfa" in pipm("adopt", "--dist", "alfa", environment.path).expect(USAGE).err
    pipm("adopt", "--dist", "Alpha", environment.path).expect()
    assert not is_writable(environment, "alpha/module_1.py")
    assert is_writable(environment, "alpha/__init__.py")  # an edit is never shared
    assert again not in pipm("adopt", environment.path).expect().err
    pipm("adopt", "--dist", "alpha", "--all", str(tmp_path)).expect(USAGE)

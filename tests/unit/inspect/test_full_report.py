"""The data of a report about a part of the environments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.inspect.report import full_report
from support.synthetic import install, make_environment, package

if TYPE_CHECKING:
    from pathlib import Path

    from support.pipm import Pipm


def test_an_environment_is_shown_alone(pipm: Pipm, tmp_path: Path) -> None:
    one, two = (make_environment(str(tmp_path / name)) for name in ("one", "two"))
    for environment in (one, two):
        install(environment, "alpha==1.0", package("alpha"))
    install(one, "beta==1.0", package("beta"))
    install(two, "gamma==1.0", package("gamma"))
    pipm.adopt(one.path, two.path)
    found = full_report(pipm.store, one.path, exact=False)
    assert [shown.usage.path for shown in found.environments] == [one.path]
    # Another environment uses alpha, too: it is not this one's alone.
    assert {(entry.name, entry.elsewhere) for entry in found.entries} == {("alpha", 1), ("beta", 0)}
    whole = full_report(pipm.store, None, exact=False)
    assert {(entry.name, entry.elsewhere) for entry in whole.entries} == {
        ("alpha", 0),
        ("beta", 0),
        ("gamma", 0),
    }

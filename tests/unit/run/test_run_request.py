"""The request of `pipm run`: which lock, requirements and environments count."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from pipm.errors import LockError, UsageError
from pipm.run.run_request import RunRequest, run_request

if TYPE_CHECKING:
    from pathlib import Path


def request(**options: object) -> RunRequest | None:
    """A request with the options of a plain `pipm run`, changed by *options*."""
    plain: dict[str, Any] = {
        "lock": None,
        "search": True,
        "specs": (),
        "script": "",
        "below": (),
        "python": None,
        "refresh": False,
    }
    return run_request("/store", **plain | options)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, empty."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_nearest_lock_counts(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "requirements.txt").touch()
    (here / "below").mkdir()
    monkeypatch.chdir(here / "below")
    found = request()
    assert found is not None
    assert (found.lock, found.name, found.resolves) == (f"{here}/requirements.txt", here.name, False)


def test_without_any_source_the_error_names_them(here: Path) -> None:
    with pytest.raises(LockError, match="no lock file here") as caught:
        request()
    assert "--with SPEC" in str(caught.value.hint)
    (here / "requirements.txt").touch()
    with pytest.raises(UsageError, match="--no-lock excludes"):
        request(search=False)


def test_one_environment_alone_needs_nothing_new(here: Path) -> None:
    (here / "requirements.txt").touch()
    assert request(below=("/env",)) is None
    stacked = request(below=("/env",), specs=("rich",))
    assert stacked is not None
    assert (stacked.lock, stacked.name, stacked.resolves) == ("", "with", True)


def test_a_local_requirement_becomes_absolute(here: Path) -> None:
    (here / "demo").mkdir()
    found = request(search=False, specs=("./demo[x]", "rich>=13"))
    assert found is not None
    assert found.specs == (f"{here}/demo[x]", "rich>=13")
    with pytest.raises(UsageError, match=r"There is no \./other"):
        request(search=False, specs=("./other",))


def test_a_script_brings_its_own_metadata(here: Path) -> None:
    (here / "job.py").write_text('# /// script\n# dependencies = ["rich"]\n# ///\n')
    found = request(script=f"{here}/job.py")
    assert found is not None
    assert (found.name, found.lock, found.resolves) == ("job", "", True)
    (here / "job.py.lock").touch()
    locked = request(script=f"{here}/job.py")
    assert locked is not None
    assert (locked.lock, locked.resolves) == (f"{here}/job.py.lock", False)

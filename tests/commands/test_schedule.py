"""`pipm schedule` writes its files once, and removes all of them."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from support.pipm import FAILED, Pipm, assert_refused
from support.process import check, run
from support.store import unshared
from support.synthetic import Environment, install, make_environment, package, write

if TYPE_CHECKING:
    from pathlib import Path

SYSTEMCTL = """#!/bin/sh
echo "$@" >> "{0}/calls"
case "$*" in
*show-environment*) exit {1};;
*is-enabled*) test -e "{0}/enabled";;
*enable*) touch "{0}/enabled";;
*disable*) rm -f "{0}/enabled";;
esac
"""
CRONTAB = """#!/bin/sh
case "$1" in
-l) test -e "{0}/crontab" || {{ echo "no crontab for you" >&2; exit 1; }}; cat "{0}/crontab";;
-r) rm "{0}/crontab";;
-) cat > "{0}/crontab";;
esac
"""


def with_alpha(path: Path) -> Environment:
    environment = make_environment(str(path))
    install(environment, "alpha==1.0", package("alpha"))
    return environment


@pytest.fixture(params=["systemd", "cron"])
def person(request: pytest.FixtureRequest, tmp_path: Path, pipm: Pipm) -> Pipm:
    """pipm with programs that replace systemd's and cron's."""
    text = SYSTEMCTL.format(tmp_path, 0 if request.param == "systemd" else 1)
    write(f"{tmp_path}/bin/systemctl", text.encode(), mode=0o755)
    write(f"{tmp_path}/bin/crontab", CRONTAB.format(tmp_path).encode(), mode=0o755)
    path = f"{tmp_path}/bin:/usr/bin:/bin"
    environ = {"PATH": path, "XDG_CONFIG_HOME": f"{tmp_path}/config", "HOME": f"{tmp_path}/home"}
    os.mkdir(tmp_path / "home")
    return replace(pipm, environ=environ)


def state(folder: Path) -> dict[str, str]:
    """All that a schedule may change."""
    files = [folder / "crontab", folder / "enabled", *(folder / "config").rglob("*.*")]
    return {str(path): path.read_text() for path in files if path.is_file()}


def test_it_is_made_once_and_ended(tmp_path: Path, person: Pipm) -> None:
    (tmp_path / "crontab").write_text("5 4 * * * backup\n")
    before = state(tmp_path)
    assert "Would run daily" in person("schedule", "-n").expect().out
    assert state(tmp_path) == before
    done = person("schedule", "--weekly", str(tmp_path / "home"), "--json").expect().json
    assert done["changed"]
    made = state(tmp_path)
    assert made != before
    assert "5 4 * * * backup\n" in made[str(tmp_path / "crontab")]
    assert not person("schedule", "--weekly", str(tmp_path / "home"), "--json").expect().json["changed"]
    assert state(tmp_path) == made
    # What it runs does the work.
    environment = with_alpha(tmp_path / "home/code/.venv")
    check(*done["command"], environ=person.command()[1])
    assert unshared(environment.site, person.store) == []
    person("schedule", "--daily", str(tmp_path / "home")).expect()
    assert len(state(tmp_path)) == len(made)
    assert "Removed" in person("schedule", "--remove").expect().out
    assert state(tmp_path) == before
    assert "Nothing is scheduled" in person("schedule", "--remove").expect().out
    person("schedule").expect()
    person("uninstall").expect()
    assert state(tmp_path) == before


@pytest.mark.parametrize("person", ["systemd"], indirect=True)
def test_systemd_reads_the_units(tmp_path: Path, person: Pipm) -> None:
    if shutil.which("systemd-analyze") is None:
        pytest.skip("no systemd here")
    folder = tmp_path / 'home/50% of "code" $HOME'
    folder.mkdir()
    person("schedule", str(folder)).expect()
    units = sorted(map(str, (tmp_path / "config/systemd/user").iterdir()))
    done = run("systemd-analyze", "verify", "--man=no", *units, environ={"HOME": str(tmp_path)})
    assert [line for line in done.stderr.splitlines() if "pipm-adopt" in line] == []


def test_no_timer_at_all(tmp_path: Path, pipm: Pipm) -> None:
    os.mkdir(tmp_path / "empty")
    none = replace(pipm, environ={"PATH": str(tmp_path / "empty"), "XDG_CONFIG_HOME": str(tmp_path)})
    for options in ((), ("-n",)):  # the machine lacks something; the command line is right
        assert_refused(none("schedule", *options, "--json"), "cron", "adopt --all", code=FAILED)
    assert_refused(none("schedule", "/nowhere", "--json"), "/nowhere", code=FAILED)

"""Logins are removed from URLs for pip, and pip and git get them in other ways."""

from __future__ import annotations

import netrc
import os
import subprocess
from typing import TYPE_CHECKING

import pytest
from pipm.wheel import hidden_logins
from pipm.wheel.hidden_logins import add_logins, hide_logins
from pipm.wheel.run_pip import PipCommand

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> int:
    """An open private folder."""
    return os.open(tmp_path, os.O_RDONLY)


def test_a_netrc_file_has_what_leaves_the_urls(folder: int, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("machine own.invalid login a password b\n")
    environ = {
        "NETRC": str(tmp_path / "mine"),
        "PIP_INDEX_URL": "https://u%40x:p%2Bq@one.invalid:8443/simple",
        "PIP_EXTRA_INDEX_URL": "https://two.invalid/simple https://token@three.invalid/simple",
    }
    pip, lines = hide_logins(
        PipCommand(command=("pip",), environ=environ),
        ["--find-links 'https://t:w@four.invalid/a b'", "x==1 --hash=sha256:00"],
        folder,
        str(tmp_path),
    )
    assert lines == ["--find-links 'https://four.invalid/a b'", "x==1 --hash=sha256:00"]
    assert pip.environ["PIP_INDEX_URL"] == "https://one.invalid:8443/simple"
    assert pip.environ["PIP_EXTRA_INDEX_URL"].endswith(" https://token@three.invalid/simple")
    assert pip.environ["NETRC"] == str(tmp_path / "netrc")
    assert os.stat(pip.environ["NETRC"]).st_mode & 0o077 == 0
    known = netrc.netrc(pip.environ["NETRC"])
    assert known.authenticators("one.invalid") == ("u@x", "", "p+q")
    assert known.authenticators("four.invalid") == ("t", "", "w")
    assert known.authenticators("own.invalid") == ("a", "", "b")


def test_the_login_of_a_proxy_is_no_option_of_the_pip_that_pip_starts(folder: int, tmp_path: Path) -> None:
    proxy, more = "http://me:pw@proxy.invalid:8080", {"NO_PROXY": "one.invalid", "HTTPS_PROXY": "http://x"}
    own = {"PIP_PROXY": proxy, "PIP_NO_PROXY_ENV": "1", **more}

    def told(line: str, environ: dict[str, str]) -> dict[str, str]:
        pip = PipCommand(command=("pip",), environ=environ)
        return dict(hide_logins(pip, [line], folder, str(tmp_path))[0].environ)

    assert told("x @ https://h.invalid/x.tar.gz", own) == {"http_proxy": proxy, "https_proxy": proxy}
    # git would use the variables, which the setting does not ask for.
    assert told("x @ git+https://h.invalid/x@0", own) == own
    plain = {**own, "PIP_PROXY": "http://proxy.invalid:8080"}
    assert told("x @ https://h.invalid/x.tar.gz", plain) == plain


@pytest.mark.parametrize(
    "text",
    [
        "https://a:b@h.invalid/x https://c:d@h.invalid/y",  # a netrc file has one login of a host
        "https://a:b@h.invalid/x https://h.invalid:8443/y",  # and would give it to another port
        "https://a:b@h.invalid/x http://h.invalid:80/y",
        "https://a:%20b@h.invalid/x",
        "https://a:%22@h.invalid/x",
        "https://a@h.invalid/x",
        "https://h.invalid/x",
        "ssh://a:b@h.invalid/x",
    ],
)
def test_what_a_netrc_file_cannot_hold_stays(folder: int, tmp_path: Path, text: str) -> None:
    pip = PipCommand(command=("pip",), environ={"PIP_EXTRA_INDEX_URL": text})
    assert hide_logins(pip, [], folder, str(tmp_path)) == (pip, [])
    assert os.listdir(tmp_path) == []


def test_a_netrc_file_that_pip_cannot_read_is_left_out(folder: int, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("machine\n")
    environ = {"NETRC": str(tmp_path / "mine"), "PIP_INDEX_URL": "https://a:b@h.invalid/x"}
    pip, _ = hide_logins(PipCommand(command=("pip",), environ=environ), [], folder, str(tmp_path))
    assert netrc.netrc(pip.environ["NETRC"]).authenticators("h.invalid") == ("a", "", "b")


def test_an_index_of_a_lock_gets_the_login_that_the_settings_have_for_its_host() -> None:
    environ = {
        "PIP_INDEX_URL": "https://me:p%2Fw@one.invalid/simple",
        "PIP_EXTRA_INDEX_URL": "https://a:b@two.invalid/x https://c:d@two.invalid/y",
    }
    pip = PipCommand(command=("pip",), environ=environ)
    stay = [
        "--index-url http://one.invalid/simple",
        "--index-url https://one.invalid:8443/simple",
        "--index-url https://other@one.invalid/simple",
        "--index-url https://two.invalid/simple",
        "x @ https://one.invalid/x.whl",
    ]
    assert add_logins(pip, ["--index-url https://one.invalid/more", *stay]) == [
        "--index-url https://me:p%2Fw@one.invalid/more",
        *stay,
    ]


def test_git_is_told_by_variables_and_for_its_host_alone(folder: int, tmp_path: Path) -> None:
    environ = os.environ | {
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "credential.helper",
        "GIT_CONFIG_VALUE_0": "!printf 'username=other\\npassword=other\\n'; :",
        "GIT_TERMINAL_PROMPT": "0",
    }
    line = "x @ git+https://me:it's%20%22a%22@h.invalid:99/x.git@0123#subdirectory=y"
    pip, lines = hide_logins(PipCommand(command=("pip",), environ=environ), [line], folder, str(tmp_path))
    assert lines == ["x @ git+https://h.invalid:99/x.git@0123#subdirectory=y"]

    def asked(host: str) -> str:
        question = f"protocol=https\nhost={host}\n\n"
        done = subprocess.run(
            ["git", "credential", "fill"],
            env=dict(pip.environ),
            cwd=tmp_path,
            input=question,
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        return done.stdout

    assert asked("h.invalid:99") == 'protocol=https\nhost=h.invalid:99\nusername=me\npassword=it\'s "a"\n'
    for host in ("h.invalid", "h.invalid:98", "evil.invalid"):
        assert "password=other" in asked(host)
    assert not (tmp_path / "netrc").exists()


def test_an_old_git_gets_the_url(folder: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hidden_logins, "_git_reads_variables", lambda: False)
    pip, line = PipCommand(command=("pip",), environ={}), "x @ git+https://me:pw@h.invalid/x.git@0123"
    assert hide_logins(pip, [line], folder, str(tmp_path)) == (pip, [line])

"""pip's settings about the network, and addresses that only pip can ask."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from pipm.fetch.http_client import HttpClient, Request
from pipm.fetch.network_settings import LeftToPipError, NetworkSettings

if TYPE_CHECKING:
    from pathlib import Path


def test_hosts_with_other_letters_are_left_to_pip() -> None:
    client = HttpClient(NetworkSettings.of({"NETRC": "/dev/null"}), lambda: False)
    with pytest.raises(LeftToPipError):
        client.open(Request("http://b\u00fccher.invalid/x"), {})


def test_paths_of_settings_are_those_of_pip(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", f"{tmp_path}")
    monkeypatch.chdir(tmp_path)
    for written in ("~/x", "x", f"{tmp_path}/x"):
        known = NetworkSettings.of({"PIP_CACHE_DIR": written, "NETRC": "/dev/null"})
        assert known.cache == f"{tmp_path}/x"
    assert NetworkSettings.of({"PIP_CERT": "~/ca.pem", "NETRC": "/dev/null"}).ca == f"{tmp_path}/ca.pem"

"""The finder's path files for each version of Python."""

from __future__ import annotations

import os

import pytest
from pipm.finder.environment_state import install_finder, uninstall_finder
from pipm.finder.import_table import ImportTable

FOLDER = ".pipm/finder"


def table_of(release: str, entries: list[str]) -> ImportTable:
    return ImportTable(
        environment="/e",
        store="/s",
        site=f"lib/{release}/site-packages",
        site_time=0,
        entries=entries,
        modules={},
        infos=[],
        remedy="",
    )


def test_many_lines_are_split_over_files() -> None:
    """pyright passes over path files of 64 KiB and more."""
    entries = [f"{'long-' * 20}{number}/1/py3-none-any-00000000" for number in range(900)]
    files = dict(table_of("python3.12", entries).path_files(FOLDER))
    assert len(files) > 2
    assert min(files) == "000_pipm.pth"
    assert all(len(data) < 64 << 10 for data in files.values())
    lines = b"".join(files.values()).decode().splitlines()
    assert [line for line in lines if line.startswith("/s/")] == [
        f"/s/v1/wheels/{e}/site-packages" for e in entries
    ]


@pytest.mark.parametrize(
    ("release", "by_line"),
    [
        ("python3.9", True),
        ("pypy3.9", True),
        ("python3.14", True),
        ("python3.15", True),
        ("python3.17", True),
        ("python3.18", False),
        ("python3.20", False),
    ],
)
def test_what_starts_the_hook(release: str, by_line: bool) -> None:  # noqa: FBT001 - a table
    """PEP 829: import lines end with 3.18; a start file mutes a path file of its stem, and is slow before."""
    files = dict(table_of(release, ["a/1/py3-none-any-0"]).path_files(FOLDER))
    text = files["000_pipm.pth"].decode()
    assert text.splitlines()[0] == f"../../../{FOLDER}"
    assert ("import _pipm_finder" in text) is by_line
    assert files.get("000_pipm_boot.start") == (None if by_line else b"_pipm_finder:start\n")
    assert files["000_pipm_1.pth"] == b"/s/v1/wheels/a/1/py3-none-any-0/site-packages\n"
    stems = [name.rpartition(".")[0] for name in files]
    assert len(stems) == len(set(stems))


def test_all_of_it_goes_again(tmp_path: os.PathLike[str]) -> None:
    site = os.path.join(tmp_path, "lib/python3.18/site-packages")
    os.makedirs(site)
    with open(f"{site}/other.pth", "wb"):
        pass
    root = os.open(tmp_path, os.O_RDONLY)
    try:
        install_finder(
            root, table_of("python3.18", [f"{'long/' * 50}{n}" for n in range(400)]), b"{}", "cpython-318"
        )
        assert len(os.listdir(site)) == 5
        install_finder(root, table_of("python3.18", ["a/1/x"]), b"{}", "cpython-318")
        assert sorted(os.listdir(site)) == [
            "000_pipm.pth",
            "000_pipm_1.pth",
            "000_pipm_boot.start",
            "other.pth",
        ]
        uninstall_finder(root, "lib/python3.18/site-packages")
    finally:
        os.close(root)
    assert os.listdir(site) == ["other.pth"]
    assert os.listdir(tmp_path) == ["lib"]

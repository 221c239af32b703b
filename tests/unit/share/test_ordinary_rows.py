"""The rows of RECORD that the fast way of sharing takes."""

from __future__ import annotations

import pytest
from pipm.core.digest import Digest
from pipm.env.installed import InstalledDistribution
from pipm.share.fast_share import ordinary_rows

HASH = Digest.of(b"x").record


def rows_of(record: str) -> tuple[list[tuple[str, str]], str]:
    """The ordinary rows by folder and name, and the rest."""
    distribution = InstalledDistribution(
        name="demo", version="1", site="lib", metadata="demo-1.dist-info", record=record.encode()
    )
    folders, rest = ordinary_rows(distribution)
    return [(folder.decode(), name) for folder, rows in folders.items() for name in rows], rest.decode()


def test_a_file_of_a_package_is_ordinary() -> None:
    assert rows_of(f"demo/a.py,{HASH},1\n") == ([("demo", "a.py")], "")


@pytest.mark.parametrize(
    "row",
    [
        f"demo.py,{HASH},1",  # at the top of site-packages, where path files are, too
        f"demo-1.dist-info/METADATA,{HASH},1",
        f"../../../bin/demo,{HASH},1",
        f"demo/a.py,{HASH},",
        "demo/a.py,,1",
        f'"demo/a,b.py",{HASH},1',
    ],
)
def test_all_else_is_left_to_the_general_way(row: str) -> None:
    assert rows_of(row) == ([], row)


def test_bytecode_is_handled_with_its_source() -> None:
    assert rows_of("demo/__pycache__/a.cpython-312.pyc,,\n") == ([], "")

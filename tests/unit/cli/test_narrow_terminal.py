"""Tables on terminals of several widths."""

from __future__ import annotations

import sys

import pytest
from pipm.cli.output import Output

PATH = "~/code/a-long-name-of-a-project/.venv"
ROWS = [("<ENVIRONMENT", "<KIND", ">ONDISK", ">EXCLUSIVE"), (PATH, "venv", "197.9MiB", "3.9MiB")]
HEADS = [head[1:] for head in ROWS[0]]
WIDE = len(f"{PATH}  KIND  197.9MiB  EXCLUSIVE")


def table(capsys: pytest.CaptureFixture[str]) -> tuple[list[str], str]:
    """Print the table; returns its lines and what is on standard error."""
    Output().table(ROWS, ["KIND", "ONDISK"])
    shown = capsys.readouterr()
    return shown.out.splitlines(), shown.err


@pytest.mark.parametrize(
    ("columns", "heads"),
    [
        (WIDE, HEADS),
        (WIDE - 1, HEADS),
        (48, ["ENVIRONMENT", "ONDISK", "EXCLUSIVE"]),
        (30, ["ENVIRONMENT", "EXCLUSIVE"]),
    ],
)
def test_a_table_fits_its_terminal(
    columns: int, heads: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    lines, notes = table(capsys)
    assert lines[0].split() == heads
    assert max(map(len, lines)) <= columns
    assert (PATH in lines[1]) == (columns == WIDE)
    assert lines[1].split()[-1] == "3.9MiB"
    assert all(head in notes for head in HEADS if head not in heads)
    assert bool(notes) == (heads != HEADS)


def test_a_pipe_gets_everything(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    lines, notes = table(capsys)
    assert lines[0].split() == HEADS
    assert lines[1].split() == list(ROWS[1])
    assert not notes

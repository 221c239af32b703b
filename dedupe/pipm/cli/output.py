"""Printing: results go to stdout, messages to stderr."""

from __future__ import annotations

import contextlib
import io
import os
import sys

from pipm.cli.format_text import printable
from pipm.core.named_tuple import NamedTuple
from pipm.errors import BuildError, OutputError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from typing import IO

    from pipm.errors import PipmError

_CODES = {"green": "32", "yellow": "33", "red": "31", "cyan": "36", "bold": "1"}
_MOST_NAMED = 20
_GAP = "  "
_SHORTEST = 12
"""Characters that stay of the first column of a table."""


def _print(text: str) -> None:
    """Print to standard error; ignore a closed or full one."""
    with contextlib.suppress(OSError):
        print(text, file=sys.stderr)


def _room_beside(widths: Sequence[int]) -> int:
    """Return the width of all columns but the first, with gaps; a column without width is left out."""
    return sum(width + len(_GAP) for width in widths[1:] if width)


def _shortened(text: str, width: int) -> str:
    """Leave out the middle of *text* if it is longer than *width*."""
    if len(text) <= width:
        return text
    end = width * 2 // 3
    return f"{text[: width - end - 1]}…{text[-end:]}"


class Output(NamedTuple):
    """Settings of output: ``quiet`` 1 keeps results, 2 is silent; ``color`` is auto, always or never."""

    quiet: int = 0
    verbose: bool = False
    json: bool = False
    color: str = "auto"

    def result(self, text: str) -> None:
        """Print a result line."""
        if self.quiet < 2 and not self.json:
            print(text)

    def table(self, rows: Sequence[tuple[str, ...]], spare: Iterable[str] = ()) -> None:
        """Print columns without borders; heads begin with the alignment, ``<`` or ``>``.

        A terminal that is too narrow gets no *spare* columns, the first of them first, and a shorter first
        column. A pipe or a file gets everything.
        """
        alignment = [head[0] for head in rows[0]]
        plain = [tuple(head[1:] for head in rows[0]), *rows[1:]]
        heads = list(plain[0])
        widths = [max(map(len, column)) for column in zip(*plain, strict=True)]
        left_out = []
        if sys.stdout.isatty():
            import shutil  # noqa: PLC0415 - takes 3 ms, and few commands print a table

            most = shutil.get_terminal_size().columns
            waiting = [head for head in spare if head in heads]
            while waiting and _room_beside(widths) + min(widths[0], most // 2) > most:
                left_out.append(waiting.pop(0))
                widths[heads.index(left_out[-1])] = 0
            widths[0] = max(min(widths[0], most - _room_beside(widths)), _SHORTEST)
        for row in plain:
            columns = zip((_shortened(row[0], widths[0]), *row[1:]), alignment, widths, strict=True)
            cells = (f"{cell:{align}{width}}" for cell, align, width in columns if width)
            self.result(_GAP.join(cells).rstrip())
        if left_out:
            self.note("note", f"the terminal is too narrow for {', '.join(left_out)}")

    def data(self, text: str) -> None:
        """Print data, even with --quiet."""
        print(text)

    def document(self, command: str, content: dict[str, object]) -> None:
        """Print the command's one JSON object."""
        import json  # noqa: PLC0415 - most output is text

        print(json.dumps({"version": 1, "command": command, **content}))

    def note(self, kind: str, text: str) -> None:
        """Print a message of the kind ``note``, ``warning`` or ``hint``."""
        if self.quiet == 0 and not self.json:
            colour = {"warning": "yellow", "hint": "cyan"}.get(kind, "bold")
            _print(f"{self.paint(kind + ':', colour, sys.stderr)} {text}")

    def named(self, lines: Iterable[str]) -> None:
        """Print the subjects of a warning; after twenty only the number of the others."""
        if self.quiet or self.json:
            return
        every = list(lines)
        shown = every if self.verbose else every[:_MOST_NAMED]
        for line in shown:
            _print(f"  {printable(line)}")
        if len(every) > len(shown):
            _print(f"  … {len(every) - len(shown)} more (`--verbose`)")

    def error(self, error: PipmError) -> None:
        """Print an error and its hint."""
        if self.json:
            import json  # noqa: PLC0415 - likewise

            content = {
                "kind": error.kind,
                "message": error.message,
                "hint": error.hint,
                "code": error.exit_code,
            }
            _print(json.dumps({"error": content}))
            return
        _print(f"{self.paint('error:', 'red', sys.stderr)} {printable(error.message)}")
        if error.hint is not None:
            _print(f"\n{self.paint('hint:', 'cyan', sys.stderr)} {printable(error.hint)}")
        if error.details and (self.verbose or isinstance(error, BuildError)):
            _print(f"\n{error.details.rstrip()}")

    def paint(self, text: str, colour: str, stream: IO[str] | None = None) -> str:
        """Return *text* in *colour* if *stream* (default: standard output) shows colours."""
        shows = self.colourful(stream or sys.stdout)
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if shows else text

    def colourful(self, stream: IO[str]) -> bool:
        """Return whether *stream* gets colours: --color, NO_COLOR, FORCE_COLOR, TERM, then the terminal."""
        if self.color != "auto":
            return self.color == "always"
        if os.environ.get("NO_COLOR"):
            return False
        if os.environ.get("FORCE_COLOR"):
            return True
        return stream.isatty() and os.environ.get("TERM") != "dumb"


def check_output() -> None:
    """Make writes to standard output raise OutputError if they fail."""
    plain = sys.stdout
    if type(plain) is io.TextIOWrapper:  # nothing replaced it
        checked = _Checked(
            plain.buffer,
            plain.encoding,
            plain.errors,
            line_buffering=plain.line_buffering,
            write_through=plain.write_through,  # PYTHONUNBUFFERED
        )
        checked.plain = plain
        sys.stdout = checked


class _Checked(io.TextIOWrapper):
    """Standard output that raises OutputError, so that its errors differ from errors of files.

    ``plain`` keeps the former object alive, whose destructor would close the file.
    """

    plain: IO[str]

    def write(self, text: str, /) -> int:
        """Write, or raise OutputError; raise BrokenPipeError if the reader closed the pipe."""
        with _result():
            return super().write(text)

    def flush(self) -> None:
        """Likewise."""
        with _result():
            super().flush()


@contextlib.contextmanager
def _result() -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(
            f"Cannot write to standard output: {error.strerror}",
            hint="check whether the disk is full or the terminal was closed",
        ) from error

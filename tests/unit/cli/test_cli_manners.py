"""The command line: help, options on both sides of the command, errors, exit codes, colours, start-up."""

from __future__ import annotations

import glob
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pipm
import pytest
import typer
from pipm.cli import application
from pipm.cli.format_text import age_text, count_text, counted, path_text, printable, seconds_text
from pipm.cli.help_topics import topic, topics
from pipm.cli.output import Output
from pipm.cli.terminal_progress import NotesOnly, TerminalProgress, pace_text, progress_for
from pipm.core.environment_variables import VARIABLES
from pipm.core.size_text import size_text
from pipm.errors import FileSystemError, PipmError
from support.archives import FILE_NAME, Archive, install
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pathlib import Path

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(pipm.__file__)))
COMMON = ("--quiet", "--verbose", "--json", "--store", "--color")
ESCAPE = "\x1b["


class Ran:
    """What the command answered in this process."""

    def __init__(self, *arguments: str) -> None:
        result = CliRunner().invoke(application.app, list(arguments), prog_name="pipm")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        self.code, self.out, self.err = result.exit_code, result.stdout, result.stderr

    @property
    def error(self) -> dict[str, Any]:
        """The error object on standard error."""
        value: dict[str, Any] = json.loads(self.err)["error"]
        return value


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIPM_LINK_MODE", "NO_COLOR", "FORCE_COLOR", "TERM", "XDG_DATA_HOME", "PIPM_NO_PROGRESS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIPM_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("option", ["-h", "--help"])
@pytest.mark.parametrize(
    "command", [(), ("adopt",), ("release",), ("list",), ("df",), ("store",), ("store", "add")]
)
def test_help(option: str, command: tuple[str, ...]) -> None:
    ran = Ran(*command, option)
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.startswith(f"Usage: pipm {' '.join(command)}".rstrip())
    if command not in ((), ("store",)):
        assert all(name in ran.out for name in COMMON)
    assert not os.path.exists("store")


@pytest.mark.parametrize("option", ["-V", "--version"])
def test_the_version(option: str) -> None:
    ran = Ran(option)
    assert (ran.code, ran.out, ran.err) == (0, f"pipm {pipm.__version__}\n", "")


def test_nothing_asked_is_wrong_usage() -> None:
    assert Ran().code == 2
    assert Ran("store").code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ("--store", "other", "store", "path"),
        ("store", "path", "--store", "other"),
        ("--store", "ignored", "store", "path", "--store", "other"),
    ],
)
def test_common_options_stand_on_both_sides(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = Ran(*arguments)
    assert (ran.code, ran.out) == (0, f"{tmp_path / 'other'}\n")


@pytest.mark.parametrize("arguments", [("--json", "store", "path"), ("store", "path", "--json")])
def test_one_json_object(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ran = Ran(*arguments)
    assert json.loads(ran.out) == {"version": 1, "command": "store path", "path": str(tmp_path / "store")}
    assert ran.out.count("\n") == 1


@pytest.mark.parametrize("place", ["before", "after"])
@pytest.mark.parametrize(
    ("arguments", "code", "kind"),
    [
        (("adopt", "missing"), 1, "not-an-environment"),
        (("release", "missing"), 1, "not-an-environment"),
        (("adopt", "--all", "missing"), 1, "not-an-environment"),
        (("adopt", "--link-mode", "magic"), 2, "usage"),
        (("adopt", "env", "--link-mode", "copy"), 2, "usage"),
        (("adopt", "env", "--link-mode", "copy", "-n"), 2, "usage"),
        (("list", "--sort", "magic"), 2, "usage"),
        (("store", "path", "--color", "sometimes"), 2, "usage"),
        (("store", "add", "missing.whl"), 1, "bad-wheel"),
        (("--store", "file", "store", "add", FILE_NAME), 1, "store"),
    ],
)
def test_errors_in_both_forms(
    tmp_path: Path, place: str, arguments: tuple[str, ...], code: int, kind: str
) -> None:
    install(str(tmp_path / "env"), {"demo.py": b"x = 1\n"})
    Archive(files={"demo.py": b"x = 1\n"}).write(str(tmp_path))
    (tmp_path / "file").write_text("x")
    ran = Ran("--json", *arguments) if place == "before" else Ran(*arguments, "--json")
    assert (ran.code, ran.out) == (code, "")
    assert set(ran.error) == {"kind", "message", "hint", "code"}
    assert (ran.error["kind"], ran.error["code"]) == (kind, code)
    told = Ran(*arguments)
    assert (told.code, told.out) == (code, "")
    assert told.err == f"error: {ran.error['message']}\n\nhint: {ran.error['hint']}\n"
    assert not os.path.exists("store")


def test_a_hostile_wheel(tmp_path: Path) -> None:
    good = Archive(files={"demo.py": b"x = 1\n"}).write(str(tmp_path / "good"))
    bad = Archive(files={"../demo.py": b"x = 1\n"}).write(str(tmp_path / "bad"))
    ran = Ran("store", "add", bad)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith(f"error: {FILE_NAME}: '../demo.py' is not a valid name")
    assert "\n\nhint: fetch it again" in ran.err
    both = Ran("store", "add", bad, good, "--json")
    assert both.code == 3  # the rest was done
    assert both.error["kind"] == "bad-wheel"
    (row,) = json.loads(both.out)["wheels"]
    assert (row["wheel"], row["known"]) == (good, False)
    again = Ran("-q", "store", "add", good)
    assert (again.code, again.out) == (0, f"Had {row['entry']}\n")
    assert Ran("-qq", "store", "add", good).out == ""


@pytest.mark.parametrize(
    "arguments", [("adopt", "--magic"), ("magic",), ("store", "magic"), ("store", "add"), ("df", "extra")]
)
def test_wrong_usage(arguments: tuple[str, ...]) -> None:
    ran = Ran(*arguments)
    assert (ran.code, ran.out) == (2, "")
    assert "Usage: pipm" in ran.err


@pytest.mark.parametrize("arguments", [("adopt", "--magic"), ("magic",)])
def test_wrong_usage_as_json(arguments: tuple[str, ...]) -> None:
    ran = subprocess.run(
        [sys.executable, "-m", "pipm", "--json", *arguments], capture_output=True, text=True, check=False
    )
    assert ran.returncode == 2
    assert json.loads(ran.stderr)["error"]["kind"] == "usage"


def test_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_arguments: object, **_options: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("pipm.cli.usage_output.show_df", interrupted)
    ran = Ran("df", "--json")
    assert (ran.code, ran.error["kind"], ran.error["code"]) == (130, "interrupted", 130)


@pytest.mark.parametrize(
    ("option", "variables", "coloured"),
    [
        ("auto", {}, False),
        ("auto", {"FORCE_COLOR": "1"}, True),
        ("auto", {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("auto", {"NO_COLOR": ""}, False),
        ("always", {}, True),
        ("always", {"NO_COLOR": "1"}, True),
        ("never", {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colours(
    monkeypatch: pytest.MonkeyPatch,
    option: str,
    variables: dict[str, str],
    coloured: bool,  # noqa: FBT001
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    for arguments in (("--color", option, "adopt", "missing"), ("adopt", "missing", "--color", option)):
        ran = Ran(*arguments)
        assert (ESCAPE in ran.err) == coloured
        assert re.sub(r"\x1b\[\d+m", "", ran.err).startswith("error: There is no folder missing\n\nhint: ")


class Terminal:
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(("term", "coloured"), [("xterm", True), ("dumb", False)])
def test_colours_on_a_terminal(monkeypatch: pytest.MonkeyPatch, term: str, coloured: bool) -> None:  # noqa: FBT001
    monkeypatch.setenv("TERM", term)
    assert Output().colourful(Terminal()) is coloured  # type: ignore[arg-type]


def test_control_characters_do_not_reach_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    Output().error(PipmError("bad \x1b[31m\nname \udce9", hint="do\tit"))
    assert capsys.readouterr().err == "error: bad \\x1b[31m\\nname \\udce9\n\nhint: do\\tit\n"
    Output(json=True).error(FileSystemError("bad \x1b\udce9"))
    error = json.loads(capsys.readouterr().err)["error"]
    assert error == {"kind": "file-system", "message": "bad \x1b\udce9", "hint": None, "code": 1}


def test_quietness(capsys: pytest.CaptureFixture[str]) -> None:
    for quiet, result, note in ((0, True, True), (1, True, False), (2, False, False)):
        output = Output(quiet=quiet)
        output.result("done")
        output.note("warning", "mind")
        output.named(["it"])
        told = capsys.readouterr()
        assert (told.out == "done\n", "warning: mind" in told.err) == (result, note)
        assert ("  it\n" in told.err) == note


def test_a_long_list_is_cut(capsys: pytest.CaptureFixture[str]) -> None:
    Output().named(str(number) for number in range(25))
    cut = capsys.readouterr().err
    assert cut.count("\n") == 21
    assert "… 5 more" in cut
    Output(verbose=True).named(str(number) for number in range(25))
    assert capsys.readouterr().err.count("\n") == 25


def test_progress_is_for_terminals(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert isinstance(progress_for(Output()), NotesOnly)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    progress = progress_for(Output())
    assert isinstance(progress, TerminalProgress)
    assert isinstance(progress_for(Output(json=True)), NotesOnly)
    assert isinstance(progress_for(Output(quiet=1)), NotesOnly)
    progress.phase("Sharing files", 10)
    progress.advance(5, 100)
    assert capsys.readouterr().err == ""  # not within the first half second
    monkeypatch.setattr("pipm.cli.terminal_progress._DELAY", 0)
    progress.advance(5, 100)
    assert "5/10" in capsys.readouterr().err
    progress.part(13, 24, 32)
    progress.advance(5, 100)
    assert "13 to 24 of 32 environments: Sharing files" in capsys.readouterr().err
    assert pace_text(0.25, 40 << 20, 10) == "  40.0 MiB  4.0 MiB/s  0:30 left"
    assert pace_text(0.5, 0, 90) == "  1:30 left"
    assert not pace_text(1, 0, 3)
    progress.done()
    progress.done()
    assert capsys.readouterr().err == "\r\x1b[2K"


def test_words(monkeypatch: pytest.MonkeyPatch) -> None:
    assert [size_text(size) for size in (0, 1023, 1024, 1536, -2048, 1 << 20, (1 << 20) - 1)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "1.5 KiB",
        "-2.0 KiB",
        "1.0 MiB",
        "1.0 MiB",
    ]
    assert size_text(5 << 50) == "5120.0 TiB"
    assert (count_text(29869), counted(1, "file"), counted(2, "file")) == ("29 869", "1 file", "2 files")
    assert (seconds_text(0.0123), seconds_text(3.21)) == ("[12ms]", "[3.2s]")
    ages = [age_text(seconds) for seconds in (5, 60, 7200, 86400, 3e6, 4e7)]
    assert ages == ["just now", "1 minute ago", "2 hours ago", "1 day ago", "1 month ago", "1 year ago"]
    monkeypatch.setenv("HOME", "/home/me")
    assert [path_text(path) for path in ("/home/me", "/home/me/x", "/home/me2/x")] == [
        "~",
        "~/x",
        "/home/me2/x",
    ]
    assert printable("caf\u00e9 \u202e\x7f") == "caf\u00e9 \\u202e\\x7f"


def modules_after(*arguments: str) -> set[str]:
    """The modules that a run of the command imports."""
    code = (
        "import os, sys\n"
        f"sys.argv = ['pipm', *{arguments!r}]\n"
        "from pipm.__main__ import main\n"
        "end = os._exit\n"
        "os._exit = lambda code: (print('\\n' + ' '.join(sys.modules), flush=True), end(code))\n"
        "main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split())


HEAVY = {"rich", "psutil", "installer", "packaging", "zipfile", "multiprocessing", "subprocess", "xattr"}


@pytest.mark.parametrize(
    ("arguments", "by_typer"), [(("--version",), False), (("-V",), False), (("store", "path"), True)]
)
def test_the_start_loads_little(arguments: tuple[str, ...], by_typer: bool) -> None:  # noqa: FBT001
    loaded = modules_after(*arguments)
    assert ("typer" in loaded) is by_typer
    assert loaded & (HEAVY - {"subprocess"}) == set()
    assert not {name for name in loaded if name.startswith(("pipm.ops", "pipm.wheel", "pipm.env"))}


def test_importing_the_package_loads_nothing() -> None:
    code = "import sys; before = set(sys.modules); import pipm; print(*(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"__future__", "pipm", "pipm.version"}


def test_the_list_of_commands_is_whole_sentences() -> None:
    listed = Ran("-h").out.partition("Commands:\n")[2]
    assert "adopt " in listed
    assert "..." not in listed


def test_help_about_commands_and_topics() -> None:
    assert Ran("help").out == Ran("-h").out
    assert Ran("help", "gc").out == Ran("gc", "-h").out
    for name in topics():
        assert Ran("help", name).out == f"{topic(name)}\n"
        assert name in Ran("-h").out
        assert max(len(line) for line in topic(name).splitlines()) <= 110
    unknown = Ran("help", "magic")
    assert (unknown.code, unknown.out) == (2, "")
    assert "hint: topics: environment" in unknown.err


def test_every_variable_is_explained() -> None:
    used: set[str] = set()
    for path in glob.glob(f"{os.path.dirname(pipm.__file__)}/**/*.py", recursive=True):
        with open(path, encoding="utf-8") as source:
            used.update(re.findall(r"\"(PIPM_[A-Z_]+)\"", source.read()))
    assert used - {"PIPM_STALE_TOLD"} == set(VARIABLES)  # that one is said by a start to its children
    assert all(f"  {name} " in topic("environment") for name in VARIABLES)


def test_the_link_mode_out_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(str(tmp_path / "env"), {"demo.py": b"x = 1\n"})
    monkeypatch.setenv("PIPM_LINK_MODE", "magic")
    refused = Ran("adopt", "env", "--json")
    assert (refused.code, refused.error["kind"]) == (2, "usage")
    monkeypatch.setenv("PIPM_LINK_MODE", "hardlink")
    assert json.loads(Ran("adopt", "env", "--json").out)["environments"][0]["link_mode"] == "hardlink"
    over = Ran("adopt", "env", "--link-mode", "magic", "--json")
    assert (over.code, over.error["kind"]) == (2, "usage")


def test_every_command_explains_itself() -> None:
    command = typer.main.get_command(application.app)
    found = command.commands | command.commands["store"].commands  # type: ignore[attr-defined]
    assert {"adopt", "release", "list", "df", "path", "add", "ls"} <= set(found)
    for name, one in found.items():
        assert one.help, name
        assert all(getattr(option, "help", "x") for option in one.params), name

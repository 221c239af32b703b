"""`pipm sync` without typer means what it means with it, or nothing."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import pytest
import typer
from pipm.cli.exit_codes import DEFAULTS
from pipm.cli.option_words import FLAGS, LISTS
from pipm.cli.options import app
from pipm.cli.quick_sync import COMMON_FLAGS, COMMON_VALUES, VALUES, parse_sync_words
from pipm.cli.sync_output import SyncArguments
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pipm.cli.output import Output


def by_typer(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], SyncArguments]:
    """What the command gets when typer reads *words*."""
    got: list[tuple[Output, str, SyncArguments]] = []

    def noted(output: Output, store: str, arguments: SyncArguments) -> int:
        got.append((output, store, arguments))
        return 0

    monkeypatch.setattr("pipm.cli.sync_output.sync_environment", noted)
    assert CliRunner().invoke(app, words).exit_code == 0
    ((output, store, arguments),) = got
    common = {key: getattr(output, key) for key in ("quiet", "verbose", "json", "color")}
    return common | {"store": store}, arguments


@pytest.mark.parametrize(
    "text",
    [
        "sync",
        "sync uv.lock",
        "sync sync",
        "-q sync",
        "-qq --store /s --color never sync --env e pylock.toml -n",
        "sync -v --json --store=/s --env=e --python 3.12 --link-mode hardlink",
        "sync --extra a --extra b --group=c --no-default-groups x.toml",
        "sync --prefer-stored --trust-adopted --no-compile --clobber --dry-run",
        "sync --compile",
        "sync --no-dist-info",
        "sync --dist-info --quiet --verbose",
    ],
)
def test_as_typer_reads_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = parse_sync_words(text.split())
    assert found is not None
    common, own = found
    whole, arguments = by_typer(text.split(), monkeypatch)
    assert SyncArguments(**own) == arguments
    assert {key: common[key] for key in ("quiet", "verbose", "json", "color")} == {
        key: whole[key] for key in ("quiet", "verbose", "json", "color")
    }
    assert common["store"] in ("", whole["store"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lock",
        "run sync",
        "--help sync",
        "sync -h",
        "sync --help",
        "sync --env",
        "sync --env -q",
        "sync --env=",
        "sync --link-mod hardlink",
        "sync --env a --env b",
        "sync -q -q",
        "-q sync -q",
        "sync a b",
        "sync -- a",
        "sync -qv",
        "sync -V",
        "--env a sync",
        "sync --no-compile --no-compile",
        "sync --dist-info --no-dist-info",
        "sync --json=1",
    ],
)
def test_typer_has_the_last_word(text: str) -> None:
    assert parse_sync_words(text.split()) is None


def test_it_knows_every_option() -> None:
    """Whoever gives `pipm sync` another option gives it here, too."""
    command = typer.main.get_command(app).get_command(typer.Context(typer.main.get_command(app)), "sync")  # type: ignore[attr-defined]
    spelled = {word for option in command.params for word in (*option.opts, *option.secondary_opts)}
    known = {*COMMON_FLAGS, *COMMON_VALUES, *FLAGS, *LISTS, *VALUES} - {"-qq"}
    assert known == {word for word in spelled if word.startswith("-")} - {"-h", "--help"}
    assert set(inspect.signature(SyncArguments).parameters) >= {
        *(key for key, _ in FLAGS.values()),
        *VALUES.values(),
        *LISTS.values(),
    }
    assert set(DEFAULTS) == {*COMMON_VALUES.values(), *(key for key, _ in COMMON_FLAGS.values())}

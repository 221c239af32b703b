"""A command line that starts without typer has the same meaning as with typer."""

from __future__ import annotations

import ast
import os
import runpy
from typing import TYPE_CHECKING, Any

import pytest
from pipm.cli import option_table
from pipm.cli.application import app
from pipm.cli.arguments import parse_words, words_of
from pipm.cli.exit_codes import DEFAULTS
from pipm.cli.option_table import ADOPT, COMMON, RUN, SYNC, AdoptArguments, RunArguments, SyncArguments
from typer.testing import CliRunner

if TYPE_CHECKING:
    from pipm.cli.arguments import Arguments
    from pipm.cli.output import Output

SCRIPT = os.path.join(os.path.dirname(__file__), "../../../scripts/option-table")


def without_typer(words: list[str]) -> tuple[dict[str, Any], dict[str, Any]] | None:
    if words[:1] == ["run"]:
        return parse_words(words, "run", COMMON, RUN, program=True)
    if "adopt" in words:
        return parse_words(words, "adopt", COMMON, ADOPT, program=False)
    return parse_words(words, "sync", COMMON, SYNC, program=False)


def known(arguments: Arguments) -> dict[str, Any]:
    """All arguments; none given and an empty list are the same."""
    names = [name for name in vars(type(arguments)) if not name.startswith("_")]
    return {name: getattr(arguments, name) or None for name in names} | {
        name: value for name in names if (value := getattr(arguments, name)) is False
    }


def by_typer(words: list[str], monkeypatch: pytest.MonkeyPatch) -> tuple[dict[str, Any], Arguments]:
    """What the command gets when typer reads *words*."""
    got: list[tuple[Output, str, Arguments]] = []

    def synced(output: Output, store: str, arguments: Arguments) -> int:
        got.append((output, store, arguments))
        return 0

    monkeypatch.setattr("pipm.cli.sync_output.sync_environment", synced)
    monkeypatch.setattr("pipm.cli.environments_output.adopt_environments", synced)
    monkeypatch.setattr("pipm.cli.run_program.run_program", lambda talk, *rest: synced(talk(), *rest))
    assert CliRunner().invoke(app, words).exit_code == 0
    ((output, store, arguments),) = got
    return output._asdict() | {"store": store}, arguments


@pytest.mark.parametrize(
    "text",
    [
        "sync",
        "sync uv.lock",
        "sync sync",
        "-q sync",
        "-q --store /s --color never sync --env e pylock.toml -n",
        "sync -v --json --store=/s --env=e --python 3.12 --link-mode hardlink",
        "sync --extra a --extra b --group=c --no-default-groups x.toml",
        "sync --prefer-stored --trust-adopted --no-compile --clobber --dry-run",
        "sync --no-dist-info",
        "sync --dist-info --quiet --verbose",
        "sync -qq uv.lock",
        "adopt",
        "adopt a b c --compile",
        "-q adopt -n --all x a --all=y b --link-mode hardlink",
        "adopt --wrap-pip --dist-info a",
        "adopt --no-wrap-pip adopt",
        "run pytest",
        "run -- pytest -q",
        "run --lock uv.lock pytest -q --lock x",
        "run -w rich --with=attrs -e a --env b -p 3.12 --refresh --script x",
        "run -q --store /s run --no-lock",
    ],
)
def test_as_typer_reads_it(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    found = without_typer(text.split())
    assert found is not None
    settings, own = found
    whole, arguments = by_typer(text.split(), monkeypatch)
    assert known(type(arguments)(own)) == known(arguments)
    assert {**DEFAULTS, **settings} == whole | {"store": settings.get("store", "")}
    assert settings.get("store", whole["store"]) == whole["store"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "lock",
        "run -h",
        "run --lock",
        "run --lokc a b",
        "run --python a --python b c",
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
        "-qqq sync",
        "sync a b",
        "sync a a",
        "sync -- a",
        "sync -qv",
        "sync -V",
        "--env a sync",
        "sync --clobber --clobber",
        "sync --dist-info --no-dist-info",
        "sync --json=1",
        "adopt -h",
        "adopt --all",
        "adopt -- a",
        "adopt --wrap a",
        "sync adopt",
    ],
)
def test_typer_has_the_last_word(text: str) -> None:
    assert without_typer(text.split()) is None
    assert without_typer([*text.split(), ""]) is None


@pytest.mark.parametrize(
    "text",
    [
        "",
        "--extra a --extra b --group c --no-default-groups",
        "--link-mode symlink --no-dist-info",
        "--dist-info --package x --all-packages --prefer-stored --trust-adopted --no-compile --clobber",
    ],
)
def test_a_sync_can_be_repeated_by_its_words(text: str) -> None:
    found = without_typer(["sync", "a.lock", "--env", "e", *text.split()])
    assert found is not None
    words = words_of(SyncArguments(found[1]), SYNC, frozenset({"lock", "environment"}))
    again = without_typer(["sync", "a.lock", "--env", "e", *words])
    assert again == found
    assert sorted(words) == sorted(text.split())


def test_the_table_is_what_typer_knows() -> None:
    """Whoever changes an option runs scripts/option-table; how the table is laid out does not matter."""
    current = runpy.run_path(SCRIPT)["option_table_text"]()
    with open(option_table.__file__, encoding="utf-8") as stream:
        assert ast.dump(ast.parse(stream.read())) == ast.dump(ast.parse(current))


def test_defaults_are_those_of_the_classes() -> None:
    assert {name for name, _ in COMMON.values()} == DEFAULTS.keys()
    assert {name for name, _ in ADOPT.values()} <= vars(AdoptArguments).keys()
    assert {name for name, _ in RUN.values()} <= vars(RunArguments).keys()
    assert {name for name, _ in SYNC.values()} <= vars(SyncArguments).keys()

"""A compiler process that dies during its work."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from pipm.bytecode.compiler_process import CompilerProcess, CompileTask

if TYPE_CHECKING:
    import pytest
    from pipm.env.interpreter import Interpreter

_TASKS = [CompileTask(f"{number}.py", "", "", "", 0, 0, 0) for number in range(5)]


def _compiler(monkeypatch: pytest.MonkeyPatch, *, runs: bool, deadly: str) -> CompilerProcess:
    """A process whose interpreter dies at the source *deadly*."""

    def ask(_: CompilerProcess, tasks: list[tuple[object, ...]]) -> list[bool] | None:
        return None if not runs or any(deadly in task for task in tasks) else [True] * len(tasks)

    monkeypatch.setattr(CompilerProcess, "_ask", ask)
    return CompilerProcess(cast("Interpreter", None))


def test_a_source_that_ends_it_does_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = _compiler(monkeypatch, runs=True, deadly="3.py").compile(_TASKS)
    assert answers == [True, True, True, False, True]
    assert answers[3] is False


def test_one_that_does_not_run_tells_nothing_of_the_sources(monkeypatch: pytest.MonkeyPatch) -> None:
    answers = _compiler(monkeypatch, runs=False, deadly="").compile(_TASKS)
    assert [answer == 0 and answer is not False for answer in answers] == [True] * 5

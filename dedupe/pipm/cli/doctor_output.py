"""The output of `doctor`: one line for each check, problems last, each with a remedy."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipm.cli.format_text import counted, printable, with_tilde
from pipm.inspect.doctor import diagnose

if TYPE_CHECKING:
    from pipm.cli.output import Output
    from pipm.inspect.doctor import Diagnosis


def show_doctor(output: Output, store: str) -> int:
    """Run `pipm doctor`; return 1 if something does not work."""
    checks = diagnose(store)
    errors = sum(check.is_error for check in checks)
    if output.json:
        output.document("doctor", {"checks": [_document(check) for check in checks]})
        return int(errors > 0)
    for check in sorted(checks, key=lambda check: (check.is_error, not check.ok)):
        _print(output, check)
    warnings = sum(not check.ok and check.warning for check in checks)
    if errors or warnings:
        output.result(f"{counted(errors, 'error')}, {counted(warnings, 'warning')}")
    else:
        output.result("Everything works")
    return int(errors > 0)


def _print(output: Output, check: Diagnosis) -> None:
    word, colour = ("ok", "green") if check.ok else ("warning", "yellow")
    if check.is_error:
        word, colour = "error", "red"
    if check.ok and output.quiet:
        return
    padding = " " * (7 - len(word))
    output.result(
        f"{output.paint(word, colour)}{padding}  {check.name}: {printable(with_tilde(check.detail))}"
    )
    if check.hint and not check.ok:
        output.result(f"         {output.paint(printable(check.hint), 'cyan')}")


def _document(check: Diagnosis) -> dict[str, object]:
    severity = "ok" if check.ok else "error" if check.is_error else "warning"
    return {
        "name": check.name,
        "ok": check.ok,
        "detail": check.detail,
        "hint": check.hint,
        "severity": severity,
    }

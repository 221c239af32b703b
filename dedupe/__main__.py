"""``python -m dedupe`` and the command ``pipm``."""

from __future__ import annotations


def main() -> None:
    """Run the command line."""
    from dedupe.cli import run  # noqa: PLC0415 - `import dedupe` stays free of typer

    run()


if __name__ == "__main__":
    main()

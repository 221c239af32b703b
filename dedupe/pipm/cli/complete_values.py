"""Values that a shell completes: the options and commands import this when a shell asks."""

from __future__ import annotations


def link_modes() -> list[str]:
    """Return what --link-mode takes."""
    from pipm.fs.link_modes import LinkMode  # noqa: PLC0415 - only a shell that completes asks

    return ["auto", *(mode.value for mode in LinkMode)]


def help_subjects() -> list[str]:
    """Return what `pipm help` explains."""
    from pipm.cli.help_topics import topics  # noqa: PLC0415 - likewise

    return topics()


def stored_names() -> list[str]:
    """Return the distributions of the store."""
    import os  # noqa: PLC0415 - likewise

    from pipm.store.paths import store_path  # noqa: PLC0415 - likewise

    try:
        return sorted(os.listdir(f"{store_path(None)}/v1/wheels"))
    except OSError:
        return []

"""Poetry's application plug-in (entry point ``poetry.application.plugin``)."""

from __future__ import annotations

from poetry.plugins.application_plugin import ApplicationPlugin

from pipm.plugins.adopt_after import adopt_after

TYPE_CHECKING = False

if TYPE_CHECKING:
    from cleo.commands.command import Command
    from cleo.events.console_terminate_event import ConsoleTerminateEvent
    from cleo.events.event_dispatcher import EventDispatcher
    from poetry.console.application import Application

_COMMANDS = frozenset({"add", "install", "remove", "sync", "update"})
"""The commands that change the project's environment; "self add" changes Poetry's own."""


class AdoptPlugin(ApplicationPlugin):
    """Adopts the project's environment at the end of a command."""

    def activate(self, application: Application) -> None:
        """Listen for the end of commands."""
        application.event_dispatcher.add_listener("console.terminate", _after_command)


def _after_command(event: ConsoleTerminateEvent, _name: str, _dispatcher: EventDispatcher) -> None:
    if event.exit_code == 0 and event.command.name in _COMMANDS:
        adopt_after("poetry", lambda: _place(event.command))


def _place(command: Command) -> object:
    return None if command.option("dry-run") else command.env.path

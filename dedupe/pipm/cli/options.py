"""The typer application and the options that several commands have."""

from __future__ import annotations

import functools
import inspect
import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import typer

from pipm.cli.complete_values import colors, join_words_of_bash, link_modes, named_environments
from pipm.cli.exit_codes import DEFAULTS, run_guarded, run_program_to_end
from pipm.errors import InterruptedRunError
from pipm.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipm.cli.output import Output

_SETTINGS = {"help_option_names": ["-h", "--help"]}
app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=_SETTINGS,
)


def _group(parent: typer.Typer, name: str, about: str) -> typer.Typer:
    """Add to *parent* the command *name*, which has subcommands."""
    group = typer.Typer(no_args_is_help=True, rich_markup_mode=None, context_settings=_SETTINGS, help=about)
    parent.add_typer(group, name=name)
    return group


store_app = _group(app, "store", "The store itself.")
key_app = _group(app, "key", "Keys of what is pushed and pulled.")
hook_app = _group(app, "hook", "Hooks of git that sync the environment of a worktree.")
git_app = _group(hook_app, "git", "The post-checkout hook of a repository.")

Quiet = Annotated[
    int, typer.Option("-q", "--quiet", count=True, show_default=False, help="Print less; twice: nothing.")
]
Verbose = Annotated[bool, typer.Option("-v", "--verbose", help="Say more.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
StoreOption = Annotated[
    str, typer.Option("--store", metavar="DIR", help="Use the store in DIR.", show_default=False)
]
Color = Annotated[
    str, typer.Option("--color", metavar="WHEN", help="auto, always or never.", autocompletion=colors)
]
_COMMON = {"quiet": Quiet, "verbose": Verbose, "json": Json, "store": StoreOption, "color": Color}
DryRun = Annotated[bool, typer.Option("-n", "--dry-run", help="Change nothing, print what would be done.")]
LinkModeOption = Annotated[
    str,
    typer.Option(
        "--link-mode",
        metavar="MODE",
        help="auto, reflink, hardlink, finder, symlink or copy.",
        autocompletion=link_modes,
        show_default="auto",
    ),
]

DistInfo = Annotated[
    bool | None,
    typer.Option(
        "--dist-info/--no-dist-info",
        help="With the finder: metadata folders or (fewest inodes) none. Then uv, scanners and other programs"
        " that read the disk see no distribution; pip lists them but cannot uninstall.",
        show_default=False,
    ),
]


Exclude = Annotated[
    list[str] | None,
    typer.Option("--exclude", metavar="GLOB", help="Skip folders with that name; with a slash: that path."),
]

Exact = Annotated[bool, typer.Option("--exact", help="Measure every file; use no earlier figures.")]


Environments = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ENV]...",
        help="Environments, or the folders of their projects; else the active one, else .venv.",
        autocompletion=named_environments,
    ),
]

Environment = Annotated[
    str,
    typer.Option("--env", metavar="DIR", help="The environment.", autocompletion=named_environments),
]

ActiveEnvironment = Annotated[
    str,
    typer.Option(
        "--env",
        metavar="DIR",
        envvar="VIRTUAL_ENV",
        show_envvar=False,
        help="The environment; else the active one.",
        autocompletion=named_environments,
    ),
]

Extras = Annotated[
    list[str] | None, typer.Option("--extra", metavar="NAME", help="Also this extra of the project.")
]

Groups = Annotated[
    list[str] | None, typer.Option("--group", metavar="NAME", help="Also this dependency group.")
]


@dataclass(frozen=True, kw_only=True, slots=True)
class Session:
    """Output and store, chosen by the common options; ``explain`` returns the command's help."""

    output: Output
    store: str
    explain: Callable[[], str]


def command(
    group: typer.Typer,
    name: str,
    **settings: Any,  # noqa: ANN401 - typer's own
) -> Callable[[Callable[..., int]], Callable[..., int]]:
    """Register a function that takes a Session and returns an exit code; *settings* go to typer.

    The common options may stand before or after the command's name.
    """

    def register(function: Callable[..., int]) -> Callable[..., int]:
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        common = [
            inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, default=DEFAULTS[key], annotation=kind)
            for key, kind in _COMMON.items()
        ]
        context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)

        @functools.wraps(function)
        def run_command(*, context: typer.Context, **arguments: Any) -> None:  # noqa: ANN401
            chosen = {key: arguments.pop(key) for key in _COMMON}
            chosen |= {key: value for key, value in context.obj.items() if chosen[key] == DEFAULTS[key]}

            def work(output: Output, store: str) -> int:
                return function(Session(output=output, store=store, explain=context.get_help), **arguments)

            raise typer.Exit(run_guarded(chosen, work))

        parameters = [p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in own]
        signature = inspect.Signature([*parameters, *common, context])
        run_command.__signature__ = signature  # type: ignore[attr-defined]
        group.command(name, **settings)(run_command)
        return function

    return register


def _version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        typer.echo(f"pipm {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    context: typer.Context,
    *,
    quiet: Quiet = 0,
    verbose: Verbose = False,
    json: Json = False,
    store: StoreOption = "",
    color: Color = "auto",
    version: Annotated[  # noqa: ARG001 - its callback answers
        bool,
        typer.Option("-V", "--version", callback=_version, is_eager=True, help="Print the version."),
    ] = False,
) -> None:
    """Python environments share one store of files, and stop wasting disk, inodes and time.

    Every day:

      pipm adopt .venv        share its files with the store, in place

      pipm adopt --all ~/code

      pipm sync               .venv becomes what the nearest lock file says

      pipm release .venv      its own copies again

      pipm list ~/code        environments and what deleting each would free

      pipm df                 where the bytes are

    More: pipm help COMMAND, or one of environment, exit-codes, files, finder, keeping, link-modes, locks,
    plugins, settings, store, syncing, wrapped-pip, without-environment.
    """
    context.obj = {
        "quiet": quiet,
        "verbose": verbose,
        "json": json,
        "store": store,
        "color": color,
    }


def run() -> int:
    """Run the command line; return the exit code."""
    if os.environ.get("_PIPM_COMPLETE") == "complete_bash":
        join_words_of_bash(os.environ)

    def call() -> int | None:
        try:
            code: int | None = app(sys.argv[1:] or ["--help"], prog_name="pipm", standalone_mode=False)
        except typer.Abort:
            code = InterruptedRunError.exit_code
        return code

    return run_program_to_end(call)

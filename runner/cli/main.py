"""The `runner` command (also installed as `snapfork`)."""

from __future__ import annotations

import sys
from collections.abc import Callable
from importlib import import_module
from typing import Annotated, Any

import typer
from snapfork.runner.cli.habits import refuse_habits
from snapfork.runner.console import print_user_error
from snapfork.runner.errors import UserError

EPILOG = "Start with: runner serve shop:app"


def _print_version(wanted: bool) -> None:
    if wanted:
        from snapfork.runner.version import version

        typer.echo(f"snapfork {version()} (Python {sys.version.split()[0]})")
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_print_version, is_eager=True, help="Print the version and leave."
        ),
    ] = False,
) -> None:
    """Serve existing Flask, Django, FastAPI and other WSGI or ASGI apps as functions.

    An app is started once in a template; instances fork from it with the client's connection in hand.
    """


def build(names: list[str]) -> typer.Typer:
    """The command line with the commands of `names` (all when empty).

    One command's modules are imported only when it is wanted: the gateway should start quickly.
    """
    app = typer.Typer(
        add_completion=False,
        no_args_is_help=True,
        rich_markup_mode="rich",
        epilog=EPILOG,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_root)
    for name in COMMANDS:
        if not names or name in names:
            app.command(name)(_load(name))
    return app


COMMANDS = {
    "serve": "serve",
    "ps": "ps",
    "status": "status",
    "reload": "orders",
    "stop": "orders",
    "doctor": "doctor",
    "bench": "bench",
    "snapshot": "snapshot",
    "inspect": "inspect",
    "deploy": "deploy",
    "invoke": "invoke",
    "ls": "functions",
    "versions": "functions",
    "alias": "functions",
    "url": "functions",
    "rm": "functions",
    "logs": "logs",
    "trigger": "triggers",
    "dead-letters": "triggers",
    "key": "key",
}
"""Commands and the modules of theirs; what is common to several is in one."""


def _load(name: str) -> Callable[..., Any]:
    command: Callable[..., Any] = getattr(
        import_module(f"snapfork.runner.cli.{COMMANDS[name]}"), name.replace("-", "_")
    )
    return command


def main(arguments: list[str] | None = None) -> int:
    """Run the command line; the exit code. A user's mistake is one sentence on stderr and 2."""
    if not sys.platform.startswith("linux"):
        print_user_error("snapfork runs on Linux only: it needs its fork, memfd and pidfd calls.")
        return 2
    words = sys.argv[1:] if arguments is None else arguments
    names = [words[0]] if words and words[0] in COMMANDS else []
    try:
        if names == ["serve"]:
            refuse_habits(words[1:])
        result = build(names)(words, prog_name="runner", standalone_mode=True)
    except UserError as error:
        print_user_error(error.sentence, error.hint)
        return 2
    except SystemExit as leaving:
        return leaving.code if isinstance(leaving.code, int) else 1 if leaving.code else 0
    return result if isinstance(result, int) else 0

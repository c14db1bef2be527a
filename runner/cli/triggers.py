"""`runner trigger` and `runner dead-letters`: what invokes a function by itself, and what failed for good."""

from __future__ import annotations

import json
import os
from typing import Annotated, Any

import typer
from snapfork.runner.cli.remote import Json, Name, Url, connect, qualified, show_json, tell, when
from snapfork.runner.cli.tables import plain_table, print_table
from snapfork.runner.errors import UserError


def trigger(
    function: Annotated[
        str, typer.Argument(metavar="NAME[:QUALIFIER]", show_default=False, help="shop, or shop:live.")
    ],
    name: Annotated[
        str | None, typer.Argument(metavar="[TRIGGER]", show_default=False, help="Make or change this one.")
    ] = None,
    every: Annotated[
        str | None,
        typer.Option(
            metavar="WHEN",
            show_default=False,
            help="A timer: '@every 5m', or cron with seconds first: 'CRON_TZ=Europe/Berlin 0 30 4 * * *'.",
        ),
    ] = None,
    payload: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="What a timer's event carries.")
    ] = None,
    watch: Annotated[
        str | None,
        typer.Option(
            metavar="DIR", show_default=False, help="A directory: each file that is put there is an event."
        ),
    ] = None,
    remove: Annotated[bool, typer.Option("--rm", help="Remove it.")] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List a function's triggers, or make, change or remove one. What they start goes through the queue.

    [bold]Examples[/bold]

      runner trigger report nightly --every '0 0 3 * * *' --payload '{"kind": "full"}'

      runner trigger thumbnail incoming --watch ./incoming

      runner trigger report

      runner trigger report nightly --rm
    """
    target, qualifier = qualified(function)
    remote = connect(url)
    if name is None:
        found = remote.call("GET", "functions", target, "triggers").json()["triggers"]
        if as_json:
            show_json(found)
            return
        table = plain_table("trigger", "kind", "state", "version", "configuration")
        for one in found:
            state = "on" if one["enabled"] else "off"
            table.add_row(
                one["name"], one["kind"], state, one["qualifier"] or "LATEST", json.dumps(one["config"])
            )
        print_table(table)
        return
    if remove:
        remote.call("DELETE", "functions", target, "triggers", name)
        tell(as_json, {"removed": name}, f"{target}: trigger {name} is gone")
        return
    if (every is None) == (watch is None):
        raise UserError("A trigger is a timer (--every) or a watched directory (--watch): say which.")
    given: dict[str, Any] = {"qualifier": qualifier or None}
    if every is not None:
        config = {"cronExpression": every, "payload": payload or "", "enable": True}
        given |= {"kind": "timer", "config": config}
    else:
        given |= {"kind": "s3", "config": {"directory": _directory(watch or "", here=url is None)}}
    made = remote.call("PUT", "functions", target, "triggers", name, body=json.dumps(given).encode()).json()
    tell(as_json, made, f"{target}: trigger {name} is on ({every or watch})")


def _directory(path: str, *, here: bool) -> str:
    absolute = os.path.abspath(os.path.expanduser(path))
    if here and not os.path.isdir(absolute):
        raise UserError(f"--watch {path}: no such directory.", f"Make it first: mkdir -p {absolute}")
    return absolute


def dead_letters(
    name: Name,
    redrive: Annotated[
        list[str] | None,
        typer.Option(metavar="ID|all", show_default=False, help="Run these anew. Repeatable."),
    ] = None,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """List the asynchronous invocations of a function that have failed for good, or run them anew.

    [bold]Examples[/bold]

      runner dead-letters shop

      runner dead-letters shop --redrive all
    """
    remote = connect(url)
    if redrive:
        given: dict[str, Any] = {"all": True} if "all" in redrive else {"ids": redrive}
        path = ("functions", name, "dead-letters")
        done = remote.call("POST", *path, body=json.dumps(given).encode()).json()["redriven"]
        missing = [one for one in redrive if one != "all" and one not in done]
        if missing:
            raise UserError(f"{missing[0]} is no dead letter of {name}; {len(done)} run anew.")
        tell(as_json, done, f"{name}: {len(done)} run anew")
        return
    found = remote.call("GET", "functions", name, "dead-letters").json()["dead_letters"]
    if as_json:
        show_json(found)
        return
    if not found:
        typer.echo(f"{name}: nothing has failed for good.")
        return
    table = plain_table("request", "enqueued", "ended", "runs", "state", "error")
    for one in found:
        table.add_row(
            one["request_id"],
            when(one["enqueued"]),
            when(one["ended"]),
            str(one["attempts"]),
            one["state"],
            one["error"][:80],
        )
    print_table(table)

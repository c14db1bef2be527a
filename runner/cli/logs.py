"""`runner logs`: what deployed functions printed, and what became of one invocation."""

from __future__ import annotations

import re
import time
from typing import Annotated, Any

import typer
from snapfork.runner.cli.remote import Json, Remote, Url, connect, show_json, when
from snapfork.runner.cli.tables import plain_table, print_table
from snapfork.runner.errors import UserError

FOLLOW_S = 0.5
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}
STAGES = ("schedule", "fetch", "unpack", "start", "initialise", "run")
REQUEST_ID = re.compile(r"[0-9a-f]{8}-?[0-9a-f]{4}-?|1-[0-9a-f]{8}-[0-9a-f]{24}")
"""How request ids of all dialects begin; no function is likely to be called so."""


def logs(
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="[NAME[:VERSION]|REQUEST_ID]", show_default=False, help="A function, or one invocation."
        ),
    ] = None,
    text: Annotated[
        str | None, typer.Option(metavar="TEXT", show_default=False, help="Only lines that contain this.")
    ] = None,
    since: Annotated[
        str | None, typer.Option(metavar="AGE", show_default=False, help="Not older: 30s, 10m, 2h, 1d.")
    ] = None,
    until: Annotated[
        str | None, typer.Option(metavar="AGE", show_default=False, help="Not newer: 30s, 10m, 2h, 1d.")
    ] = None,
    limit: Annotated[int, typer.Option(metavar="NUMBER", help="The newest so many lines.")] = 200,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    records: Annotated[
        bool, typer.Option("--records", help="Invocations instead of lines: one row each.")
    ] = False,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Show log lines of deployed functions, or everything about one invocation: its stages and its lines.

    [bold]Examples[/bold]

      runner logs shop --since 10m --text Traceback

      runner logs shop:3 --follow

      runner logs shop --records

      runner logs 0d6a4f0e-5a1c-4f43-8f0e-2b1f3b0f6b3a
    """
    remote = connect(url)
    if what is not None and REQUEST_ID.match(what):
        _invocation(remote, what, as_json)
        return
    name, _, version = (what or "").partition(":")
    now = time.time()
    query: dict[str, Any] = {"version": version, "text": text, "limit": limit}
    query |= {"since": _moment("--since", since, now), "until": _moment("--until", until, now)}
    path = ("functions", name) if name else ()
    if records:
        if not name:
            raise UserError("--records needs a function.", "For example: runner logs shop --records")
        found = remote.call("GET", *path, "records", query=query).json()["records"]
        show_json(found) if as_json else _rows(found)
        return
    lines = remote.call("GET", *path, "logs", query=query).json()["lines"]
    if not lines and name:
        remote.call("GET", "functions", name)  # one that is gone may have left lines; else it is not known
    if as_json and not follow:
        show_json(lines)
        return
    _print(lines)
    while follow:
        last = lines[-1]["number"] if lines else 0
        time.sleep(FOLLOW_S)
        query |= {"after": last, "since": None, "limit": 1000}
        lines = remote.call("GET", *path, "logs", query=query).json()["lines"] or lines[-1:]
        _print([line for line in lines if line["number"] > last])


def _invocation(remote: Remote, identity: str, as_json: bool) -> None:
    found = remote.call("GET", "invocations", identity).json()
    if as_json:
        show_json(found)
        return
    if not found["records"] and not found["lines"]:
        raise UserError(f"Nothing is known of {identity}.", "Records are kept for two weeks, or up to 1 GB.")
    for one in found["records"]:
        outcome = one["error"] or (f"HTTP {one['status']}" if one["status"] else "done")
        attempt = f", attempt {one['attempt']}" if one["attempt"] > 1 else ""
        typer.echo(
            f"{one['function']}:{one['version']} {when(one['begun'])} by {one['trigger'] or 'http'}, "
            f"{one['start'] or 'warm'} on instance {one['instance'] or '-'}{attempt}: {outcome}"
        )
        stages = one["stages"]
        told = [f"{name} {stages.get(name, 0.0):.1f} ms" for name in STAGES]
        typer.echo(
            f"  {', '.join(told)}; billed {one['billed']} ms"
            + (f", {one['memory']:.0f} MB at most" if one["memory"] else "")
        )
    _print(found["lines"])


def _rows(records: list[dict[str, Any]]) -> None:
    table = plain_table("begun", "request", "version", "trigger", "start", "ms", "billed", "MB", "outcome")
    for one in records:
        total = sum(one["stages"].values())
        table.add_row(
            when(one["begun"]),
            one["id"],
            one["version"],
            one["trigger"] or "http",
            one["start"] or "warm",
            f"{total:.1f}",
            str(one["billed"]),
            f"{one['memory']:.0f}",
            one["error"] or str(one["status"] or "-"),
        )
    print_table(table)


def _print(lines: list[dict[str, Any]]) -> None:
    for line in lines:
        clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(line["time"]))
        where = f"{line['function']}:{line['version']}" if line["version"] else line["function"]
        for one in line["text"].split("\n"):
            typer.echo(f"{clock}.{int(line['time'] * 1000) % 1000:03d}Z {where} {line['request_id']} | {one}")


def _moment(option: str, age: str | None, now: float) -> float | None:
    if age is None:
        return None
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smhd])", age.strip())
    if match is None:
        raise UserError(f"{option} {age}: an age such as 30s, 10m, 2h or 1d is needed.")
    return now - float(match[1]) * UNITS[match[2]]

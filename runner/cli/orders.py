"""`runner reload` and `runner stop`: orders to a running runner."""

from __future__ import annotations

import time
from typing import Annotated, Any
from urllib.parse import urlencode

import typer
from snapfork.runner.cli.control_client import call, pick
from snapfork.runner.errors import UserError
from snapfork.runner.runtime_dir import Found

PAUSE = 0.2  # seconds between two looks at a reload
BUSY = ("building", "rebuilding")
Pid = Annotated[
    int | None,
    typer.Argument(metavar="[PID]", show_default=False, help="Which runner; needed when several run."),
]


def reload(
    pid: Pid = None,
    function: Annotated[
        str | None,
        typer.Option(metavar="NAME", show_default=False, help="Only this function (default: all)."),
    ] = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to wait for the new templates; 0: not at all.")
    ] = 300.0,
) -> None:
    """Build new templates and swap to those that come up; a broken one keeps the old version serving.

    The exit code is 0 when all came up.

    [bold]Examples[/bold]

      runner reload

      runner reload 4711 --function shop
    """
    runner = pick(pid)
    query = "?" + urlencode({"function": function}) if function else ""
    names = call(runner, "POST", f"/reload{query}")["reloading"]
    if not wait:
        typer.echo(f"runner {runner.pid}: reloading {', '.join(names)}")
        return
    for entry in _rebuilt(runner, names, time.monotonic() + wait):
        error = (entry.get("template") or {}).get("error")
        if error:
            raise UserError(f"{entry['name']} did not come up, the old version goes on: {error}")
        typer.echo(f"runner {runner.pid}: {entry['name']} is at generation {entry['generation']}")


def _rebuilt(runner: Found, names: list[str], deadline: float) -> list[dict[str, Any]]:
    """The status of the named functions once none is being built. Raises UserError when late."""
    while True:
        functions = call(runner, "GET", "/status")["functions"]
        chosen = [entry for entry in functions if entry["name"] in names]
        building = [entry["name"] for entry in chosen if entry["template"]["state"] in BUSY]
        if not building:
            return chosen
        if time.monotonic() > deadline:
            raise UserError(f"Still building: {', '.join(building)}; `runner status` tells when it is done.")
        time.sleep(PAUSE)


def stop(pid: Pid = None) -> None:
    """Stop a runner: requests in flight are finished, then it leaves.

    [bold]Examples[/bold]

      runner stop

      runner stop 4711
    """
    runner = pick(pid)
    call(runner, "POST", "/stop")
    typer.echo(f"runner {runner.pid}: stopping")

"""`runner reload` and `runner stop`: orders to a running runner."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import urlencode

import typer

from snapfork.runner.cli.control_client import call, pick

RELOAD_TIMEOUT = 310.0  # seconds; a little more than the services give the gateway
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
) -> None:
    """Build new templates and swap to those that come up; a broken one keeps the old version serving.

    [bold]Examples[/bold]

      runner reload

      runner reload 4711 --function shop
    """
    runner = pick(pid)
    query = "?" + urlencode({"function": function}) if function else ""
    call(runner, "POST", f"/reload{query}", timeout=RELOAD_TIMEOUT)
    typer.echo(f"runner {runner.pid}: reloaded {function or 'all functions'}")


def stop(pid: Pid = None) -> None:
    """Stop a runner: requests in flight are finished, then it leaves.

    [bold]Examples[/bold]

      runner stop

      runner stop 4711
    """
    runner = pick(pid)
    call(runner, "POST", "/stop")
    typer.echo(f"runner {runner.pid}: stopping")

"""`runner inspect`: what a snapshot file holds, and whether it is what its signer wrote."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Annotated, Any

import typer
from snapfork.runner.console import size_text
from snapfork.runner.errors import UserError

MOST_OBJECTS = 15


def inspect(
    path: Annotated[str, typer.Argument(metavar="FILE", help="A snapshot.")],
    verify: Annotated[
        bool, typer.Option("--verify", help="Also compare every buffer with its hash.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The header as JSON.")] = False,
) -> None:
    """Show what is in a snapshot; nothing of it is loaded. The exit code is 2 when it is not to be trusted.

    [bold]Examples[/bold]

      runner inspect shop.snap

      runner inspect shop.snap --verify
    """
    from snapfork.adapter.snapshots import file, keys
    from snapfork.adapter.snapshots.errors import SnapshotError

    try:
        opened = file.read(path)
        if verify:
            opened.verify_buffers()
    except SnapshotError as error:
        raise UserError(str(error)) from None
    header = opened.header
    if as_json:
        typer.echo(json.dumps(asdict(header) | {"signer": keys.describe(opened.signer)}, indent=2))
        return
    buffers = sum(length for _, length, _ in opened.table)
    checked = "buffers compared" if verify else "buffers not compared (--verify)"
    named = f" {header.target}" if header.target else ""
    typer.echo(f"{path}: {header.interface.upper()} app{named}, made {header.created}")
    typer.echo(f"signed by {keys.describe(opened.signer)}, which is trusted here; {checked}")
    typer.echo(f"for {header.implementation} {header.python}, {header.platform}")
    typer.echo(f"pickle {size_text(header.stream_bytes)}, {header.buffers} buffers {size_text(buffers)}")
    typer.echo("inside: " + (", ".join(sorted(str(name) for name, _ in header.modules)) or "no module"))
    if header.needs:
        typer.echo("must be there: " + ", ".join(header.needs))
    typer.echo("packages: " + ", ".join(f"{name} {version}" for name, version in header.packages.items()))
    others = sorted(set(header.by_reference) - set(header.needs))
    typer.echo("modules by reference: " + (_few(others) or "none"))
    if "warmup" in header.settings:
        requests = _requests(header.settings) or "none"
        typer.echo(f"warm-up, answered alike by the live and the restored app: {requests}")
    for one in header.warnings:
        typer.echo(f"captured: {one}")
    _sizes(header.sizes)


def _few(names: list[str]) -> str:
    tops = sorted({name.partition(".")[0] for name in names})
    return f"{len(names)} of {', '.join(tops)} (--json names them)" if names else ""


def _requests(settings: dict[str, Any]) -> str:
    skipped = settings.get("skip_warmup", ())
    made = [one for index, one in enumerate(settings["warmup"]) if index not in skipped]
    return ", ".join(one if isinstance(one, str) else str(one.get("path", "/")) for one in made)


def _sizes(sizes: dict[str, int]) -> None:
    """The largest objects; what two of them hold is counted for the first."""
    for name, size in list(sizes.items())[:MOST_OBJECTS]:
        typer.echo(f"{size_text(size):>10}  {name}")

"""`runner key`: the key that snapshots are signed with, and the keys of others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from snapfork.runner.errors import UserError


def key(
    action: Annotated[
        str | None, typer.Argument(metavar="[trust FILE]", show_default=False, help="Trust another's key.")
    ] = None,
    path: Annotated[str | None, typer.Argument(metavar="", show_default=False, hidden=True)] = None,
) -> None:
    """Print your public key, or trust the snapshots of somebody else's.

    A runner loads snapshots that you or somebody whom you trust has signed. Your key is made on first use, in
    ~/.config/snapfork.

    [bold]Examples[/bold]

      runner key > alice.pub

      runner key trust alice.pub
    """
    from snapfork.adapter.snapshots import keys
    from snapfork.adapter.snapshots.errors import SnapshotError

    try:
        if action is None:
            typer.echo(keys.line(keys.public_bytes(keys.own_key())))
        elif action == "trust" and path:
            raw = keys.trust(_read(path))
            typer.echo(f"{keys.describe(raw)} is trusted from now on.")
        else:
            raise UserError(f"runner key has no '{action}'.", "Type: runner key, or: runner key trust FILE")
    except SnapshotError as error:
        raise UserError(str(error)) from None


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None

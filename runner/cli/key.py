"""`runner key`: keys for snapshots (who signs what runs here) and for the API of deployed functions."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from snapfork.runner.cli.remote import (
    KEY_ID,
    KEY_SECRET,
    URL,
    Json,
    Url,
    connect,
    here,
    show_json,
    tell,
    when,
)
from snapfork.runner.cli.tables import plain_table, print_table
from snapfork.runner.errors import UserError

ACTIONS = ("trust FILE", "ls", "create", "rm ID", "env")


def key(
    action: Annotated[
        str | None,
        typer.Argument(metavar=f"[{' | '.join(ACTIONS)}]", show_default=False, help="What to do with keys."),
    ] = None,
    what: Annotated[str | None, typer.Argument(metavar="", show_default=False, hidden=True)] = None,
    role: Annotated[
        str, typer.Option(metavar="invoke|manage", help="create: what its holder may do.")
    ] = "invoke",
    function: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", show_default=False, help="create: only with this function. Repeatable."),
    ] = None,
    description: Annotated[
        str, typer.Option(metavar="TEXT", show_default=False, help="create: whose it is.")
    ] = "",
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Print your public key of snapshots, trust somebody else's; list, make, remove and use keys of the API.

    A runner loads snapshots that you or somebody whom you trust has signed; your key for that is made on
    first use, in ~/.config/snapfork. Calls of deployed functions' API are signed with keys of their own;
    `env` prints variables by which the aws command, boto3 and this command find runner and key.

    [bold]Examples[/bold]

      runner key > alice.pub

      runner key trust alice.pub

      runner key create --role invoke --function shop --description 'the web shop'

      runner key ls

      eval "$(runner key env)"; aws lambda list-functions
    """
    if action == "env":
        _environment(as_json)
        return
    if action in ("ls", "create", "rm"):
        _api(action, what, role, function, description, url, as_json)
        return
    from snapfork.adapter.snapshots import keys
    from snapfork.adapter.snapshots.errors import SnapshotError

    try:
        if action is None:
            typer.echo(keys.line(keys.public_bytes(keys.own_key())))
        elif action == "trust" and what:
            raw = keys.trust(_read(what))
            typer.echo(f"{keys.describe(raw)} is trusted from now on.")
        else:
            raise UserError(
                f"runner key has no '{action}'.", f"Type: runner key, or with {', '.join(ACTIONS)}"
            )
    except SnapshotError as error:
        raise UserError(str(error)) from None


def _api(
    action: str,
    what: str | None,
    role: str,
    functions: list[str] | None,
    description: str,
    url: str | None,
    as_json: bool,
) -> None:
    remote = connect(url)
    if action == "create":
        if role not in ("invoke", "manage"):
            raise UserError(f"--role {role}: invoke or manage.")
        given: dict[str, Any] = {"role": role, "functions": functions or None, "description": description}
        made = remote.call("POST", "keys", body=json.dumps(given).encode()).json()
        if as_json:
            show_json(made)
            return
        typer.echo(f"id:     {made['key']['id']}")
        typer.echo(f"secret: {made['secret']}   (it is not shown again)")
    elif action == "rm":
        if not what:
            raise UserError("runner key rm needs the id of a key.", "`runner key ls` lists them.")
        remote.call("DELETE", "keys", what)
        tell(as_json, {"removed": what}, f"{what}: removed")
    else:
        found = remote.call("GET", "keys").json()["keys"]
        if as_json:
            show_json(found)
            return
        table = plain_table("id", "role", "functions", "made", "description")
        for one in found:
            limits = ", ".join(one["functions"]) if one["functions"] else "all"
            table.add_row(one["id"], one["role"], limits, when(one["created"]), one["description"])
        print_table(table)


def _environment(as_json: bool) -> None:
    """For this machine's runner, found by its directory."""
    from snapfork.runner.cli.control_client import call
    from snapfork.runner.registry import keys

    runner = here()
    status = call(runner, "GET", "/status")
    tcp, own = status["control"].get("control_tcp"), keys.first(runner.note["data_dir"])
    if not tcp or own is None:
        raise UserError(
            f"The runner with pid {runner.pid} has no control address, or its key cannot be read."
        )
    address = f"http://{tcp[0]}:{tcp[1]}"
    found = {
        "AWS_ENDPOINT_URL_LAMBDA": address,
        "AWS_DEFAULT_REGION": runner.note.get("region", "us-east-1"),
        "AWS_ACCESS_KEY_ID": own.id,
        "AWS_SECRET_ACCESS_KEY": own.secret,
        URL: address,
        KEY_ID: own.id,
        KEY_SECRET: own.secret,
    }
    if as_json:
        show_json(found)
        return
    for name, value in found.items():
        typer.echo(f"export {name}={shlex.quote(value)}")


def _read(path: str) -> str:
    try:
        return Path(path).read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from None

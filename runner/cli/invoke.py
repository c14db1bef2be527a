"""`runner invoke`: one call of a deployed function."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from typing import Annotated

import typer
from snapfork.runner.cli.remote import Json, Url, connect, qualified, show_json
from snapfork.runner.errors import UserError

FAILED = 1
"""Exit status when the function failed: its error is on stdout, as any result."""


def invoke(
    function: Annotated[
        str, typer.Argument(metavar="NAME[:QUALIFIER]", show_default=False, help="shop, shop:3 or shop:live.")
    ],
    payload: Annotated[
        str,
        typer.Argument(metavar="PAYLOAD", show_default=False, help="Text, @FILE, or - for standard input."),
    ] = "",
    asynchronous: Annotated[
        bool, typer.Option("--async", help="Put it into the queue; its request id is printed.")
    ] = False,
    delay: Annotated[
        float, typer.Option(metavar="SECONDS", help="With --async: not before so long from now.")
    ] = 0.0,
    tail: Annotated[bool, typer.Option("--tail", help="Show the last 4 KB of its log, on stderr.")] = False,
    content_type: Annotated[
        str | None,
        typer.Option(metavar="TYPE", show_default=False, help="Of the payload (default: by its look)."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to wait for the result.")
    ] = 900.0,
    url: Url = None,
    as_json: Json = False,
) -> None:
    """Call a function and print its result; the exit code is 1 when the function failed.

    [bold]Examples[/bold]

      runner invoke shop '{"item": 7}'

      runner invoke shop:live @event.json --tail

      cat image.png | runner invoke thumbnail - > small.png

      runner invoke shop '{}' --async --delay 60
    """
    name, qualifier = qualified(function)
    body = _payload(payload)
    looks = "application/json" if body[:1] in (b"{", b"[", b'"') else "application/octet-stream"
    query = {
        "qualifier": qualifier,
        "mode": "async" if asynchronous else "",
        "delay": delay or "",
        "tail": "1" if tail else "",
    }
    answer = connect(url, timeout).call(
        "POST", "functions", name, "invocations", body=body, query=query, content_type=content_type or looks
    )
    about = {
        key.removeprefix("x-snapfork-").replace("-", "_"): value
        for key, value in answer.headers.items()
        if key.startswith("x-snapfork-")
    }
    log = base64.b64decode(about.pop("log", ""))
    if as_json:
        text = {"payload": answer.body.decode("utf-8", "backslashreplace")} if not asynchronous else {}
        numbers = {
            name: float(about[name])
            for name in ("duration_ms", "initialise_ms", "memory_mb")
            if name in about
        }
        show_json({**about, **numbers, **text, **({"log": log.decode("utf-8", "replace")} if tail else {})})
    elif asynchronous:
        typer.echo(f"{about['request_id']}")
        typer.echo(f"it is in the queue; read on: runner logs {about['request_id']}", err=True)
    else:
        sys.stderr.write(log.decode("utf-8", "replace"))
        sys.stderr.flush()
        sys.stdout.buffer.write(answer.body)
        if sys.stdout.isatty() and not answer.body.endswith(b"\n"):
            sys.stdout.buffer.write(b"\n")
        sys.stdout.flush()
    if about.get("error"):
        if not as_json:
            typer.echo(f"\n{name}: the function failed ({about['error']}).", err=True)
        raise typer.Exit(FAILED)


def _payload(text: str) -> bytes:
    if text == "-":
        return sys.stdin.buffer.read()
    if text.startswith("@"):
        try:
            return Path(text[1:]).expanduser().read_bytes()
        except OSError as error:
            raise UserError(f"{text[1:]} cannot be read: {error.strerror}.") from None
    return text.encode("utf-8", "surrogateescape")

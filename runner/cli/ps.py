"""`runner ps`: all running runners of this user in one table."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from snapfork.runner import runtime_dir
from snapfork.runner.cli.control_client import START, call
from snapfork.runner.cli.tables import duration_text, instances_text, plain_table, print_table, starts_text
from snapfork.runner.console import size_text
from snapfork.runner.errors import UserError


def ps(
    as_json: Annotated[bool, typer.Option("--json", help="The full status of each runner as JSON.")] = False,
) -> None:
    """List running runners, their functions and what those are doing.

    [bold]Examples[/bold]

      runner ps

      runner ps --json | jq '.[].functions[].name'
    """
    runners = runtime_dir.find()
    answers = [_ask(runner) for runner in runners]
    if as_json:
        typer.echo(json.dumps(answers, indent=2))
        return
    if not runners:
        typer.echo(f"No runner of yours is running. {START}")
        return
    table = plain_table(
        "pid", "function", "state", "start", "instances", "requests", "starts", "memory", "up"
    )
    for answer in answers:
        for row in _rows(answer):
            table.add_row(*row)
    print_table(table)
    for answer in answers:
        for url in answer.get("listeners") or answer.get("urls") or []:
            typer.echo(f"{answer['pid']}: {url}")


def _ask(runner: runtime_dir.Found) -> dict[str, Any]:
    """A runner's status; its own note and the reason when it does not answer."""
    try:
        return call(runner, "GET", "/status", timeout=3.0)
    except UserError as error:
        return {**runner.note, "pid": runner.pid, "functions": [], "error": error.sentence}


def _rows(answer: dict[str, Any]) -> list[list[str]]:
    pid = str(answer["pid"])
    if answer.get("error"):
        return [[pid, "-", "no answer", "-", "-", "-", "-", "-", "-"]]
    rows = []
    for entry in answer["functions"]:
        template = entry.get("template") or {}
        rows.append(
            [
                pid,
                entry["name"],
                str(template.get("state", "-")),
                str(entry.get("mode", "-")),
                instances_text(entry),
                str(entry.get("requests", 0)),
                starts_text(entry),
                size_text(template.get("rss_bytes") or 0),
                duration_text(answer.get("uptime_s", 0)),
            ]
        )
    return rows

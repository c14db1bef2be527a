"""`runner status`: one runner in full."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer
from snapfork.runner.cli.control_client import call, pick
from snapfork.runner.cli.tables import duration_text, instances_text, plain_table, starts_text
from snapfork.runner.console import finding_text, ms_text, size_text


def status(
    pid: Annotated[
        int | None,
        typer.Argument(metavar="[PID]", show_default=False, help="Which runner; needed when several run."),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="The status as JSON, as GET /status gives it.")
    ] = False,
) -> None:
    """Show one runner: each function's template, audit findings, instances, starts, queue and errors.

    [bold]Examples[/bold]

      runner status

      runner status 4711 --json
    """
    answer = call(pick(pid), "GET", "/status")
    if as_json:
        typer.echo(json.dumps(answer, indent=2))
        return
    from rich.console import Console

    out = Console(highlight=False, soft_wrap=True)
    out.print(
        f"[bold]runner {answer['pid']}[/bold]  up {duration_text(answer.get('uptime_s', 0))}  "
        f"{' '.join(answer.get('listeners', []))}"
    )
    connections = answer.get("connections") or {}
    out.print("connections: " + ", ".join(f"{count} {name}" for name, count in connections.items()))
    for entry in answer.get("functions", []):
        out.print()
        _function(out, entry)


def _function(out: Any, entry: dict[str, Any]) -> None:
    from rich.markup import escape

    template = entry.get("template") or {}
    out.print(
        f"[bold]{escape(entry['name'])}[/bold]  {escape(str(entry.get('target', '')))}  "
        f"generation {entry.get('generation')}, starts by {entry.get('mode')}"
    )
    for label, text in _facts(entry, template):
        out.print(f"  {label:<10} {escape(text)}")
    for finding in template.get("findings") or []:
        out.print(f"  {finding.get('severity', 'note'):<10} {escape(finding_text(finding))}")
    instances = entry.get("instances") or []
    if instances:
        table = plain_table("  id", "pid", "state", "start", "requests", "busy", "age")
        for one in instances:
            table.add_row(
                f"  {one['id']}",
                str(one.get("pid") or "-"),
                one["state"],
                str(one.get("start") or "-"),
                str(one.get("requests", 0)),
                str(one.get("busy", 0)),
                duration_text(one.get("age_s") or 0),
            )
        out.print(table)


def _facts(entry: dict[str, Any], template: dict[str, Any]) -> list[tuple[str, str]]:
    stages = " · ".join(f"{stage['name']} {ms_text(stage['ms'])}" for stage in template.get("stages") or [])
    state = str(template.get("state", "-"))
    memory = size_text(template.get("rss_bytes") or 0)
    facts = [
        ("template", f"{state}, pid {template.get('pid') or '-'}, {memory}"),
        ("python", str(entry.get("python", "-"))),
        ("instances", f"{instances_text(entry)} (at most {entry.get('max_instances_effective', '-')})"),
        ("requests", f"{entry.get('requests', 0)}; starts: {starts_text(entry)}"),
    ]
    if stages:
        facts.insert(1, ("stages", stages))
    if template.get("error"):
        facts.insert(1, ("error", str(template["error"])))
    for label in ("deaths", "gateway_errors"):
        counts = entry.get(label)
        if counts:
            facts.append((label.split("_")[-1], ", ".join(f"{key} {count}" for key, count in counts.items())))
    waiting = (entry.get("queue") or {}).get("length")
    if waiting:
        facts.append(("queue", f"{waiting} requests wait"))
    return facts

"""`runner doctor`: what stands between an app and a fork, for humans."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer
from snapfork.runner.cli import flags
from snapfork.runner.cli.examination import Broken, Report, config_of, examine
from snapfork.runner.cli.tables import plain_table
from snapfork.runner.console import Console, ms_text, print_user_error, size_text

SLOW_MS = 5.0
KINDS = {"wsgi": "WSGI", "asgi": "ASGI", "event": "Handler of events"}
TITLES = {"spawn": "Against forking", "note": "Worth knowing"}


@flags.with_settings
def doctor(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", show_default=False, help="The app, as for `runner serve`."),
    ] = None,
    app_dir: Annotated[str, typer.Option(metavar="DIR", help="Where the app's modules are.")] = ".",
    python: Annotated[
        str | None,
        typer.Option(metavar="PYTHON", show_default=False, help="The app's interpreter or environment."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The report as JSON.")] = False,
    **settings: Any,
) -> None:
    """Start an app once, as `runner serve` would, and tell what a fork would break or share.

    Looks for threads, sockets, open files, executors, event loops, random numbers and secrets made at
    import, libraries that mind a fork, state kept in the process, slow imports and memory, and for what
    cannot be in a snapshot. Each finding comes with its origin and its cure. The exit code is 0 when
    instances can be forked, 1 when each would be a fresh process, and 2 when the app does not start.

    [bold]Examples[/bold]

      runner doctor shop:app

      runner doctor --app-dir src 'shop:create_app()' --json
    """
    console = Console(fd=2)
    config = config_of(target, app_dir, python, settings, console)
    try:
        report = examine(config)
    except Broken as broken:
        if broken.traceback:
            sys.stderr.write(broken.traceback.rstrip() + "\n")
        print_user_error(broken.sentence)
        raise typer.Exit(2) from None
    if as_json:
        typer.echo(json.dumps(report.as_dict(), indent=2))
    else:
        render(report)
    raise typer.Exit(1 if report.mode == "spawn" else 0)


def render(report: Report) -> None:
    """The report on stdout."""
    from rich.console import Console as Rich
    from rich.markup import escape

    out = Rich(highlight=False, soft_wrap=True)
    forked = report.mode == "fork"
    verdict = (
        "[green]can be forked[/green]: a cold request costs a fork"
        if forked
        else "[yellow]would be spawned[/yellow]: a cold request waits for a fresh process"
    )
    out.print(f"[bold]{escape(report.target)}[/bold] {verdict}")
    lifespan = f", lifespan: {report.lifespan}" if report.interface == "asgi" else ""
    kind = KINDS.get(report.interface, report.interface)
    out.print(f"{kind}{lifespan}, {size_text(report.memory_bytes)}, {escape(report.python)}")
    out.print(" · ".join(f"{stage['name']} {ms_text(stage['ms'])}" for stage in report.stages))
    for one in report.warmup:
        said = one.get("status") or one.get("note") or "no answer"
        out.print(escape(f"warm-up {one['method']} {one['path']} -> {said}"))
    for severity, title in TITLES.items():
        _findings(out, title, [one for one in report.findings if one["severity"] == severity])
    if report.skipped_warmup:
        numbers = ", ".join(map(str, report.skipped_warmup))
        out.print(
            f"\nThe template is warmed without request {numbers} of `warmup`: it left what is marked so."
        )
    _snapshot(out, report.snapshot)
    _imports(out, report.imports)


def _snapshot(out: Any, about: dict[str, Any]) -> None:
    from rich.markup import escape

    refused = about.get("refused") or about.get("error")
    if refused:
        out.print(f"\n[bold]No snapshot[/bold] can be kept\n  {escape(refused)}")
        return
    count = len(about["modules"])
    inside = f"{count} module{'s' if count != 1 else ''} of the app inside"
    out.print(f"\n[bold]A snapshot[/bold] can be kept: {size_text(about['bytes'])}, {inside}")
    if about["needs"]:
        out.print(escape(f"  must be there when it is restored: {', '.join(about['needs'])}"))
    for one in about["warnings"]:
        out.print(escape(f"  captured: {one}"))


def _findings(out: Any, title: str, findings: list[dict[str, Any]]) -> None:
    from rich.markup import escape

    if not findings:
        return
    out.print(f"\n[bold]{title}[/bold]")
    for one in findings:
        request = f" (left by warm-up request {one['request']})" if one.get("request") is not None else ""
        out.print(f"  [bold]{escape(one['kind'])}[/bold]: {escape(str(one['object']))}{request}")
        if one.get("origin"):
            out.print(f"    from  {escape(str(one['origin']))}")
        if one.get("cure"):
            out.print(f"    cure  {escape(str(one['cure']))}")


def _imports(out: Any, imports: list[dict[str, Any]]) -> None:
    slow = [one for one in imports if one["ms"] >= SLOW_MS]
    if not slow:
        return
    out.print("\n[bold]Slowest imports[/bold] (paid once per template)")
    table = plain_table("  package", "time", "memory")
    for one in slow:
        table.add_row(f"  {one['package']}", ms_text(one["ms"]), f"{one['mb']:.1f} MB")
    out.print(table)

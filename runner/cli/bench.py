"""`runner bench`: what starts, throughput and memory of one's own app are, beside the peers at hand."""

from __future__ import annotations

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from snapfork.runner import interpreter
from snapfork.runner.bench import ladder_report, machine, own, peers, plot, report
from snapfork.runner.bench.context import Progress
from snapfork.runner.bench.ladder import Ladder, Plan
from snapfork.runner.bench.results import Part, Results
from snapfork.runner.bench.servers import end_tidily
from snapfork.runner.bench.target import Target
from snapfork.runner.cli import checks, targets
from snapfork.runner.cli.examination import examine
from snapfork.runner.cli.overrides import function_overrides
from snapfork.runner.console import Console
from snapfork.runner.errors import UserError
from snapfork.runner.serve_config import FunctionConfig

OUTPUT = "What it leaves"


def bench(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", show_default=False, help="The app, as for `runner serve`."),
    ] = None,
    app_dir: Annotated[str, typer.Option(metavar="DIR", help="Where the app's modules are.")] = ".",
    python: Annotated[
        str | None,
        typer.Option(metavar="PYTHON", show_default=False, help="The app's interpreter or environment."),
    ] = None,
    path: Annotated[
        str, typer.Option(metavar="PATH", help="What is asked for; it must answer with 200.")
    ] = "/",
    only: Annotated[
        str | None,
        typer.Option(
            "--peers",
            metavar="LIST",
            show_default=False,
            help="Only these of the installed peers, such as 'gunicorn,uWSGI'; 'none' for none.",
        ),
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Few samples: seconds, and rough figures.")] = False,
    json_file: Annotated[
        Path | None,
        typer.Option(
            "--json",
            metavar="FILE",
            show_default=False,
            rich_help_panel=OUTPUT,
            help="Every sample, with machine, versions and load.",
        ),
    ] = None,
    plot_file: Annotated[
        Path | None,
        typer.Option(
            "--plot",
            metavar="FILE",
            show_default=False,
            rich_help_panel=OUTPUT,
            help="The ladder as PNG; needs matplotlib.",
        ),
    ] = None,
) -> None:
    """Measure starts, throughput and memory of an app, beside the peers in its environment.

    Peers are gunicorn, uvicorn, granian, pyuwsgi and functions-framework, where installed. The ladder goes
    from a fresh process of each over spawn, fork and spare to a warm request. It takes about a minute;
    nothing else should run meanwhile. --path is really called, many thousand times. Of [tool.snapfork],
    `env` holds for everybody and `lifespan` for the runner; limits and counts are those of each row.

    [bold]Examples[/bold]

      runner bench shop:app

      runner bench --app-dir src 'shop:create_app()' --path /catalogue --plot ladder.png

      runner bench shop:app --peers gunicorn --json figures.json
    """  # fmt: skip
    end_tidily()
    console = Console(fd=2)
    if plot_file is not None and not plot.available():
        raise UserError(
            "--plot needs matplotlib, which is not installed.", "Type: pip install 'snapfork[bench]'"
        )
    directory = checks.existing_directory("--app-dir", app_dir)
    named = [target] if target else checks.default_target(directory, [], console)
    (chosen,) = targets.resolve(named, [])
    choice = interpreter.choose(directory, python, console.info)
    own_settings = function_overrides(directory, chosen.name, {})
    config = FunctionConfig(chosen.name, chosen.target, directory, own_settings, chosen.prefixes, choice)
    progress = Progress()
    progress("looking at the app, as `runner doctor` does")
    found = examine(config)
    if found.mode != "fork":
        raise UserError(
            f"{found.target} is not forked but started as fresh processes: there is no ladder to climb.",
            f"`runner doctor {chosen.target}` tells why, and the cure.",
        )
    if found.interface == "event":
        raise UserError(f"{found.target} is a handler of events; `runner bench` measures web apps.")
    measured = Target(found.target, directory, found.interface, path)
    results = Results(machine.describe(choice.path).as_dict())
    servers = wanted_peers(peers.installed(found.interface, choice.path), only)
    with tempfile.TemporaryDirectory(prefix="runner-bench-") as work, machine.Watch() as watch:
        starts = Part("ladder")
        plan = Plan(1, 5, 1) if quick else Plan(2, 40, 1)
        ladder = Ladder(starts, measured, servers, Path(work), plan, choice.path, say=progress)
        ladder.env = dict(own_settings.get("env") or {})
        ladder.settings = {name: own_settings[name] for name in ("lifespan",) if name in own_settings}
        ladder.run()
        load = own.under_load(ladder, own.LoadPlan(0.2 if quick else 2.0))
    for part in (starts, load):
        part.conditions = asdict(watch.conditions)
    results.runs.append([starts, load])
    typer.echo(text(results, found.target))
    if json_file is not None:
        results.save(json_file)
    if plot_file is not None:
        bars = [(row.name, row.median or 0.0, kind) for row, kind in ladder_report.ordered(starts, "")]
        plot.ladder(plot_file, found.target, bars)


def wanted_peers(installed: list[peers.Peer], only: str | None) -> list[peers.Peer]:
    """The installed peers named in `only`, a comma-separated list. Raises UserError."""
    if only is None:
        return installed
    names = [name.strip() for name in only.split(",") if name.strip() not in ("", "none")]
    there = {peer.name for peer in installed}
    if unknown := [name for name in names if name not in there]:
        choice = ", ".join(dict.fromkeys(peer.name for peer in installed)) or "none"
        raise UserError(
            f"--peers: {', '.join(unknown)} is not installed for this app, or does not serve it.",
            f"There are: {choice}.",
        )
    return [peer for peer in installed if peer.name in names]


def text(results: Results, target: str) -> str:
    """What is printed: two tables and the machine, as Markdown."""
    (starts,), (load,) = results.parts("ladder"), results.parts("load")
    rows = []
    for name in load.groups():
        figures = [load.median(row, name) for row in (own.KEEP, own.NEW, own.USS, own.PSS)]
        rows.append([name, *map(report.number, figures)])
    head = ["", "requests/s, kept", "requests/s, new", "MB private per process", "MB whole server (PSS)"]
    blocks = [
        f"Starts of {target}, from connect() to the first byte",
        ladder_report.text([starts], ""),
        "Throughput and memory, with as many processes each",
        report.table(head, rows),
        "\n".join(f"- {note}" for note in load.notes + [n for row in load.rows for n in row.notes]),
        report.machine_text(results),
        report.conditions_text([starts]),
    ]
    return "\n\n".join(block for block in blocks if block)

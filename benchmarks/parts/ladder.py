"""The cold start ladder of five apps, and the ratios that it must show."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from snapfork.runner.bench import ladder_report, peers, report, stats
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.ladder import FLOOR, FORK, SPARE, WARM, Ladder, Plan
from snapfork.runner.bench.responder import floor
from snapfork.runner.bench.results import Check, Part, at_least, at_most, decide
from snapfork.runner.bench.target import Target

NAME = "ladder"
SUMMARY = "from a fresh process of each peer over spawn, fork and spare to a warm request, for five apps"
CLIENT = "our client's own floor"


@dataclass(frozen=True)
class App:
    """One app of benchmarks/apps. together: so many copies of it fit into memory."""

    name: str
    target: str
    kind: str
    words: str
    hello: bool = True
    together: bool = True


APPS = (
    App("flask", "flask_hello:app", "wsgi", "Flask, one route"),
    App("django", "django_hello:application", "wsgi", "Django, one view"),
    App("fastapi", "fastapi_hello:app", "asgi", "FastAPI, one route"),
    App("heavy", "heavy:app", "wsgi", "Flask with numpy, pandas and scikit-learn", hello=False),
    App("model1g", "model1g:app", "wsgi", "Flask holding 1 GB of model data", hello=False, together=False),
)


def measure(context: Context) -> Part:
    """One run: our client's floor, then app after app."""
    part = Part(NAME)
    for name, samples in floor(context.count(200, 100)).items():
        words = "a process that accepts, reads once and sends fixed bytes"
        part.row(name, group=CLIENT, config=words).samples.extend(samples)
    for app in APPS:
        if not context.wanted(app.name):
            continue
        target = Target(app.target, str(context.apps), app.kind)
        servers = peers.installed(app.kind, context.python)
        if context.quick and not app.hello:
            servers = [peer for peer in servers if peer.name in ("gunicorn", "uvicorn", "uWSGI")]
        with tempfile.TemporaryDirectory(dir=context.work) as work:
            Ladder(
                part, target, servers, Path(work), plan(app, context), context.python, app.name, context.say
            ).run()
    return part


def plan(app: App, context: Context) -> Plan:
    """A hundred samples and more a row in a full run, so that it has a p99."""
    if app.hello:
        return Plan(context.count(5, 1), context.count(30, 20), 1)
    return Plan(context.count(4, 1), context.count(26, 10), 1, app.together)


def tables(runs: list[Part]) -> str:
    """A ladder for each app."""
    names = {app.name: app.words for app in APPS}
    client = report.rows_table(runs, CLIENT)
    blocks = [f"Our own client against a process that only answers:\n\n{client}"]
    for group in dict.fromkeys(group for part in runs for group in part.groups()):
        if group in names:
            blocks.append(f"### {names[group]}\n\n{ladder_report.text(runs, group)}")
    blocks.append(report.remarks(runs))
    return "\n\n".join(blocks)


def plots(runs: list[Part], directory: Path) -> list[Path]:
    """The ladder and the distributions of each app."""
    found = []
    for app in APPS:
        if app.name in runs[0].groups():
            stem = directory / f"{NAME}-{app.name}"
            found += ladder_report.plots(runs, app.name, app.words, stem)
    return found


def checks(runs: list[Part]) -> list[Check]:
    """The first three points of what must be shown."""
    found = []
    measured = runs[0].groups()
    for app in (app for app in APPS if app.name in measured):
        found += _starts(runs, app)
    return found


def _starts(runs: list[Part], app: App) -> list[Check]:
    name = app.name
    over = _ratio(runs, name, FORK, FLOOR)
    tail = decide(runs, lambda part: stats.ratio(part.p99(FORK, name), part.median(FORK, name)))
    hello = decide(runs, lambda part: stats.ratio(part.median(FORK, name), part.median(FORK, "flask")))
    fork = decide(
        runs, lambda part: stats.ratio(ladder_report.fastest_fresh(part, name), part.median(FORK, name))
    )
    spare = decide(
        runs, lambda part: stats.ratio(ladder_report.fastest_fresh(part, name), part.median(SPARE, name))
    )
    start = [
        at_most(f"1. {name}: fork start at most 3 x the bare fork (go for 2)", over, 3),
        at_most(f"1. {name}: p99 of fork starts at most 3 x their median", tail, 3),
    ]
    if not app.hello:
        start = [at_most(f"1. {name}: fork start at most 2 x the Flask hello app's", hello, 2)]
    times = (40, 250) if app.name != "heavy" else (300, 2000)
    warm = _ratio(runs, name, SPARE, WARM)
    return [
        *start,
        at_most(f"2. {name}: spare start at most 1.5 x a warm request on a new connection", warm, 1.5),
        at_least(
            f"3. {name}: fork start {times[0]} x faster than the fastest peer's process", fork, times[0]
        ),
        at_least(f"3. {name}: spare {times[1]} x faster than the fastest peer's process", spare, times[1]),
    ]


def _ratio(runs: list[Part], group: str, row: str, base: str) -> float | None:
    return decide(runs, lambda part: stats.ratio(part.median(row, group), part.median(base, group)))

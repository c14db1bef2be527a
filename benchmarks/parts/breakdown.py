"""Where the time of one fork start goes, and its page faults, phase by phase.

The client's own times, the gateway's time of the complete head (every start order carries it) and stamps in
template and instance (tracing/fork_trace.py) are of one clock. Starts with and without stamps take turns, so
that what the stamps cost is seen. Page faults are the instance's own minor faults; the template's are not in.
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from snapfork.runner.bench import report, stats
from snapfork.runner.bench.client import Timing, expect_ok, once
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.ours import Runner
from snapfork.runner.bench.results import Part, decide
from snapfork.runner.bench.target import Target
from snapfork.runner.errors import UserError

NAME = "breakdown"
SUMMARY = "the time and the page faults of one fork start, phase by phase"
TRACING = Path(__file__).resolve().parents[1] / "tracing"
APPS = {
    "flask": ("flask_hello:app", "wsgi"),
    "django": ("django_hello:application", "wsgi"),
    "fastapi": ("fastapi_hello:app", "asgi"),
}
PHASES = (
    ("connect", "client: connect()", "connected"),
    ("accept", "gateway: accept, read and parse the head", "head read"),
    ("order", "gateway: choose, send the order; template: wake up", "ordered"),
    ("fork", "fork() until the child runs", "forked"),
    ("links", "child: control socket, page, log pipe, life line", "connected in child"),
    ("repair", "child: collector on, reseed, hooks", "repaired"),
    ("loan", "child: take the loan", "loan taken"),
    ("loop", "child: event loop or blocking loop, connection set up", "serving"),
    ("protocol", "child: parse the head, build environ or scope", "app called"),
    ("app", "child: the app, until its first bytes are to be sent", "answered"),
    ("first byte", "child sends, client wakes up", "first"),
)
WHOLE, PLAIN = "whole start", "whole start, without stamps"
FAULTS = "page faults: "
WRAPPER = """
import sys
sys.path.insert(0, {tracing!r})
import fork_trace
from snapfork_bench_app import application as inner
application = fork_trace.install(inner, {kind!r}, {directory!r})
"""
TRACED = "snapfork_bench_traced"


def measure(context: Context) -> Part:
    """One run: traced and plain starts of each app, by turns."""
    part = Part(NAME)
    for name, (target, kind) in APPS.items():
        if not context.wanted(name):
            continue
        context.say(name)
        with tempfile.TemporaryDirectory(dir=context.work) as work:
            _measure_app(part, name, Target(target, str(context.apps), kind), Path(work), context)
    return part


def _measure_app(part: Part, group: str, target: Target, work: Path, context: Context) -> None:
    target.write_wrappers(work)
    stamps = work / "stamps"
    stamps.mkdir()
    text = WRAPPER.format(tracing=str(TRACING), kind=target.kind, directory=str(stamps))
    (work / f"{TRACED}.py").write_text(text)
    one = {"spares": 0, "max_requests": 1, "python": context.python}
    with (
        Runner(f"{TRACED}:application", str(work), **one) as traced,
        Runner("snapfork_bench_app:application", str(work), **one) as plain,
    ):
        for number in range(context.count(105, 25)):
            first = _start(traced)
            traced.wait_until()  # the instance has gone: it has written its stamps
            other = _start(plain)
            if number < 5:
                continue
            _add(part, group, first, _newest(stamps))
            part.row(PLAIN, group=group).samples.append(other.ms)


def _start(server: Runner) -> Timing:
    server.wait_until()
    return expect_ok(once(server.address), server.name)


def _newest(directory: Path) -> dict[str, tuple[int, int]]:
    """The stamps of the latest start; the others are removed."""
    files = sorted(directory.glob("*.json"))
    if not files:
        raise UserError("The traced instance has left no stamps.")
    raw = json.loads(files[-1].read_text())
    for file in files:
        file.unlink()
    return {name: (int(ns), int(faults)) for name, (ns, faults) in raw.items()}


def _add(part: Part, group: str, timing: Timing, stamps: dict[str, tuple[int, int]]) -> None:
    stamps["connected in child"] = stamps.pop("connected")
    moments = {name: ns for name, (ns, _) in stamps.items()}
    moments |= {"connected": timing.connected, "first": timing.first}
    last, faults = timing.begun, 0
    for name, _, end in PHASES:
        if end not in moments:
            raise UserError(f"The traced start did not come by '{end}': fork_trace.py is out of date.")
        part.row(name, group=group).samples.append((moments[end] - last) / 1e6)
        last = moments[end]
        if end in stamps and end not in ("head read", "ordered"):
            part.row(FAULTS + name, "faults", group=group).samples.append(stamps[end][1] - faults)
            faults = stamps[end][1]
    part.row(WHOLE, group=group).samples.append(timing.ms)


def tables(runs: list[Part]) -> str:
    """Phases as rows, for each app."""
    blocks = []
    for group in dict.fromkeys(group for part in runs for group in part.groups()):
        lines = [_line(runs, group, name, words) for name, words, _ in PHASES]
        lines += [_line(runs, group, WHOLE, "as the client sees it"), _line(runs, group, PLAIN, "")]
        head = ["phase", "median ms", "of the whole", "page faults", "what"]
        blocks.append(f"### {group}\n\n{report.table(head, lines)}")
    return "\n\n".join(blocks)


def _line(runs: list[Part], group: str, name: str, words: str) -> list[str]:
    share = decide(runs, lambda part: stats.ratio(part.median(name, group), part.median(WHOLE, group)))
    faults = decide(runs, lambda part: part.median(FAULTS + name, group))
    if name == WHOLE:
        faults = decide(runs, lambda part: _all_faults(part, group))
    ms = decide(runs, lambda part: part.median(name, group))
    percent = f"{share:.0%}" if share is not None else "-"
    return [name, report.number(ms), percent, "-" if faults is None else f"{faults:.0f}", words]


def _all_faults(part: Part, group: str) -> float | None:
    rows = [row for row in part.rows if row.group == group and row.name.startswith(FAULTS)]
    return sum(row.median or 0 for row in rows) if rows else None

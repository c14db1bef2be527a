"""What each thing that makes starts fast is worth: fork and spare starts with all of them, and without each.

The same app is served by one runner for each row; tracing/without.py switches one lever off in its template.
"""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from snapfork.runner.bench import report, stats
from snapfork.runner.bench.client import expect_ok, once
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.ours import Runner
from snapfork.runner.bench.results import Part, decide
from snapfork.runner.bench.target import Target

NAME = "levers"
SUMMARY = "fork and spare starts with everything that makes them fast, and without each of it"
TRACING = Path(__file__).resolve().parents[1] / "tracing"
APPS = {"flask": ("flask_hello:app", "wsgi"), "fastapi": ("fastapi_hello:app", "asgi")}
ALL = "everything"
LEVERS = {
    "warm-up request": ("", "the template asks the app for / once"),
    "frozen heap": ("frozen_heap", "collect, then gc.freeze; no collection in the template"),
    "immortal objects": ("immortal_objects", "CPython 3.12 and newer: references to code are not counted"),
    "huge pages": ("huge_pages", "full blocks of the template's memory are one page table entry"),
    "code that travels": ("code_that_travels", "forks have page table entries of the interpreter's code"),
    "passing fork handlers": ("passing_handlers", "those of the standard library do nothing in an instance"),
    "rehearsed start": ("rehearsed_start", "the template is an instance 12 times, with a stub for the app"),
    "rehearsed requests": ("rehearsed_requests", "16 requests to a stub in the app's place"),
    "pages copied ahead": ("copied_pages", "spares fetch what the trial instance wrote to"),
    "life line of the group": ("group_life_line", "no instance arms itself"),
}
WRAPPER = """
import sys
sys.path.insert(0, {tracing!r})
import without
without.{function}()
from snapfork_bench_app import application
"""


def measure(context: Context) -> Part:
    """One run: rounds of starts of each kind, by turns."""
    part = Part(NAME)
    for name, (target, kind) in APPS.items():
        if context.wanted(name):
            with tempfile.TemporaryDirectory(dir=context.work) as work:
                _measure_app(part, name, Target(target, str(context.apps), kind), Path(work), context)
    return part


def _measure_app(part: Part, group: str, target: Target, work: Path, context: Context) -> None:
    target.write_wrappers(work)
    with ExitStack() as stack:
        servers = {}
        for lever in (ALL, *LEVERS):
            for kind, spares in (("fork", 0), ("spare", 1)):
                context.say(f"{group}, {kind}, {lever}")
                servers[lever, kind] = stack.enter_context(_server(lever, spares, work, context))
        for _ in range(context.count(7, 2)):
            for (lever, kind), server in servers.items():
                row = part.row(_row(lever, kind), group=group)
                # A few in a row, and the first of them not counted: what was asked last has warm caches.
                row.samples.extend([_start(server, kind) for _ in range(context.count(20, 8))][3:])


def _start(server: Runner, kind: str) -> float:
    server.wait_until(**({"spare": 1} if kind == "spare" else {}))
    return expect_ok(once(server.address), server.name).ms


def _server(lever: str, spares: int, work: Path, context: Context) -> Runner:
    module = "snapfork_bench_app"
    settings: dict[str, Any] = {"spares": spares, "max_requests": 1, "python": context.python}
    if lever != ALL:
        function = LEVERS[lever][0]
        if function:
            module = f"snapfork_bench_{function}"
            (work / f"{module}.py").write_text(WRAPPER.format(tracing=str(TRACING), function=function))
        else:
            settings["warmup"] = []
    return Runner(f"{module}:application", str(work), **settings)


def _row(lever: str, kind: str) -> str:
    return f"{kind}, {lever}" if lever == ALL else f"{kind}, without {lever}"


def tables(runs: list[Part]) -> str:
    """Levers as rows, for each app."""
    blocks = []
    for group in dict.fromkeys(group for part in runs for group in part.groups()):
        lines = [_line(runs, group, lever) for lever in (ALL, *LEVERS)]
        head = ["", "fork ms", "of everything", "spare ms", "of everything", "the lever"]
        blocks.append(f"### {group}\n\n{report.table(head, lines)}")
    return "\n\n".join(blocks)


def _line(runs: list[Part], group: str, lever: str) -> list[str]:
    words = [lever if lever == ALL else f"without {lever}"]
    for kind in ("fork", "spare"):
        row, whole = _row(lever, kind), _row(ALL, kind)
        words.append(report.number(decide(runs, lambda part, row=row: part.median(row, group))))
        share = decide(
            runs,
            lambda part, row=row, whole=whole: stats.ratio(
                part.median(row, group), part.median(whole, group)
            ),
        )
        words.append("-" if share is None else f"{share:.2f}")
    return [*words, "" if lever == ALL else LEVERS[lever][1]]

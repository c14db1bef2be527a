"""From an upload to the first response, and from a retired function's request to its response.

Beside them, in every round: a fresh interpreter that imports the same app and answers
(runner/bench/fresh.py), and a fresh process of the usual server. The client's clock runs from before it
connects with the upload until the first byte of the response; the package is new each time, the function too.
Retired functions are those of a runner whose templates may take 1 MB: only the function that was called last
has one. Phases are of stamps in gateway and services process (tracing/deployed), on a runner of their own
that takes its turn.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from fleet import Fleet
from snapfork.runner.bench import report, stats
from snapfork.runner.bench.client import Timing
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.deployed import (
    LAMBDA,
    STATE_S,
    Connection,
    DeployedRunner,
    Signer,
    plain,
    zipped,
)
from snapfork.runner.bench.fresh import first_answer
from snapfork.runner.bench.results import Check, Part, at_most, decide
from snapfork.runner.errors import UserError

NAME = "deploy"
SUMMARY = "from the upload of a new function, or a retired one's request, to the first response"
NEW = "upload, then the first response"
BY_LAMBDA = "create_function, then the first invoke"
UPLOAD = "the upload alone"
RETIRED = "retired, the first response"
FRESH = "fresh interpreter: import and answer"
PHASES, TRACED = "flask, phase by phase", "the whole, with stamps"
TRACING = Path(__file__).resolve().parents[1] / "tracing" / "deployed"
HANDLER = "import json\n\n\ndef handler(event, context):\n    return {'hello': 'world'}\n"
OTHER = "another"
URL_EVENT = {
    "version": "2.0", "routeKey": "$default", "rawPath": "/", "rawQueryString": "", "headers": {"host": "x"},
    "requestContext": {"http": {"method": "GET", "path": "/", "protocol": "HTTP/1.1", "sourceIp": "::1"}},
    "isBase64Encoded": False,
}  # fmt: skip
MOMENTS = (
    ("request to the services process, head judged", "native", 0),
    ("body read, signature verified", "verified", 1),
    ("package synced to disk, judged, unpacked", "stored", 1),
    ("registry: checked, committed to disk", "committed", 1),
    ("gateway told of unit and route", "followed", 1),
    ("answer to the client", "answered", 0),
    ("GET to the gateway, template ordered", "ordered", 1),
    ("base forks the template", "template forked", 0),
    ("template: environment, recorders, import", "stage: import", 1),
    ("template: hooks, audit; ready to be forked", "can be forked", 0),
    ("instance ordered and forked", "instance forked", 1),
    ("instance: loan, the app's first request, first byte", "first", 0),
)
"""Phase, and the stamp that ends it: its beginning (0) or its end (1)."""


@dataclass(frozen=True)
class App:
    """One app. kind: of the fresh interpreter's call. peer: the usual server, "" for none."""

    name: str
    target: str
    kind: str
    peer: str = ""

    def package(self, context: Context, mark: str) -> bytes:
        """A zip that nobody has uploaded before."""
        module = self.target.partition(":")[0]
        return zipped({f"{module}.py": f"{self.source(context)}\n# {mark}\n"})

    def source(self, context: Context) -> str:
        if self.kind == "event":
            return HANDLER
        return (context.apps / f"{self.target.partition(':')[0]}.py").read_text()

    @property
    def handler(self) -> str:
        """As the Lambda face takes it."""
        return self.target.replace(":", ".")

    @property
    def event(self) -> bytes:
        """What it is invoked with."""
        return b"{}" if self.kind == "event" else json.dumps(URL_EVENT).encode()


APPS = (
    App("flask", "flask_hello:app", "wsgi", "gunicorn"),
    App("fastapi", "fastapi_hello:app", "asgi", "uvicorn"),
    App("event handler", "handler_hello:handler", "event"),
)


@dataclass
class Served:
    """A runner, and who signs for it. stamps: where it writes them, None for one without."""

    runner: DeployedRunner
    signer: Signer
    stamps: Path | None = None


def measure(context: Context) -> Part:
    """One run."""
    part = Part(NAME)
    chosen = [app for app in APPS if context.wanted(app.name)]
    with ExitStack() as stack:
        usual = stack.enter_context(_serving(context, "usual"))
        retiring = stack.enter_context(_serving(context, "retiring", "--template-memory", "1MB"))
        traced = stack.enter_context(_serving(context, "traced", stamps=True))
        retiring.runner.ask(retiring.signer.create(OTHER, zipped({"other.py": HANDLER}), "other.handler"))
        for app in chosen:
            for served in (usual, traced):  # bases are up, code is in the page cache
                _deploy(part, context, served, app, "warm-up", None)
            _keep_retired(context, retiring, app)
        for number in range(context.count(9, 2)):
            for app in chosen:
                context.say(f"{app.name}, round {number + 1}")
                _round(part, context, app, number, usual, retiring, traced)
    return part


@contextmanager
def _serving(context: Context, name: str, *words: str, stamps: bool = False) -> Iterator[Served]:
    work = context.work / name
    work.mkdir()
    file = work / "stamps"
    env = {"PYTHONPATH": str(TRACING), "BENCH_STAMPS": str(file)} if stamps else {}
    with DeployedRunner(work / "data", *words, python=context.python, env=env) as runner:
        yield Served(runner, runner.signer(), file if stamps else None)


def _round(
    part: Part, context: Context, app: App, number: int, usual: Served, retiring: Served, traced: Served
) -> None:
    part.row(FRESH, group=app.name).samples.append(_fresh(context, app))
    mark = f"{context.run}-{number}"
    _deploy(part, context, usual, app, mark, NEW if app.kind != "event" else None)
    _deploy(part, context, usual, app, f"{mark}-l", BY_LAMBDA, by_lambda=True)
    part.row(RETIRED, group=app.name).samples.append(_retired(retiring, app))
    if app.name == "flask":
        _deploy(part, context, traced, app, mark, TRACED)
    if app.peer and number % 3 == 0:
        fleet = Fleet.of(context, app.target, app.kind)
        for peer in fleet.peers(app.peer):
            with fleet.peer(peer, 1) as server:
                part.row(f"{peer.name}, fresh process", group=app.name).samples.append(server.first_ms)


def _fresh(context: Context, app: App) -> float:
    directory = context.work / "fresh"
    directory.mkdir(exist_ok=True)
    module = app.target.partition(":")[0]
    (directory / f"{module}.py").write_text(app.source(context))
    return first_answer(app.target, str(directory), app.kind, python=context.python)


def _deploy(
    part: Part,
    context: Context,
    served: Served,
    app: App,
    mark: str,
    row: str | None,
    by_lambda: bool = False,
) -> None:
    """One new function, its first response, and its end; the row's sample, if there is a row."""
    runner, signer = served.runner, served.signer
    by_lambda = by_lambda or app.kind == "event"
    name = f"{app.name.replace(' ', '-')}-{mark}"
    package = app.package(context, name)
    if by_lambda:
        upload, ask = signer.create(name, package, app.handler), signer.invoke(LAMBDA, name, app.event)
    else:
        upload, ask = signer.deploy(name, package, app.target), plain("GET", "/", f"{name}.localhost")
    if served.stamps is not None and served.stamps.exists():
        served.stamps.write_bytes(b"")
    begun = time.monotonic_ns()
    with Connection(runner.address) as connection:
        first = _good(runner, "the upload", *connection.ask(upload))
    with Connection(runner.address if by_lambda else runner.front) as connection:
        second = _good(runner, "the first request", *connection.ask(ask))
    runner.wait_for(name, "ready")
    runner.ask(signer.delete(name))
    if row is None:
        return
    group = PHASES if served.stamps is not None else app.name
    part.row(row, group=group).samples.append((second.first - begun) / 1e6)
    if row == NEW:
        part.row(UPLOAD, group=group).samples.append((first.first - begun) / 1e6)
    if served.stamps is not None:
        moments = {"begin": (begun, begun), "answered": (first.first, first.first)}
        moments["first"] = (second.first, second.first)
        for phase, ms in phases(moments | read_stamps(served.stamps.read_text())):
            part.row(phase, group=group).samples.append(ms)


def _keep_retired(context: Context, served: Served, app: App) -> None:
    """Deploy the function whose retirement is waited for in each round."""
    name = _kept(app)
    package = app.package(context, name)
    if app.kind == "event":
        served.runner.ask(served.signer.create(name, package, app.handler))
    else:
        served.runner.ask(served.signer.deploy(name, package, app.target))
    _retired(served, app)


def _retired(served: Served, app: App) -> float:
    """Milliseconds. The function is retired because another one is called."""
    runner, name = served.runner, _kept(app)
    _retire(served, name)
    if app.kind == "event":
        wire, address = served.signer.invoke(LAMBDA, name, app.event), runner.address
    else:
        wire, address = plain("GET", "/", f"{name}.localhost"), runner.front
    begun = time.monotonic_ns()
    with Connection(address) as connection:
        timing = _good(runner, "a retired function", *connection.ask(wire))
    return (timing.first - begun) / 1e6


def _retire(served: Served, name: str) -> None:
    """Call another function until this one has no template and the other's is settled."""
    runner, deadline = served.runner, time.monotonic() + STATE_S
    while True:
        runner.ask(served.signer.invoke(LAMBDA, OTHER))
        mine, other = runner.function(name), runner.function(OTHER)
        settled = other is not None and other["template"]["state"] == "ready" and other["trial"]
        if settled and (mine is None or mine["template"]["state"] == "retired"):
            return
        if time.monotonic() > deadline:
            raise UserError(f"{name} is not retired after {STATE_S:g} s.", runner.tail())
        time.sleep(0.1)


def _kept(app: App) -> str:
    return f"{app.name.replace(' ', '-')}-retired"


def _good(runner: DeployedRunner, what: str, timing: Timing, body: bytes) -> Timing:
    if timing.status not in (200, 201) or b"errorMessage" in body:
        raise UserError(f"{what} was answered with {timing.status}: {body[:300]!r}.", runner.tail())
    return timing


def read_stamps(text: str) -> dict[str, tuple[int, int]]:
    """The first call of each name: its beginning and its end."""
    found: dict[str, tuple[int, int]] = {}
    for line in sorted(text.splitlines(), key=lambda line: int(line.rpartition(" ")[2])):
        name, begun, ended = line.rsplit(" ", 2)
        found.setdefault(name, (int(begun), int(ended)))
    return found


def phases(moments: dict[str, tuple[int, int]]) -> list[tuple[str, float]]:
    """Milliseconds of each phase, which follow on one another. Raises UserError where a moment is missing."""
    last = moments["begin"][0]
    found = []
    for phase, end, side in MOMENTS:
        if end not in moments:
            raise UserError(f"There is no stamp {end!r}: tracing/deployed is out of date.")
        at = max(last, moments[end][side])  # what is done beside something longer takes no time of its own
        found.append((phase, (at - last) / 1e6))
        last = at
    return found


def checks(runs: list[Part]) -> list[Check]:
    """What a deploy must show."""
    found = []
    rows = (("a new Flask function: upload to response", NEW), ("a retired one: response", RETIRED))
    for must, row in rows:
        share = decide(
            runs, lambda part, r=row: stats.ratio(part.median(r, "flask"), part.median(FRESH, "flask"))
        )  # fmt: skip
        found.append(at_most(f"5. {must}, at most half of a fresh interpreter", share, 0.5))
        found.append(at_most(f"5. {must}, a tenth (to go for)", share, 0.1))
    return found


def tables(runs: list[Part]) -> str:
    """Rows of each app beside the fresh interpreter's, and the phases."""
    lines, steps = [], []
    for part in runs[:1]:
        for row in part.rows:
            ms = decide(runs, lambda part, r=row: part.median(r.name, r.group))
            base = (PHASES, TRACED) if row.group == PHASES else (row.group, FRESH)
            share = decide(
                runs,
                lambda part, r=row, b=base: stats.ratio(
                    part.median(r.name, r.group), part.median(b[1], b[0])
                ),
            )
            line = [row.name, report.number(ms), "-" if share is None else f"{share:.2f}"]
            if row.group == PHASES:
                steps.append(line)
            else:
                lines.append([row.group, *line])
    first = report.table(["app", "row", "median ms", "of the fresh interpreter's"], lines)
    if not steps:
        return first
    return f"{first}\n\n### {PHASES}\n\n{report.table(['phase', 'median ms', 'of the whole'], steps)}"

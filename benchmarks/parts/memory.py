"""Private (USS) and proportional (PSS) memory per instance, beside a peer's workers.

Requests go over as many kept connections as there are processes until each has had its share: ours tells how
many each instance served, of the peers' workers only the average is known.
"""

from __future__ import annotations

from pathlib import Path

from fleet import OURS, Fleet, wait_for_instances
from snapfork.runner.bench import memory, plot, stats
from snapfork.runner.bench.burst import load
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.ours import Runner
from snapfork.runner.bench.results import Check, Part, at_most, decide
from snapfork.runner.bench.servers import Server

NAME = "memory"
SUMMARY = "private and proportional memory of 1, 10 and 100 instances, after 1 and 1,000 requests each"
APPS = {
    "flask": ("flask_hello:app", "wsgi"),
    "django": ("django_hello:application", "wsgi"),
    "fastapi": ("fastapi_hello:app", "asgi"),
}
BYTES_PER_MB = 1 << 20
ROUNDS = 200
"""Of load, at most: afterwards what was reached is noted."""
PEERS = ("gunicorn", "gunicorn --preload", "uvicorn")


def measure(context: Context) -> Part:
    """One run: app after app, size after size."""
    part = Part(NAME)
    for app, (target, kind) in APPS.items():
        if not context.wanted(app):
            continue
        fleet = Fleet.of(context, target, kind)
        for count in (1, 10) if context.quick else (1, 10, 100):
            context.say(f"{app}, {count} instances")
            sizes = {"min_instances": count, "max_instances": count, "spares": 0, "concurrency": 1}
            with fleet.own(**sizes) as server:
                wait_for_instances(server, count)
                _sample(part, app, OURS, server, count)
            for peer in fleet.peers(*PEERS):
                if count > 10 or (context.quick and count > 1):
                    continue
                with fleet.peer(peer, count) as other:
                    _sample(part, app, peer.name, other, count)
    return part


def _sample(part: Part, app: str, name: str, server: Server, count: int) -> None:
    for requests in (1, 1000):
        least = _ask(server, count, requests)
        pids = server.workers()[:count] if isinstance(server, Runner) else _workers(server, count)
        total = memory.of_all(pids)
        for kind, size in (("USS", total.uss), ("PSS", total.pss)):
            row = part.row(f"{name}: {kind} each of {count} after {requests:,}", "MB", group=app)
            row.samples.append(size / max(total.processes, 1) / BYTES_PER_MB)
            row.extra.update(count=count, requests=requests, reached=least, server=name, kind=kind)


def _workers(server: Server, count: int) -> list[int]:
    """The `count` largest: uvicorn also has a resource tracker."""
    sizes = {pid: memory.of_all([pid]).rss for pid in server.workers()}
    return sorted(sizes, key=lambda pid: sizes[pid])[-count:]


def _ask(server: Server, count: int, requests: int) -> float:
    """Load until every process has had so many requests; the fewest (peers: the average) that one had."""
    done = 0.0
    for _ in range(ROUNDS):
        least = done / count
        if isinstance(server, Runner):
            least = min((one["requests"] for one in server.instances()), default=0)
        if least >= requests:
            break
        done += load(server.address, count, 0.5 if requests > 1 else 0.1).done
    return least


def plots(runs: list[Part], directory: Path) -> list[Path]:
    """PSS per instance against their number."""
    found = []
    for app in runs[0].groups():
        series: dict[str, tuple[list[float], list[float]]] = {}
        for row in runs[0].rows:
            if row.group == app and row.extra["kind"] == "PSS" and row.extra["requests"] == 1000:
                xs, ys = series.setdefault(row.extra["server"], ([], []))
                xs.append(row.extra["count"])
                ys.append((row.median or 0) * row.extra["count"])
        path = directory / f"{NAME}-{app}.png"
        title = f"{app}, after 1,000 requests each"
        found.append(plot.lines(path, title, series, x="processes", y="PSS of all, MB", log_x=True))
    return found


def checks(runs: list[Part]) -> list[Check]:
    """Point 6 of what must be shown."""
    found = []
    ours = f"{OURS}: USS each of 10 after 1,000"
    for app, (_, kind) in APPS.items():
        if app not in runs[0].groups():
            continue
        peer = "gunicorn" if kind == "wsgi" else "uvicorn"
        size = decide(runs, lambda part, app=app: part.median(ours, app))
        share = decide(runs, lambda part, app=app, peer=peer: _share(part, app, ours, peer))
        found += [
            at_most(f"6. {app}: at most 3 MB private memory per instance after 1,000 requests", size, 3),
            at_most(f"6. {app}: under a tenth of a {peer} worker's private memory", share, 0.1, "{:.3f}"),
        ]
    return found


def _share(part: Part, app: str, ours: str, peer: str) -> float | None:
    return stats.ratio(part.median(ours, app), part.median(f"{peer}: USS each of 1 after 1,000", app))

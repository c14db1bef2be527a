"""How many live instances 2 GB hold: extrapolated from the PSS of all processes at two sizes."""

from __future__ import annotations

from fleet import OURS, Fleet, wait_for_instances
from snapfork.runner.bench import memory
from snapfork.runner.bench.burst import load
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.results import Part
from snapfork.runner.bench.servers import Server

NAME = "density"
SUMMARY = "how many live instances fit into 2 GB, extrapolated from a measured slope"
APPS = {
    "flask": ("flask_hello:app", "wsgi"),
    "django": ("django_hello:application", "wsgi"),
    "fastapi": ("fastapi_hello:app", "asgi"),
}
LIMIT_MB = 2048
BYTES_PER_MB = 1 << 20


def extrapolate(small: tuple[int, float], large: tuple[int, float], limit: float) -> tuple[float, float]:
    """From (processes, MB of all) at two sizes: MB of each further process, and how many `limit` MB hold."""
    slope = (large[1] - small[1]) / (large[0] - small[0])
    fixed = small[1] - slope * small[0]
    return slope, (limit - fixed) / slope if slope > 0 else 0.0


def measure(context: Context) -> Part:
    """One run: each server at two sizes, every process in the tree counted."""
    part = Part(NAME, notes=["Not grown to 2 GB: a line through the PSS of the whole tree at two sizes."])
    for app, (target, kind) in APPS.items():
        if not context.wanted(app) or (context.quick and app == "django"):
            continue
        fleet = Fleet.of(context, target, kind)
        own = (10, 30) if context.quick else (20, 100)
        points = []
        for count in own:
            context.say(f"{app}, {count} instances")
            sizes = {"min_instances": count, "max_instances": count, "spares": 0, "concurrency": 1}
            with fleet.own(**sizes) as server:
                wait_for_instances(server, count)
                points.append((count, _all_mb(server, count)))
        _add(part, app, OURS, points)
        for peer in fleet.peers("gunicorn", "gunicorn --preload", "uvicorn"):
            points = []
            for count in (2, 6):
                with fleet.peer(peer, count) as other:
                    points.append((count, _all_mb(other, count)))
            _add(part, app, peer.name, points)
    return part


def _all_mb(server: Server, count: int) -> float:
    """PSS of every process of the server, after some requests to all."""
    load(server.address, count, 0.5)
    return memory.of_all(server.pids()).pss / BYTES_PER_MB


def _add(part: Part, app: str, name: str, points: list[tuple[int, float]]) -> None:
    slope, fits = extrapolate(points[0], points[1], LIMIT_MB)
    words = " and ".join(str(count) for count, _ in points)
    row = part.row(f"{name}: each further one", "MB", group=app, config=f"measured with {words} processes")
    row.samples.append(slope)
    row.extra.setdefault("points", []).append(points)
    part.row(f"{name}: in 2 GB", "processes", group=app).samples.append(fits)

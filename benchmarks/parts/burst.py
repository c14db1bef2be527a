"""From no instance to N: requests of 100 ms, all at once, each on a new connection.

Ours begins without any instance and each instance serves one request (WSGI, concurrency 1), so that N
requests are N starts. Peers have their workers running: WSGI workers fewer than the requests mean a queue.
For ASGI ours has its defaults: instances for 32 requests each, at most as many as cores; the rest queue.
"""

from __future__ import annotations

from pathlib import Path

from fleet import OURS, Fleet, all_of, described
from snapfork.runner.bench import plot, stats
from snapfork.runner.bench.burst import burst
from snapfork.runner.bench.client import NS_PER_MS
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.ours import Runner
from snapfork.runner.bench.results import Check, Part, at_least, at_most, decide
from snapfork.runner.bench.servers import Server
from snapfork.runner.errors import UserError

NAME = "burst"
SUMMARY = "0 -> N concurrent requests of 100 ms: starts per second, median, p99, failures"
COUNTS = (20, 100, 200)
SLOW = ("gunicorn", "granian", "uWSGI")
"""One request at a time and worker with WSGI."""
WORK_MS = 100.0
RATE, FAILED = ": starts/s", ": failed"
QUEUES = "two workers: what they cannot take at once waits in a queue, and no process is started"
LOOPS = "two workers, each with a loop that takes all it gets"


def measure(context: Context) -> Part:
    """One run: bursts of each size, the servers by turns."""
    part = Part(NAME, notes=[
        "Starts/s: N by the time from the first connect() to the last answer less 100 ms."
    ])
    for kind, target in (("wsgi", "slow100:app"), ("asgi", "slow100:asgi_app")):
        fleet = Fleet.of(context, target, kind)
        servers: dict[str, Server] = {}
        words = {}
        settings = {"spares": 0, "max_requests": 1, "max_instances": max(COUNTS), "concurrency": 1}
        if kind == "asgi":
            settings = {"spares": 0}
        servers[OURS], words[OURS] = fleet.own(**settings), described(settings)
        for peer in fleet.peers("gunicorn", "gunicorn gthread", "granian", "uWSGI", "uvicorn"):
            servers[peer.name] = fleet.peer(peer, 2)
            words[peer.name] = f"{peer.words}; {QUEUES if kind == 'wsgi' else LOOPS}"
        with all_of(servers) as running:
            for count in COUNTS:
                for number in range(context.count(3, 1)):
                    context.say(f"{kind}, {count} at once, round {number + 1}")
                    for name, server in running.items():
                        if context.quick and count > COUNTS[0] and kind == "wsgi" and name in SLOW:
                            continue  # ten seconds each
                        _burst(part, f"{kind} {count}", name, server, count, words[name])
    return part


def _burst(part: Part, group: str, name: str, server: Server, count: int, words: str) -> None:
    counted = isinstance(server, Runner) and group.startswith("wsgi")
    before = 0
    if isinstance(server, Runner) and counted:
        before = server.wait_until()["starts"]["fork"]
    timings = burst(server.address, count)
    good = [timing for timing in timings if timing.ok]
    if isinstance(server, Runner) and counted:
        started = server.function()["starts"]["fork"] - before
        if started != len(good):
            raise UserError(f"A burst of {count} made {started} forks for {len(good)} answers.")
    row = part.row(name, group=group, config=words)
    row.samples.extend(timing.ms for timing in good)
    part.row(name + FAILED, "requests", group=group).samples.append(count - len(good))
    if not good:
        return
    begun = timings[0].begun
    moments = [(timing.first - begun) / NS_PER_MS for timing in good]
    row.extra.setdefault("moments_ms", []).append(moments)
    if counted:
        spent = max(moments) - WORK_MS
        part.row(name + RATE, "1/s", group=group).samples.append(1000 * len(good) / spent if spent > 0 else 0)


def plots(runs: list[Part], directory: Path) -> list[Path]:
    """The answers over time of the first burst of each size."""
    found = []
    for group in runs[0].groups():
        moments = {
            row.name: row.extra["moments_ms"][0]
            for row in runs[0].rows
            if row.group == group and row.extra.get("moments_ms")
        }
        path = directory / f"{NAME}-{group.replace(' ', '-')}.png"
        found.append(plot.timeline(path, f"{group} requests of 100 ms at once", moments))
    return found


def checks(runs: list[Part]) -> list[Check]:
    """Point 4 of what must be shown."""
    found = []
    for count in COUNTS[1:]:
        group = f"wsgi {count}"
        failures = [sum(row.samples) for part in runs if (row := part.find(OURS + FAILED, group))]
        rate = decide(runs, lambda part, group=group: part.median(OURS + RATE, group))
        tail = decide(runs, lambda part, g=group: stats.ratio(part.p99(OURS, g), part.median(OURS, g)))
        failed = float(sum(failures)) if failures else None
        found += [
            at_most(f"4. burst of {count}: no failure", failed, 0, "{:.0f}"),
            at_least(f"4. burst of {count}: at least 400 starts/s", rate, 400, "{:.0f}"),
            at_most(f"4. burst of {count}: p99 at most 3 x the median", tail, 3),
        ]
    return found

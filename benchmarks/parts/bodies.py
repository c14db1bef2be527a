"""The bodies of published function benchmarks, written anew: cold (a fork for each request) against warm.

Rows of each body take turns; times are from connect() to the first byte on a new connection, but for the
fresh process: from exec to the first byte of its first 200.
"""

from __future__ import annotations

import importlib.util

from fleet import Fleet, all_of
from snapfork.runner.bench import report, stats
from snapfork.runner.bench.client import expect_ok, once
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.ours import Runner
from snapfork.runner.bench.results import Part, decide
from snapfork.runner.bench.servers import Server
from snapfork.runner.errors import UserError

NAME = "bodies"
SUMMARY = "bodies of SeBS and FunctionBench: cold against warm, beside gunicorn"
BODIES = (
    "dynamic_html", "thumbnail", "zipping", "graph_pagerank", "graph_mst", "graph_bfs", "dna_visualisation",
    "chameleon_table", "aes_encryption", "linpack", "matmul", "float_operations",
)  # fmt: skip
NEEDS = {
    "thumbnail": "PIL", "graph_pagerank": "igraph", "graph_mst": "igraph", "graph_bfs": "igraph",
    "chameleon_table": "chameleon", "aes_encryption": "pyaes", "linpack": "numpy", "matmul": "numpy",
}  # fmt: skip
COLD, WARM, FRESH, IDLE = "fork start", "warm", "gunicorn, fresh process", "gunicorn, idle worker"
QUICK = ("dynamic_html", "thumbnail", "graph_pagerank")


def measure(context: Context) -> Part:
    """One run: body after body."""
    part = Part(NAME)
    if context.quick:
        part.notes.append(f"--quick measures {', '.join(QUICK)} only.")
    for name in QUICK if context.quick else BODIES:
        if not context.wanted(name):
            continue
        if name in NEEDS and importlib.util.find_spec(NEEDS[name]) is None:
            part.notes.append(f"{name}: not measured, {NEEDS[name]} is not installed.")
            continue
        context.say(name)
        _measure(part, context, name, Fleet.of(context, f"{name}:app", "wsgi", "bodies"))
    return part


def _measure(part: Part, context: Context, name: str, fleet: Fleet) -> None:
    rounds, samples = context.count(5, 1), context.count(20, 10)
    cold = fleet.own(spares=0, max_requests=1)
    servers: dict[str, Server] = {COLD: cold, WARM: fleet.own(spares=0)}
    peers = fleet.peers("gunicorn")
    for peer in peers:
        servers[IDLE] = fleet.peer(peer, 1)
    with all_of(servers) as running:
        for server in running.values():
            for _ in range(3):
                _ask(server)  # warm-up, not counted
        for _ in range(rounds):
            for row, server in running.items():
                before = cold.function()["starts"]["fork"]
                part.row(row, group=name).samples.extend(_ask(server) for _ in range(samples))
                if server is cold and cold.function()["starts"]["fork"] - before != samples:
                    raise UserError(f"{name}: not every cold start was a fork.")
            for peer in peers:
                with fleet.peer(peer, 1) as fresh:
                    part.row(FRESH, group=name).samples.append(fresh.first_ms)


def _ask(server: Server) -> float:
    """Milliseconds; a cold start begins when the last instance has left."""
    if isinstance(server, Runner) and "--max-requests" in server.command:
        server.wait_until()
    return expect_ok(once(server.address), server.name).ms


def tables(runs: list[Part]) -> str:
    """One line for each body."""
    lines = []
    for name in dict.fromkeys(group for part in runs for group in part.groups()):
        times = [decide(runs, lambda part, r=r, g=name: part.median(r, g)) for r in (COLD, WARM, IDLE, FRESH)]
        lines.append([name, *map(report.number, times), report.number(stats.ratio(times[0], times[1]))])
    head = ["body", COLD, WARM, IDLE, FRESH, "cold by warm"]
    return f"Medians in ms.\n\n{report.table(head, lines)}\n\n{report.remarks(runs)}".rstrip()

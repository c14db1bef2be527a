"""What `runner bench` measures: the ladder of one app, then throughput and memory under it, peer by peer."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from snapfork.runner.bench import memory, throughput
from snapfork.runner.bench.ladder import Ladder
from snapfork.runner.bench.results import Part
from snapfork.runner.bench.servers import Server

MB = 1e6
KEEP, NEW = "kept connections", "a new connection per request"
USS, PSS = "private memory per process (USS)", "proportional memory, whole server (PSS)"
OWN = "runner serve"


@dataclass
class LoadPlan:
    """seconds: of each measurement of throughput. workers: processes that serve, with everybody."""

    seconds: float = 2.0
    workers: int = 0
    connections: int = 16

    def __post_init__(self) -> None:
        self.workers = self.workers or len(os.sched_getaffinity(0))


def under_load(ladder: Ladder, plan: LoadPlan) -> Part:
    """Requests per second and memory of the runner and each peer, with as many processes each."""
    part = Part("load")
    settings: dict[str, Any] = {"min_instances": plan.workers, "max_instances": plan.workers, "spares": 0}
    makers: list[tuple[str, int, Callable[[], Server]]] = [
        (OWN, plan.workers, lambda: ladder.own_server(**settings))
    ]
    for peer in ladder.peers:
        count = plan.workers if peer.scales else 1
        makers.append((peer.name, count, lambda peer=peer, count=count: ladder.peer_server(peer, count)))  # type: ignore[misc]
    for name, count, make in makers:
        ladder.say(f"throughput and memory of {name}")
        with make() as server:
            _one(part, name, count, server, plan)
    if note := throughput.tool_note(plan.seconds):
        part.notes.append(note)
    return part


def _one(part: Part, name: str, count: int, server: Server, plan: LoadPlan) -> None:
    for row, keep in ((KEEP, True), (NEW, False)):
        throughput.rate(server.address, plan.seconds / 4, path=server.path, keep=keep)  # warm-up
        found = throughput.rate(
            server.address, plan.seconds, connections=plan.connections, path=server.path, keep=keep
        )
        entry = part.row(row, "1/s", group=name)
        entry.samples.append(found.requests)
        if found.failed:
            entry.notes.append(f"{name}: {found.failed} requests failed")
    time.sleep(0.2)  # what the last requests left is given back
    # Helpers that some servers run beside their workers are small: the largest processes serve.
    private = sorted((memory.of_all([pid]).uss for pid in server.workers()), reverse=True)[:count]
    part.row(USS, "MB", group=name).samples.append(sum(private) / max(len(private), 1) / MB)
    part.row(PSS, "MB", group=name).samples.append(memory.of_all(server.pids()).pss / MB)

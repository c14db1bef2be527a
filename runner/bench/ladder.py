"""The cold start ladder of one app: from a fresh process of each peer down to a warm request.

Every figure is what a client sees, in milliseconds, from connect() to the first byte on a new connection,
but for kept connections (from sending to the first byte), fresh processes (from exec to the first byte of the
first 200) and the floor (see floor.py). Rows take turns: each round samples all of them.
"""

from __future__ import annotations

import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from snapfork.runner.bench import floor
from snapfork.runner.bench.client import BadAnswer, Kept, expect_ok, once
from snapfork.runner.bench.context import quiet
from snapfork.runner.bench.ours import Runner
from snapfork.runner.bench.peers import Peer
from snapfork.runner.bench.results import Part
from snapfork.runner.bench.servers import Server, free_port
from snapfork.runner.bench.target import Target
from snapfork.runner.errors import UserError

FLOOR = "bare fork (floor)"
OWN_FRESH = "runner serve, fresh process"
SPAWN = "spawn"
UNWARMED = "fork, template not warmed"
FORK = "fork"
SPARE = "spare"
WARM = "warm, new connection"
KEPT = "warm, kept connection"
FRESH_SUFFIX = ", fresh process"
IDLE_SUFFIX = ", idle worker"
IDLE_KEPT_SUFFIX = ", idle worker, kept connection"
DISCARDED = 5
"""Warm-up requests of every server that stays, not counted."""


@dataclass
class Plan:
    """How much: `rounds` of `starts` samples a row (spawn and fresh: `slow` a round).

    together: all servers run at the same time and idle while another is measured; else each is started for
    its turn, for apps of which so many do not fit into memory.
    """

    rounds: int = 5
    starts: int = 30
    slow: int = 1
    together: bool = True


@dataclass
class Ladder:
    """Measures one app into `part`, as the rows of `group`."""

    part: Part
    target: Target
    peers: list[Peer]
    work: Path
    plan: Plan = field(default_factory=Plan)
    python: str = sys.executable
    group: str = ""
    say: Callable[[str], None] = quiet
    env: dict[str, str] = field(default_factory=dict)
    settings: dict[str, Any] = field(default_factory=dict)

    def run(self) -> None:
        """All rounds. Raises UserError when a server does not do what it should."""
        self.target.write_wrappers(self.work)
        stations = [*self._own(), *(_PeerStation(self, peer) for peer in self.peers)]
        with ExitStack() as stack:
            if self.plan.together:
                for station in stations:
                    stack.enter_context(station.running())
            for number in range(self.plan.rounds):
                self.say(f"{self.group} round {number + 1} of {self.plan.rounds}".strip())
                self._floor()
                for station in stations:
                    if self.plan.together:
                        station.sample()
                    else:
                        with station.running():
                            station.sample()
                for peer in self.peers:
                    if peer.starts:
                        self._fresh(peer)

    def _own(self) -> list[_Station]:
        one = {"max_requests": 1}
        return [
            _StartStation(self, UNWARMED, "fork", {**one, "spares": 0, "warmup": []}),
            _StartStation(self, FORK, "fork", {**one, "spares": 0}),
            _StartStation(self, SPARE, "spare", {**one, "spares": 1}),
            _StartStation(self, SPAWN, "spawn", {**one, "spares": 0}),
            _WarmStation(self),
        ]

    def _floor(self) -> None:
        count, path = self.plan.starts, self.target.path
        samples = floor.bare_fork(
            self.work,
            self.target.kind,
            count,
            path=path,
            python=self.python,
            cwd=self.target.app_dir,
            env=self.env,
        )
        config = "a process with this app, warmed, collected and frozen; no server, no request"
        self.add(FLOOR, samples, config)

    def _fresh(self, peer: Peer) -> None:
        for _ in range(self.plan.slow):
            with self.peer_server(peer) as server:
                self.add(peer.name + FRESH_SUFFIX, [server.first_ms], peer.words)
                server.kill()  # some take a second to end by themselves

    def add(self, name: str, samples: list[float], config: str = "") -> None:
        self.part.row(name, "ms", group=self.group, config=config).samples.extend(samples)

    def note(self, text: str) -> None:
        """Say something once beside the figures."""
        text = f"{self.group}, {text}" if self.group else text
        if text not in self.part.notes:
            self.part.notes.append(text)

    def peer_server(self, peer: Peer, workers: int = 1) -> Server:
        """A peer's server for the app, not started yet."""
        port = free_port()
        command = peer.command(self.python, port, workers, str(self.work))
        env = {**self.env, "PYTHONPATH": str(self.work)}
        return Server(peer.name, command, port, cwd=self.target.app_dir, env=env, path=self.target.path)

    def own_server(self, module: str = "app", **settings: Any) -> Runner:
        """`runner serve` for the app, not started yet."""
        return Runner(
            f"snapfork_bench_{module}:application", str(self.work), python=self.python, path=self.target.path,
            cwd=self.target.app_dir, env=self.env, **(self.settings | settings),
        )  # fmt: skip


class _Station(ABC):
    """A server that rows are sampled from."""

    def __init__(self, ladder: Ladder) -> None:
        self.ladder = ladder
        self.path = ladder.target.path

    @abstractmethod
    def make(self) -> Server:
        """The server, not started yet."""

    @abstractmethod
    def sample(self) -> None:
        """Add one round's samples to its rows."""

    def opened(self) -> None:
        """Called when the server has answered for the first time."""
        for _ in range(DISCARDED):
            self.ask()

    @contextmanager
    def running(self) -> Iterator[None]:
        with self.make() as self.server:
            self.opened()
            yield

    def ask(self) -> float:
        """Milliseconds to the first byte on a new connection."""
        return expect_ok(once(self.server.address, self.path), self.server.name).ms

    def kept(self, count: int) -> list[float]:
        with Kept(self.server.address, self.path) as connection:
            for _ in range(DISCARDED):
                connection.ask()
            return [expect_ok(connection.ask(), self.server.name).ms for _ in range(count)]


class _StartStation(_Station):
    """`runner serve` whose instances serve one request each: every request is a start of one kind."""

    server: Runner

    def __init__(self, ladder: Ladder, row: str, kind: str, settings: dict[str, Any]) -> None:
        super().__init__(ladder)
        self.row, self.kind, self.settings = row, kind, settings

    def make(self) -> Runner:
        return self.ladder.own_server("spawned" if self.kind == "spawn" else "app", **self.settings)

    def opened(self) -> None:
        if self.row == FORK:
            words = "from exec of `runner serve` to its first 200: template, warm-up, trial and a fork"
            self.ladder.add(OWN_FRESH, [self.server.first_ms], words)
        for _ in range(DISCARDED if self.kind != "spawn" else 1):
            self.start()

    def start(self) -> float:
        if self.kind == "spare":
            self.server.wait_until(spare=1)
        else:
            self.server.wait_until()
        return self.ask()

    def sample(self) -> None:
        plan = self.ladder.plan
        count = plan.slow if self.kind == "spawn" else plan.starts
        before = self.started()
        samples = [self.start() for _ in range(count)]
        if (happened := self.started() - before) != count:
            raise UserError(
                f"{self.ladder.target.target}: of {count} starts meant to be `{self.kind}`, {happened} were.",
                f"`runner doctor {self.ladder.target.target}` tells why an app is not forked.",
            )
        words = " ".join(f"{name}={value}" for name, value in self.settings.items())
        self.ladder.add(self.row, samples, f"runner serve, {words}")

    def started(self) -> int:
        return int(self.server.function()["starts"][self.kind])


class _WarmStation(_Station):
    """`runner serve` with its defaults, asked until an instance is warm."""

    def make(self) -> Runner:
        return self.ladder.own_server()

    def sample(self) -> None:
        count = self.ladder.plan.starts
        self.ladder.add(WARM, [self.ask() for _ in range(count)], "runner serve with its defaults")
        self.ladder.add(KEPT, self.kept(count), "the same, requests one after the other")


class _PeerStation(_Station):
    """A peer with one idle worker."""

    def __init__(self, ladder: Ladder, peer: Peer) -> None:
        super().__init__(ladder)
        self.peer = peer

    def make(self) -> Server:
        return self.ladder.peer_server(self.peer)

    def sample(self) -> None:
        count, peer = self.ladder.plan.starts, self.peer
        self.ladder.add(peer.name + IDLE_SUFFIX, [self.ask() for _ in range(count)], peer.words)
        if peer.keeps:
            try:
                samples = self.kept(count)
            except BadAnswer as error:
                self.ladder.note(f"{peer.name}: no row for kept connections with this app, {error.sentence}")
            else:
                self.ladder.add(peer.name + IDLE_KEPT_SUFFIX, samples)

"""What the load parts share: servers around one app, by name, and their rows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snapfork.runner.bench import peers
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.ours import Runner
from snapfork.runner.bench.peers import Peer
from snapfork.runner.bench.servers import Server, free_port
from snapfork.runner.bench.target import Target
from snapfork.runner.errors import UserError

OURS = "runner serve"
INSTANCES_S = 60.0


@dataclass
class Fleet:
    """Servers of one app, none of them started."""

    target: Target
    work: Path
    python: str

    @classmethod
    def of(cls, context: Context, target: str, kind: str, folder: str = "") -> Fleet:
        """The fleet of an app of benchmarks/apps, its wrappers in a directory of their own."""
        work = context.work / target.replace(":", "-")
        work.mkdir(exist_ok=True)
        fleet = cls(Target(target, str(context.apps / folder), kind), work, context.python)
        fleet.target.write_wrappers(work)
        return fleet

    def peers(self, *names: str) -> list[Peer]:
        """The installed peers for the app's kind; only these names, if any are given."""
        found = peers.installed(self.target.kind, self.python)
        return [peer for peer in found if not names or peer.name in names]

    def own(self, access_log: bool = False, **settings: Any) -> Runner:
        """`runner serve` with these settings."""
        return Runner(
            "snapfork_bench_app:application", str(self.work), python=self.python,
            cwd=self.target.app_dir, access_log=access_log, **settings,
        )  # fmt: skip

    def peer(self, peer: Peer, workers: int, access_log: bool = False) -> Server:
        """A peer with so many workers."""
        port = free_port()
        command = peer.command(self.python, port, workers, str(self.work))
        if access_log:
            command = logged(peer, command)
        return Server(
            peer.name, command, port, cwd=self.target.app_dir, env={"PYTHONPATH": str(self.work)}
        )


def logged(peer: Peer, command: list[str]) -> list[str]:
    """A peer's command line with its access log on, as the server itself writes it."""
    off = {"--no-access-log", "--disable-logging", "--log-level", "warning"}
    words = [word for word in command if word not in off]
    on = {"gunicorn": ["--access-logfile", "-"], "granian": ["--access-log"]}.get(peer.package, [])
    return [*words[:-1], *on, words[-1]]


def described(settings: dict[str, Any]) -> str:
    """Settings as the words of a row's configuration."""
    words = ", ".join(f"{name}={value}" for name, value in settings.items())
    return f"runner serve, {words}" if words else "runner serve, nothing set"


@contextmanager
def all_of(servers: dict[str, Server]) -> Iterator[dict[str, Server]]:
    """All of them running; they end also when something fails."""
    running: dict[str, Server] = {}
    try:
        for name, server in servers.items():
            running[name] = server.__enter__()
        yield running
    finally:
        for server in running.values():
            server.stop()


def wait_for_instances(server: Runner, count: int) -> None:
    """Until `count` instances wait, used or not. Raises UserError after a minute."""
    deadline = time.monotonic() + INSTANCES_S
    while (ready := len(server.instances("spare")) + len(server.instances("idle"))) < count:
        if time.monotonic() > deadline:
            raise UserError(f"the runner has {ready} instances instead of {count}.", server.tail())
        time.sleep(0.01)

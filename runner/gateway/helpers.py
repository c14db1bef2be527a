"""The processes beside the gateway: logs, services, file watcher. Each is started again when it dies."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING

from snapfork.runner.gateway.children import Watch
from snapfork.runner.gateway.pipes import Pipes
from snapfork.runner.policy.elastic import backoff_s
from snapfork.runner.runtime_dir import LOGS
from snapfork.runner.services import launch
from snapfork.runner.wire import fds

if TYPE_CHECKING:
    from snapfork.runner.gateway.core import Core

RESTART_S = 1.0
STABLE_S = 30.0
"""Who has lived for so long before it dies is started again without a longer wait."""
PATIENCE_S = 2.0
"""How long each gets to end by itself."""


class Helpers:
    """`on_services(line, pid)` gets each new services process; `on_change` the paths that have changed."""

    def __init__(
        self,
        core: Core,
        pipes: Pipes,
        on_services: Callable[[socket.socket, int], None],
        on_change: Callable[[list[str]], None],
    ) -> None:
        self._core = core
        self._pipes = pipes
        self._on_services = on_services
        self._on_change = on_change
        self._running: list[subprocess.Popen[bytes]] = []
        self._watch_fd = -1
        self._deaths: Counter[str] = Counter()

    def start(self) -> None:
        """Start what this run needs."""
        self._start_logs()
        self._start_services()
        if self._core.config.reload:
            self._start_watch()

    @property
    def pids(self) -> set[int]:
        return {one.pid for one in self._running}

    def close(self) -> None:
        """Wait for their ends, which the closing of their sockets asks for."""
        for process in list(self._running):
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _keep(self, process: subprocess.Popen[bytes], what: str, again: Callable[[], None]) -> None:
        self._running.append(process)
        core = self._core
        begun = core.loop.time()

        def died() -> None:
            process.wait()
            self._running.remove(process)
            watch.close()
            if not core.stopping:
                if core.loop.time() - begun > STABLE_S:
                    self._deaths[what] = 0
                self._deaths[what] += 1
                delay = max(RESTART_S, backoff_s(self._deaths[what]))
                core.console.warn(f"the {what} (pid {process.pid}) died; starting it again in {delay:g} s.")
                core.loop.call_later(delay, again)

        watch = Watch(core.loop, os.pidfd_open(process.pid), died)

    def _start_logs(self) -> None:
        core = self._core
        ours, theirs = fds.pair()
        process = launch.start_logs(
            theirs.fileno(),
            core.life_fd,
            as_json=core.console.json,
            out_fd=core.access_fd,
            telemetry=self._telemetry(),
        )
        theirs.close()
        self._pipes.use(ours)
        self._keep(process, "log process", self._start_logs)

    def _telemetry(self) -> dict[str, str] | None:
        config = self._core.config
        if not config.deployed:
            return None
        store = os.path.join(config.data_dir, "telemetry.sqlite3")
        return {"store": store, "socket": os.path.join(config.runtime_dir, LOGS)}

    def _start_services(self) -> None:
        core = self._core
        if core.stopping:
            return
        ours, theirs = socket.socketpair()
        process = launch.start(core.config, theirs.fileno(), core.life_fd)
        theirs.close()
        self._on_services(ours, process.pid)
        self._keep(process, "services process", self._start_services)

    def _start_watch(self) -> None:
        core = self._core
        read, write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        os.set_blocking(write, True)
        process = launch.start_watch(core.config.reload_dirs, write, core.life_fd)
        os.close(write)
        self._keep(process, "file watcher", self._start_watch)
        self._watch_fd = read
        core.loop.add_reader(read, self._changed)

    def _changed(self) -> None:
        data = os.read(self._watch_fd, 65536)
        if not data:
            self._core.loop.remove_reader(self._watch_fd)
            os.close(self._watch_fd)
            return
        self._on_change([path for line in data.splitlines() for path in json.loads(line)["changed"]])

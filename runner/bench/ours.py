"""`runner serve` as a server to measure, and its state through the control API."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

from snapfork.runner.bench.servers import Server, free_port
from snapfork.runner.errors import UserError

STATE_S = 60.0


class Runner(Server):
    """`runner serve TARGET` for an interpreter, access log off, with settings such as {"spares": 0}.

    Lists repeat their flag; an empty one is "none". Without a `data_dir` no snapshots are kept or used.
    """

    def __init__(
        self,
        target: str,
        app_dir: str,
        *,
        python: str = sys.executable,
        path: str = "/",
        cwd: str = ".",
        env: Mapping[str, str] | None = None,
        access_log: bool = False,
        data_dir: str | None = None,
        **settings: Any,
    ) -> None:
        port, self.control = free_port(), free_port()
        log = [] if access_log else ["--no-access-log"]
        where = ["--port", str(port), "--control", f"127.0.0.1:{self.control}", "--python", python]
        command = [
            sys.executable,
            "-P",
            "-m",
            "snapfork.runner",
            "serve",
            target,
            "--app-dir",
            app_dir,
            *where,
            *(["--data-dir", data_dir] if data_dir else ["--no-snapshot"]),
        ]
        super().__init__(
            "runner serve", [*command, *log, *flags(settings)], port, cwd=cwd, env=env, path=path
        )

    def status(self) -> dict[str, Any]:
        """GET /status, as soon as the control API is there: it may come up after the first answer."""
        deadline = time.monotonic() + STATE_S
        while True:
            try:
                address = f"http://127.0.0.1:{self.control}/status"
                with urllib.request.urlopen(address, timeout=STATE_S) as answer:
                    return dict(json.load(answer))
            except (urllib.error.URLError, ConnectionError) as error:
                if time.monotonic() > deadline:
                    raise UserError(f"the control API does not answer: {error}.", self.tail()) from None
                time.sleep(0.01)

    def function(self) -> dict[str, Any]:
        """The status of the one function."""
        return dict(self.status()["functions"][0])

    def instances(self, state: str = "") -> list[dict[str, Any]]:
        """The instances in a state ("spare", "idle", "busy", "starting", "leaving"); "" for all."""
        return [one for one in self.function()["instances"] if not state or one["state"] == state]

    def wait_until(self, **counts: int) -> dict[str, Any]:
        """The function's status once so many instances are in the states and none starts or leaves.

        `wait_until(spare=1)`; without arguments: no instance at all. Raises UserError after a minute.
        """
        deadline = time.monotonic() + STATE_S
        while True:
            function = self.function()
            states = Counter(one["state"] for one in function["instances"])
            settled = not states["starting"] and not states["leaving"]
            reached = all(states[state] == count for state, count in counts.items())
            if settled and reached and (counts or not function["instances"]):
                return function
            if time.monotonic() > deadline:
                wanted = counts or "no instance"
                raise UserError(f"the runner has {dict(states)} instead of {wanted}.", self.tail())
            time.sleep(0.002)

    def wait_for_template(self, generation: int) -> dict[str, Any]:
        """The function's status once the template of the `generation`th build serves. Raises UserError."""
        return self._wait(lambda one: one["generation"] == generation and one["template"]["state"] == "ready")

    def wait_for_snapshot(self) -> None:
        """Until a snapshot has been kept. Raises UserError if none can be."""
        function = self._wait(lambda one: one["snapshot"]["kept"] is not None)
        if not function["snapshot"]["kept"]:
            raise UserError(f"no snapshot is kept: {function['snapshot']['refused']}.", self.tail())

    def reload(self) -> None:
        """Have the template built anew."""
        os.kill(self.status()["pid"], signal.SIGHUP)

    def _wait(self, true: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        deadline = time.monotonic() + STATE_S
        while not true(function := self.function()):
            if time.monotonic() > deadline:
                raise UserError("the runner does not come to the state that is waited for.", self.tail())
            time.sleep(0.002)
        return function

    def instance_pids(self) -> list[int]:
        """Processes that serve: not the gateway, its helpers or templates."""
        return [int(one["pid"]) for one in self.function()["instances"] if one["pid"]]

    def workers(self) -> list[int]:
        return self.instance_pids()


def flags(settings: Mapping[str, Any]) -> list[str]:
    """Settings as flags of `runner serve`: {"max_requests": 1, "warmup": []} ->

    ["--max-requests", "1", "--warmup", "none"].
    """
    words = []
    for name, value in settings.items():
        values = (value or ["none"]) if isinstance(value, list) else [value]
        for one in values:
            words += [f"--{name.replace('_', '-')}", str(one)]
    return words

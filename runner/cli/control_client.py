"""Talking to a running runner over its Unix socket."""

from __future__ import annotations

import http.client
import json
import socket
import time
from typing import Any

from snapfork.runner import runtime_dir
from snapfork.runner.errors import UserError

START = "Start one: runner serve shop:app"
STARTING_S = 30.0
LOOK_S = 0.05


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout: float) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def call(runner: runtime_dir.Found, method: str, path: str, timeout: float = 10.0) -> dict[str, Any]:
    """The JSON answer of one runner. Raises UserError with its own sentence, or when it is silent."""
    connection = UnixConnection(runner.socket, timeout)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        answer = json.loads(response.read())
    except TimeoutError:
        raise UserError(f"The runner with pid {runner.pid} did not answer within {timeout:g} s.") from None
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise UserError(
            f"The runner with pid {runner.pid} does not answer on {runner.socket}: {error}.",
            "It may be starting or stopping: try again in a moment.",
        ) from None
    finally:
        connection.close()
    if response.status >= 400:
        raise UserError(str(answer.get("error", {}).get("message") or f"HTTP {response.status}"))
    return dict(answer)


def wait_started(runner: runtime_dir.Found) -> None:
    """Wait for the socket of a runner that has just been started, as by the line before in a script.

    One that stops, or does not come up, is left to the request that finds it silent.
    """
    deadline = time.monotonic() + STARTING_S
    while time.monotonic() < deadline:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                probe.connect(runner.socket)
            return
        except (FileNotFoundError, ConnectionRefusedError):
            if not runtime_dir.is_alive(runner):
                return
            time.sleep(LOOK_S)


def pick(pid: int | None) -> runtime_dir.Found:
    """The runner with `pid`, or the only one. Raises UserError."""
    found = runtime_dir.find()
    if pid is not None:
        found = [runner for runner in found if runner.pid == pid]
        if not found:
            raise UserError(f"No runner of yours has pid {pid}.", "`runner ps` lists those that run.")
    if not found:
        raise UserError("No runner of yours is running.", START)
    if len(found) > 1:
        pids = ", ".join(str(runner.pid) for runner in found)
        raise UserError(
            f"Several runners are running (pids {pids}): say which.", f"For example: {found[0].pid}"
        )
    return found[0]

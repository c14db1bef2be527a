"""A server as a process tree of its own: started, waited for, looked at, ended with all it started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Self

from snapfork.runner.bench.client import Address, BadAnswer, once
from snapfork.runner.errors import UserError

MARK = "BENCH_RUN_OF_SNAPFORK"
READY_S = 120.0
STOP_S = 30.0
RETRY_S = 0.001
"""Between two tries of a first request: refused ones cost the starting server's processors some 3 %."""


def end_tidily() -> None:
    """Let SIGTERM unwind this process as Ctrl-C does, so that it ends the servers that it has started."""
    signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, _frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """`command`, which must serve on 127.0.0.1:`port`. Its output goes to a file and into error messages."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        port: int,
        *,
        cwd: str | os.PathLike[str] = ".",
        env: Mapping[str, str] | None = None,
        path: str = "/",
    ) -> None:
        self.name = name
        self.command = list(command)
        self.address: Address = ("127.0.0.1", port)
        self.path = path
        self.cwd = cwd
        self.mark = uuid.uuid4().hex
        self.env = {**os.environ, **(env or {}), MARK: self.mark}
        self.env.pop("VIRTUAL_ENV", None)  # the interpreter is named, never guessed
        self.first_ms = 0.0
        """Milliseconds from exec to the last byte before the first 200, as the client saw it."""

    def __enter__(self) -> Self:
        self._output = tempfile.TemporaryFile()  # noqa: SIM115
        begun = time.monotonic_ns()
        try:
            self.process = subprocess.Popen(
                self.command, cwd=self.cwd, env=self.env, stdin=subprocess.DEVNULL, stdout=self._output,
                stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            self._output.close()
            raise UserError(f"{self.name} cannot be started: {error.strerror}.") from None
        try:
            first = self._first_200()
        except BaseException:
            self.kill()
            raise
        self.first_ms = (first - begun) / 1e6
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _first_200(self) -> int:
        """When the first byte of the first 200 came; a loop of tight retries."""
        deadline = time.monotonic() + READY_S
        said = "nothing"
        while time.monotonic() < deadline:
            try:
                timing = once(self.address, self.path)
            except (OSError, BadAnswer) as error:
                said = str(error)
                if self.process.poll() is not None:
                    break
            else:
                if timing.status == 200:
                    return timing.first
                said = f"status {timing.status}"
                if timing.status < 500:
                    break
            time.sleep(RETRY_S)
        ended = self.process.poll()
        what = f"ended with {ended}" if ended is not None else f"did not answer {self.path} with 200 ({said})"
        raise UserError(f"{self.name} {what}.", self.tail())

    def pids(self) -> list[int]:
        """Every living process that was started by this server, itself included."""
        found = []
        needle = f"{MARK}={self.mark}".encode()
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                try:
                    if needle in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                        found.append(int(entry))
                except OSError:
                    continue  # it ended meanwhile, or is another user's
        return found

    def workers(self) -> list[int]:
        """The processes that serve: all but the first one, or that one where it is alone."""
        pids = self.pids()
        return [pid for pid in pids if pid != self.process.pid] or pids

    def stop(self) -> None:
        """SIGTERM, then SIGKILL for what is left after 30 s. Nothing is left afterwards."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + STOP_S
        while time.monotonic() < deadline:
            if self.process.poll() is not None and not self.pids():
                break
            time.sleep(0.005)
        self.kill()

    def kill(self) -> None:
        """SIGKILL for the whole tree."""
        while pids := self.pids():
            for pid in pids:
                try:
                    os.kill(pid, signal.SIGKILL)
                except ProcessLookupError:
                    continue
            self.process.poll()
            time.sleep(0.002)
        self.process.wait()
        self._output.close()

    def tail(self, lines: int = 12) -> str:
        """The end of what the server printed."""
        self._output.seek(0)
        return "\n".join(self._output.read().decode(errors="replace").splitlines()[-lines:])

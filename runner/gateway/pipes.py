"""The output pipes of instances and templates, which the log process reads.

Their read ends are kept here as well: without one a writer would be hit by SIGPIPE while the log process is
dead, and its successor could not go on with them.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import socket

from snapfork.runner.wire import fds


def output_pipe(user: tuple[int, int, str] | None) -> tuple[int, int]:
    """(read end, write end) of a pipe for what processes of `user` print, who may open it by name."""
    read, write = os.pipe2(os.O_CLOEXEC)
    if user is not None:
        os.fchown(write, user[0], user[1])
    return read, write


class Pipes:
    """Until `use` has named a log process, and while that one is dead, pipes are only kept."""

    def __init__(self) -> None:
        self._logs: socket.socket | None = None
        self._kept: dict[int, bytes] = {}
        self._poll = select.poll()

    def use(self, logs: socket.socket) -> None:
        """Send every pipe to the log process behind `logs`."""
        self.close()
        self._logs = logs
        for pipe in self._kept:
            self._send(pipe)

    def attach(self, pipe: int, function: str, instance: str, pid: int) -> None:
        """Take over a read end; say whose it is."""
        about = {"function": function, "instance": instance, "pid": pid}
        self._kept[pipe] = json.dumps(about).encode()
        self._poll.register(pipe, 0)  # told is only that nobody writes any more
        self._send(pipe)

    def tick(self) -> None:
        """Close those whose writers are gone."""
        for pipe, _ in self._poll.poll(0):
            self._poll.unregister(pipe)
            del self._kept[pipe]
            os.close(pipe)

    def close(self) -> None:
        """Let the log process end, once it has read what is there."""
        if self._logs is not None:
            self._logs.close()
            self._logs = None

    def _send(self, pipe: int) -> None:
        if self._logs is not None:
            # The log process is behind or gone: some output is lost, no request is.
            with contextlib.suppress(OSError):
                fds.send(self._logs, self._kept[pipe], (pipe,), fds.DONTWAIT)

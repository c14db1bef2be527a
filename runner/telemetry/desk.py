"""The log process's counter: a Unix socket where it is asked to catch up, or told more about an invocation.

One message is one SEQPACKET datagram of JSON. {"op": "sync"} is answered {} once everything that had been
printed before the question is in the store; {"op": "record", "fields": {...}} has no answer.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
from typing import Any

SOCKET = "logs.sock"
MAX_MESSAGE = 1 << 16
TIMEOUT_S = 2.0


def listen(path: str) -> socket.socket:
    """The listening socket at `path`, for its owner only."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
    before = os.umask(0o177)
    try:
        with contextlib.suppress(FileNotFoundError):  # of a log process that was killed
            os.unlink(path)
        sock.bind(path)
    finally:
        os.umask(before)
    sock.setblocking(False)
    sock.listen(16)
    return sock


class LogDesk:
    """The services' end, on their event loop. What cannot be reached is passed over: logs are no promise."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._sock: socket.socket | None = None
        self._lock = asyncio.Lock()

    async def sync(self) -> bool:
        """Wait until all that was printed so far can be read back; False without a log process."""
        async with self._lock:
            loop = asyncio.get_running_loop()
            for _ in range(2):  # the second time after it was started again
                sock = self._connect()
                if sock is None:
                    return False
                try:
                    sock.send(b'{"op":"sync"}', socket.MSG_NOSIGNAL)
                    answer = await asyncio.wait_for(loop.sock_recv(sock, MAX_MESSAGE), TIMEOUT_S)
                except (OSError, TimeoutError):
                    answer = b""
                if answer:
                    return True
                self.close()
            return False

    def record(self, fields: dict[str, Any]) -> None:
        """Say more about an invocation (see Store.record)."""
        sock = self._connect()
        if sock is not None:
            try:
                data = json.dumps({"op": "record", "fields": fields}).encode()
                sock.send(data, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            except BlockingIOError:
                pass  # it is far behind: this note is lost, the instance's own record is not
            except OSError:
                self.close()

    def _connect(self) -> socket.socket | None:
        if self._sock is None:
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
            try:
                sock.connect(self._path)
            except OSError:
                sock.close()
                return None
            sock.setblocking(False)
            self._sock = sock
        return self._sock

    def close(self) -> None:
        """Hang up."""
        if self._sock is not None:
            self._sock.close()
            self._sock = None

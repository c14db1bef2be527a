"""Lines to a descriptor that may be slow or stuck, without ever waiting for it."""

from __future__ import annotations

import os
import select
from collections import deque

CHUNK = 4096  # a pipe that polls writable takes this much (PIPE_BUF) without blocking


class Outlet:
    """Writes whole lines to `fd`, keeps at most `limit` bytes that did not fit, and drops the oldest beyond.

    A gap is announced by one line in the place where the lines are missing.
    """

    def __init__(self, fd: int, limit: int = 1 << 20) -> None:
        self.fd = fd
        self.limit = limit
        self.dropped = 0
        self._waiting: deque[bytes] = deque()
        self._size = 0
        self._part = b""  # rest of a line that was half written: it cannot be dropped
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    @property
    def size(self) -> int:
        """Bytes that wait."""
        return self._size + len(self._part)

    def write(self, line: bytes) -> None:
        """Write `line` (its newline included) now if possible, else as soon as a later call finds room."""
        self._waiting.append(line)
        self._size += len(line)
        self.flush()
        while self._size > self.limit:
            self._size -= len(self._waiting.popleft())
            self.dropped += 1

    def flush(self, timeout_ms: int = 0) -> bool:
        """Write what the descriptor takes; wait up to `timeout_ms` per chunk. True when nothing is left."""
        while self._part or self._waiting or self.dropped:
            if not self._part:
                self._part = self._next()
            if not self._writable(timeout_ms):
                return False
            try:
                written = os.write(self.fd, self._part[:CHUNK])
            except BlockingIOError:
                return False
            except OSError:  # the reader is gone for good: nobody will ever see these lines
                self._forget()
                return True
            self._part = self._part[written:]
        return True

    def _writable(self, timeout_ms: int) -> bool:
        return bool(self._poll.poll(timeout_ms))

    def _next(self) -> bytes:
        if self.dropped:
            count, self.dropped = self.dropped, 0
            return f"[{count} lines dropped: the output was not read fast enough]\n".encode()
        line = self._waiting.popleft()
        self._size -= len(line)
        return line

    def _forget(self) -> None:
        self._waiting.clear()
        self._size = self.dropped = 0
        self._part = b""

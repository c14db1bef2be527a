"""One line per request, written by the process that served it: one write(2) each, never waiting."""

from __future__ import annotations

import contextlib
import json
import os
import select
import stat
import time
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

    from snapfork.runner.http.head import Head

MAX_LINE = 4096  # PIPE_BUF: a write of up to this size is not mixed with others
MAX_TARGET = 1024  # what is shown of a request's target, so that the rest of the line always fits
_ESCAPED = {code: f"\\x{code:02x}" for code in [*range(32), *range(127, 256)]} | {34: '\\"', 92: "\\\\"}


class Line(NamedTuple):
    """What one line tells; `size` is the body's bytes, `start` the start kind that the request caused."""

    client: tuple[str, int] | None
    head: Head | None
    status: int
    size: int
    duration_ns: int
    request_id: str
    start: str


class AccessLog:
    """Writes access lines to `fd` as "text" or "json"; mode "off" writes nothing.

    via: who takes them instead.

    A line that a full pipe does not take is dropped and counted; the next line that gets through says so.
    """

    __slots__ = ("_asks", "_opened", "_stamp", "dropped", "fd", "function", "mode", "via")

    def __init__(self, fd: int = -1, mode: str = "off", function: str = "-") -> None:
        self.fd = fd
        self.mode = mode
        self.function = function
        self.via: Callable[[bytes], None] | None = None
        self.dropped = 0
        self._stamp = (-1, "")
        self._opened = False
        self._asks = True

    def line(
        self,
        client: tuple[str, int] | None,
        head: Head | None,
        status: int,
        size: int,
        duration_ns: int,
        request_id: str,
        start: str = "",
    ) -> None:
        """Write one line: peer, request line, status, body bytes, duration, start kind if it caused one."""
        if self.mode == "off":
            return
        if not self._opened and self.via is None:
            self._open()
        if self._asks and self.via is None and not self._has_room():
            self.dropped += 1
            return
        if self.dropped and self._write(self._told_drops()):
            self.dropped = 0
        text = self._json if self.mode == "json" else self._text
        if not self._write(text(Line(client, head, status, size, duration_ns, request_id, start))):
            self.dropped += 1

    def _write(self, line: str) -> bool:
        """True when the line is out (or the output is closed for good), False when there is no room."""
        data = line.encode("utf-8", "backslashreplace")
        if len(data) > MAX_LINE:
            data = data[: MAX_LINE - 5] + b" ...\n"
        if self.via is not None:
            self.via(data)
            return True
        try:
            os.write(self.fd, data)
        except BlockingIOError:
            return False
        except OSError:
            self.mode = "off"
        return True

    def _told_drops(self) -> str:
        if self.mode == "json":
            entry = {
                "time": self._now(),
                "event": "access_lines_dropped",
                "function": self.function,
                "count": self.dropped,
            }
            return json.dumps(entry) + "\n"
        return f"[{self.dropped} access lines dropped: the output was not read fast enough]\n"

    def _open(self) -> None:
        # Several processes write to one pipe, so that room seen by poll may be gone at the write: a
        # non-blocking description of our own. Files keep theirs, which has the offset.
        self._opened = True
        mode = os.fstat(self.fd).st_mode
        if stat.S_ISREG(mode):
            self._asks = False
        elif stat.S_ISFIFO(mode):
            with contextlib.suppress(OSError):
                self.fd = os.open(f"/proc/self/fd/{self.fd}", os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
                self._asks = False

    def _has_room(self) -> bool:
        poll = select.poll()  # one per call: a poll object serves one thread at a time
        poll.register(self.fd, select.POLLOUT)
        return bool(poll.poll(0))

    def _text(self, line: Line) -> str:
        peer = line.client[0] if line.client else "unix"
        kind = f" {line.start}" if line.start else ""
        request = _request_line(line.head)
        return (
            f"{self._now()} {self.function} {peer.translate(_ESCAPED)} "
            f'"{request}" {line.status} {line.size} {line.duration_ns / 1e6:.1f}ms{kind} '
            f"{line.request_id.translate(_ESCAPED)}\n"
        )

    def _json(self, line: Line) -> str:
        entry = {
            "time": self._now(),
            "event": "request",
            "function": self.function,
            "client": line.client[0] if line.client else None,
            "method": line.head.method if line.head else None,
            "target": _shortened(line.head.target.decode("ascii")) if line.head else None,
            "version": f"{line.head.version[0]}.{line.head.version[1]}" if line.head else None,
            "status": line.status,
            "bytes": line.size,
            "ms": round(line.duration_ns / 1e6, 3),
            "request_id": line.request_id,
        }
        if line.start:
            entry["start"] = line.start
        return json.dumps(entry) + "\n"

    def _now(self) -> str:
        now = time.time()
        second, stamp = self._stamp
        if second != int(now):
            second = int(now)
            stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(second))
            self._stamp = (second, stamp)
        return f"{stamp}.{int((now - second) * 1000):03d}Z"


def _request_line(head: Head | None) -> str:
    if head is None:
        return "-"
    target = _shortened(head.target.decode("ascii").translate(_ESCAPED))
    return f"{head.method} {target} HTTP/{head.version[0]}.{head.version[1]}"


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TARGET else text[:MAX_TARGET] + "..."

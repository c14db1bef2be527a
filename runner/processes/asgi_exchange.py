"""One HTTP request of an ASGI app and its response."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from snapfork.runner.http.answers import error_response
from snapfork.runner.processes.asgi_response import REQUEST_ID, UNBOUNDED, render_head
from snapfork.runner.processes.life import end_users_fork
from snapfork.runner.processes.link import END, START_NAMES, WARM
from snapfork.runner.processes.serving import current_request_id

if TYPE_CHECKING:
    from snapfork.runner.http.head import Head
    from snapfork.runner.processes.asgi_protocol import Connection
    from snapfork.runner.processes.link import Loan

HIGH_WATER = 65536
"""Bytes of a request body that wait for the app before reading pauses."""
_CLIENT_LEFT = 499  # only in access lines
_CRASH_BODY = b"Internal Server Error"
_CRASH: dict[str, Any] = {
    "type": "http.response.start",
    "status": 500,
    "headers": [
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(_CRASH_BODY)),
        (b"connection", b"close"),
    ],
}


def complain(text: str, error: BaseException | None = None) -> None:
    """Write a line, and the traceback of `error`, to standard error in one piece."""
    trace = "" if error is None else "".join(traceback.format_exception(error))
    sys.stderr.write(f"{text}\n{trace}")


class Exchange:
    """A request being served. `run()` is the body of its task; the connection feeds it the request's body.

    `status` is 0 until the response starts. `gone` means the client closed its side: the app is told, but
    what it sends is still sent, because a client that only half-closed waits for it.
    """

    __slots__ = (
        "_chunked",
        "_delivered",
        "_event",
        "_keep_alive",
        "_left",
        "_logged",
        "_more_body",
        "_parts",
        "_silent",
        "_size",
        "_start_kind",
        "_unanswered",
        "asked_ns",
        "body_unasked",
        "cancelled",
        "complete",
        "conn",
        "disconnected",
        "ended_ns",
        "first_byte_ns",
        "gone",
        "head",
        "host",
        "request_id",
        "scope",
        "sent",
        "slot",
        "started",
        "started_ns",
        "status",
        "task",
        "wire",
    )

    def __init__(self, conn: Connection, head: Head, scope: dict[str, Any], request_id: str) -> None:
        loan = conn.loan
        self.conn = conn
        self.host = conn.host
        self.wire = conn.wire
        self.slot = loan.slot
        self.head = head
        self.scope = scope
        self.request_id = request_id
        self.started_ns = time.monotonic_ns()
        self.asked_ns = self.started_ns if loan.requests else loan.t0_ns
        self.ended_ns = 0
        self.first_byte_ns = 0
        self.status = 0
        self.sent = 0
        self.started = self.complete = self.disconnected = self.gone = self.cancelled = False
        self.body_unasked = False
        self.task: asyncio.Task[None] | None = None
        self._event: asyncio.Event | None = None
        self._parts: list[bytes] = []
        self._size = 0
        self._more_body = True
        self._delivered = False
        self._unanswered = head.expect
        self._keep_alive = head.keep_alive and head.version == (1, 1)
        self._chunked = False
        self._silent = head.method == "HEAD"
        self._left = 0
        self._logged = False
        self._start_kind = START_NAMES[loan.start] if loan.start != WARM and not loan.requests else ""

    @property
    def loan(self) -> Loan:
        """That of its connection."""
        return self.conn.loan

    # What the connection does with it

    def feed(self, part: bytes) -> None:
        """A piece of the request's body."""
        if self.complete or self.disconnected:
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size > HIGH_WATER:
            self.wire.pause_reading()
        self._wake()

    def end_body(self) -> None:
        self._more_body = False
        self._wake()

    def disconnect(self) -> None:
        """The connection is lost or given up: nothing is sent any more."""
        self.disconnected = True
        self._wake()

    def client_left(self) -> None:
        """The client closed its side: `receive` says so, `send` goes on."""
        self.gone = True
        self._wake()

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer in the app's place with a JSON error, and end the connection.

        A response that has started is cut instead.
        """
        if not self.started and not self.disconnected:
            self.started = True
            self.status = status
            self.host.first_byte(self)
            self.wire.write(error_response(status, code, message, self.request_id, head=self._silent))
            self._log(status)
        self.disconnect()
        self.conn.give_back(END)

    def expire(self) -> None:
        """The first byte is overdue: 504 and cancel."""
        self.refuse(504, "timeout", "The app did not begin its response in time.")
        complain(f"Request {self.request_id} passed its timeout and was cancelled")
        self.cancel()

    def stop(self) -> None:
        """The instance leaves now."""
        self.refuse(503, "stopping", "The instance is stopping.")
        self.cancel()

    def cut(self) -> bool:
        """End a response that has begun and is not over; True if there was one."""
        if not self.started or self.complete or self.disconnected:
            return False
        self.disconnect()
        self.conn.give_back(END)
        return True

    def cancel(self) -> None:
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()

    def _wake(self) -> None:
        if self._event is not None:
            self._event.set()

    # The app's call

    async def run(self) -> None:
        """Call the app; always ends in `host.finished`."""
        current_request_id.set(self.request_id)
        try:
            result = await self.host.app(self.scope, self.receive, self.send)
        except BaseException as error:  # SystemExit of a view must not end the other requests either
            end_users_fork(error)
            await self._failed(error)
        else:
            if not self.complete or result is not None:
                await self._returned(result)
        finally:
            if not self._logged:
                self._log(self.status or _CLIENT_LEFT)
            self.host.finished(self, self.status, (self.ended_ns or time.monotonic_ns()) - self.started_ns)

    async def _failed(self, error: BaseException) -> None:
        if self.cancelled and isinstance(error, asyncio.CancelledError):
            return
        complain("Exception in ASGI application", error)
        if self.disconnected:
            return
        if not self.started:
            await self._crash()
        elif not self.complete:
            self.wire.close()

    async def _returned(self, result: object) -> None:
        if self.disconnected:
            return
        if result is not None:
            complain(f"ASGI callable should return None, but returned {result!r}.")
        if not self.started:
            complain("ASGI callable returned without starting response.")
            await self._crash()
        elif not self.complete:
            if not self.gone:
                complain("ASGI callable returned without completing response.")
            self.wire.close()

    async def _crash(self) -> None:
        await self.send(_CRASH)
        await self.send({"type": "http.response.body", "body": _CRASH_BODY})

    def _log(self, status: int) -> None:
        self._logged = True
        duration = (self.ended_ns or time.monotonic_ns()) - self.started_ns
        self.host.access.line(
            self.scope["client"], self.head, status, self.sent, duration, self.request_id, self._start_kind
        )

    # ASGI

    async def receive(self) -> dict[str, Any]:
        """ASGI receive."""
        if self._unanswered and not self.started and not self.disconnected:
            self._unanswered = False
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        while not (self.disconnected or self.complete or (self._delivered and self.gone)):
            if not self._delivered and (self._parts or not self._more_body):
                return self._take()
            if self._event is None:
                self._event = asyncio.Event()
            await self._event.wait()
            self._event.clear()
        return {"type": "http.disconnect"}

    def _take(self) -> dict[str, Any]:
        body = b"".join(self._parts)
        if self._parts:
            self._parts = []
            self._size = 0
        if self._more_body:
            self.wire.resume_reading()
        else:
            self._delivered = True
        return {"type": "http.request", "body": body, "more_body": self._more_body}

    async def send(self, message: Any) -> None:
        """ASGI send."""
        end_users_fork()
        if self.wire.full:
            await self.wire.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if self.complete:
            raise RuntimeError(f"Unexpected ASGI message {kind!r}: the response is already complete.")
        if self.started:
            if kind != "http.response.body":
                raise RuntimeError(f"Expected ASGI message 'http.response.body', but got {kind!r}.")
            self._send_body(message.get("body", b""), message.get("more_body", False))
        else:
            if kind != "http.response.start":
                raise RuntimeError(f"Expected ASGI message 'http.response.start', but got {kind!r}.")
            self._send_start(message["status"], message.get("headers", ()))

    def _send_start(self, status: int, headers: Any) -> None:
        # After an unanswered `Expect` the client may never send its body.
        if (self._unanswered and self._more_body) or self.conn.is_last():
            self._keep_alive = False
        head, self._keep_alive, self._silent, self._chunked, self._left = render_head(
            status, headers, self._own_fields, self.head, self._keep_alive
        )
        self.started = True
        self.status = status
        self.body_unasked = self._unanswered
        self.first_byte_ns = time.monotonic_ns()
        self.host.first_byte(self)
        self.wire.hold(head)
        self.host.flush_soon(self.wire)

    def _own_fields(self, replaced: int) -> bytes:
        """Date, Server, X-Request-Id and Server-Timing, less those the app sends itself."""
        fields = self.host.standard_fields(replaced)
        if not replaced & REQUEST_ID:
            fields += f"x-request-id: {self.request_id}\r\n".encode("latin-1")
        if self._start_kind:
            milliseconds = (self.started_ns - self.conn.loan.t0_ns) / 1e6
            fields += f'server-timing: start;desc="{self._start_kind}";dur={milliseconds:.2f}\r\n'.encode()
        return fields

    def _send_body(self, body: bytes, more: bool) -> None:
        size = len(body)
        if self._silent:
            if not more:
                self._announce(0)
        elif self._chunked:
            data = b"%x\r\n%b\r\n" % (size, body) if size else b""
            if not more:
                data += b"0\r\n\r\n"
                self._announce(len(data))
            if data:
                self.wire.write(data)
        else:
            if self._left != UNBOUNDED:
                if size > self._left:
                    raise RuntimeError("Response content longer than Content-Length")
                self._left -= size
                if self._left and not more:
                    raise RuntimeError("Response content shorter than Content-Length")
            if not more:
                self._announce(size)
            if size:
                self.wire.write(body)
        if not self._silent:
            self.sent += size
        if not more:
            self._end()

    def _announce(self, size: int) -> None:
        """Before the send of `size` bytes that completes the response, on a connection that goes on."""
        if self._keep_alive and not self._more_body:
            self.conn.announce(size)

    def _end(self) -> None:
        self.complete = True
        self.ended_ns = time.monotonic_ns()
        self._wake()
        if not self._keep_alive:
            self.wire.close()
        self._log(self.status)
        self.conn.response_complete()

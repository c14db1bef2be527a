"""One HTTP request of an ASGI app and its response."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import traceback
from typing import TYPE_CHECKING, Any

from snapfork.runner.http.answers import error_response
from snapfork.runner.processes.asgi_uvicorn import HIGH_WATER_LIMIT, RequestResponseCycle
from snapfork.runner.processes.link import END, START_NAMES, WARM
from snapfork.runner.processes.serving import current_request_id

if TYPE_CHECKING:
    from snapfork.runner.http.head import Head
    from snapfork.runner.processes.asgi_protocol import Connection

_LOGGER = logging.getLogger("uvicorn.error")
_UNBOUNDED = 1 << 62
_CLIENT_LEFT = 499  # only in access lines


def complain(text: str, error: BaseException | None = None) -> None:
    """Write a line, and the traceback of `error`, to standard error in one piece."""
    trace = "" if error is None else "".join(traceback.format_exception(error))
    sys.stderr.write(f"{text}\n{trace}")


def _nothing() -> None:
    return None


class Exchange(RequestResponseCycle):
    """A request being served. `run()` is the body of its task; the connection feeds it the request's body.

    `status` is 0 until the response starts. `gone` means the client closed its side: the app is told, but
    what it sends is still sent, because a client that only half-closed waits for it.
    """

    def __init__(self, conn: Connection, head: Head, scope: dict[str, Any], request_id: str) -> None:
        host, loan = conn.host, conn.loan
        self.conn = conn
        self.host = host
        self.slot = loan.slot
        self.head = head
        self.request_id = request_id
        self.started_ns = time.monotonic_ns()
        self.ended_ns = 0
        self.first_byte_ns = 0
        self.status = 0
        self.sent = 0
        self.gone = False
        self.cancelled = False
        self.body_unasked = False
        self.task: asyncio.Task[None] | None = None
        self._delivered = False
        self._logged = False
        self._start_kind = START_NAMES[loan.start] if loan.start != WARM and not loan.requests else ""
        self._until_close = False
        super().__init__(
            scope=scope,  # type: ignore[arg-type]
            transport=conn.wire,  # type: ignore[arg-type]
            flow=conn.flow,
            logger=_LOGGER,
            access_logger=_LOGGER,
            access_log=False,
            default_headers=self._own_headers(),
            message_event=asyncio.Event(),
            expect_100_continue=head.expect,
            keep_alive=head.keep_alive and head.version == (1, 1),
            on_response=self._completed,
        )

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        headers = [*self.host.standard_headers(), (b"x-request-id", self.request_id.encode("latin-1"))]
        if self._start_kind:
            milliseconds = (self.started_ns - self.conn.loan.t0_ns) / 1e6
            value = f'start;desc="{self._start_kind}";dur={milliseconds:.2f}'
            headers.append((b"server-timing", value.encode()))
        return headers

    # What the connection does with it

    def feed(self, part: bytes) -> None:
        """A piece of the request's body."""
        if self.response_complete or self.disconnected:
            return
        self.body += part
        if len(self.body) > HIGH_WATER_LIMIT:
            self.flow.pause_reading()
        self.message_event.set()

    def end_body(self) -> None:
        self.more_body = False
        self.message_event.set()

    def disconnect(self) -> None:
        """The connection is lost or given up: nothing is sent any more."""
        self.disconnected = True
        self.message_event.set()

    def client_left(self) -> None:
        """The client closed its side: `receive` says so, `send` goes on."""
        self.gone = True
        self.message_event.set()

    def refuse(self, status: int, code: str, message: str) -> None:
        """Answer in the app's place with a JSON error, and end the connection.

        A response that has started is cut instead.
        """
        if not self.response_started:
            self.status = status
            self.host.first_byte(self)
            head_only = self.head.method == "HEAD"
            self.conn.wire.write(error_response(status, code, message, self.request_id, head=head_only))
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
        if not self.response_started or self.response_complete or self.disconnected:
            return False
        self.disconnect()
        self.conn.give_back(END)
        return True

    def cancel(self) -> None:
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()

    # The app's side

    async def run(self) -> None:
        """Call the app; always ends in `host.finished`."""
        current_request_id.set(self.request_id)
        try:
            result = await self.host.app(self.scope, self.receive, self.send)
        except BaseException as error:  # SystemExit of a view must not end the other requests either
            await self._failed(error)
        else:
            await self._returned(result)
        finally:
            self.on_response = _nothing
            if not self._logged:
                self._log(self.status or _CLIENT_LEFT)
            self.host.finished(self, self.status, (self.ended_ns or time.monotonic_ns()) - self.started_ns)

    async def _failed(self, error: BaseException) -> None:
        if self.cancelled and isinstance(error, asyncio.CancelledError):
            return
        complain("Exception in ASGI application", error)
        if self.disconnected:
            return
        if not self.response_started:
            await self.send_500_response()
        elif not self.response_complete:
            self.conn.wire.close()

    async def _returned(self, result: object) -> None:
        if self.disconnected:
            return
        if not self.response_started:
            complain("ASGI callable returned without starting response.")
            await self.send_500_response()
        elif not self.response_complete:
            if not self.gone:
                complain("ASGI callable returned without completing response.")
            self.conn.wire.close()
        elif result is not None:
            complain(f"ASGI callable should return None, but returned {result!r}.")

    async def send(self, message: Any) -> None:
        """ASGI send."""
        if self.disconnected:
            return
        if not self.response_started:
            if message["type"] == "http.response.start":
                await self._send_start(message)
                return
        elif message["type"] == "http.response.body":
            self.sent += len(message.get("body", b""))
            if self._until_close and not message.get("more_body", False):
                more: Any = {**message, "more_body": True}
                await super().send(more)
                self.expected_content_length = 0
                message = {"type": "http.response.body", "body": b""}
        await super().send(message)

    async def _send_start(self, message: Any) -> None:
        headers = message.get("headers", ())
        if not isinstance(headers, list | tuple):
            message = {**message, "headers": (headers := list(headers))}
        self.status = message["status"]
        self.body_unasked = self.waiting_for_100_continue
        names = {name.lower() for name, _ in headers}
        if not names.isdisjoint(self.host.own_names):
            self.default_headers = [header for header in self.default_headers if header[0] not in names]
        if self.head.version == (1, 0) and names.isdisjoint((b"content-length", b"transfer-encoding")):
            # An HTTP/1.0 client knows no chunks: the end of the connection ends the body.
            self._until_close = self.head.method != "HEAD" and self.status not in (204, 304)
            if self._until_close:
                self.chunked_encoding = False
                self.expected_content_length = _UNBOUNDED
        self.first_byte_ns = time.monotonic_ns()
        wire = self.conn.wire
        self.host.first_byte(self)
        wire.hold()
        try:
            await super().send(message)
        except Exception:
            if wire.release():  # refused before a byte was written: an error page can still be sent
                self.response_started = False
                self.chunked_encoding = None
                self.expected_content_length = 0
            raise
        self.host.loop.call_soon(wire.flush)

    async def receive(self) -> Any:
        """ASGI receive."""
        if not self._delivered:
            message = await super().receive()
            if message["type"] == "http.request" and not message["more_body"]:
                self._delivered = True
            return message
        while not self.gone:
            message = await super().receive()
            if message["type"] == "http.disconnect":
                return message
        return {"type": "http.disconnect"}

    def _completed(self) -> None:
        self.ended_ns = time.monotonic_ns()
        self._log(self.status)
        self.conn.response_complete()

    def _log(self, status: int) -> None:
        self._logged = True
        duration = (self.ended_ns or time.monotonic_ns()) - self.started_ns
        self.host.access.line(
            self.scope["client"], self.head, status, self.sent, duration, self.request_id, self._start_kind
        )

"""A WebSocket over a lent connection. The loan ends with it."""

from __future__ import annotations

import asyncio
import sys
import time
from typing import TYPE_CHECKING, Any, cast

from snapfork.runner.http.answers import error_response
from snapfork.runner.processes.asgi_exchange import complain
from snapfork.runner.processes.asgi_uvicorn import WebSocketsSansIOProtocol
from snapfork.runner.processes.serving import current_request_id

if TYPE_CHECKING:
    from snapfork.runner.http.head import Head
    from snapfork.runner.processes.asgi_protocol import Connection
    from snapfork.runner.processes.link import Loan
    from websockets.http11 import Response

SWITCHING = 101


class _Complaints:
    """Takes the place of the protocol's logger: errors go to standard error, the rest nowhere."""

    level = 100

    def error(self, text: str, *values: object) -> None:
        complain(text % values if values else text)

    warning = error

    def exception(self, text: str, *values: object) -> None:
        error = sys.exc_info()[1]
        if not isinstance(error, asyncio.CancelledError):
            complain((text % values if values else text).strip(), error)

    def info(self, text: str, *values: object) -> None: ...

    def log(self, level: int, text: str, *values: object) -> None: ...


class WebSocket(WebSocketsSansIOProtocol):
    """One WebSocket, from the upgrade request to the end of the connection."""

    def __init__(self, conn: Connection, head: Head, scope: dict[str, Any], request_id: str) -> None:
        host = conn.host
        super().__init__(host.ws_config, host.server_state, host.served.state, host.loop)
        self.own = conn
        self.host = host
        self.head = head
        self.http_scope = scope
        self.request_id = request_id
        self.slot = conn.loan.slot
        self.started_ns = time.monotonic_ns()
        self.asked_ns = self.started_ns if conn.loan.requests else conn.loan.t0_ns
        self.status = 0
        self.shake_ns = 0
        self.logger = cast(Any, _Complaints())
        self.default_headers = []
        self.task: asyncio.Task[None] | None = None
        self._send_response = self.conn.send_response
        # The one place through which every kind of handshake response passes.
        self.conn.send_response = self._respond  # type: ignore[method-assign]

    @property
    def loan(self) -> Loan:
        """That of its connection."""
        return self.own.loan

    def start(self, data: bytes) -> None:
        """Take the connection over; `data` is the upgrade request and whatever was read after it."""
        own = self.own
        self.host.begin(self)
        own.loan.requests += 1
        self.connection_made(cast(Any, own.wire))
        self.server, self.client = own.server, self.http_scope["client"]
        own.transport.set_protocol(self)
        own.ends()
        self.data_received(data)
        if not self.handshake_initiated:
            # The head passed our parser and not that of the WebSocket library (too many headers, say).
            own.wire.write(error_response(400, "bad_request", "Not a WebSocket handshake.", self.request_id))
            self._answered(400)
            self._over()
            own.wire.close()
        elif self.status:
            self._over()

    # Called by the transport

    def data_received(self, data: bytes) -> None:
        if self.handshake_initiated:
            self.own.loan.consumed += len(data)
        super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self.status == SWITCHING:
            self.host.page.stream(-1)
        self.own.connection_lost(exc)

    # Called by the host

    def expire(self) -> None:
        """The app did not answer the handshake in time."""
        self._refuse(504, "timeout", "The app did not accept the WebSocket in time.")

    def stop(self) -> None:
        self._refuse(503, "stopping", "The instance is stopping.")

    def cut(self) -> bool:
        """Close an open WebSocket with 1012 (service restart)."""
        if self.status != SWITCHING or self.transport.is_closing():
            return False
        self.shutdown()
        return True

    def cancel(self) -> None:
        if self.task is not None:
            self.task.cancel()

    def _refuse(self, status: int, code: str, message: str) -> None:
        if not self.status and not self.disconnected:
            self.handshake_complete = self.close_sent = True
            self.own.wire.write(error_response(status, code, message, self.request_id))
            self._answered(status)
        self.own.wire.close()
        self.cancel()

    # The app's side

    async def run_asgi(self) -> None:
        self.task = asyncio.current_task()
        current_request_id.set(self.request_id)
        seen = self.http_scope
        scope: dict[str, Any] = cast(Any, self.scope)
        for name in ("client", "server", "root_path", "path", "raw_path", "query_string", "headers"):
            scope[name] = seen[name]
        scope["scheme"] = "wss" if seen["scheme"] in ("https", "wss") else "ws"
        try:
            await super().run_asgi()
        finally:
            self._over()

    def _respond(self, response: Response) -> None:
        for name, value in self._own_headers():
            if name not in response.headers:
                response.headers[name] = value
        if response.status_code == SWITCHING:
            self.host.page.stream(+1)
        self._answered(response.status_code)
        self._send_response(response)

    def _own_headers(self) -> list[tuple[str, str]]:
        lines = self.host.standard_fields().decode().split("\r\n")[:-1]
        return [(name, value) for name, _, value in (line.partition(": ") for line in lines)] + [
            ("x-request-id", self.request_id)
        ]

    def _answered(self, status: int) -> None:
        self.status = status
        self.host.first_byte(self)
        self.shake_ns = time.monotonic_ns() - self.started_ns
        self.host.access.line(self.http_scope["client"], self.head, status, 0, self.shake_ns, self.request_id)

    def _over(self) -> None:
        duration = self.shake_ns or time.monotonic_ns() - self.started_ns
        self.host.finished(self, self.status, duration)

"""One lent connection under an event loop: heads, bodies, boundaries, and the way back to the gateway."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from snapfork.runner.http.framing import BadChunk, ChunkedDecoder
from snapfork.runner.http.head import BadHead, Head, find_end, parse_head
from snapfork.runner.processes import serving
from snapfork.runner.processes.asgi_scope import describe
from snapfork.runner.processes.asgi_uvicorn import websockets_available
from snapfork.runner.processes.asgi_websocket import WebSocket
from snapfork.runner.processes.asgi_wire import Wire
from snapfork.runner.processes.link import CLEAN, END, KEEP, RETRY, Loan
from snapfork.runner.wire import fds

if TYPE_CHECKING:
    from snapfork.runner.processes.asgi_exchange import Exchange
    from snapfork.runner.processes.asgi_host import Host

READ_SIZE = 65536
"""Bytes of one read at most."""
PIPELINE = 32768
"""Bytes read ahead of a running request after which reading pauses."""
LEFTOVER = fds.MAX_MESSAGE - 4096
"""Bytes that are read too far at most, because they may have to travel back to the gateway."""
SWALLOW = 262144
"""Bytes of an unread request body that are read and dropped to keep a connection alive."""
ONE_SECOND_NS = 1_000_000_000


class Connection(asyncio.BufferedProtocol):
    """Serves the messages of one loan in order, one at a time, until the loan is given back.

    `exchange` is the request in progress: until its response is complete and its body is read.
    """

    __slots__ = (
        "_body_seen",
        "_chunks",
        "_eof",
        "_flags",
        "_how",
        "_pending",
        "_pending_since",
        "_remaining",
        "_unix",
        "buffer",
        "client",
        "exchange",
        "host",
        "loan",
        "server",
        "transport",
        "trusted",
        "wire",
    )

    wire: Wire
    transport: asyncio.Transport

    def __init__(self, host: Host, loan: Loan, unix: bool) -> None:
        self.host = host
        self.loan = loan
        self.client = loan.client
        self.server = loan.server
        self.exchange: Exchange | None = None
        self.buffer = b""
        self._unix = unix
        self.trusted = host.served.trusted.peer(self.client[0] if self.client else None)
        self._remaining = 0
        self._chunks: ChunkedDecoder | None = None
        self._body_seen = 0
        self._eof = False
        self._pending = 0
        self._pending_since = 0
        self._how: int | None = None
        self._flags = 0

    # Called by the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self.transport = transport  # type: ignore[assignment]
        self.wire = Wire(self.transport, self.loan)
        self.host.connections.add(self)
        if self.loan.prefix:
            self.buffer, self.loan.prefix = self.loan.prefix, b""
            self._next()
        else:
            self._rest()

    def get_buffer(self, sizehint: int) -> memoryview:
        room = LEFTOVER - len(self.buffer)
        return self.host.buffer if room >= READ_SIZE else self.host.buffer[: max(room, 1)]

    def buffer_updated(self, nbytes: int) -> None:
        self.loan.consumed += nbytes
        data = bytes(self.host.buffer[:nbytes])
        if self._remaining or self._chunks is not None:
            data = self._feed(data)
            if not data:
                return
        self.buffer = self.buffer + data if self.buffer else data
        if self.exchange is None:
            self.host.lingering.pop(self, None)
            self.host.unsettled.discard(self)
            self._next()
        elif len(self.buffer) > PIPELINE:
            self.wire.pause_reading()

    def eof_received(self) -> bool:
        self._eof = True
        exchange = self.exchange
        if exchange is None:
            self.give_back(END, CLEAN)
        elif self.body_unread():
            # The rest of the request will never come.
            exchange.disconnect()
            self.give_back(END)
        else:
            now = time.monotonic_ns()
            if exchange.first_byte_ns and now - exchange.first_byte_ns > ONE_SECOND_NS:
                exchange.client_left()
            else:
                self.host.left[self] = (now + ONE_SECOND_NS, self.loan.written)
        return True  # a client that only half-closed gets its answer

    def pause_writing(self) -> None:
        self.wire.pause_writing()

    def resume_writing(self) -> None:
        self.wire.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        host, exchange = self.host, self.exchange
        self.wire.lost = True
        host.forget(self)
        self.wire.resume_writing()
        if exchange is not None and not exchange.complete:
            exchange.disconnect()
        if exc is not None:
            how, flags = END, CLEAN  # reset by the client
        elif self._how is None:
            how, flags = END, 0 if self.body_unread() or self.buffer else CLEAN
        else:
            how, flags = self._how, self._flags
        leftover = b"" if how == END else self.buffer
        self.exchange = None
        self.buffer = b""
        host.link.give_back(self.loan, how, leftover, flags)
        host.check_quiet()

    # Called by the host, the exchange and the WebSocket

    def give_back(self, how: int, flags: int = 0) -> None:
        """Close this process's descriptor once all is written; the loan goes back when that is done."""
        if how == KEEP and self.body_unread():
            how = END
        if self._how is None:
            self._how = how
            self._flags = flags
            self.host.lingering.pop(self, None)
            self.wire.close()

    def is_last(self) -> bool:
        """True when the answer that begins now is to be the connection's last, though nobody has said so."""
        return self.host.page.stopping and not self.buffer

    def ends(self) -> None:
        """From now on the loan ends with the connection here, whoever closes it."""
        self._how = END

    def abort(self) -> None:
        """Give the loan back now, whatever is unwritten."""
        self._how = END
        self.transport.abort()

    def stalled_since(self, now: int) -> int:
        """Since when the bytes that wait to be sent are the same; `now` if none wait or some went."""
        pending = self.wire.pending()
        if not pending or pending != self._pending:
            self._pending, self._pending_since = pending, now
        return self._pending_since

    def response_complete(self) -> None:
        """The last byte of the response was handed to the transport."""
        self.wire.flush()
        if not self.wire.is_closing():
            self._message_over()

    def announce(self, size: int) -> None:
        """The `size` bytes that are sent next complete a response."""
        if not self.buffer and not self._unix:
            loan = self.loan
            self.host.page.answered(loan.slot, loan.consumed, self.wire.total(size))

    def settle(self) -> None:
        """Publish the boundary once the kernel has every byte."""
        if self.wire.pending():
            self.host.unsettled.add(self)
            return
        self.host.unsettled.discard(self)
        # A Unix socket has no counters to compare with after a death, and the loop reads before any code
        # of ours could mark the slot: it stays marked, and the gateway closes such a connection.
        if not self._unix:
            self.host.page.boundary(self.loan.slot, self.loan.consumed, self.loan.written)

    # Messages

    def _rest(self) -> None:
        self.host.lingering[self] = time.monotonic_ns()
        self.host.watch()

    def _next(self) -> None:
        """Serve the message at the head of the buffer, or give the loan back."""
        host, loan, data = self.host, self.loan, self.buffer
        if loan.requests and host.link.must_return(loan):
            return self.give_back(KEEP)
        end = find_end(data)
        if end < 0:
            return self.give_back(RETRY if len(data) > host.head_size else KEEP)
        try:
            head = parse_head(data[:end])
        except BadHead:
            return self.give_back(RETRY)
        if end > host.head_size or self._over_limit(head.content_length or 0):
            return self.give_back(RETRY)
        root_path = ""
        if loan.direct or loan.place is not None or not host.served.sole:
            mount = serving.mount(host.served, loan, head)
            if mount is None:
                return self.give_back(RETRY)
            root_path = mount
        if head.upgrade and websockets_available and _wants_websocket(head):
            return self._upgrade(head, root_path)
        self._start(head, root_path, data[end:])

    def _start(self, head: Head, root_path: str, rest: bytes) -> None:
        exchange = self.host.exchange_class(self, head, *describe(self, head, root_path))
        self.exchange = exchange
        self.buffer = b""
        self._body_seen = 0
        self._remaining = head.content_length or 0
        if head.chunked:
            self._chunks = ChunkedDecoder()
        elif not self._remaining:
            exchange.end_body()
        if self.loan.requests and not self.wire.pending():
            self.host.page.wrote(self.loan.slot, self.loan.written)
        self.host.begin(exchange)
        self.loan.requests += 1
        exchange.task = self.host.loop.create_task(exchange.run())
        if rest and self.body_unread():
            rest = self._feed(rest)
        self.buffer = rest

    def _upgrade(self, head: Head, root_path: str) -> None:
        data, self.buffer = self.buffer, b""
        WebSocket(self, head, *describe(self, head, root_path)).start(data)

    def _over_limit(self, size: int) -> bool:
        return self.host.max_body is not None and size > self.host.max_body

    def _feed(self, data: bytes) -> bytes:
        """Give body bytes to the request in progress; return those that come after it."""
        exchange = self.exchange
        assert exchange is not None
        if self._remaining:
            part, rest = data[: self._remaining], data[self._remaining :]
            self._remaining -= len(part)
            exchange.feed(part)
            over = not self._remaining
        else:
            assert self._chunks is not None
            try:
                parts, rest = self._chunks.feed(data)
            except BadChunk:
                self._give_up(exchange, 400, "bad_request", "The chunked body of this request is malformed.")
                return b""
            for part in parts:
                self._body_seen += len(part)
                exchange.feed(part)
            if self._over_limit(self._body_seen):
                self._give_up(exchange, 413, "body_too_large", "The body of this request is too large.")
                return b""
            over = self._chunks.done
            if exchange.complete and not over and self._body_seen > SWALLOW:
                self.give_back(END)
        if over:
            self._chunks = None
            exchange.end_body()
            if exchange.complete:
                self._message_over(rest)
                return b""
        return rest

    def _give_up(self, exchange: Exchange, status: int, code: str, message: str) -> None:
        self._chunks = None
        exchange.refuse(status, code, message)

    def body_unread(self) -> bool:
        """True while a part of the present request's body has not arrived."""
        return self._remaining > 0 or self._chunks is not None

    def _message_over(self, rest: bytes = b"") -> None:
        """The response is complete; if the request is read as well, this is a message boundary."""
        exchange = self.exchange
        assert exchange is not None
        self.wire.resume_reading()
        if self.body_unread():
            # Read on and drop it, unless that is long or, after an unanswered `Expect`, may never come.
            self._body_seen = 0
            if self._remaining > SWALLOW or exchange.body_unasked:
                self.give_back(END)
            else:
                self._rest()
            return
        self.exchange = None
        if rest:
            self.buffer = rest
        if self._eof and not self.buffer:
            self.give_back(END, CLEAN)
        elif self.host.link.must_return(self.loan):
            self.give_back(KEEP)
        elif self.buffer:
            self._next()
        else:
            self.settle()
            self._rest()


def _wants_websocket(head: Head) -> bool:
    return head.method == "GET" and any(
        name == b"upgrade" and value.lower() == b"websocket" for name, value in head.headers
    )

"""One connection to the gateway's direct listener: HTTP/1.1 as a client speaks it, a request at a time."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

import httptools

SMALL = 65536
"""A request up to this size is taken from its socket by one read: it was read whole or not at all."""
HIGH_WATER = 1 << 18
"""Bytes of a streamed answer that wait here before reading stops."""
Headers = list[tuple[bytes, bytes]]


class Unreachable(Exception):
    """The gateway did not answer; untouched: for certain, nobody has read the request."""

    def __init__(self, message: str, untouched: bool) -> None:
        super().__init__(message)
        self.untouched = untouched


class TooMuch(Exception):
    """The answer is larger than was asked for."""


class Answer(NamedTuple):
    """A whole answer; header names are lower-case."""

    status: int
    headers: Headers
    body: bytes


class Wire(asyncio.Protocol):
    """See the module. `served` counts answers; `idle_since` is the loop's time of the last one."""

    def __init__(self, loop: asyncio.AbstractEventLoop, lost: Callable[[Wire], None]) -> None:
        self._loop = loop
        self._lost = lost
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._answer: asyncio.Future[Answer] | None = None
        self._chunk: asyncio.Future[None] | None = None
        self.closed = False
        self.served = 0
        self.idle_since = 0.0
        self._begin(b"", 0, False, False)

    def _begin(self, data: bytes, limit: int, head: bool, streaming: bool) -> None:
        self._small = len(data) <= SMALL
        self._limit = limit
        self._head = head
        self._streaming = streaming
        self._heard = False
        self._status = 0
        self._headers: Headers = []
        self._body: deque[bytes] = deque()
        self._size = 0
        self._complete = False
        self._framed = False
        self._keep = False
        self._paused = False
        self._failure: Exception | None = None

    # -- what the client asks for ------------------------------------------------------------------------

    def send(self, data: bytes, limit: int, head: bool, streaming: bool) -> asyncio.Future[Answer]:
        """Send a request; the future has the answer, with an empty body when it is streamed (see `read`).

        limit: bytes of its body that are taken. head: the method is HEAD.
        """
        self._begin(data, limit, head, streaming)
        self._answer = answer = self._loop.create_future()
        if self._transport is None:
            self._fail(None)
        else:
            self._transport.write(data)
        return answer

    async def read(self) -> bytes:
        """The next piece of a streamed answer, b"" at its end. Raises Unreachable or TooMuch."""
        while not self._body:
            if self._failure is not None:
                raise self._failure
            if self._complete:
                return b""
            self._chunk = self._loop.create_future()
            try:
                await self._chunk
            finally:
                self._chunk = None
        piece = self._body.popleft()
        self._size -= len(piece)
        if self._paused and self._size < HIGH_WATER and self._transport is not None:
            self._paused = False
            self._transport.resume_reading()
        return piece

    @property
    def reusable(self) -> bool:
        """True when the last answer was read whole and another request may follow it."""
        return self._complete and self._keep and not self.closed and not self._head

    def abort(self) -> None:
        """Drop the connection at once; whoever serves it sees the client go."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    # -- asyncio.Protocol --------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it

    def data_received(self, data: bytes) -> None:
        self._heard = True
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, TooMuch) as error:
            cause = error.__context__ if isinstance(error, httptools.HttpParserCallbackError) else error
            tell = cause if isinstance(cause, TooMuch) else None
            self._end(tell or Unreachable(f"The answer is no HTTP: {error}.", False))
            self.abort()

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True
        self._transport = None
        if self._status >= 200 and not self._framed and not self._complete and error is None:
            self._complete = True  # an answer without a length ends with its connection
            self._end(None)
        else:
            self._fail(error)
        self._lost(self)

    # -- httptools ---------------------------------------------------------------------------------------

    def on_header(self, name: bytes, value: bytes) -> None:
        lower = name.lower()
        if lower in (b"content-length", b"transfer-encoding"):
            self._framed = True
        self._headers.append((lower, value))

    def on_headers_complete(self) -> None:
        self._status = self._parser.get_status_code()
        if self._status < 200:
            return
        self._keep = self._parser.should_keep_alive()
        if self._streaming and self._answer is not None and not self._answer.done():
            self._answer.set_result(Answer(self._status, self._headers, b""))
        if self._head:  # the parser waits for a body that does not come
            self._complete = True
            self._end(None)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._streaming:
            self._body.append(body)
            self._tell()
            if self._size >= HIGH_WATER and not self._paused and self._transport is not None:
                self._paused = True
                self._transport.pause_reading()
        elif self._size > self._limit:
            raise TooMuch(f"The answer has more than {self._limit} bytes.")
        else:
            self._body.append(body)

    def on_message_complete(self) -> None:
        if self._status < 200:  # 100 Continue, 103 Early Hints
            self._headers = []
            self._framed = False
            return
        self._complete = True
        self.served += 1
        self.idle_since = self._loop.time()
        self._end(None)

    # -- ends --------------------------------------------------------------------------------------------

    def _fail(self, error: Exception | None) -> None:
        # Unix sockets: a peer that closes with unread bytes gives ECONNRESET, one that has closed before
        # gives EPIPE. A plain end says nothing of what was read.
        unread = isinstance(error, (BrokenPipeError, ConnectionResetError))
        untouched = unread and self._small and not self._heard
        self._end(Unreachable("The gateway closed the connection without an answer.", untouched))

    def _end(self, failure: Exception | None) -> None:
        if self._complete and failure is not None:
            return
        self._failure = failure
        answer = self._answer
        if answer is not None and not answer.done():
            if failure is not None:
                answer.set_exception(failure)
            else:
                body = b"".join(self._body) if len(self._body) != 1 else self._body[0]
                answer.set_result(Answer(self._status, self._headers, body))
        self._tell()

    def _tell(self) -> None:
        if self._chunk is not None and not self._chunk.done():
            self._chunk.set_result(None)

"""The body of a WSGI request: read from the connection when the app asks, never beyond the message."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

from snapfork.runner.http.framing import BadChunk, ChunkedDecoder

if TYPE_CHECKING:
    from collections.abc import Callable

    from snapfork.runner.http.head import Head
    from snapfork.runner.processes.wsgi_wire import Wire

BUFFER = 65536
DISCARD = 262144
"""Bytes of an unread body that are read and dropped to keep a connection alive."""
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


class BodyRefused(OSError):
    """The body cannot be taken: `status` 400 or 413, and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


class RawBody(io.RawIOBase):
    """Body bytes as they arrive. `leftover` holds what was read beyond the message's end.

    `invite` is called when the app first reads a body whose client waits for 100 Continue.
    """

    def __init__(
        self, wire: Wire, head: Head, rest: bytes, max_body: int | None, invite: Callable[[], None]
    ) -> None:
        super().__init__()
        self._wire = wire
        self._invite = invite
        self._awaits_continue = head.expect and not rest
        self._max_body = max_body
        self._decoder = ChunkedDecoder() if head.chunked else None
        self._pieces: list[bytes] = []
        self._pending = b""
        self._left = 0
        self.broken = False
        self.refused: BodyRefused | None = None
        self.leftover = b""
        if self._decoder is None:
            length = head.content_length or 0
            self._pending, self.leftover = rest[:length], rest[length:]
            self._left = length - len(self._pending)
        elif rest:
            self._decode(rest)

    @property
    def complete(self) -> bool:
        """True when the last byte of the message has been read from the connection."""
        return not self.broken and (self._decoder.done if self._decoder is not None else self._left == 0)

    @property
    def unasked(self) -> bool:
        """True while the client waits for 100 Continue, and may never send the body."""
        return self._awaits_continue and not self.complete

    def readable(self) -> bool:
        return True

    def readinto(self, target: Any) -> int:
        view = memoryview(target).cast("B")
        if not self._pending:
            self._pending = self._next()
        size = min(len(view), len(self._pending))
        view[:size] = self._pending[:size]
        self._pending = self._pending[size:]
        return size

    def _next(self) -> bytes:
        """The next payload bytes, b"" at the end. Raises BodyRefused."""
        while not self._pieces:
            if self.refused is not None:
                raise self.refused
            if self.complete or self.broken:
                return b""
            if self._awaits_continue:
                self._awaits_continue = False
                self._invite()
            data = self._wire.wait_and_receive()
            if not data:
                self.broken = True  # the client went before it had sent everything
                return b""
            self._take(data)
        return self._pieces.pop(0)

    def _take(self, data: bytes) -> None:
        if self._decoder is None:
            self._pieces.append(data[: self._left])
            self.leftover = data[self._left :]
            self._left -= len(self._pieces[-1])
        else:
            self._decode(data)

    def _decode(self, data: bytes) -> None:
        if self._decoder is None:
            return
        try:
            pieces, self.leftover = self._decoder.feed(data)
        except BadChunk as error:
            self.broken = True
            self.refused = BodyRefused(400, f"the chunked body is malformed: {error}")
            return
        self._pieces += pieces
        if self._max_body is not None and self._decoder.total > self._max_body:
            self.broken = True
            self.refused = BodyRefused(413, f"the body has more than max_body ({self._max_body}) bytes")

    def finish(self) -> bool:
        """After the answer: drop what the app left unread if it is short; True when the message is over."""
        dropped = 0
        while not self.complete:
            if self.broken or self._awaits_continue or dropped > DISCARD or self._left > DISCARD:
                return False
            self._pieces.clear()
            data = self._wire.receive_soon()
            if not data:
                return False
            dropped += len(data)
            self._take(data)
        return True


def open_body(raw: RawBody | None) -> Any:
    """The `wsgi.input` over `raw`, or an empty one."""
    return io.BytesIO() if raw is None else io.BufferedReader(raw, BUFFER)

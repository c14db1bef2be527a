"""Chunked bodies: decoding them, or only finding where they end. RFC 9112, section 7.1, taken strictly."""

from __future__ import annotations

import re

MAX_LINE = 4096  # a chunk-size line with its extensions
MAX_TRAILERS = 16384
_SIZE = re.compile(rb"([0-9A-Fa-f]{1,16})(?:[ \t]*;[^\x00-\x08\x0a-\x1f\x7f]*)?")

_SIZE_LINE, _DATA, _DATA_END, _TRAILERS, _DONE = range(5)


class BadChunk(Exception):
    """The framing is malformed; the message says how."""


class ChunkedDecoder:
    """Feed it bytes in any pieces; it gives payload, and what lies behind the end of the body."""

    __slots__ = ("_buffer", "_left", "_state", "_trailers", "total")

    def __init__(self) -> None:
        self._buffer = b""
        self._left = 0
        self._trailers = 0
        self._state = _SIZE_LINE
        self.total = 0

    @property
    def done(self) -> bool:
        """True when the body has ended."""
        return self._state == _DONE

    def feed(self, data: bytes) -> tuple[list[bytes], bytes]:
        """Take `data`; return (pieces of payload, bytes after the end). Raises BadChunk."""
        payload: list[bytes] = []
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at, size = 0, len(data)
        while at < size and self._state != _DONE:
            if self._state == _DATA:
                piece = data[at : at + self._left]
                payload.append(piece)
                at += len(piece)
                self.total += len(piece)
                self._left -= len(piece)
                if self._left == 0:
                    self._state = _DATA_END
                continue
            step = self._line(data, at)
            if step < 0:
                self._buffer = data[at:]
                return payload, b""
            at = step
        return payload, data[at:]

    def _line(self, data: bytes, at: int) -> int:
        """Handle the line that starts at `at`; return where the next begins, or -1 when it is incomplete."""
        if self._state == _DATA_END:
            ahead = data[at : at + 2]
            if ahead == b"\r\n":
                self._state = _SIZE_LINE
                return at + 2
            if ahead == b"\r":
                return -1
            raise BadChunk("a chunk is not followed by CRLF")
        end = data.find(b"\n", at)
        limit = MAX_LINE if self._state == _SIZE_LINE else MAX_TRAILERS - self._trailers
        if (end if end >= 0 else len(data)) - at > limit:
            raise BadChunk("a chunk-size line or the trailers are too long")
        if end < 0:
            return -1
        if end == at or data[end - 1] != 13:
            raise BadChunk("a line of the chunked body does not end with CRLF")
        line = data[at : end - 1]
        if self._state == _SIZE_LINE:
            match = _SIZE.fullmatch(line)
            if match is None:
                raise BadChunk("a chunk size is malformed")
            self._left = int(match[1], 16)
            self._state = _DATA if self._left else _TRAILERS
        else:
            self._trailers += end + 1 - at
            if not line:
                self._state = _DONE
            elif b":" not in line or line[:1] in (b" ", b"\t", b":") or b"\r" in line or b"\0" in line:
                raise BadChunk("a trailer line is malformed")
        return end + 1


class ChunkedScanner:
    """Finds the end of a chunked body without keeping its payload."""

    __slots__ = ("_decoder",)

    def __init__(self) -> None:
        self._decoder = ChunkedDecoder()

    def feed(self, data: bytes) -> int:
        """Index in `data` just after the body's end, or -1 when it goes on. Raises BadChunk."""
        _, rest = self._decoder.feed(data)
        return len(data) - len(rest) if self._decoder.done else -1

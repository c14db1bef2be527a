"""The response of a WSGI app: start_response, write, framing, and the file wrapper."""

from __future__ import annotations

import os
import re
import stat
import time
from collections.abc import Iterator
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from snapfork.runner.http.head import Head
    from snapfork.runner.processes.wsgi_wire import Wire

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

JOIN_BELOW = 65536
"""A body up to this size is copied behind the head and sent with it."""
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_STATUS = re.compile(r"[1-9]\d\d(?: [^\x00-\x1f\x7f]*)?")
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
)

_date_second = 0
_date_line = b""


def date_line() -> bytes:
    """The Date header of this second, with CRLF."""
    global _date_second, _date_line
    now = int(time.time())
    if now != _date_second:
        _date_second = now
        _date_line = b"Date: " + formatdate(now, usegmt=True).encode() + b"\r\n"
    return _date_line


class FileWrapper:
    """`wsgi.file_wrapper`: sent with sendfile where the file is a regular one, else block by block."""

    def __init__(self, filelike: Any, block_size: int = 65536) -> None:
        self.filelike = filelike
        self.block_size = block_size
        if hasattr(filelike, "close"):
            self.close = filelike.close

    def __iter__(self) -> Iterator[bytes]:
        while data := self.filelike.read(self.block_size):
            yield data

    def regular(self) -> tuple[int, int, int] | None:
        """(descriptor, offset, bytes to the end) of a regular file, else None."""
        try:
            fd = self.filelike.fileno()
            info = os.fstat(fd)
            offset = self.filelike.tell()
        except (AttributeError, OSError, ValueError):
            return None
        if not stat.S_ISREG(info.st_mode):
            return None
        return fd, offset, max(0, info.st_size - offset)


class Response:
    """One response. `claim` is called once, before its first byte is sent, and may raise to forbid it.

    `last` is called before the send that completes a message after which the connection goes on, with the
    number of bytes in it.
    """

    __slots__ = (
        "_chunked",
        "_claim",
        "_headers",
        "_last",
        "_left",
        "_own",
        "_wire",
        "begun",
        "body_bytes",
        "declared",
        "head",
        "keep_alive",
        "started",
        "status",
        "status_line",
    )

    def __init__(
        self,
        wire: Wire,
        head: Head,
        own: bytes,
        keep_alive: bool,
        claim: Callable[[], None],
        last: Callable[[int], None],
    ) -> None:
        self._wire = wire
        self._own = own
        self._claim = claim
        self._last = last
        self._headers: list[tuple[str, str]] = []
        self._chunked = False
        self._left: int | None = None
        self.head = head
        self.keep_alive = keep_alive
        self.started = False
        self.begun = False
        self.status = 0
        self.status_line = ""
        self.declared: int | None = None
        self.body_bytes = 0

    # -- what the app calls ----------------------------------------------------------------------------

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        """PEP 3333's start_response; raises AssertionError or ValueError for what it forbids."""
        if exc_info is not None:
            try:
                if self.begun and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.started:
            raise AssertionError("start_response was called a second time without exc_info")
        if not isinstance(status, str) or not _STATUS.fullmatch(status):
            raise ValueError(f"{status!r} is not a status such as '200 OK'")
        self._take_headers(headers)
        self.started = True
        self.status_line = status
        self.status = int(status[:3])
        return self.write

    def _take_headers(self, headers: list[tuple[str, str]]) -> None:
        self._headers = []
        self.declared = None
        for name, value in headers:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"header {name!r}: names and values must be str")
            if not _TOKEN.fullmatch(name) or _BAD_VALUE.search(value):
                raise ValueError(f"header {name!r}: the name or value {value!r} is not allowed in HTTP")
            lower = name.lower()
            if lower in _HOP_BY_HOP:
                if lower == "connection" and value.lower() == "close":
                    self.keep_alive = False
                continue
            if lower == "content-length":
                if not value.strip().isdigit():
                    raise ValueError(f"Content-Length {value!r} is not a number")
                self.declared = int(value)
            self._headers.append((name, value))

    def write(self, data: bytes) -> None:
        """Send a piece of the body at once."""
        if not isinstance(data, bytes | bytearray | memoryview):
            raise TypeError(f"a WSGI body is made of bytes, not {type(data).__name__}")
        if not self.started:
            raise AssertionError("the body began before start_response was called")
        if not data and not self.begun:
            return
        self._send(bytes(data))

    # -- what the loop calls ---------------------------------------------------------------------------

    def send_body(self, result: Any) -> None:
        """Send all that the app returned."""
        if isinstance(result, FileWrapper) and self._send_file(result):
            return
        if self.declared is None and not self.begun and isinstance(result, list | tuple) and len(result) < 2:
            self.declared_by_us(sum(map(len, result)))
        for piece in result:
            if piece:
                self.write(piece)
                self._wire.check_cut()

    def declared_by_us(self, size: int) -> None:
        """The length is known although the app did not say it."""
        if self.started and self._has_body():
            self._headers.append(("Content-Length", str(size)))
            self.declared = size

    def finish(self) -> bool:
        """Complete the message; True when the connection can go on after it."""
        if not self.started:
            raise AssertionError("the app returned without calling start_response")
        if not self.begun:
            if self.declared is None:
                self.declared_by_us(0)
            self._begin([])
        if self._chunked and self.head.method != "HEAD":
            self._put([b"0\r\n\r\n"], self.keep_alive)
        if self._left:
            self.keep_alive = False  # fewer bytes than declared: only the end of the connection tells
        return self.keep_alive

    def _send(self, data: bytes) -> None:
        if not self.begun:
            self._begin([data])
        else:
            self._put(self._framed(data))

    def _begin(self, first: list[bytes]) -> None:
        pieces = [self._head_lines()]
        for data in first:
            pieces += self._framed(data)
        self._claim()
        self.begun = True
        if len(pieces) > 1 and sum(map(len, pieces)) > JOIN_BELOW:
            self._wire.send(pieces[:1])
            pieces = pieces[1:]
        self._put(pieces, bodiless=not self._has_body() or self.head.method == "HEAD")

    def _put(self, pieces: list[bytes], over: bool = False, bodiless: bool = False) -> None:
        if over or (self.keep_alive and (self._left == 0 or bodiless)):
            self._last(sum(map(len, pieces)))
        self._wire.send(pieces)

    def _framed(self, data: bytes) -> list[bytes]:
        """`data` as it goes over the wire; what exceeds the declared length is dropped."""
        if not self._has_body() or self.head.method == "HEAD":
            return [b""]
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        self.body_bytes += len(data)
        if self._chunked and data:
            return [b"%x\r\n" % len(data), data, b"\r\n"]
        return [data]

    def _has_body(self) -> bool:
        return self.status >= 200 and self.status not in (204, 304)

    def _head_lines(self) -> bytes:
        head = self.head
        has_body = self._has_body()
        lines = [f"HTTP/1.1 {self.status_line}\r\n"]
        has_date = has_server = has_id = False
        for name, value in self._headers:
            lower = name.lower()
            has_date = has_date or lower == "date"
            has_server = has_server or lower == "server"
            has_id = has_id or lower == "x-request-id"
            if lower == "content-length" and not has_body and self.status != 304:
                continue
            lines.append(f"{name}: {value}\r\n")
        if has_body:
            if self.declared is not None:
                self._left = self.declared if head.method != "HEAD" else None
            elif head.version == (1, 1):
                self._chunked = True
                lines.append("Transfer-Encoding: chunked\r\n")
            else:
                self.keep_alive = False
        if not self.keep_alive:
            lines.append("Connection: close\r\n")
        elif head.version == (1, 0):
            lines.append("Connection: keep-alive\r\n")
        text = "".join(lines).encode("latin-1")
        if not has_date:
            text += date_line()
        if not has_server:
            text += b"Server: snapfork\r\n"
        if not has_id:
            text += self._own
        elif b"Server-Timing" in self._own:
            text += self._own[self._own.index(b"Server-Timing") :]
        return text + b"\r\n"

    def _send_file(self, wrapper: FileWrapper) -> bool:
        found = wrapper.regular()
        if found is None or self.begun:
            return False
        fd, offset, size = found
        if self.declared is None:
            self.declared_by_us(size)
        self._begin([])
        if self._left is None:
            if self._chunked or not self._has_body() or self.head.method == "HEAD":
                return not self._chunked
            self._left = size
        count = min(size, self._left)
        self._wire.send_file(fd, offset, count)
        self.body_bytes += count
        self._left -= count
        return True

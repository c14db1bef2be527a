"""The response of a WSGI app: start_response, write, framing, and the file wrapper."""

from __future__ import annotations

import io
import os
import re
import stat
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from snapfork.runner.http.date import http_date

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from snapfork.runner.http.head import Head
    from snapfork.runner.processes.wsgi_wire import Wire

    ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]

_TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_BAD_VALUE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_STATUS = re.compile(r"[1-9][0-9][0-9](?: [\t\x20-\x7e\x80-\xff]*)?")
_ADDED = frozenset({"date", "server", "x-request-id"})
"""Added where the app does not set them."""
_SPECIAL = _ADDED | {
    "content-length",
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}
"""Not simply passed on: those above, the length, and what concerns one hop only and is the server's."""

_MOST_KNOWN = 256
_known_names: dict[str, str] = {}
"""Header names that were found to be allowed, and how they are in lower case."""
_known_statuses: dict[str, int] = {}
"""Status lines that were found to be allowed, and their numbers."""
_SEQUENCE = (list, tuple)
_BYTES = (bytes, bytearray, memoryview)

_date_second = 0
_date_line = b""


def date_line() -> bytes:
    """The Date header of this second, with CRLF."""
    global _date_second, _date_line
    now = int(time.time())
    if now != _date_second:
        _date_line = b"Date: %s\r\n" % http_date(now)
        _date_second = now  # last, for other threads
    return _date_line


def forget_date() -> None:
    """Make the next response work its date out, as one that comes in a later second has to."""
    global _date_second
    _date_second = 0


def _number(status: str) -> int:
    """The number of a status line that has not been seen before."""
    if not isinstance(status, str) or not _STATUS.fullmatch(status):
        raise ValueError(f"{status!r} is not a status such as '200 OK'")
    number = int(status[:3])
    if len(_known_statuses) < _MOST_KNOWN:
        _known_statuses[status] = number
    return number


def _lower(name: str) -> str:
    """A header name that has not been seen before, in lower case; "" if it is not allowed."""
    if not _TOKEN.fullmatch(name):
        return ""
    lower = name.lower()
    if len(_known_names) < _MOST_KNOWN:
        _known_names[name] = lower
    return lower


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
        # Only plain files: fileno() of a GzipFile, say, names the compressed bytes.
        raw = getattr(self.filelike, "raw", self.filelike)
        if not isinstance(raw, io.FileIO) or not isinstance(self.filelike, io.BufferedIOBase | io.FileIO):
            return None
        try:
            fd = raw.fileno()
            info = os.fstat(fd)
            offset = self.filelike.tell()
        except (OSError, ValueError):
            return None
        if not stat.S_ISREG(info.st_mode):
            return None
        return fd, offset, max(0, info.st_size - offset)


class Response:
    """One response. `claim` is called once, before its first byte is sent, and may raise to forbid it.

    `own` are header lines of the runner. `is_last` says, when the head is made, whether the connection ends
    after this message for reasons of its own. `last` is called before the send that completes a message after
    which the connection goes on, with the number of bytes in it.
    """

    __slots__ = (
        "_bodiless",
        "_chunked",
        "_claim",
        "_is_last",
        "_last",
        "_left",
        "_lines",
        "_own",
        "_seen",
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
        is_last: Callable[[], bool],
        claim: Callable[[], None],
        last: Callable[[int], None],
    ) -> None:
        self._wire = wire
        self._own = own
        self._is_last = is_last
        self._claim = claim
        self._last = last
        self._lines: list[str] = []
        self._seen: list[str] = []
        self._chunked = False
        self._bodiless = False
        self._left: int | None = None
        self.head = head
        self.keep_alive = head.keep_alive
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
        """PEP 3333's start_response; raises AssertionError, TypeError or ValueError for what it forbids."""
        if exc_info is not None:
            try:
                if self.begun and exc_info[1] is not None:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.started:
            raise AssertionError("start_response was called a second time without exc_info")
        number = _known_statuses.get(status) or _number(status)
        self._take_headers(headers)
        self.started = True
        self.status_line = status
        self.status = number
        self._bodiless = number < 200 or number in (204, 304)
        return self.write

    def _take_headers(self, headers: list[tuple[str, str]]) -> None:
        self._lines = lines = []
        self._seen = []
        self._chunked = False
        self._left = self.declared = None
        for name, value in headers:
            if not isinstance(name, str) or not isinstance(value, str):
                raise TypeError(f"header {name!r}: names and values must be str")
            lower = _known_names.get(name) or _lower(name)
            # Most values are printable ASCII, which is found out sooner than by the expression.
            if not lower or (not (value.isascii() and value.isprintable()) and _BAD_VALUE.search(value)):
                raise ValueError(f"header {name!r}: the name or value {value!r} is not allowed in HTTP")
            if lower not in _SPECIAL or self._take_special(lower, value):
                lines.append(f"{name}: {value}\r\n")

    def _take_special(self, name: str, value: str) -> bool:
        """Note a header that bears on the framing or that is added if missing; True: pass it on."""
        if name in _ADDED:
            self._seen.append(name)
            return True
        if name == "connection":
            if "close" in value.lower():
                self.keep_alive = False
        elif name == "content-length":
            value = value.strip()
            if not value.isdecimal() or not value.isascii():
                raise ValueError(f"Content-Length {value!r} is not a number")
            if self.declared is not None:
                raise ValueError("Content-Length is given twice")
            self.declared = int(value)
        return False

    def write(self, data: bytes) -> None:
        """Send a piece of the body at once."""
        if not isinstance(data, _BYTES):
            raise TypeError(f"a WSGI body is made of bytes, not {type(data).__name__}")
        if not self.started:
            raise AssertionError("the body began before start_response was called")
        if not data:
            return
        if not self.begun:
            self._begin(bytes(data))
        elif pieces := self._framed(bytes(data)):
            self._put(pieces, self._left == 0)

    # -- what the loop calls ---------------------------------------------------------------------------

    def send_body(self, result: Any) -> None:
        """Send all that the app returned."""
        if isinstance(result, FileWrapper) and self._send_file(result):
            return
        if self.declared is None and not self.begun and isinstance(result, _SEQUENCE) and len(result) < 2:
            self.length_known(sum(map(len, result)))
        for piece in result:
            if piece:
                if self.begun:
                    self._wire.check_cut()
                self.write(piece)

    def length_known(self, size: int) -> None:
        """The body's length is known although the app did not say it (of HEAD, no body says nothing)."""
        if self.started and not self._bodiless and (size or self.head.method != "HEAD"):
            self.declared = size

    def finish(self) -> bool:
        """Complete the message; True when the connection can go on after it."""
        if not self.started:
            raise AssertionError("the app returned without calling start_response")
        if not self.begun:
            if self.declared is None:
                self.length_known(0)
            self._begin(b"")
        if self._chunked:
            self._put([b"0\r\n\r\n"], True)
        if self._left:
            self.keep_alive = False  # fewer bytes than declared: only the end of the connection tells
        return self.keep_alive

    def _begin(self, data: bytes) -> None:
        pieces = [self._head_bytes()]
        silent = self._bodiless or self.head.method == "HEAD"
        if data and not silent:
            pieces += self._framed(data)
        self._claim()
        self.begun = True
        self._put(pieces, silent or self._left == 0)

    def _put(self, pieces: list[bytes], over: bool) -> None:
        if over and self.keep_alive:
            self._last(sum(map(len, pieces)))
        self._wire.send(pieces)

    def _framed(self, data: bytes) -> list[bytes]:
        """`data` as it goes over the wire; what exceeds the declared length is dropped."""
        if self._chunked:
            self.body_bytes += len(data)
            return [b"%x\r\n" % len(data), data, b"\r\n"]
        if self._left is not None:
            data = data[: self._left]
            self._left -= len(data)
        elif self._bodiless or self.head.method == "HEAD":
            return []
        self.body_bytes += len(data)
        return [data] if data else []

    def _head_bytes(self) -> bytes:
        head, lines = self.head, self._lines
        if self.declared is not None and (not self._bodiless or self.status == 304):
            lines.append(f"Content-Length: {self.declared}\r\n")
        if not self._bodiless and head.method != "HEAD":
            if self.declared is not None:
                self._left = self.declared
            elif head.version == (1, 1):
                self._chunked = True
                lines.append("Transfer-Encoding: chunked\r\n")
            else:
                self.keep_alive = False
        if self.keep_alive and self._is_last():
            self.keep_alive = False
        if not self.keep_alive:
            lines.append("Connection: close\r\n")
        elif head.version == (1, 0):
            lines.append("Connection: keep-alive\r\n")
        text = f"HTTP/1.1 {self.status_line}\r\n{''.join(lines)}".encode("latin-1")
        if self._seen:
            return text + self._missing() + b"\r\n"
        return b"%sServer: snapfork\r\n%s%s\r\n" % (text, date_line(), self._own)

    def _missing(self) -> bytes:
        """The lines that an app may set by itself, less those that it did set."""
        own = self._own
        if "x-request-id" in self._seen:
            at = own.find(b"Server-Timing")
            own = own[at:] if at >= 0 else b""
        date = b"" if "date" in self._seen else date_line()
        server = b"" if "server" in self._seen else b"Server: snapfork\r\n"
        return server + date + own

    def _send_file(self, wrapper: FileWrapper) -> bool:
        found = wrapper.regular()
        if found is None or self.begun:
            return False
        fd, offset, size = found
        if self.declared is None:
            self.length_known(size)
        self._begin(b"")
        if self._left is None:
            return True  # no body belongs to this response
        count = min(size, self._left)
        self._wire.send_file(fd, offset, count)
        self.body_bytes += count
        self._left -= count
        return True

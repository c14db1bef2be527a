"""Our own HTTP client: raw sockets, every request with the times of what the client saw.

One thread, GET without a body, HTTP/1.1. `once` and `Kept` block; `burst.py` does many at a time. What it
costs by itself is told by `responder.floor`: a request to a process that does nothing but answer.
"""

from __future__ import annotations

import re
import socket
import time
from dataclasses import dataclass
from typing import Self

from snapfork.runner.errors import UserError

Address = tuple[str, int]
TIMEOUT_S = 60.0
UNFRAMED_S = 0.2
"""How long the end of a connection is waited for where only that ends an answer: some leave it open."""
LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.I)
CHUNKED = re.compile(rb"\r\ntransfer-encoding:[ \t]*chunked", re.I)
CLOSE = re.compile(rb"\r\nconnection:[ \t]*close", re.I)
NS_PER_MS = 1e6


class BadAnswer(UserError):
    """The server answered something else than a whole HTTP response, or nothing."""


@dataclass
class Timing:
    """Nanoseconds of CLOCK_MONOTONIC (as time.monotonic_ns) of one request; `status` 0: it failed (`error`).

    begun: before connect(), or before sending on a kept connection. On a connection that is made without
    blocking, `connected` is when the kernel told that it stands.
    """

    begun: int = 0
    connected: int = 0
    sent: int = 0
    first: int = 0
    last: int = 0
    status: int = 0
    size: int = 0
    error: str = ""

    @property
    def ms(self) -> float:
        """Milliseconds from the beginning to the first byte."""
        return (self.first - self.begun) / NS_PER_MS

    @property
    def whole_ms(self) -> float:
        """Milliseconds from the beginning to the last byte."""
        return (self.last - self.begun) / NS_PER_MS

    @property
    def ok(self) -> bool:
        return self.status == 200 and not self.error


def request(path: str = "/", *, keep: bool = False, host: str = "localhost") -> bytes:
    """A GET as bytes."""
    connection = "keep-alive" if keep else "close"
    return f"GET {path} HTTP/1.1\r\nhost: {host}\r\nconnection: {connection}\r\n\r\n".encode()


def status_of(head: bytes | bytearray) -> int:
    """The status of a response; 0 where it is none."""
    words = bytes(head[:16]).split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/1.") and words[1].isdigit() else 0


def whole(data: bytes | bytearray) -> int | None:
    """How many bytes the response at the start of `data` has; None until they are all there.

    -1 where only the end of the connection ends it.
    """
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return None
    head = bytes(data[: end + 2])
    if length := LENGTH.search(head):
        size = end + 4 + int(length[1])
        return size if len(data) >= size else None
    if CHUNKED.search(head):
        last = data.find(b"\r\n0\r\n\r\n", end)
        return last + 7 if last >= 0 else None
    return -1


def once(address: Address, path: str = "/", *, timeout: float = TIMEOUT_S) -> Timing:
    """One request on a new connection, to the end of the answer. Raises OSError and BadAnswer."""
    wire = request(path)
    clock = time.monotonic_ns
    timing = Timing()
    sock = socket.socket()
    try:
        sock.settimeout(timeout)
        timing.begun = clock()
        sock.connect(address)
        timing.connected = clock()
        sock.sendall(wire)
        timing.sent = clock()
        data = sock.recv(65536)
        timing.first = clock()
        received = bytearray(data)
        timing.last = timing.first
        while (size := whole(received)) is None or size < 0:
            if size is not None:
                sock.settimeout(UNFRAMED_S)
            try:
                data = sock.recv(65536)
            except TimeoutError:
                break
            if not data:
                break
            received += data
            timing.last = clock()
    finally:
        sock.close()
    timing.status, timing.size = status_of(received), len(received)
    if not timing.status or size is None:
        raise BadAnswer(f"{address[0]}:{address[1]}{path} answered {bytes(received[:60])!r}")
    return timing


def exchange(sock: socket.socket, wire: bytes) -> tuple[Timing, bytearray, int]:
    """One request on a connection: its times, the answer, and what `whole` says of it.

    Raises OSError, BadAnswer where the connection ends within the answer.
    """
    clock = time.monotonic_ns
    timing = Timing()
    timing.begun = timing.connected = clock()
    sock.sendall(wire)
    timing.sent = clock()
    received = bytearray(sock.recv(65536))
    timing.first = clock()
    while (size := whole(received)) is None:
        data = sock.recv(65536)
        if not data:
            raise BadAnswer("the server closed the connection within an answer")
        received += data
    timing.last = clock()
    timing.status, timing.size = status_of(received), len(received)
    return timing, received, size


class Kept:
    """A connection that is kept: `ask` as often as you like. Raises OSError and BadAnswer."""

    def __init__(self, address: Address, path: str = "/") -> None:
        self._wire = request(path, keep=True)
        self._sock = socket.create_connection(address, timeout=TIMEOUT_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._closing = False

    def ask(self) -> Timing:
        """One request and its whole answer."""
        if self._closing:
            raise BadAnswer("the server does not keep its connections")
        timing, received, size = exchange(self._sock, self._wire)
        head = bytes(received[: received.find(b"\r\n\r\n") + 2])
        self._closing = size < 0 or bool(CLOSE.search(head))
        return timing

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def expect_ok(timing: Timing, what: str) -> Timing:
    """The timing, if it is of a 200. Raises UserError."""
    if not timing.ok:
        raise UserError(f"{what} answered {timing.status or timing.error} instead of 200.")
    return timing

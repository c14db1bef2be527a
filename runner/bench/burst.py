"""Many requests at a time from one thread: non-blocking sockets and epoll, microseconds for each event."""

from __future__ import annotations

import errno
import select
import socket
import time
from dataclasses import dataclass, field

from snapfork.runner.bench.client import CLOSE, Address, Timing, request, status_of, whole

LIMIT_S = 60.0


@dataclass
class Load:
    """What a constant load did: `done` good answers and `failed` others within `seconds`."""

    done: int = 0
    failed: int = 0
    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Good answers per second."""
        return self.done / self.seconds if self.seconds else 0.0


@dataclass
class _Open:
    sock: socket.socket
    timing: Timing
    received: bytearray = field(default_factory=bytearray)


def burst(address: Address, count: int, path: str = "/", *, limit: float = LIMIT_S) -> list[Timing]:
    """`count` requests, each on a new connection, all begun at once; one timing each, in order of connecting.

    A request that fails or is not done after `limit` seconds has an `error`.
    """
    wire = request(path)
    clock = time.monotonic_ns
    timings: list[Timing] = []
    epoll = select.epoll()
    pending: dict[int, _Open] = {}
    try:
        for _ in range(count):
            timing = Timing(begun=clock())
            timings.append(timing)
            one = _connect(address, timing)
            if one is not None:
                pending[one.sock.fileno()] = one
                epoll.register(one.sock, select.EPOLLOUT)
        deadline = clock() + int(limit * 1e9)
        while pending and (left := deadline - clock()) > 0:
            for fd, _events in epoll.poll(left / 1e9):
                one = pending[fd]
                if _advance(one, wire, epoll):
                    del pending[fd]
                    one.sock.close()  # also leaves the epoll
    finally:
        for one in pending.values():
            one.timing.error = one.timing.error or "no whole answer in time"
            one.sock.close()
        epoll.close()
    return timings


def load(address: Address, connections: int, seconds: float, path: str = "/", *, keep: bool = True) -> Load:
    """Requests for `seconds` over so many connections at a time, kept or new for each request."""
    wire = request(path, keep=keep)
    result = Load()
    epoll = select.epoll()
    pending: dict[int, _Open] = {}

    def begin() -> None:
        one = _connect(address, Timing(begun=time.monotonic_ns()))
        if one is None:
            result.failed += 1
            return
        pending[one.sock.fileno()] = one
        epoll.register(one.sock, select.EPOLLOUT)

    begun = time.monotonic_ns()
    until = begun + int(seconds * 1e9)
    try:
        for _ in range(connections):
            begin()
        while pending and time.monotonic_ns() < until:
            for fd, _events in epoll.poll(0.1):
                one = pending[fd]
                if not _advance(one, wire, epoll, keep=keep):
                    continue
                if one.timing.ok:
                    result.done += 1
                    result.latencies_ms.append(one.timing.ms)
                else:
                    result.failed += 1
                if keep and one.timing.ok and not CLOSE.search(one.received):
                    one.timing = Timing(begun=time.monotonic_ns())
                    one.received.clear()
                    epoll.modify(fd, select.EPOLLOUT)
                    continue
                del pending[fd]
                one.sock.close()
                begin()
    finally:
        result.seconds = (time.monotonic_ns() - begun) / 1e9
        for one in pending.values():
            one.sock.close()
        epoll.close()
    return result


def _connect(address: Address, timing: Timing) -> _Open | None:
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    code = sock.connect_ex(address)
    if code not in (0, errno.EINPROGRESS):
        timing.error = errno.errorcode.get(code, str(code))
        sock.close()
        return None
    return _Open(sock, timing)


def _advance(one: _Open, wire: bytes, epoll: select.epoll, keep: bool = False) -> bool:
    """Go on with a connection that is ready; True when its request is over, well or not."""
    timing = one.timing
    try:
        if not timing.sent:
            timing.connected = timing.connected or time.monotonic_ns()
            one.sock.send(wire)  # a GET fits into an empty send buffer
            timing.sent = time.monotonic_ns()
            epoll.modify(one.sock, select.EPOLLIN)
            return False
        data = one.sock.recv(65536)
    except BlockingIOError:
        return False
    except OSError as error:
        timing.error = errno.errorcode.get(error.errno or 0, str(error))
        return True
    now = time.monotonic_ns()
    timing.first = timing.first or now
    one.received += data
    size = whole(one.received)
    if data and (size is None or size < 0):
        return False
    timing.last = now
    timing.status, timing.size = status_of(one.received), len(one.received)
    if size is None:
        timing.error = "closed without a whole answer"
    return True

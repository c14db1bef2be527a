"""A client connection as the gateway holds it, from accept to close."""

from __future__ import annotations

import _socket
import fcntl
import select
import socket
import struct
import termios
from typing import TYPE_CHECKING

from snapfork.runner.wire.fds import DONTWAIT, NOSIGNAL, PEEK

if TYPE_CHECKING:
    from snapfork.runner.gateway.instances import Instance
    from snapfork.runner.gateway.pool import Pool
    from snapfork.runner.http.head import Head
    from snapfork.runner.policy.routing import Quota
    from snapfork.runner.units import UnitRoute

NEW, IDLE, READING, WAITING, LENT, ENDING, CLOSED = range(7)
"""NEW: nothing received yet. IDLE: between messages. READING: a part is here. WAITING: in a queue."""

RECV_BYTES = 65536
MAX_PREFIX = 192 * 1024
"""Bytes of one connection that the gateway holds at most, so that they fit one loan's message: the largest
head that can be configured and a small body."""
_STREAM = int(socket.SOCK_STREAM)
_NOTHING = bytes(4)
_SIOCOUTQ = 0x5411  # linux/sockios.h
_TCP_INFO_BYTES = 136
_TCP_INFO_COUNTERS = 120  # tcpi_bytes_acked, tcpi_bytes_received: linux/tcp.h


def accept(listener: socket.socket) -> tuple[socket.socket, object]:
    """(non-blocking socket, client's address) of the next connection; raises OSError as `accept` does.

    The C class alone, as in fds.adopt: half of what `listener.accept()` takes.
    """
    fd, address = listener._accept()  # type: ignore[attr-defined]
    sock = _socket.socket(listener.family, _STREAM, 0, fd)
    sock.setblocking(False)
    return sock, address  # type: ignore[return-value]


class Connection:
    """State of one client connection. `seq` counts requests served on it before the present loan.

    Of its present request: pool, place, sticky and epoch say where it goes, and by which state of the routes;
    quota, in which reserved concurrency it has to be counted, and counted, that it is; judge, the route that
    asks for a signature which nobody has looked at yet; extra_ns, how much later than usual it may end, for
    it has waited for a template. direct: its client is the services process.
    own_bytes: bytes received, as long as nobody but the gateway has received any; then None.
    """

    __slots__ = (
        "addresses",
        "base_consumed",
        "base_written",
        "buffer",
        "client",
        "counted",
        "direct",
        "ends_by",
        "epoch",
        "extra_ns",
        "fd",
        "function",
        "head",
        "instance",
        "is_tcp",
        "judge",
        "late",
        "lingered",
        "loan_id",
        "out",
        "own_bytes",
        "patience_ns",
        "place",
        "pool",
        "queued_ns",
        "quota",
        "retries",
        "scanned",
        "seq",
        "slot",
        "sock",
        "state",
        "sticky",
        "t0_ns",
        "watched",
        "writing",
    )

    def __init__(self, sock: socket.socket, client: tuple[str, int] | None, addresses: bytes) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.client = client
        self.is_tcp = client is not None
        self.addresses = addresses
        self.buffer: bytes | bytearray = b""
        self.own_bytes: int | None = 0
        self.head: Head | None = None
        self.state = NEW
        self.seq = 0
        self.retries = 0
        self.t0_ns = 0
        self.queued_ns = 0
        self.patience_ns = 0
        self.ends_by = 0.0
        self.lingered = 0
        self.scanned = 0
        self.watched = False
        self.writing = False
        self.loan_id = 0
        self.slot = 0
        self.late = False
        self.function = "-"
        self.direct = False
        self.pool: Pool | None = None
        self.place = b""
        self.sticky = False
        self.epoch = 0
        self.quota: Quota | None = None
        self.counted = False
        self.judge: UnitRoute | None = None
        self.extra_ns = 0
        self.instance: Instance | None = None
        self.base_consumed = 0
        self.base_written = 0
        self.out = b""

    def receive(self, limit: int = RECV_BYTES) -> bytes | None:
        """Bytes that are there, b"" at the end or after an error, None when nothing is there."""
        try:
            return self.sock.recv(limit, DONTWAIT)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def send(self, data: bytes) -> int:
        """Write what fits without waiting; -1 when the connection is broken."""
        try:
            return self.sock.send(data, DONTWAIT | NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError:
            return -1

    def unread(self) -> int:
        """Bytes waiting in the receive buffer."""
        try:
            waiting = fcntl.ioctl(self.fd, termios.FIONREAD, _NOTHING)
        except OSError:
            return 0
        return 0 if waiting == _NOTHING else int(struct.unpack("i", waiting)[0])

    def base(self) -> tuple[int, int]:
        """What `counters` says now, before a loan; the kernel is not asked on a connection's first request.

        Unless a part of it has not been received: `counters` takes a FIN for a byte, and would be one ahead
        of us when the client has ended its side behind the rest.
        """
        head, own = self.head, self.own_bytes
        self.own_bytes = None
        if own is None or head is None or head.chunked or own != head.size + (head.content_length or 0):
            return self.counters()
        return own, 0

    def counters(self) -> tuple[int, int]:
        """Bytes ever consumed from and written to this TCP connection, by the kernel's own account."""
        try:
            info = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _TCP_INFO_BYTES)
            acked, received = struct.unpack_from("QQ", info, _TCP_INFO_COUNTERS)
            unsent = struct.unpack("i", fcntl.ioctl(self.fd, _SIOCOUTQ, _NOTHING))[0]
        except OSError:
            return -1, -1
        return received - self.unread(), acked + unsent

    def is_broken(self) -> bool:
        """True when nobody will read an answer: it was reset, or (Unix socket) closed by its client.

        A TCP client that closes in good order looks like one that only half-closed and waits.
        """
        poll = select.poll()
        poll.register(self.fd, 0)
        return bool(poll.poll(0))

    def only_eof(self) -> bool:
        """True when the client has ended its side and nothing waits before that."""
        try:
            return self.sock.recv(1, DONTWAIT | PEEK) == b""
        except OSError:
            return False

"""Messages with descriptors over Unix SEQPACKET sockets."""

from __future__ import annotations

import _socket
import array
import fcntl
import mmap
import os
import socket
import struct
from collections.abc import Iterator

MAX_FDS = 8
MAX_MESSAGE = 208 * 1024  # below the default limit (net.core.wmem_default) of one Unix datagram
# Plain numbers: `|` of the enumerations is a dozen calls of Python code.
DONTWAIT = int(socket.MSG_DONTWAIT)
NOSIGNAL = int(socket.MSG_NOSIGNAL)
PEEK = int(socket.MSG_PEEK)
_CMSG_CLOEXEC = int(socket.MSG_CMSG_CLOEXEC)
_SOCKET, _RIGHTS = int(socket.SOL_SOCKET), int(socket.SCM_RIGHTS)
_ONE = struct.Struct("i").pack
_STDERR = 2
_ANCILLARY = socket.CMSG_SPACE(MAX_FDS * 4)


def adopt(fd: int) -> socket.socket:
    """A SEQPACKET socket of `fd`. The C class alone: socket.socket would ask the kernel what it is, and turn
    the answers into enumerations."""
    return _socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET, 0, fd)  # type: ignore[return-value]


def pair() -> tuple[socket.socket, socket.socket]:
    """A connected pair of SEQPACKET sockets: whole messages in order, and EOF when the peer is gone."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def send(sock: socket.socket, data: bytes, fds: tuple[int, ...] = (), flags: int = 0) -> None:
    """Send one message; raises OSError (BlockingIOError with DONTWAIT on a full buffer)."""
    if fds:
        control = [(_SOCKET, _RIGHTS, _ONE(fds[0]) if len(fds) == 1 else array.array("i", fds))]
        sock.sendmsg([data], control, flags | NOSIGNAL)
    else:
        sock.send(data, flags | NOSIGNAL)


def receive(sock: socket.socket, buffer: bytearray | mmap.mmap, flags: int = 0) -> tuple[int, list[int]]:
    """Receive one message into `buffer`; return its length and its descriptors (close-on-exec).

    A length of 0 without descriptors is the end. Raises BlockingIOError when `flags` has DONTWAIT
    and nothing is there.
    """
    size, ancillary, _, _ = sock.recvmsg_into([buffer], _ANCILLARY, flags | _CMSG_CLOEXEC)
    if not ancillary:
        return size, []
    fds: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            received = array.array("i")
            received.frombytes(data[: len(data) - len(data) % 4])
            fds.extend(map(_above_stdio, received))
    return size, fds


def messages(sock: socket.socket) -> Iterator[tuple[memoryview, list[int]]]:
    """What the other side sends, message by message, until it is gone; each view holds until the next."""
    buffer = bytearray(MAX_MESSAGE)
    view = memoryview(buffer)
    while True:
        try:
            size, received = receive(sock, buffer)
        except ConnectionResetError:
            return
        if size == 0:
            return
        yield view[:size], received


def _above_stdio(fd: int) -> int:
    # Whoever has closed standard output would get a client's connection in its place, and print into it.
    if fd > _STDERR:
        return fd
    moved = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _STDERR + 1)
    os.close(fd)
    return moved


def close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)

"""A control socket of the gateway: whole messages with descriptors, never waiting for the other side."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable

from snapfork.runner.wire import fds

OnMessage = Callable[[memoryview, list[int]], None]

_TRANSIENT = {errno.ENOBUFS, errno.ETOOMANYREFS}  # a full queue by other names
_RETRY_S = 0.005
_buffer = bytearray(fds.MAX_MESSAGE)
_view = memoryview(_buffer)


class Channel:
    """One SEQPACKET socket. `on_message` gets a view that is valid during the call, and owns the descriptors.

    `on_eof` is called once, when every copy of the other end is closed.
    """

    __slots__ = ("_loop", "_on_eof", "_on_message", "_outgoing", "_reading", "sock")

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sock: socket.socket,
        on_message: OnMessage,
        on_eof: Callable[[], None],
    ) -> None:
        self._loop = loop
        self.sock = sock
        self._on_message = on_message
        self._on_eof = on_eof
        self._outgoing: deque[tuple[bytes, tuple[int, ...]]] = deque()
        self._reading = True
        loop.add_reader(sock.fileno(), self.drain)

    @property
    def is_open(self) -> bool:
        """False after EOF or close()."""
        return self._reading

    def send(self, data: bytes, descriptors: tuple[int, ...] = ()) -> None:
        """Send now, or as soon as the other side has room; a lost other side is told by `on_eof` only."""
        if not self._outgoing:
            try:
                fds.send(self.sock, data, descriptors, fds.DONTWAIT)
                return
            except BlockingIOError:
                self._loop.add_writer(self.sock.fileno(), self._flush)
            except OSError as error:
                if error.errno not in _TRANSIENT:
                    return
                self._loop.call_later(_RETRY_S, self._flush)
        self._outgoing.append((data, tuple(os.dup(fd) for fd in descriptors)))

    def drain(self) -> None:
        """Handle every message that is there."""
        while self._reading:
            try:
                size, received = fds.receive(self.sock, _buffer, fds.DONTWAIT)
            except BlockingIOError:
                return
            except ConnectionResetError:
                # The other side closed with a message of ours unread. The kernel tells that first, and
                # once; what it had sent before is still there to be read.
                continue
            except OSError:
                size, received = 0, []
            if size == 0:
                fds.close_all(received)
                self._stop()
                self._on_eof()
                return
            self._on_message(_view[:size], received)

    def close(self) -> None:
        """Forget the other side and close."""
        self._stop()
        while self._outgoing:
            fds.close_all(list(self._outgoing.popleft()[1]))
        self.sock.close()

    def _flush(self) -> None:
        while self._outgoing and self._reading:
            data, descriptors = self._outgoing[0]
            try:
                fds.send(self.sock, data, descriptors, fds.DONTWAIT)
            except BlockingIOError:
                self._loop.add_writer(self.sock.fileno(), self._flush)
                return
            except OSError as error:
                if error.errno in _TRANSIENT:
                    self._loop.call_later(_RETRY_S, self._flush)
                    return
            self._outgoing.popleft()
            fds.close_all(list(descriptors))
        if self._reading:
            self._loop.remove_writer(self.sock.fileno())

    def _stop(self) -> None:
        if self._reading:
            self._reading = False
            self._loop.remove_reader(self.sock.fileno())
            self._loop.remove_writer(self.sock.fileno())

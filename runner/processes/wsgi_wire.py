"""Reading from and writing to a lent connection, waiting with poll; its status flags are never touched."""

from __future__ import annotations

import _socket
import os
import select
import socket

from snapfork.runner.processes.life import end_users_fork
from snapfork.runner.processes.link import Link, Loan
from snapfork.runner.wire.fds import NOSIGNAL

READ_BYTES = 65536
JOIN_BELOW = 65536
"""Pieces of up to this size together are copied into one send; larger ones are gathered by the kernel."""
LOOK_AROUND_MS = 200
"""How often a wait looks whether the drain deadline has passed; how long unread bytes are waited for."""
STALLED_S = 60
"""A client that sends not a byte of its body, or takes none of its answer, for so long is taken for gone."""
# Family and kind are given, so that nobody asks the kernel; with SOCK_NONBLOCK neither a system call nor
# socket.setdefaulttimeout() of the app gets in the way. Plain numbers and the C class: see fds.adopt.
_INET, _UNIX = int(socket.AF_INET), int(socket.AF_UNIX)
_KIND = int(socket.SOCK_STREAM) | int(socket.SOCK_NONBLOCK)


class ClientGone(Exception):
    """The client closed or reset the connection while it was being answered."""


class Cut(Exception):
    """The drain deadline has passed: this response is ended where it is."""


class Abandoned(Exception):
    """The request has been answered in the app's place: nothing of it is sent any more."""


class Wire:
    """The socket of one loan, with the loan's byte counts."""

    __slots__ = ("_link", "_loan", "_poll_in", "_poll_out", "is_unix", "sock")

    def __init__(self, link: Link, loan: Loan) -> None:
        self.is_unix = loan.client is None
        self.sock = _socket.socket(_UNIX if self.is_unix else _INET, _KIND, 0, loan.fd)
        self._link = link
        self._loan = loan
        self._poll_in: select.poll | None = None
        self._poll_out: select.poll | None = None

    def receive(self) -> bytes | None:
        """Bytes that are there; None when there are none yet, b"" at the end or after a reset."""
        try:
            data = self.sock.recv(READ_BYTES)
        except BlockingIOError:
            return None
        except OSError:
            return b""
        self._loan.consumed += len(data)
        return data

    def wait_and_receive(self) -> bytes:
        """The next bytes of a message that is under way; b"" at the end, or when none come for STALLED_S."""
        for _ in range(STALLED_S * 1000 // LOOK_AROUND_MS):
            data = self.receive()
            if data is not None:
                return data
            self._wait_readable()
            self.check_cut()
        return b""

    def receive_soon(self) -> bytes:
        """The next bytes if they come at once or in a moment; b"" if they do not."""
        data = self.receive()
        if data is None and self._wait_readable():
            data = self.receive()
        return data or b""

    def _wait_readable(self) -> bool:
        if self._poll_in is None:
            self._poll_in = select.poll()
            self._poll_in.register(self.sock, select.POLLIN)
        return bool(self._poll_in.poll(LOOK_AROUND_MS))

    def send(self, pieces: list[bytes]) -> None:
        """Send all of `pieces`. Raises ClientGone, or Cut when the drain deadline passes meanwhile."""
        end_users_fork()
        if len(pieces) > 1:
            total = sum(map(len, pieces))
            if total > JOIN_BELOW:
                self._gather(pieces, total)
                return
            data = b"".join(pieces)
        else:
            data = pieces[0]
        sent = self._some(data)
        if sent < len(data):
            self._rest(data, sent)

    def send_file(self, fd: int, offset: int, count: int) -> None:
        """Send `count` bytes of a regular file from `offset` without copying them through Python."""
        while count:
            try:
                sent = os.sendfile(self.sock.fileno(), fd, offset, min(count, 1 << 20))
            except BlockingIOError:
                self._wait_writable()
                continue
            except OSError as error:
                raise ClientGone(str(error)) from None
            if sent == 0:
                raise ClientGone("the file is shorter than it was")
            self._loan.written += sent
            offset += sent
            count -= sent
            if count:
                self.check_cut()

    def _gather(self, pieces: list[bytes], total: int) -> None:
        try:
            sent = self.sock.sendmsg(pieces, (), NOSIGNAL)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            raise ClientGone(str(error)) from None
        self._loan.written += sent
        if sent < total:
            for data in pieces:
                if sent < len(data):
                    self._rest(data, sent)
                sent = max(0, sent - len(data))

    def _rest(self, data: bytes, sent: int) -> None:
        view = memoryview(data)[sent:]
        while view:
            self._wait_writable()
            view = view[self._some(view) :]

    def check_cut(self) -> None:
        """Raise Cut when this process has to leave even from streams."""
        if self._link.leave_level() > 1:
            raise Cut

    def close(self) -> None:
        self.sock.close()

    def _some(self, data: bytes | memoryview) -> int:
        try:
            sent = self.sock.send(data, NOSIGNAL)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise ClientGone(str(error)) from None
        self._loan.written += sent
        return sent

    def _wait_writable(self) -> None:
        if self._link.relief is not None:
            self._link.relief()
            return
        if self._poll_out is None:
            self._poll_out = select.poll()
            self._poll_out.register(self.sock, select.POLLOUT)
        for _ in range(STALLED_S * 1000 // LOOK_AROUND_MS):
            if self._poll_out.poll(LOOK_AROUND_MS):
                return
            self.check_cut()
        raise ClientGone(f"the client took nothing of its answer for {STALLED_S} s")

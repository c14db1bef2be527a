"""Accepting connections, and what to do when descriptors run out."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import struct
from collections.abc import Callable
from typing import TYPE_CHECKING

from snapfork.runner.gateway.connection import Connection, accept
from snapfork.runner.wire import frames

if TYPE_CHECKING:
    from snapfork.runner.gateway.core import Core

PAUSE_S = 0.1
MOST_AT_ONCE = 16
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_UCRED = struct.Struct("iII")  # struct ucred: pid, uid, gid


class Listeners:
    """Hands each new connection to `admit`. Direct listeners take those of the process `services_pid` only:
    functions may run as the runner's own user, and must not speak for the services."""

    def __init__(self, core: Core, admit: Callable[[Connection], None]) -> None:
        self._core = core
        self._admit = admit
        self.services_pid = 0
        self._likely = 1
        self._direct: set[socket.socket] = set()
        self._open: list[socket.socket] = []
        self._servers: dict[socket.socket, tuple[str, int | None] | None] = {}
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)

    def listen(self, listeners: list[socket.socket], *, direct: bool) -> None:
        """Start to accept."""
        for one in listeners:
            one.setblocking(False)
            if one.family != socket.AF_UNIX:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
            one.listen(4096)
            self._servers[one] = _fixed_address(one)
            self._open.append(one)
            if direct:
                self._direct.add(one)
            self._core.loop.add_reader(one.fileno(), self._accept, one)

    def stop(self) -> None:
        """Refuse new connections."""
        for one in self._open:
            self._core.loop.remove_reader(one.fileno())
            one.close()
        self._open.clear()

    def close(self) -> None:
        """Let go of what is held in reserve."""
        os.close(self._reserve)

    def _accept(self, listener: socket.socket) -> None:
        """Take as many as there probably are: twice as many as the last time while they keep coming."""
        for _ in range(self._likely):
            if not self._accept_one(listener):
                self._likely = 1
                return
        self._likely = min(2 * self._likely, MOST_AT_ONCE)

    def _accept_one(self, listener: socket.socket) -> bool:
        """True when there was one."""
        try:
            sock, address = accept(listener)
        except BlockingIOError:
            return False
        except OSError as error:
            if error.errno in _NO_DESCRIPTORS:
                self._turn_away(listener)
            return False  # or the client gave up between SYN and accept
        server = self._servers[listener]
        client: tuple[str, int] | None = None
        if type(address) is tuple:  # not over a Unix socket
            client = (address[0], address[1])
            if server is None:
                try:
                    server = sock.getsockname()[:2]
                except OSError:
                    sock.close()  # reset before we looked
                    return True
        conn = Connection(sock, client, frames.pack_addresses(client, server or ("", None)))
        if listener in self._direct:
            if _peer(sock) != self.services_pid:
                sock.close()
                return True
            conn.direct = True
        self._admit(conn)
        return True

    def _turn_away(self, listener: socket.socket) -> None:
        # Out of descriptors: spend the reserve on telling one client, then let the listener rest, because
        # a level-triggered listener would spin.
        os.close(self._reserve)
        try:
            sock, _ = listener.accept()
            sock.close()
        except OSError:
            pass  # nobody was waiting after all
        try:
            self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._reserve = os.dup(2)
        self._core.console.warn("out of file descriptors: new connections wait (raise `ulimit -n`).")
        self._core.loop.remove_reader(listener.fileno())
        self._core.loop.call_later(PAUSE_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._open:
            self._core.loop.add_reader(listener.fileno(), self._accept, listener)


def private_listener(path: str) -> socket.socket:
    """A Unix socket, bound, that only its owner may connect to."""
    sock = socket.socket(socket.AF_UNIX)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    before = os.umask(0o177)  # no moment in which others could connect
    try:
        sock.bind(path)
    finally:
        os.umask(before)
    return sock


def _peer(sock: socket.socket) -> int:
    about = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(about)[0])


def _fixed_address(listener: socket.socket) -> tuple[str, int | None] | None:
    """The server address of every connection of this listener, or None where each has its own."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return (name if isinstance(name, str) else "", None)
    if name[0] in ("0.0.0.0", "::"):
        return None
    return (name[0], name[1])

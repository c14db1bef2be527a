"""The side that faces the clients: accept, read heads, route, and end every connection in one place."""

from __future__ import annotations

import contextlib
import errno
import os
import socket
from http import HTTPStatus

from snapfork.runner.gateway import connection as states
from snapfork.runner.gateway.connection import MAX_PREFIX, RECV_BYTES, Connection, accept
from snapfork.runner.gateway.core import Core
from snapfork.runner.gateway.losses import MAX_RETRIES
from snapfork.runner.gateway.pool import Pool
from snapfork.runner.http.answers import error_response, request_id_for
from snapfork.runner.http.head import BadHead, find_end, parse_head
from snapfork.runner.http.routes import Routes
from snapfork.runner.processes.access import AccessLog
from snapfork.runner.wire import frames
from snapfork.runner.wire.frames import KEEP

IDLE_S = 75.0
"""How long a silent connection is kept between requests, and before its first."""
SMALL_BODY = 65536
LINGER_S = 2.0
LINGER_BYTES = 10 * 1024 * 1024
LINGER_TOTAL_S = 10.0
PAUSE_S = 0.1
_NO_DESCRIPTORS = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
_CODES = {
    400: "bad_request",
    404: "no_such_route",
    408: "request_timeout",
    413: "body_too_large",
    429: "too_many_requests",
    431: "head_too_large",
    501: "not_implemented",
    502: "instance_died",
    503: "unavailable",
    504: "timeout",
    505: "version_not_supported",
    507: "out_of_memory",
}


class FrontDoor:
    """All client connections of the gateway. Socket calls never wait, and no error leaves its connection."""

    def __init__(self, core: Core, routes: Routes, pools: dict[str, Pool]) -> None:
        self.core = core
        self.routes = routes
        self.pools = pools
        self._access: dict[str, AccessLog] = {}
        self.connections: set[Connection] = set()
        self._listening: list[socket.socket] = []
        self._servers: dict[socket.socket, tuple[str, int | None] | None] = {}
        self._deadlines: dict[int, dict[Connection, float]] = {
            states.IDLE: {},
            states.READING: {},
            states.ENDING: {},
        }
        self._reserve = os.open("/dev/null", os.O_RDONLY | os.O_CLOEXEC)
        self.head_size = 65536
        self.head_timeout = 10.0
        self.errors: dict[int, int] = {}

    # -- listening -----------------------------------------------------------------------------------

    def listen(self, listeners: list[socket.socket]) -> None:
        """Start to accept; the widest head limits of all functions hold until a head names its function."""
        self.refresh_limits()
        for one in listeners:
            one.setblocking(False)
            if one.family != socket.AF_UNIX:
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # connections inherit it
            one.listen(4096)
            self._servers[one] = _fixed_address(one)
            self._listening.append(one)
            self.core.loop.add_reader(one.fileno(), self._accept, one)

    def refresh_limits(self) -> None:
        """Take the limits anew after a function's settings have changed."""
        settings = [pool.settings for pool in self.pools.values() if pool.settings]
        if settings:
            self.head_size = max(one["head_size"] for one in settings)
            self.head_timeout = max(one["head_timeout"] for one in settings)

    def stop_listening(self) -> None:
        """Refuse new connections; idle ones are ended unless a request has just arrived on them."""
        for one in self._listening:
            self.core.loop.remove_reader(one.fileno())
            one.close()
        self._listening.clear()
        for conn in list(self.connections):
            if conn.state in (states.IDLE, states.NEW):
                self._readable(conn)
                if conn.state in (states.IDLE, states.NEW):
                    self.end(conn, clean=True)

    def _accept(self, listener: socket.socket) -> None:
        try:
            sock, address = accept(listener)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno in _NO_DESCRIPTORS:
                self._turn_away(listener)
            return  # or the client gave up between SYN and accept
        self._admit(listener, sock, address)

    def _admit(self, listener: socket.socket, sock: socket.socket, address: object) -> None:
        server = self._servers[listener]
        client: tuple[str, int] | None = None
        if type(address) is tuple:  # not over a Unix socket
            client = (address[0], address[1])
            if server is None:
                try:
                    server = sock.getsockname()[:2]
                except OSError:
                    sock.close()  # reset before we looked
                    return
        conn = Connection(sock, client, frames.pack_addresses(client, server or ("", None)))
        self.connections.add(conn)
        self._set_deadline(conn, states.NEW)
        # Most requests have come with their connection, which is then never watched.
        self._readable(conn)
        if conn.state == states.NEW:
            self._expect(conn, states.NEW)

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
        self.core.console.warn("out of file descriptors: new connections wait (raise `ulimit -n`).")
        self.core.loop.remove_reader(listener.fileno())
        self.core.loop.call_later(PAUSE_S, self._resume, listener)

    def _resume(self, listener: socket.socket) -> None:
        if listener in self._listening:
            self.core.loop.add_reader(listener.fileno(), self._accept, listener)

    # -- reading -------------------------------------------------------------------------------------

    def _expect(self, conn: Connection, state: int) -> None:
        """Watch a connection for bytes, with the deadline of its state."""
        self._set_deadline(conn, state)
        if not conn.watched:
            conn.watched = True
            self.core.loop.add_reader(conn.fd, self._readable, conn)

    def _set_deadline(self, conn: Connection, state: int) -> None:
        was = conn.state if conn.state != states.NEW else states.IDLE
        now = states.IDLE if state == states.NEW else state
        conn.state = state
        if was == now and conn in self._deadlines.get(now, ()):
            return
        if was in self._deadlines:
            self._deadlines[was].pop(conn, None)
        if now in self._deadlines:
            limit = {states.IDLE: IDLE_S, states.READING: self.head_timeout, states.ENDING: LINGER_S}[now]
            self._deadlines[now][conn] = self.core.loop.time() + limit

    def _unwatch(self, conn: Connection) -> None:
        if conn.watched:
            conn.watched = False
            self.core.loop.remove_reader(conn.fd)

    def _readable(self, conn: Connection) -> None:
        if conn.state == states.ENDING:
            self._drain(conn)
            return
        # Until nothing is there: of bytes and a reset that come together, uvloop tells only once.
        while conn.state in (states.NEW, states.IDLE, states.READING) and self._read_some(conn):
            pass

    def _read_some(self, conn: Connection) -> bool:
        """Take what is there; False when nothing is, or no more is wanted."""
        room = MAX_PREFIX - len(conn.buffer)
        if room <= 0:
            self.answer(conn, 431, f"the head has more than {self.head_size} bytes")
            return False
        data = conn.receive(min(RECV_BYTES, room))
        if data is None:
            return False
        if not data:
            self.close(conn)
            return False
        if conn.buffer:
            if not isinstance(conn.buffer, bytearray):
                conn.buffer = bytearray(conn.buffer)
            conn.buffer += data
        else:
            conn.buffer = data
        self._advance(conn)
        return True

    def _advance(self, conn: Connection) -> None:
        """Something was read: hand the request on when its head (and small body) is complete."""
        if conn.head is None and not self._take_head(conn):
            return
        head = conn.head
        if head is None:
            return
        route = self.routes.match(head.host, head.path)
        if route is None:
            self.answer(conn, 404, f"no function is mounted at {head.path!r} on this host")
            return
        conn.function = route.function
        pool = self.pools[route.function]
        settings = pool.settings
        length = head.content_length or 0
        if head.size > settings["head_size"]:
            self.answer(conn, 431, f"the head has more than {settings['head_size']} bytes")
            return
        if settings["max_body"] is not None and length > settings["max_body"]:
            self.answer(conn, 413, f"the body has more than max_body ({settings['max_body']}) bytes")
            return
        if (
            0 < length <= SMALL_BODY
            and pool.limits.concurrency == 1
            and not head.expect
            and len(conn.buffer) < head.size + length
            and not conn.late
        ):
            self._expect(conn, states.READING)
            return
        self._unwatch(conn)
        conn.buffer = bytes(conn.buffer)
        self._set_deadline(conn, states.WAITING)
        conn.t0_ns = self.core.clock()
        conn.late = False
        pool.submit(conn)

    def _take_head(self, conn: Connection) -> bool:
        buffer = conn.buffer
        if buffer[:1] in (b"\r", b"\n"):
            buffer = conn.buffer = bytes(buffer).lstrip(b"\r\n")
            if not buffer:
                self._expect(conn, states.IDLE)
                return False
        end = find_end(buffer, max(0, conn.scanned - 3))
        if end < 0:
            conn.scanned = len(buffer)
            if conn.scanned > self.head_size:
                self.answer(conn, 431, f"the head has more than {self.head_size} bytes")
            else:
                self._expect(conn, states.READING)
            return False
        conn.scanned = 0
        if end > self.head_size:
            self.answer(conn, 431, f"the head has more than {self.head_size} bytes")
            return False
        try:
            conn.head = parse_head(bytes(buffer[:end]))
        except BadHead as bad:
            self.answer(conn, bad.status, bad.message)
            return False
        return True

    # -- what comes back from the pools ----------------------------------------------------------------

    def given_back(self, conn: Connection, how: int, clean: bool, leftover: bytes) -> None:
        """A connection came back: read on, decide again, or end it."""
        if how == frames.END:
            self.end(conn, clean)
            return
        if how == KEEP:
            conn.retries = 0
        else:
            conn.retries += 1
            if conn.retries > MAX_RETRIES:
                self.answer(conn, 400, "the request could not be given to a function")
                return
        self._read_on(conn, leftover)

    def adopt(self, conn: Connection) -> None:
        """Its instance died between two requests."""
        self._read_on(conn, b"")

    def _read_on(self, conn: Connection, leftover: bytes) -> None:
        conn.head = None
        conn.t0_ns = 0
        conn.function = "-"
        conn.scanned = 0
        conn.buffer = leftover
        if self.core.stopping and not leftover:
            conn.buffer = conn.receive() or b""
            if not conn.buffer:
                self.end(conn, clean=True)
                return
        self._expect(conn, states.READING if conn.buffer else states.IDLE)
        if conn.buffer:
            self._advance(conn)

    # -- answering and ending --------------------------------------------------------------------------

    def answer(self, conn: Connection, status: int, message: str, request_id: str = "") -> None:
        """Answer with JSON, then end the connection so that the client can read the answer."""
        if not request_id:
            request_id = request_id_for(self.core.boot_id, next(self.core.loan_ids), 0)
        head = conn.head
        extra = ((b"retry-after", b"1"),) if status in (429, 503) else ()
        conn.out = error_response(
            status,
            _CODES.get(status, HTTPStatus(status).phrase.lower().replace(" ", "_")),
            message,
            request_id,
            head=head is not None and head.method == "HEAD",
            extra=extra,
        )
        self.errors[status] = self.errors.get(status, 0) + 1
        body = len(conn.out) - find_end(conn.out)
        took = self.core.clock() - conn.t0_ns if conn.t0_ns else 0
        self._access_log(conn.function).line(conn.client, head, status, body, took, request_id)
        self._begin_end(conn)

    def _access_log(self, function: str) -> AccessLog:
        log = self._access.get(function)
        if log is None:
            log = self._access[function] = AccessLog(
                self.core.access_fd, self.core.config.access_log, function
            )
        return log

    def end(self, conn: Connection, clean: bool = False) -> None:
        """End a connection; `clean` says that nothing of the client's is on its way."""
        if clean and not conn.unread():
            self._shut(conn)
            self.close(conn)
        else:
            self._begin_end(conn)

    def _begin_end(self, conn: Connection) -> None:
        conn.lingered = 0
        conn.ends_by = self.core.loop.time() + LINGER_TOTAL_S
        self._expect(conn, states.ENDING)
        self._push(conn)

    def _push(self, conn: Connection) -> None:
        while conn.out:
            sent = conn.send(conn.out)
            if sent < 0:
                self.close(conn)
                return
            if sent == 0:
                if not conn.writing:
                    conn.writing = True
                    self.core.loop.add_writer(conn.fd, self._push, conn)
                return
            conn.out = conn.out[sent:]
        if conn.writing:
            conn.writing = False
            self.core.loop.remove_writer(conn.fd)
        self._shut(conn)

    def _shut(self, conn: Connection) -> None:
        with contextlib.suppress(OSError):  # the client has gone first
            conn.sock.shutdown(socket.SHUT_WR)

    def _drain(self, conn: Connection) -> None:
        while True:
            data = conn.receive()
            if data is None:
                break
            conn.lingered += len(data)
            if not data or conn.lingered > LINGER_BYTES:
                self.close(conn)
                return
        now = self.core.loop.time()
        if now > conn.ends_by:
            self.close(conn)
            return
        deadlines = self._deadlines[states.ENDING]
        deadlines.pop(conn, None)
        deadlines[conn] = now + LINGER_S

    def close(self, conn: Connection) -> None:
        """Forget a connection at once."""
        if conn.state == states.CLOSED:
            return
        self._unwatch(conn)
        if conn.writing:
            conn.writing = False
            self.core.loop.remove_writer(conn.fd)
        self._set_deadline(conn, states.CLOSED)
        self.connections.discard(conn)
        conn.sock.close()

    # -- deadlines -------------------------------------------------------------------------------------

    def tick(self) -> None:
        """End what is overdue. Deadlines of one state are all of one length, so the oldest come first."""
        now = self.core.loop.time()
        for state, overdue in (
            (states.IDLE, self._idle_too_long),
            (states.READING, self._too_slow),
            (states.ENDING, self.close),
        ):
            entries = self._deadlines[state]
            while entries:
                conn, deadline = next(iter(entries.items()))
                if deadline > now:
                    break
                overdue(conn)
                if entries.get(conn) == deadline:
                    del entries[conn]

    def _idle_too_long(self, conn: Connection) -> None:
        self.end(conn, clean=True)

    def _too_slow(self, conn: Connection) -> None:
        if conn.head is None:
            self.answer(conn, 408, f"no complete head arrived within {self.head_timeout:g} s")
        else:
            conn.late = True  # its body is slow: from here on its instance waits for it
            self._advance(conn)

    def close_all(self) -> None:
        """Drop every connection."""
        for conn in list(self.connections):
            self.close(conn)
        os.close(self._reserve)


def _fixed_address(listener: socket.socket) -> tuple[str, int | None] | None:
    """The server address of every connection of this listener, or None where each has its own."""
    name = listener.getsockname()
    if listener.family == socket.AF_UNIX:
        return (name if isinstance(name, str) else "", None)
    if name[0] in ("0.0.0.0", "::"):
        return None
    return (name[0], name[1])

"""The side that faces the clients: accept, read heads, route, and end every connection in one place."""

from __future__ import annotations

import socket

from snapfork.runner.gateway import connection as states
from snapfork.runner.gateway import traffic
from snapfork.runner.gateway.answers import Answers, Extra
from snapfork.runner.gateway.connection import MAX_PREFIX, RECV_BYTES, Connection
from snapfork.runner.gateway.core import Core
from snapfork.runner.gateway.judges import Judges
from snapfork.runner.gateway.listening import Listeners
from snapfork.runner.gateway.losses import MAX_RETRIES
from snapfork.runner.gateway.pool import Pool
from snapfork.runner.http.head import BadHead, Head, find_end, parse_head
from snapfork.runner.http.routes import Routes
from snapfork.runner.wire import frames
from snapfork.runner.wire.frames import KEEP

IDLE_S = 75.0
"""How long a silent connection is kept between requests, and before its first."""
SMALL_BODY = 65536
SIGNED_BODY = 128 * 1024
"""Of signed requests larger bodies are seen before they are judged: all that fits MAX_PREFIX with a head."""
LINGER_S = 2.0
LINGER_BYTES = 10 * 1024 * 1024
LINGER_TOTAL_S = 10.0


class FrontDoor:
    """All client connections of the gateway. Socket calls never wait, and no error leaves its connection."""

    def __init__(self, core: Core, routes: Routes, pools: dict[str, Pool], routing: traffic.Traffic) -> None:
        self.core = core
        self.routes = routes
        self.pools = pools
        self.traffic = routing
        self.judges = Judges(core, self._judged)
        self.listeners = Listeners(core, self._admit)
        self.answers = Answers(core)
        self.connections: set[Connection] = set()
        self._deadlines: dict[int, dict[Connection, float]] = {
            states.IDLE: {},
            states.READING: {},
            states.ENDING: {},
        }
        self.head_size = 65536
        self.head_timeout = 10.0

    # -- listening -----------------------------------------------------------------------------------

    def listen(self, listeners: list[socket.socket], *, direct: bool = False) -> None:
        """Start to accept; the widest head limits of all functions hold until a head names its function.

        direct: of the services process alone.
        """
        self.refresh_limits()
        self.listeners.listen(listeners, direct=direct)

    def refresh_limits(self) -> None:
        """Take the limits anew after a function's settings have changed."""
        settings = [pool.settings for pool in self.pools.values() if pool.settings]
        if settings:
            self.head_size = max(one["head_size"] for one in settings)
            self.head_timeout = max(one["head_timeout"] for one in settings)

    def stop_listening(self) -> None:
        """Refuse new connections; idle ones are ended unless a request has just arrived on them."""
        self.listeners.stop()
        for conn in list(self.connections):
            if conn.state in (states.IDLE, states.NEW):
                self._readable(conn)
                if conn.state in (states.IDLE, states.NEW):
                    self.end(conn, clean=True)

    def _admit(self, conn: Connection) -> None:
        self.connections.add(conn)
        # Most requests have come with their connection, which is then never watched and has no deadline.
        self._readable(conn)
        if conn.state == states.NEW:
            self._expect(conn, states.NEW)

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
        if conn.own_bytes is not None:
            conn.own_bytes += len(data)
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
        pool = conn.pool
        if pool is None or conn.epoch != self.core.epoch:
            pool = self._choose(conn, head)
            if pool is None:
                return
        settings = pool.settings
        length = head.content_length or 0
        if head.size > settings["head_size"]:
            self.answer(conn, 431, f"the head has more than {settings['head_size']} bytes")
            return
        if settings["max_body"] is not None and length > settings["max_body"]:
            self.answer(conn, 413, f"the body has more than max_body ({settings['max_body']}) bytes")
            return
        if (
            0 < length <= (SMALL_BODY if conn.judge is None else SIGNED_BODY)
            and (pool.limits.concurrency == 1 or conn.judge is not None)
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
        if conn.judge is not None:
            self.judges.ask(conn, head)
        elif conn.quota is None:
            pool.submit(conn)
        else:
            self._enter(conn, pool)

    def _choose(self, conn: Connection, head: Head) -> Pool | None:
        """The pool of the request's function; None where it was answered here."""
        if not (conn.direct or self.traffic.active):
            route = self.routes.match(head.host, head.path)
            if route is not None:
                conn.function = route.function
                pool = conn.pool = self.pools[route.function]
                conn.sticky = pool.sticky
                return pool
        refusal = self.traffic.choose(conn, head)
        if refusal is None:
            return conn.pool
        self._refuse(conn, refusal)
        return None

    def _enter(self, conn: Connection, pool: Pool) -> None:
        """Serve a request that counts against its function's reserved concurrency."""
        refusal = traffic.enter(conn)
        if refusal is None:
            pool.submit(conn)
        else:
            self._refuse(conn, refusal)

    def _judged(self, conn: Connection, refusal: traffic.Refusal | None) -> None:
        """The signature of the request that waits on `conn` is good, or why it is refused."""
        if conn.state != states.WAITING:
            return
        if refusal is not None:
            self._refuse(conn, refusal)
        elif conn.pool is None or conn.epoch != self.core.epoch:
            self._advance(conn)  # the routes are others now
        else:
            conn.judge = None
            self._enter(conn, conn.pool)

    def _refuse(self, conn: Connection, why: traffic.Refusal) -> None:
        self.answer(conn, why.status, why.message, code=why.code, extra=why.extra)

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
        traffic.leave(conn)
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
        traffic.leave(conn)
        self._read_on(conn, b"")

    def _read_on(self, conn: Connection, leftover: bytes) -> None:
        conn.head = None
        conn.t0_ns = 0
        conn.extra_ns = 0
        conn.function = "-"
        conn.pool = None
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

    def answer(
        self,
        conn: Connection,
        status: int,
        message: str,
        request_id: str = "",
        code: str = "",
        extra: Extra = (),
    ) -> None:
        """Answer with JSON, then end the connection so that the client can read the answer."""
        traffic.leave(conn)
        self.answers.put(conn, status, message, request_id, code, extra)
        self._begin_end(conn)

    def end(self, conn: Connection, clean: bool = False) -> None:
        """End a connection; `clean` says that nothing of the client's is on its way."""
        traffic.leave(conn)
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
        try:
            conn.sock.shutdown(socket.SHUT_WR)
        except OSError:
            return  # the client has gone first

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
        traffic.leave(conn)
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
        elif conn.judge is not None:
            self.answer(conn, 408, f"no complete body arrived within {self.head_timeout:g} s")
        else:
            conn.late = True  # its body is slow: from here on its instance waits for it
            self._advance(conn)

    def close_all(self) -> None:
        """Drop every connection."""
        for conn in list(self.connections):
            self.close(conn)
        self.listeners.close()

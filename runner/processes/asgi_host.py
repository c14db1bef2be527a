"""What the connections of one ASGI instance share: accounts, the periodic look-around, and leaving."""

from __future__ import annotations

import asyncio
import functools
import mmap
import os
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

from snapfork.runner.http.date import http_date
from snapfork.runner.processes.asgi_exchange import Exchange, complain
from snapfork.runner.processes.asgi_protocol import READ_SIZE, Connection
from snapfork.runner.processes.asgi_response import DATE, SERVER
from snapfork.runner.processes.asgi_uvicorn import ServerState, websocket_config
from snapfork.runner.processes.link import END, KEEP, Link, Loan

if TYPE_CHECKING:
    from snapfork.runner.processes.asgi_wire import Wire
    from snapfork.runner.processes.serving import Served

TICK = 0.1
"""Seconds between two looks around while anything is open."""
LINGER_NS = 1_000_000_000
"""How long a sticky connection may be idle here before it goes back to the gateway."""
LEFT_NS = 1_000_000_000
"""How long after its end of input a client is taken for one that only half-closed."""
STUBBORN_NS = 2_000_000_000
"""How long a cancelled request may take to end before the instance gives up on it and leaves."""
STALLED_NS = 60_000_000_000
"""A client that takes not a byte of its answer for this long is taken for gone."""
GRACE_NS = 1_000_000_000
"""After the drain deadline: time for unbegun responses, and again for their tasks to end."""


class Open(Protocol):
    """A request (or WebSocket) between its start and the return of the app's call; `asked_ns`: when its head
    was complete, here or in the gateway."""

    slot: int
    asked_ns: int
    started_ns: int
    request_id: str
    task: asyncio.Task[None] | None

    @property
    def loan(self) -> Loan: ...

    def expire(self) -> None: ...
    def stop(self) -> None: ...
    def cut(self) -> bool: ...
    def cancel(self) -> None: ...


class Host:
    """Serves the loans of `link` on `loop`. `on_quiet` is called whenever no loan and no request is left."""

    exchange_class: type[Exchange] = Exchange

    def __init__(
        self, served: Served, link: Link, loop: asyncio.AbstractEventLoop, on_quiet: Callable[[], None]
    ) -> None:
        settings = served.settings
        self.served = served
        self.link = link
        self.loop = loop
        self.app = served.app
        self.access = served.access
        self.on_quiet = on_quiet
        self.page = link.page
        self.head_size: int = settings["head_size"]
        self.max_body: int | None = settings["max_body"]
        # With one request at a time the gateway can kill without harm to others, so it does.
        self.timeout_ns = int(settings["timeout"] * 1e9) if (settings["concurrency"] or 32) > 1 else 0
        self.max_requests: int | None = settings["max_requests"]
        # Of the kernel's own zeros: a bytearray would write to each of its sixteen pages.
        self.buffer = memoryview(mmap.mmap(-1, READ_SIZE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))
        self.server_state = ServerState()
        self.ws_config = websocket_config(served.app)
        self.open: set[Open] = set()
        self.waiting: dict[Open, None] = {}
        self.cancelled: dict[Open, int] = {}
        self.connections: set[Connection] = set()
        self.lingering: dict[Connection, int] = {}
        self.unsettled: set[Connection] = set()
        self.left: dict[Connection, tuple[int, int]] = {}
        self._attaching: set[asyncio.Task[object]] = set()
        self._started = 0
        self._timer: asyncio.TimerHandle | None = None
        self._drained_ns = 0
        self._date_until = 0.0
        self._date = b""
        self._held: list[Wire] = []

    # Loans

    def on_link(self) -> None:
        """The control socket is readable: take loans, look at what the gateway wants."""
        loans = self.link.receive()
        if self.link.closed:
            self.on_quiet()
            return
        for loan in loans:
            self.attach(loan)
        self._return_idle(time.monotonic_ns())
        self.check_quiet()

    def attach(self, loan: Loan) -> None:
        """Serve a loan; one that comes while this process leaves goes back unread."""
        if self.link.leave_level():
            os.close(loan.fd)
            self.link.give_back(loan, KEEP, loan.prefix)
            return
        sock = socket.socket(fileno=loan.fd)
        conn = Connection(self, loan, sock.family == socket.AF_UNIX)
        task: asyncio.Task[object] = self.loop.create_task(
            self.loop.connect_accepted_socket(lambda: conn, sock)
        )
        self._attaching.add(task)
        task.add_done_callback(functools.partial(self._attached, loan, sock))

    def _attached(self, loan: Loan, sock: socket.socket, task: asyncio.Task[object]) -> None:
        self._attaching.discard(task)
        if task.cancelled() or task.exception() is not None:
            # The client was gone before the connection could be set up here.
            sock.close()
            self.link.give_back(loan, END)
            self.check_quiet()

    def forget(self, conn: Connection) -> None:
        """The connection's descriptor is closed here."""
        self.connections.discard(conn)
        self.lingering.pop(conn, None)
        self.unsettled.discard(conn)
        self.left.pop(conn, None)

    def check_quiet(self) -> None:
        if not self.open and not self.link.loans:
            self.on_quiet()

    # Requests

    def begin(self, entry: Open) -> None:
        """A request starts; called before the app is."""
        self.page.begin(entry.slot, entry.started_ns)
        if not self.waiting:
            self.page.waiting_since(entry.started_ns)
        self.waiting[entry] = None
        self.open.add(entry)
        self._started += 1
        if self.max_requests is not None and self._started >= self.max_requests:
            self.link.leave()
        if self._timer is None:
            self.watch()

    def first_byte(self, entry: Open) -> None:
        """Called before the first byte of a response is written."""
        self.page.first_byte(entry.slot)
        self._no_longer_waiting(entry)

    def _no_longer_waiting(self, entry: Open) -> None:
        waiting = self.waiting
        if entry in waiting:
            del waiting[entry]
            self.page.waiting_since(next(iter(waiting)).started_ns if waiting else 0)

    def finished(self, entry: Open, status: int, duration_ns: int) -> None:
        """The app's call returned; `status` 0 means the client never got a response."""
        self._no_longer_waiting(entry)
        self.open.discard(entry)
        self.cancelled.pop(entry, None)
        self.page.finish(entry.slot, status, duration_ns)
        self.check_quiet()

    def standard_fields(self, replaced: int = 0) -> bytes:
        """The Date and Server lines as of this second, less those whose bits are in `replaced`."""
        now = time.time()
        if now >= self._date_until:
            self._date_until = int(now) + 1.0
            self._date = b"date: %s\r\n" % http_date(now)
        fields = b"" if replaced & DATE else self._date
        return fields if replaced & SERVER else fields + b"server: snapfork\r\n"

    def flush_soon(self, wire: Wire) -> None:
        """Send the head that `wire` holds in this turn of the loop's end, unless its body comes before."""
        if not self._held:
            self.loop.call_soon(self._flush)
        self._held.append(wire)

    def _flush(self) -> None:
        held, self._held = self._held, []
        for wire in held:
            wire.flush()

    # The look-around

    def watch(self) -> None:
        """Look around every TICK seconds from now on, while anything is open."""
        if self._timer is None:
            self.page.heartbeat(time.monotonic_ns())
            self._timer = self.loop.call_later(TICK, self._tick)

    async def end(self) -> None:
        """Give everything up: connections, requests, and their tasks."""
        for conn in list(self.connections):
            conn.abort()
        for entry in list(self.open):
            entry.cancel()
        if tasks := [entry.task for entry in self.open if entry.task is not None]:
            await asyncio.wait(tasks, timeout=STUBBORN_NS / 1e9)
        self.close()

    def close(self) -> None:
        """Look around no more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _tick(self) -> None:
        self._timer = None
        now = time.monotonic_ns()
        self.page.heartbeat(now)
        if self.timeout_ns:
            self._expire(now)
        for conn in list(self.unsettled):
            conn.settle()
        for conn in list(self.connections):
            if conn.stalled_since(now) < now - STALLED_NS:
                conn.abort()
        self._tell_left(now)
        self._return_idle(now)
        if self.link.leave_level() > 1:
            self._drain(now)
        if self.open or self.link.loans:
            self._timer = self.loop.call_later(TICK, self._tick)

    def _expire(self, now: int) -> None:
        for entry in list(self.waiting):
            if now - entry.asked_ns < self.timeout_ns:
                continue
            if len(self.open) == 1:
                self.link.leave()
            self.cancelled[entry] = now
            entry.expire()
        for entry, since in list(self.cancelled.items()):
            if now - since > STUBBORN_NS:
                complain("A cancelled request does not end; this instance is replaced")
                del self.cancelled[entry]
                self.open.discard(entry)
                self.link.leave()
                self.check_quiet()

    def _tell_left(self, now: int) -> None:
        for conn, (until, written) in list(self.left.items()):
            if now >= until:
                del self.left[conn]
                # A client that was gone for good would have answered our bytes with a reset.
                if conn.exchange is not None and conn.loan.written == written:
                    conn.exchange.client_left()

    def _return_idle(self, now: int) -> None:
        for conn, since in list(self.lingering.items()):
            # A body that nobody reads is given its time to arrive: without it the connection would be lost.
            if now - since >= LINGER_NS or (self.link.must_return(conn.loan) and not conn.body_unread()):
                conn.give_back(KEEP)

    def _drain(self, now: int) -> None:
        if not self._drained_ns:
            self._drained_ns = now
            for entry in list(self.open):
                if entry.cut():
                    self.page.cut()
        elif now - self._drained_ns > 2 * GRACE_NS:
            self.open.clear()
            for conn in list(self.connections):
                conn.abort()
            self.check_quiet()
        elif now - self._drained_ns > GRACE_NS:
            for entry in list(self.waiting):
                entry.stop()
            for entry in self.open:
                entry.cancel()

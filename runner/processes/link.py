"""An instance's link to the gateway: loans come in, and go back at message boundaries."""

from __future__ import annotations

import fcntl
import mmap
import os
import socket
import termios
import time
from collections.abc import Callable

from snapfork.runner.http.routes import Place
from snapfork.runner.wire import fds, frames
from snapfork.runner.wire.frames import CLEAN, END, FORK, KEEP, RETRY, SPARE, SPAWN, START_NAMES, WARM
from snapfork.runner.wire.guard import Guard
from snapfork.runner.wire.page import W_GENERATION, W_LEAVE, W_RECALL, Page

__all__ = [
    "CLEAN",
    "END",
    "FORK",
    "KEEP",
    "RETRY",
    "SPARE",
    "SPAWN",
    "START_NAMES",
    "WARM",
    "Link",
    "Loan",
    "Private",
]

_buffer: mmap.mmap | None = None
_NOTHING = bytes(4)


class Loan:
    """A client connection lent to this process.

    `fd` is this process's own descriptor of a file description that the gateway shares: its status
    flags and options are never changed and it is never shut down. `prefix` holds bytes the gateway has
    read already. `client` is the peer's address, None over a Unix socket; `server` ours. `consumed` and
    `written` count bytes since the loan began. `direct`: the client is the services process. `place`: the
    only one that requests on it may be for, None where the function's own routes tell.
    """

    __slots__ = (
        "client",
        "consumed",
        "direct",
        "fd",
        "id",
        "place",
        "prefix",
        "requests",
        "seq",
        "server",
        "slot",
        "start",
        "sticky",
        "t0_ns",
        "written",
    )

    def __init__(self, frame: frames.LoanFrame, fd: int) -> None:
        # By place, here and elsewhere on a start's way: fields by their names are three page copies each.
        (
            self.start, self.sticky, self.slot, self.seq, self.id, self.t0_ns, addresses, self.prefix,
            self.direct, place,
        ) = frame  # fmt: skip
        self.fd = fd
        self.place = Place.unpack(place) if place else None
        self.requests = 0
        self.consumed = 0
        self.written = 0
        self.client, self.server = frames.unpack_addresses(addresses)


class Link:
    """The control socket and the page of this instance.

    A loop serves `loans` until `closed`, or until `leave_level()` is set and no loan is left. `guard`: under
    its lock the gateway may take loans back that are not worked on; see `turn_to`. `relief`: the client is
    this very thread (see `Private`), and takes what has been sent when it is called.
    """

    __slots__ = (
        "_current",
        "_floor",
        "_leaving",
        "closed",
        "fd",
        "generation",
        "guard",
        "loans",
        "page",
        "relief",
        "sock",
    )

    def __init__(self, sock: socket.socket, page: Page, generation: int, guard: Guard | None = None) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.page = page
        self.generation = generation
        self.guard = guard
        self.closed = False
        self.loans: dict[int, Loan] = {}
        self.relief: Callable[[], object] | None = None
        self._leaving = 0
        self._current = 0
        self._floor = 0

    def accept(self, frame: frames.LoanFrame, fd: int) -> Loan:
        """Take a loan that arrived with the start order."""
        loan = Loan(frame, fd)
        self.page.claim(loan.slot, loan.id)
        self.loans[loan.id] = loan
        return loan

    def receive(self) -> list[Loan]:
        """Read what the gateway sent, without blocking; return the new loans. EOF sets `closed`.

        Messages that come meanwhile may be left for the next call: the socket stays readable.
        """
        global _buffer
        if _buffer is None:
            # Private: templates make one, too. A bytearray would touch each of its 52 pages.
            _buffer = mmap.mmap(-1, fds.MAX_MESSAGE, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        loans: list[Loan] = []
        view = memoryview(_buffer)
        while True:
            try:
                size, received = fds.receive(self.sock, _buffer, fds.DONTWAIT)
            except BlockingIOError:
                return loans
            except OSError:
                size, received = 0, []
            if size == 0:
                self.closed = True
                return loans
            if view[0] == frames.LOAN:
                frame = frames.unpack_loan(view[:size])
                if frame.id < self._floor:
                    pass  # taken back before we saw it
                elif received:
                    loans.append(self.accept(frame, received.pop(0)))
                else:
                    self._refuse(frame)
            fds.close_all(received)
            if not self.has_news():
                return loans  # without the exception that a further read would raise

    def has_news(self) -> bool:
        """Whether the gateway has sent something that is not read yet."""
        return fcntl.ioctl(self.fd, termios.FIONREAD, _NOTHING) != _NOTHING

    def _refuse(self, frame: frames.LoanFrame) -> None:
        """This process had no descriptor left for the loan's connection: others can serve it."""
        self.leave()
        back = frames.ReturnFrame(KEEP, False, 0, frame.id, 0, 0, frame.prefix)
        self._send(frames.pack_return(back))
        os.write(2, b"out of file descriptors (are files closed?): this instance leaves\n")

    def turn_to(self, loan: Loan) -> list[Loan]:
        """Work on `loan` from now on; its connection alone may be touched. Returns the loans that the gateway
        has taken back meanwhile, `loan` perhaps among them: they are to be forgotten without a word."""
        guard, page = self.guard, self.page
        if guard is None or loan.id == self._current:
            return []
        taken: list[Loan] = []
        guard.lock()
        if page.taken != self._floor:
            self._floor = floor = page.taken
            taken = [one for one in self.loans.values() if one.id < floor and one.id != self._current]
        self._current = 0 if loan in taken else loan.id
        page.turned_to(self._current)
        guard.unlock()
        for one in taken:
            del self.loans[one.id]
        return taken

    def must_return(self, loan: Loan) -> bool:
        """True when the loan is to be given back before a further request is read from it."""
        return bool(self.page.demand) or self.must_return_now(loan)

    def must_return_now(self, loan: Loan) -> bool:
        """The same, but for requests of other connections, which may wait for a moment."""
        words = self.page.words  # asked between any two requests: without its properties
        return bool(
            not loan.sticky
            or self._leaving
            or words[W_LEAVE]
            or words[W_GENERATION] != self.generation
            or loan.id < words[W_RECALL]
        )

    def give_back(self, loan: Loan, how: int, leftover: bytes = b"", flags: int = 0) -> None:
        """Give a loan back as KEEP, END or RETRY; the caller has closed `loan.fd` before."""
        if self.loans.pop(loan.id, None) is None:
            return
        self.page.release(loan.slot)
        frame = frames.ReturnFrame(
            how, bool(flags & CLEAN), loan.requests, loan.id, loan.consumed, loan.written, leftover
        )
        self._send(frames.pack_return(frame))

    def leave(self) -> None:
        """This process takes no further request: it gives its loans back and goes."""
        self._leaving = 1
        self.page.leaving()

    def leave_level(self) -> int:
        """0 stay, 1 leave at boundaries, 2 end streams as well."""
        return max(self._leaving, self.page.leave)

    def ready(self) -> None:
        """Started up: may be lent connections."""
        self.page.ready()
        self._send(frames.pack_ready(os.getpid()))

    def bye(self) -> None:
        """Last word: every loan has been given back."""
        self._send(frames.BYE_FRAME)

    def _send(self, data: bytes) -> None:
        try:
            fds.send(self.sock, data)
        except OSError:
            self.closed = True  # the gateway is gone, and with it the reason to live


class Private:
    """Stands in for the gateway when a template sends a request to itself: `link` is lent one connection.

    Link and loops are those of clients: CPython specialises code for the classes that it has met.
    """

    def __init__(self, page: Page) -> None:
        ours, self._gateway = fds.pair()
        self.link = Link(ours, page, 0)

    def lend(self, raw: bytes, connection: socket.socket, relief: Callable[[], object] | None = None) -> None:
        """Send a loan of `connection`, on which `raw` has been read, the way the gateway does."""
        self.link.relief = relief
        addresses = frames.pack_addresses(("127.0.0.1", 0), ("localhost", 80))
        # Not sticky: it goes back after its request.
        frame = frames.LoanFrame(WARM, False, 0, 0, 1, time.monotonic_ns(), addresses, raw)
        fds.send(self._gateway, frames.pack_loan(frame), (connection.fileno(),))
        self._gateway.shutdown(socket.SHUT_WR)
        connection.close()

    def close(self) -> None:
        self.link.sock.close()
        self._gateway.close()

"""WSGI at concurrency 1: one blocking loop over the control socket and one connection, no event loop."""

from __future__ import annotations

import select
import socket
import time
from collections import deque
from typing import TYPE_CHECKING

from snapfork.runner.processes import stdio
from snapfork.runner.processes.link import KEEP, WARM, Link, Loan, PrivateLink
from snapfork.runner.processes.wsgi_conversation import Conversation
from snapfork.runner.processes.wsgi_wire import Wire
from snapfork.runner.wire.frames import LoanFrame, pack_addresses
from snapfork.runner.wire.page import private_page

if TYPE_CHECKING:
    from snapfork.runner.processes.serving import Served

OUTPUT_MS = 100
"""How often output that a full pipe has not taken is offered again while nothing else happens."""
LINGER_MS = 10
"""How long a sticky connection is waited on for its next request before it goes back."""


def run(served: Served, link: Link, first: Loan | None) -> None:
    """Serve loans one after the other until the gateway is gone, or this process leaves and holds none."""
    loop = Loop(served, link)
    if first is not None:
        loop.waiting.append(first)
    loop.run()


class Loop:
    """`waiting` holds loans that have come and are not served yet."""

    def __init__(self, served: Served, link: Link) -> None:
        self.served = served
        self.link = link
        self.waiting: deque[Loan] = deque()
        self._left = served.settings["max_requests"]
        self._both: select.poll | None = None  # control socket and connection; made when first needed
        self._watched = -1

    def run(self) -> None:
        link, waiting = self.link, self.waiting
        control: select.poll | None = None
        while not link.closed:
            while waiting:
                self._serve(waiting.popleft())
            if link.leave_level() and not link.loans:
                waiting.extend(link.receive())  # lent before the gateway knew that we leave
                if not waiting:
                    return
                continue
            if control is None:
                control = select.poll()
                control.register(link.fd, select.POLLIN)
            control.poll(OUTPUT_MS if stdio.pump() else None)
            waiting.extend(link.receive())

    def _serve(self, loan: Loan) -> None:
        conversation = Conversation(self.served, self.link, loan, self)
        if self.link.leave_level():
            conversation.give_back(KEEP, loan.prefix)
            return
        conversation.run()
        if self._both is not None and self._watched >= 0:
            self._both.unregister(self._watched)
            self._watched = -1

    def begins(self) -> None:
        """Leave after the last request that this process may serve."""
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.link.leave()

    def linger(self, conversation: Conversation) -> bool:
        """Wait for the connection's next request; anything from the gateway comes first."""
        link, both = self.link, self._both
        if both is None:
            both = self._both = select.poll()
            both.register(link.fd, select.POLLIN)
        if self._watched < 0:
            self._watched = conversation.loan.fd
            both.register(self._watched, select.POLLIN)
        ready = both.poll(LINGER_MS)
        if not ready:
            return False
        for fd, _ in ready:
            if fd == link.fd:
                self.waiting.extend(link.receive())
                if self.waiting or link.closed or link.must_return(conversation.loan):
                    return False
        return True


def private(served: Served, raw: bytes) -> bytes:
    """Serve one raw request over a socket pair with the code that serves clients; return the response."""
    client, server = socket.socketpair()
    server.setblocking(False)
    link = PrivateLink(private_page())
    addresses = pack_addresses(("127.0.0.1", 0), ("localhost", 80))
    frame = LoanFrame(WARM, False, 0, 0, 1, time.monotonic_ns(), addresses, raw)
    loan = Loan(frame, server.detach())
    link.loans[loan.id] = loan
    client.setblocking(False)
    wire = _PrivateWire(link, loan, client)
    try:
        Conversation(served, link, loan, _Alone(), wire).run()
        wire.drain()
    finally:
        client.close()
        link.close()
    return bytes(wire.answer)


class _Alone:
    """One request, nobody to wait for."""

    def begins(self) -> None: ...

    def linger(self, conversation: Conversation) -> bool:
        return False


class _PrivateWire(Wire):
    """Both ends of the connection in one thread: when the answer does not fit, it is read here."""

    __slots__ = ("_client", "answer")

    def __init__(self, link: Link, loan: Loan, client: socket.socket) -> None:
        super().__init__(link, loan)
        self._client = client
        client.shutdown(socket.SHUT_WR)  # a body that is shorter than announced ends here
        self.answer = bytearray()

    def drain(self) -> None:
        """Read what has been sent."""
        try:
            while data := self._client.recv(65536):
                self.answer += data
        except BlockingIOError:
            return

    def _wait_writable(self) -> None:
        self.drain()

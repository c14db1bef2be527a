"""WSGI at concurrency 1: one blocking loop over the control socket and some connections, no event loop."""

from __future__ import annotations

import contextlib
import os
import select
import socket
import time
from collections import deque
from typing import TYPE_CHECKING

from snapfork.runner.processes import stdio
from snapfork.runner.processes.link import KEEP, Link, Loan, Private
from snapfork.runner.processes.wsgi_conversation import Conversation
from snapfork.runner.processes.wsgi_noted import Noted
from snapfork.runner.processes.wsgi_response import forget_date
from snapfork.runner.wire.page import private_page

if TYPE_CHECKING:
    from snapfork.runner.processes.serving import Served

OUTPUT_MS = 100
"""How often output that a full pipe has not taken is offered again while nothing else happens."""
LINGER_MS = 10
"""How long a sticky connection is waited on for its next request before it goes back."""

GLANCE_S = 0.0001
"""The same while other connections wait; about what the gateway spends on giving back and lending."""


def run(served: Served, link: Link, first: Loan | None) -> None:
    """Serve loans one after the other until the gateway is gone, or this process leaves and holds none."""
    loop = Loop(served, link)
    if first is not None:
        loop.waiting.append(first)
    loop.run()


class Loop:
    """`waiting`: loans that have come and are not served yet; `held`: connections between two messages, by
    their descriptors. All but the one that is worked on may be taken back by the gateway at any time."""

    def __init__(self, served: Served, link: Link) -> None:
        self.served = served
        self.link = link
        self.waiting: deque[Loan] = deque()
        self.held: dict[int, Conversation] = {}
        self._kind = Conversation if served.ledger is None else Noted
        self._left = served.settings["max_requests"]
        self._poll: select.poll | None = None  # control socket and connections; made when first needed
        self._tidied_ns = 0

    def run(self) -> None:
        link, waiting = self.link, self.waiting
        while True:
            while waiting:
                self._serve(waiting.popleft())
            if link.closed:
                return
            if self.held:
                self._round()
                continue
            if link.leave_level() and not link.loans:
                waiting.extend(link.receive())  # lent before the gateway knew that we leave
                if not waiting:
                    return
                continue
            self._polled().poll(OUTPUT_MS if stdio.pump() else None)
            waiting.extend(link.receive())

    def _serve(self, loan: Loan) -> None:
        if not self._turn_to(loan):
            return
        conversation = self._kind(self.served, self.link, loan, self)
        if self.link.leave_level():
            conversation.give_back(KEEP, loan.prefix)
            return
        conversation.run()
        self._put_aside(conversation)

    def _round(self) -> None:
        """Wait for the held connections and the gateway, and serve each that has something."""
        link, held = self.link, self.held
        hurried = link.page.demand or link.leave_level()
        events = self._polled().poll(0 if hurried else LINGER_MS)
        ready = []
        heard = False
        for fd, _ in events:
            if fd == link.fd:
                heard = True
                self.waiting.extend(link.receive())
                if link.closed:
                    return
            else:
                ready.append(held[fd])
        for conversation in ready:
            if self._turn_to(conversation.loan):
                del held[conversation.loan.fd]
                conversation.run(True)
                self._put_aside(conversation)
        now = time.monotonic_ns()
        if heard or not ready or now - self._tidied_ns > LINGER_MS * 1_000_000:
            self._tidied_ns = now
            for conversation in list(held.values()):
                idle = now - conversation.started_ns > LINGER_MS * 1_000_000
                if (idle or link.must_return(conversation.loan)) and self._turn_to(conversation.loan):
                    conversation.give_back(KEEP)
                    self._put_aside(conversation)

    def _turn_to(self, loan: Loan) -> bool:
        """Work on `loan`, and forget what the gateway has taken back; False when `loan` is among that."""
        for taken in self.link.turn_to(loan):
            conversation = self.held.get(taken.fd)
            if conversation is not None and conversation.loan is taken:
                conversation.forget()
                self._put_aside(conversation)
            else:
                if taken in self.waiting:
                    self.waiting.remove(taken)
                os.close(taken.fd)
        return loan.id in self.link.loans

    def _put_aside(self, conversation: Conversation) -> None:
        """It has done what it could: it is over, or held."""
        fd = conversation.loan.fd
        if not conversation.is_over:
            self.held[fd] = conversation
            self._watch(conversation)
            return
        self.held.pop(fd, None)
        if conversation.watched:
            self._polled().unregister(fd)

    def _watch(self, conversation: Conversation) -> select.poll:
        poll = self._polled()
        if not conversation.watched:
            conversation.watched = True
            poll.register(conversation.loan.fd, select.POLLIN)
        return poll

    def _polled(self) -> select.poll:
        if self._poll is None:
            self._poll = select.poll()
            self._poll.register(self.link.fd, select.POLLIN)
        return self._poll

    def begins(self) -> None:
        """Leave after the last request that this process may serve."""
        if self._left is not None:
            self._left -= 1
            if self._left <= 0:
                self.link.leave()

    def has_others(self) -> bool:
        """Whether there are connections besides the one that is worked on."""
        return bool(self.held or self.waiting)

    def linger(self, conversation: Conversation) -> bool:
        """Wait for the connection's next request; anything from the gateway comes first."""
        link = self.link
        ready = self._watch(conversation).poll(LINGER_MS)
        if not ready:
            return False
        for fd, _ in ready:
            if fd == link.fd:
                self.waiting.extend(link.receive())
                if self.waiting or link.closed or link.must_return(conversation.loan):
                    return False
        return True

    def glance(self, conversation: Conversation) -> bool:
        """Wait for as long as it takes a client that is ready to send its next request."""
        fd = conversation.loan.fd
        try:
            return select.select((self.link.fd, fd), (), (), GLANCE_S)[0] == [fd]
        except ValueError:  # a descriptor too large for select
            return False


def private(served: Served, raw: bytes) -> bytes:
    """Serve one raw request over a socket pair with the code that serves clients; return the response."""
    client, server = socket.socketpair()
    client.setblocking(False)
    server.setblocking(False)
    client.shutdown(socket.SHUT_WR)  # a body that is shorter than announced ends here
    forget_date()
    answer = bytearray()

    def read() -> None:
        with contextlib.suppress(BlockingIOError):
            while data := client.recv(65536):
                answer.extend(data)

    lender = Private(private_page())
    try:
        lender.lend(raw, server, relief=read)
        run(served, lender.link, None)
        read()
    finally:
        client.close()
        lender.close()
    return bytes(answer)

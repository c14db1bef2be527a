"""WSGI above concurrency 1: the blocking conversation in threads that are made after the fork.

The main thread alone talks to the gateway. A request that passes its timeout is answered by it; the thread
that runs it cannot be stopped, so the instance finishes its other requests and leaves.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import sys
import threading
import time
from typing import TYPE_CHECKING

from snapfork.runner.http.answers import error_response
from snapfork.runner.processes import stdio
from snapfork.runner.processes.link import END, KEEP, Link, Loan
from snapfork.runner.processes.wsgi_conversation import Conversation
from snapfork.runner.processes.wsgi_wire import Abandoned, ClientGone
from snapfork.runner.wire.page import Page

if TYPE_CHECKING:
    from snapfork.runner.processes.serving import Served

LINGER_MS = 10
TICK_MS = 100


def run(served: Served, link: Link, first: Loan | None) -> None:
    """Serve until the gateway is gone, or this process leaves and holds no loan."""
    link.page = SharedPage(link.page)
    crew = Crew(served, link)
    if first is not None:
        crew.take(first)
    crew.run()


class SharedPage(Page):
    """A page whose counters several threads change."""

    __slots__ = ("_lock",)

    def __init__(self, page: Page) -> None:
        super().__init__(page.words)
        self._lock = threading.Lock()

    def begin(self, slot: int, now_ns: int) -> None:
        with self._lock:
            super().begin(slot, now_ns)

    def finish(self, slot: int, status: int, duration_ns: int) -> None:
        with self._lock:
            super().finish(slot, status, duration_ns)

    def cut(self) -> None:
        with self._lock:
            super().cut()


class _Guarded(Conversation):
    """A conversation whose first byte and whose abandonment exclude each other."""

    __slots__ = ("_lock",)

    def __init__(self, served: Served, link: Link, loan: Loan, crew: Crew) -> None:
        super().__init__(served, link, loan, crew)
        self._lock = threading.Lock()

    def _claim(self) -> None:
        with self._lock:
            super()._claim()

    def abandon(self) -> bool:
        """Answer 504 in the app's place; False when the app has begun, or has nothing to answer."""
        with self._lock:
            if self.begun or self.abandoned or not self.answering:
                return False
            self.abandoned = True
        timeout = self._served.settings["timeout"]
        message = f"function {self._served.function!r} did not answer within {timeout:g} s"
        with contextlib.suppress(ClientGone, Abandoned):
            self.page.first_byte(self.loan.slot)
            self.wire.send([error_response(504, "timeout", message, self.request_id)])
        self.give_back(END)
        return True


class Crew:
    """Threads, made as they are needed, that take loans from one queue."""

    def __init__(self, served: Served, link: Link) -> None:
        self.served = served
        self.link = link
        self._timeout_ns = int(served.settings["timeout"] * 1e9)
        self._left = served.settings["max_requests"]
        self._loans: queue.SimpleQueue[Loan | None] = queue.SimpleQueue()
        self._open: set[_Guarded] = set()
        self._threads = 0
        self._free = 0
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """The main thread: gateway, clock, timeouts."""
        link = self.link
        poll = select.poll()
        poll.register(link.fd, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while not link.closed:
            if link.leave_level() and not link.loans:
                return
            for fd, _ in poll.poll(TICK_MS if stdio.pump() or self._open else None):
                if fd == link.fd:
                    for loan in link.receive():
                        self.take(loan)
                else:
                    os.read(self._wake_read, 4096)
            self._look_around()

    def take(self, loan: Loan) -> None:
        """Give a loan to a free thread, or to a new one."""
        with self._lock:
            if self._free == 0:
                self._threads += 1
                threading.Thread(target=self._work, daemon=True, name=f"wsgi-{self._threads}").start()
            else:
                self._free -= 1
        self._loans.put(loan)

    def _work(self) -> None:
        while True:
            loan = self._loans.get()
            if loan is None:
                return
            conversation = _Guarded(self.served, self.link, loan, self)
            self._open.add(conversation)
            try:
                if self.link.leave_level():
                    conversation.give_back(KEEP, loan.prefix)
                else:
                    conversation.run()
            except OSError:
                conversation.give_back(END)  # its socket was closed under it, by abandon()
            finally:
                self._open.discard(conversation)
            if conversation.abandoned:
                return
            with self._lock:
                self._free += 1
            self._wake()

    def linger(self, conversation: Conversation) -> bool:
        """Wait a moment for the connection's next request."""
        poll = select.poll()
        poll.register(conversation.wire.sock, select.POLLIN)
        return bool(poll.poll(LINGER_MS)) and not self.link.must_return(conversation.loan)

    def begins(self) -> None:
        """Leave after the last request that this process may serve."""
        if self._left is None:
            return
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                self.link.leave()

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it has been woken often enough
            os.write(self._wake_write, b"\0")

    def _look_around(self) -> None:
        now = time.monotonic_ns()
        if not self._open:
            return
        self.link.page.heartbeat(now)
        for conversation in list(self._open):
            late = conversation.answering and now - conversation.started_ns > self._timeout_ns
            if late and conversation.abandon():
                sys.stderr.write(
                    f"Request {conversation.request_id} passed its timeout; its thread is abandoned "
                    "and this instance will be replaced\n"
                )
                self.link.leave()

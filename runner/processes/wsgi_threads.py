"""WSGI above concurrency 1: the blocking conversation in threads that are made after the fork.

The main thread alone hears the gateway. A request that passes its timeout is answered by it; the thread that
runs it cannot be stopped, so the instance finishes its other requests and leaves.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import sys
import threading
import time
import traceback
from typing import TYPE_CHECKING

from snapfork.runner.http.answers import error_response
from snapfork.runner.http.head import find_end
from snapfork.runner.processes import stdio
from snapfork.runner.processes.link import END, KEEP, START_NAMES, WARM, Link, Loan
from snapfork.runner.processes.wsgi_conversation import Conversation
from snapfork.runner.processes.wsgi_noted import Noted
from snapfork.runner.processes.wsgi_wire import ClientGone, Cut
from snapfork.runner.wire.page import W_WAITING, Page

if TYPE_CHECKING:
    from snapfork.runner.http.head import Head
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
            if not self.words[W_WAITING]:  # the main thread corrects it, unless the app keeps it from running
                self.waiting_since(now_ns)

    def finish(self, slot: int, status: int, duration_ns: int) -> None:
        with self._lock:
            super().finish(slot, status, duration_ns)

    def cut(self) -> None:
        with self._lock:
            super().cut()


class Shared(Conversation):
    """A conversation that the main thread may end: the app's first byte, the end of its call and `abandon`
    exclude each other."""

    __slots__ = ("_lock",)

    def __init__(self, served: Served, link: Link, loan: Loan, crew: Crew) -> None:
        super().__init__(served, link, loan, crew)
        self._lock = threading.Lock()

    def _claim(self) -> None:
        with self._lock:
            super()._claim()

    def invite(self) -> None:
        with self._lock:
            super().invite()

    def _settle(self) -> bool:
        with self._lock:
            super()._settle()
            return not self.abandoned

    def waiting_since(self) -> int:
        """When the request was complete that has no first byte yet (nanoseconds); 0 when there is none."""
        return self.asked_ns if self.answering and not self.begun else 0

    def abandon(self, asked_before_ns: int) -> bool:
        """Answer 504 in place of an app that has sent nothing to who asked at `asked_before_ns` or earlier;
        False when there is no such request any more."""
        with self._lock:
            if self.begun or self.abandoned or not self.answering or self.asked_ns > asked_before_ns:
                return False
            self.abandoned = True
        self.link.leave()
        if self.head is not None:
            self._answer_late(self.head)
        return True

    def _answer_late(self, head: Head) -> None:
        loan, request_id = self.loan, self.request_id
        limit = self.served.settings["timeout"]
        message = f"function {self.served.function!r} did not answer within {limit:g} s"
        answer = error_response(504, "timeout", message, request_id, head=head.method == "HEAD")
        self.page.first_byte(loan.slot)
        with contextlib.suppress(ClientGone, Cut):
            self.wire.send([answer])
        duration = time.monotonic_ns() - self.started_ns
        start = START_NAMES[loan.start] if loan.start != WARM and not loan.requests else ""
        loan.requests += 1
        self.page.finish(loan.slot, 504, duration)
        self.served.access.line(
            self.client, head, 504, len(answer) - find_end(answer), duration, request_id, start
        )
        # The descriptor stays open: its number must not come back while the other thread may still read
        # from it. The gateway ends the connection without us.
        self._closed = True
        self.link.give_back(loan, END)


class SharedNoted(Noted, Shared):
    """The same, written down."""

    __slots__ = ()

    def abandon(self, asked_before_ns: int) -> bool:
        account = self.account if self.answering else None
        if not super().abandon(asked_before_ns):
            return False
        if account is not None:
            self.ledger.end(account, 504, "timeout")
        return True


class Crew:
    """Up to `concurrency` threads, made as they are needed, that take loans from one queue."""

    def __init__(self, served: Served, link: Link) -> None:
        self.served = served
        self.link = link
        self._timeout_ns = int(served.settings["timeout"] * 1e9)
        self._kind = Shared if served.ledger is None else SharedNoted
        self._limit = served.settings["concurrency"]
        self._left = served.settings["max_requests"]
        self._loans: queue.SimpleQueue[Loan] = queue.SimpleQueue()
        self._open: set[Shared] = set()
        self._threads = 0
        self._unserved = 0
        self._lock = threading.Lock()
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def run(self) -> None:
        """The main thread: gateway, clock, timeouts."""
        link = self.link
        poll = select.poll()
        poll.register(link.fd, select.POLLIN)
        poll.register(self._wake_read, select.POLLIN)
        while not link.closed:
            # A thread may still be about to say what it gives back: then its conversation is open.
            if link.leave_level() and not link.loans and not self._open:
                crossed = link.receive()  # lent before the gateway knew that we leave
                if not crossed:
                    return
                for loan in crossed:
                    self.take(loan)
            for fd, _ in poll.poll(TICK_MS if stdio.pump() or self._unserved else None):
                if fd == link.fd:
                    for loan in link.receive():
                        self.take(loan)
                else:
                    os.read(self._wake_read, 4096)
            self._look_around()

    def take(self, loan: Loan) -> None:
        """Give a loan to a free thread, or to a new one while there may be more."""
        with self._lock:
            self._unserved += 1
            is_short = self._threads < min(self._unserved, self._limit)
            if is_short:
                self._threads += 1
        self._loans.put(loan)
        if is_short:
            threading.Thread(target=self._work, daemon=True, name="wsgi").start()

    def _work(self) -> None:
        while True:
            loan = self._loans.get()
            conversation = self._kind(self.served, self.link, loan, self)
            self._open.add(conversation)
            try:
                if self.link.leave_level():
                    conversation.give_back(KEEP, loan.prefix)
                else:
                    conversation.run()
            except BaseException:  # ours: the connection is ended, and a new process takes over
                traceback.print_exc()
                self.link.leave()
                conversation.give_back(END)
            self._open.discard(conversation)
            with self._lock:
                self._unserved -= 1
                if conversation.abandoned:
                    self._threads -= 1
            self._wake()
            if conversation.abandoned:
                conversation.wire.close()
                return

    def begins(self) -> None:
        """Leave after the last request that this process may serve."""
        if self._left is None:
            return
        with self._lock:
            self._left -= 1
            if self._left <= 0:
                self.link.leave()

    def linger(self, conversation: Conversation) -> bool:
        """Wait a moment for the connection's next request, unless another connection waits."""
        if not self._loans.empty():
            return False
        poll = select.poll()
        poll.register(conversation.wire.sock, select.POLLIN)
        return bool(poll.poll(LINGER_MS)) and not self.link.must_return(conversation.loan)

    def glance(self, conversation: Conversation) -> bool:
        """Other threads may be free for what waits."""
        return False

    def has_others(self) -> bool:
        """Those are looked after by other threads."""
        return False

    def _wake(self) -> None:
        with contextlib.suppress(BlockingIOError):  # it has been woken often enough
            os.write(self._wake_write, b"\0")

    def _look_around(self) -> None:
        """Tell the gateway that this process lives and since when a request waits; answer late ones."""
        now = time.monotonic_ns()
        oldest = 0
        for conversation in list(self._open):
            since = conversation.waiting_since()
            if since and since < now - self._timeout_ns:
                self._end_late(conversation, now - self._timeout_ns)
            elif since:
                oldest = min(oldest or since, since)
        self.link.page.heartbeat(now)
        self.link.page.waiting_since(oldest)

    def _end_late(self, conversation: Shared, asked_before_ns: int) -> None:
        if conversation.abandon(asked_before_ns):
            self._open.discard(conversation)
            sys.stderr.write(
                f"Request {conversation.request_id} passed its timeout; its thread is abandoned "
                "and this instance will be replaced\n"
            )

"""The gateway's handle of one instance: its control socket, its page, the connections lent to it."""

from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING

from snapfork.runner.gateway import connection as states
from snapfork.runner.wire import frames, page
from snapfork.runner.wire.page import (
    S_LOAN,
    S_REQUESTS,
    S_SINCE,
    S_STATE,
    SLOT,
    W_BUSY,
    W_DEMAND,
    W_GENERATION,
    W_LEAVE,
    W_LOANS,
    W_RECALL,
    W_SLOTS,
    W_STOPPING,
)

if TYPE_CHECKING:
    from snapfork.runner.gateway.channel import Channel
    from snapfork.runner.gateway.connection import Connection
    from snapfork.runner.gateway.kits import Kit
    from snapfork.runner.gateway.starter import Starter
    from snapfork.runner.gateway.supply import Supply

STARTING, READY, LEAVING, GONE = "starting", "ready", "leaving", "gone"


class Instance:
    """One forked (or spawned) process. `number` never repeats; the pid arrives after the fork.

    status, peak: its wait status and the most memory it had resident in bytes, once its parent has said so.
    swift: its latest requests were short, and work; rests_until_ns: till when they are taken not to be.
    stuck: looks in a row at which the same one ran. seen_, surveyed: counters at the last look (sharing.py).
    """

    __slots__ = (
        "born_ns",
        "cause",
        "channel",
        "free_slots",
        "fresh",
        "generation",
        "guard",
        "idle_since_ns",
        "leave_ns",
        "lent_requests",
        "loans",
        "nslots",
        "number",
        "peak",
        "pid",
        "pidfd",
        "pool",
        "ready_ns",
        "recalled",
        "rests_until_ns",
        "said_bye",
        "start",
        "starter",
        "state",
        "seen_busy_ns",
        "seen_cpu_ns",
        "seen_done",
        "seen_started",
        "status",
        "stuck",
        "surveyed",
        "surveyed_busy_ns",
        "swift",
        "trial",
        "words",
    )

    def __init__(self, number: int, start: int, generation: int, nslots: int, kit: Kit, now_ns: int) -> None:
        self.number = number
        self.start = start
        self.generation = generation
        self.nslots = nslots
        self.channel: Channel | None = None
        self.words = kit.words
        self.guard = kit.guard
        self.words[W_GENERATION] = generation
        self.free_slots = list(range(nslots - 1, -1, -1))
        self.loans: dict[int, Connection] = {}
        self.fresh = True
        self.state = STARTING
        self.pid = 0
        self.pidfd = -1
        self.born_ns = now_ns
        self.ready_ns = 0
        self.recalled = False
        self.idle_since_ns = now_ns
        self.lent_requests = 0
        self.said_bye = False
        self.cause = ""
        self.leave_ns = 0
        self.trial = False
        self.swift = False
        self.stuck = 0
        self.surveyed = 0
        self.surveyed_busy_ns = 0
        self.rests_until_ns = 0
        self.seen_cpu_ns = 0
        self.seen_started = 0
        self.seen_done = 0
        self.seen_busy_ns = 0
        self.pool: Supply | None = None
        self.starter: Starter | None = None
        self.status: int | None = None
        self.peak = 0

    @property
    def home(self) -> Supply:
        """The supply that ordered it."""
        if self.pool is None:
            raise AssertionError("an instance belongs to a supply from its order on")
        return self.pool

    @property
    def lent(self) -> int:
        """Connections it holds."""
        return len(self.loans)

    @property
    def running(self) -> int:
        """Requests in progress, background work included, or lent and not yet begun."""
        words = self.words
        return max(0, words[W_BUSY]) + max(0, self.lent_requests - words[W_LOANS])

    def take(self, conn: Connection, loan_id: int, kind: int, sticky: bool) -> bytes:
        """Note that `conn` is lent to this instance from now on; the loan's frame."""
        conn.state = states.LENT
        conn.loan_id = loan_id
        conn.slot = self.free_slots.pop()
        conn.instance = self
        conn.patience_ns = 0
        if conn.is_tcp:
            conn.base_consumed, conn.base_written = conn.base()
        self.loans[loan_id] = conn
        self.lent_requests += 1
        self.fresh = False
        frame = frames.LoanFrame(
            kind,
            sticky,
            conn.slot,
            conn.seq,
            loan_id,
            conn.t0_ns + conn.extra_ns,
            conn.addresses,
            bytes(conn.buffer),
            conn.direct,
            conn.place,
        )
        return frames.pack_loan(frame)

    def forget(self, conn: Connection) -> None:
        """A loan is over that this instance does not give back."""
        del self.loans[conn.loan_id]
        self.free_slots.append(conn.slot)
        if self.slot(conn.slot)[0] != conn.loan_id or not self.slot(conn.slot)[2]:
            self.lent_requests -= 1
        conn.instance = None

    def kind_for(self, arrived_ns: int) -> int:
        """The start kind of a request that has come at `arrived_ns` and is to be lent to this instance."""
        return self.kind_of_first(arrived_ns) if self.fresh else frames.WARM

    def kind_of_first(self, arrived_ns: int) -> int:
        """The same of the first request that it got."""
        # One that was there before the instance was ready has waited for its start.
        return self.start if 0 < arrived_ns < self.ready_ns else frames.SPARE

    @property
    def requests(self) -> int:
        return self.words[page.W_STARTED]

    def slot(self, index: int) -> tuple[int, int, int, int]:
        """(loan id, state, requests, started ns) of one connection slot."""
        base = W_SLOTS + SLOT * index
        words = self.words
        return words[base + S_LOAN], words[base + S_STATE], words[base + S_REQUESTS], words[base + S_SINCE]

    def ask_to_leave(self, level: int) -> None:
        """1: give everything back at the next boundary and go; 2: end streams as well."""
        if self.words[W_LEAVE] < level:
            self.words[W_LEAVE] = level
        self.state = LEAVING
        self.recall()

    def demand(self, on: bool) -> None:
        """Ask for idle connections back while requests wait."""
        self.words[W_DEMAND] = 1 if on else 0
        if on and len(self.loans) > self.running:
            self.recall()

    def recall_before(self, loan_id: int) -> None:
        """Have loans with smaller ids returned before a further request is read from them."""
        self.words[W_RECALL] = loan_id
        if self.loans:
            self.recall()

    def stopping(self) -> None:
        """The runner stops: further answers are the last of their connections."""
        self.words[W_STOPPING] = 1

    def recall(self) -> None:
        """Wake the instance, so that it reads its page's words."""
        if self.channel is not None:
            self.channel.send(frames.RECALL_FRAME)

    def kill(self, cause: str) -> None:
        """SIGKILL; `cause` is what its death is counted as. Harmless when it is dead or not yet forked."""
        self.cause = self.cause or cause
        self.state = LEAVING
        if self.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):  # dead by itself: its pidfd will say so
                signal.pidfd_send_signal(self.pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Release descriptors and the page."""
        if self.channel is not None:
            self.channel.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)
            self.pidfd = -1
        if self.state != GONE or self.channel is not None:
            self.channel = None
            if self.guard is not None:
                self.guard.close()
            page.unmap(self.words)
        self.state = GONE

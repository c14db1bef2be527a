"""One function's requests: which instance gets the next, and what becomes of one whose instance dies."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from snapfork.runner.gateway import connection as states
from snapfork.runner.gateway import losses
from snapfork.runner.gateway.answers import Extra
from snapfork.runner.gateway.children import reap_orphan
from snapfork.runner.gateway.connection import Connection
from snapfork.runner.gateway.instances import GONE, LEAVING, READY, STARTING, Instance
from snapfork.runner.gateway.sharing import Sharing, weigh
from snapfork.runner.gateway.starter import Starter
from snapfork.runner.gateway.supply import Supply
from snapfork.runner.policy.elastic import growth
from snapfork.runner.policy.placement import Move, place, starts_for_waiting
from snapfork.runner.processes.memory import runnable
from snapfork.runner.wire import fds, frames
from snapfork.runner.wire.frames import START_NAMES, WARM
from snapfork.runner.wire.page import W_LEAVING

if TYPE_CHECKING:
    from snapfork.runner.gateway.core import Core, Door

PATIENCE_NS = 3_000_000
"""How long a request waits for an idle connection's instance to come back before one more is forked."""
GROW_NS = 20_000_000
"""How long a request of a deployed function waits for its turn before there is to be one instance more."""
GROW_ALL_THE_SAME_NS = 10**9
"""How often one is added although the processors are busy: what keeps them so may be somebody else."""
IMPATIENT_NS = 50_000_000
"""No client has given its request up sooner; from then on it is looked whether one has."""


class Pool(Supply):
    """Queue, loans and losses of one function, over the supply of its instances.

    sticky: whether its connections may stay lent where the table of routes has no say.
    allowance_ns: how much longer than usual a request may wait while no template is there; `on_need` is told
    of such requests.
    """

    def __init__(
        self,
        core: Core,
        door: Door,
        name: str,
        sticky: bool = True,
        user: tuple[int, int, str] | None = None,
    ) -> None:
        super().__init__(core, name, user)
        self.door = door
        self.sticky = sticky
        self.queue: deque[Connection] = deque()
        self.on_report: Callable[[Instance, dict[str, Any]], None] = lambda one, message: None
        self.on_trial_over: Callable[[Instance], None] = lambda one: None
        self.on_need: Callable[[], None] = lambda: None
        self.allowance_ns = 0
        self._growing = False
        self._grown_ns = 0
        self._sharing = Sharing(self)

    # -- configuration -------------------------------------------------------------------------------

    def switch(self, generation: int, starter: Starter | None, mode: int) -> None:
        """From now on instances come from `starter`; those of other generations leave."""
        self.starter = starter
        self.mode = mode
        now = self.core.clock()
        for conn in self.queue:
            conn.extra_ns = now - conn.t0_ns  # the template's time is not the request's
            conn.queued_ns = now
        if generation != self.generation:
            self.generation = generation
            self._failures.over()
            for one in list(self.instances.values()):
                if one.generation != generation:
                    self.dismiss(one)
        self.pump()

    # -- requests ------------------------------------------------------------------------------------

    def submit(self, conn: Connection) -> None:
        """Serve the request in `conn.buffer`: lend the connection, fork for it, or queue it."""
        if not self.queue and self._serve(conn):
            return
        if len(self.queue) >= self.settings["queue_size"]:
            self.refuse(conn, f"the queue of function {self.name!r} is full")
            return
        conn.state = states.WAITING
        conn.queued_ns = self.core.clock()
        self.queue.append(conn)
        self._set_demand(True)
        self._start_for_waiting()
        if self.ceiling > self.limits.maximum:
            self._grow_soon()
        if self.starter is None:
            self.on_need()

    def refuse(self, conn: Connection, why: str) -> None:
        """429: try again later."""
        self.fail(conn, 429, f"{why}; try again later")

    def pump(self) -> None:
        """Serve waiting requests while there is room."""
        while self.queue:
            conn = self.queue[0]
            if self.core.clock() - conn.queued_ns > IMPATIENT_NS and conn.is_broken():
                self.door.close(conn)
            elif not self._serve(conn):
                self._start_for_waiting()
                return
            self.queue.popleft()
            self.tally.queue_waits.observe(self.core.clock() - conn.queued_ns)
        self._set_demand(False)

    def _serve(self, conn: Connection) -> bool:
        concurrency = self.limits.concurrency
        may_share = self.shares and not conn.direct
        if may_share and self._sharing.crowded() and self._share(conn):
            return True
        while self.idle:
            number, one = self.idle.popitem()
            if one.state == READY and not one.loans and not one.running:
                self._lend(one, conn, WARM)
                return True
        if may_share and self._share(conn):
            return True
        if concurrency == 1 and self._all_lent():
            return False
        total = self.total
        if concurrency == 1 and total < self.limits.maximum and self._await_lingering(conn):
            return False
        may_fork = total < self.limits.maximum and self.rides and self._can_start(asked=True)
        choice = place(self._candidates(concurrency), total, self.limits, may_fork)
        if isinstance(choice, Instance):
            if choice.running and not self.rides and total < min(self.limits.cores, self.limits.maximum):
                self._start_one()  # it does not wait for it, but the next will find it
            self._lend(choice, conn, choice.kind_for(conn.t0_ns))
        elif choice is Move.FORK:
            self.start(self.mode, conn)
        else:
            return False
        return True

    def _share(self, conn: Connection) -> bool:
        """Lend to an instance that holds others, from which it may be taken back."""
        one = self._sharing.holder()
        if one is None:
            return False
        self._lend(one, conn, WARM)
        self._sharing.look_soon()
        return True

    def _all_lent(self) -> bool:
        """At `concurrency` 1: no instance has room, no more may start. So it is for most that wait."""
        there = 0
        for one in self.instances.values():
            if one.state == READY or one.state == STARTING:
                if not one.loans:
                    return False
                there += 1
        return there >= self.limits.maximum

    def _await_lingering(self, conn: Connection) -> bool:
        """True while an instance that only waits for its client's next request is asked back for `conn`.

        Its return takes less than a spare's first request, whose pages are cold; should it get that next
        request first, `conn` goes on to a spare or a fork.
        """
        now = self.core.clock()
        if conn.patience_ns:
            return now < conn.patience_ns
        for one in self.instances.values():
            if one.loans and not one.recalled and one.state == READY and not one.running:
                one.recalled = True
                one.demand(True)
                conn.patience_ns = now + PATIENCE_NS
                self.core.loop.call_later(PATIENCE_NS / 1e9, self.pump)
                return True
        return False

    def _candidates(self, concurrency: int) -> Iterator[Instance]:
        for one in self.instances.values():
            comes = one.state == READY or (self.rides and one.state == STARTING)
            if comes and one.lent < concurrency and not one.words[W_LEAVING]:
                yield one

    def _start_for_waiting(self) -> None:
        """Where requests do not ride along: order instances for those that wait."""
        if self.rides:
            return
        working, starting = self._count(READY), self._count(STARTING)
        for _ in range(starts_for_waiting(len(self.queue), working, starting, self.limits)):
            self._start_one()

    # -- growing beyond the usual number ---------------------------------------------------------------

    def _grow_soon(self) -> None:
        if not self._growing:
            self._growing = True
            self.core.loop.call_later(GROW_NS / 1e9, self._grow)

    def _grow(self) -> None:
        """Start instances beyond `limits.maximum` for requests that have waited long.

        Those that work may sleep, or wait for others of their own function: then more of them do more.
        """
        self._growing = False
        if not self.queue or self.core.stopping:
            return
        self._grow_soon()
        now, total = self.core.clock(), self.total
        if self.starter is None or total < self.limits.maximum:
            return
        waiting = sum(1 for conn in self.queue if now - conn.queued_ns >= GROW_NS)
        if not self.rides:
            waiting -= self._count(STARTING)
        room = min(self.ceiling - total, self.core.most - len(self.core.instances))
        count = growth(waiting, room, self.core.cores, runnable())
        if not count and min(waiting, room) > 0 and now - self._grown_ns > GROW_ALL_THE_SAME_NS:
            count = 1
        for _ in range(count):
            if not self._can_start(asked=True):
                break
            self._grown_ns = now
            if self.rides:
                conn = self.queue.popleft()
                self.tally.queue_waits.observe(now - conn.queued_ns)
                self.start(self.mode, conn)
            else:
                self.start(self.mode)
        self.pump()

    def _lend(self, one: Instance, conn: Connection, kind: int) -> None:
        if one.channel is None:
            raise AssertionError("an instance that may be lent to has a control socket")
        was_fresh = one.fresh
        one.channel.send(self._loan(one, conn, kind), (conn.fd,))
        if was_fresh:
            self._top_up_soon()

    # -- what instances say ----------------------------------------------------------------------------

    def _heard(self, one: Instance, view: memoryview, received: list[int]) -> None:
        if received:
            fds.close_all(received)
        kind = view[0]
        if kind == frames.RETURN:
            self._returned(one, frames.unpack_return(view))
        elif kind == frames.READY:
            self._ready(one, frames.unpack_ready(view))
        elif kind == frames.BYE:
            one.said_bye = True
            one.state = LEAVING
        elif kind == frames.JSON:
            self.on_report(one, frames.unpack_json(view))

    def _ready(self, one: Instance, pid: int) -> None:
        now = self.core.clock()
        one.ready_ns = one.idle_since_ns = now
        one.pid = pid
        if one.pidfd < 0 and one.starter is not None and not one.starter.alive:
            self._adopt_process(one)
        if not one.trial:
            self.tally.started(START_NAMES[one.start], now - one.born_ns)
        if one.state == STARTING:
            one.state = READY
            self._failures.over()
            self.pump()

    def _returned(self, one: Instance, back: frames.ReturnFrame) -> None:
        conn = one.loans.pop(back.id, None)
        if conn is None:
            return
        one.free_slots.append(conn.slot)
        if back.requests == 0:
            one.lent_requests -= 1
        if self.shares:
            weigh(one, self.core.clock())
        if one.recalled:
            one.recalled = False
            one.demand(self._demanding)
        conn.instance = None
        conn.seq += back.requests
        if back.requests:
            conn.retries = 0  # those of the request that it comes back with begin anew
        if one.words[W_LEAVING] and one.state == READY:
            one.state = LEAVING
            one.leave_ns = self.core.clock()
            self._top_up_soon()
        if not one.loans and one.state == READY:
            one.idle_since_ns = self.core.clock()
            self.idle[one.number] = one
        if self.queue:
            self.pump()
        self.door.given_back(conn, back.how, back.clean, back.leftover)

    # -- leaving and dying -----------------------------------------------------------------------------

    def _hung_up(self, one: Instance) -> None:
        if one.pidfd < 0 and one.starter is not None and not one.starter.alive:
            self._dead(one)

    def _dead(self, one: Instance) -> None:
        if one.state == GONE:
            return
        if one.channel is not None:
            one.channel.drain()  # returns that it sent before it died
        was_starting = not one.ready_ns
        one.state = GONE
        self.instances.pop(one.number, None)
        self.idle.pop(one.number, None)
        loans = list(one.loans.values())
        one.loans.clear()
        if not one.trial:
            self.tally.left(one.words)
        status = reap_orphan(one.pidfd) if one.pidfd >= 0 else None
        if status is not None:
            one.status = status
        watch = self.core.watches.pop(one.number, None)
        if watch is not None:
            watch.close()
            one.pidfd = -1
        for conn in loans:
            losses.settle(self, one, conn)
        if one.trial:
            del self.core.instances[one.number]
            one.close()
            self.on_trial_over(one)
            return
        if was_starting and not one.said_bye and one.cause != losses.STOPPED:
            self._start_failed(one)
        self._deaths.add(one)
        one.close()
        if not self.core.stopping:
            self.pump()
            self._top_up_soon()

    def _start_failed(self, one: Instance) -> None:
        delay = self._failures.note(self.core.clock())
        count = self._failures.count
        if count in (2, 5, 10) and not self.core.stopping:
            self.core.console.warn(
                f"{self.name}: {count} instances in a row died before they were ready "
                f"({one.cause or 'see their output above'}); trying again in {delay:g} s."
            )
        if count > losses.MAX_RETRIES and not self._count(READY):
            why = f"the instances of function {self.name!r} die at their start"
            while self.queue and not self.rides:
                code = "start_failed" if self.allowance_ns else ""
                self.fail(self.queue.popleft(), 502, why, code=code)

    def fail(
        self, conn: Connection, status: int, why: str, request_id: str = "", code: str = "", extra: Extra = ()
    ) -> None:
        """Answer in the app's place, and count it."""
        self.tally.errors[status] += 1
        self.door.answer(conn, status, why, request_id, code, extra)

    def fail_all(self, status: int, why: str, code: str, details: str = "") -> None:
        """Give up on all requests that wait. details: for the services process alone."""
        while self.queue:
            conn = self.queue.popleft()
            told = f"{why}: {details}" if details and conn.direct else why
            self.fail(conn, status, told, code=code)
        self._set_demand(False)

    # -- demand ----------------------------------------------------------------------------------------

    def _set_demand(self, on: bool) -> None:
        if on == self._demanding:
            return
        self._demanding = on
        for one in self.instances.values():
            one.demand(on)

    def active(self) -> bool:
        """True while a request runs or waits."""
        return bool(self.queue) or any(one.loans or one.running for one in self.instances.values())

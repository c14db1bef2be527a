"""One function's instances: who gets the next request, and what becomes of a request when one dies."""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from snapfork.runner.gateway import connection as states
from snapfork.runner.gateway import losses
from snapfork.runner.gateway.channel import Channel
from snapfork.runner.gateway.children import Watch, reap_orphan
from snapfork.runner.gateway.connection import Connection
from snapfork.runner.gateway.deaths import Deaths
from snapfork.runner.gateway.instances import GONE, LEAVING, READY, STARTING, Instance
from snapfork.runner.gateway.kits import Kits
from snapfork.runner.gateway.starter import Starter
from snapfork.runner.gateway.tally import Tally
from snapfork.runner.policy.elastic import Census, StartFailures, Wanted, starts_needed
from snapfork.runner.policy.placement import Limits, Move, place, starts_for_waiting
from snapfork.runner.processes import memory
from snapfork.runner.wire import fds, frames
from snapfork.runner.wire.frames import FORK, START_NAMES, WARM
from snapfork.runner.wire.page import W_LEAVING

if TYPE_CHECKING:
    from snapfork.runner.gateway.core import Core, Door

SPARE_DELAY_S = 0.02
"""Spares are topped up a moment after one was taken, so that the fork does not compete with the request."""
PATIENCE_NS = 3_000_000
"""How long a request waits for an idle connection's instance to come back before one more is forked."""
IMPATIENT_NS = 50_000_000
"""No client has given its request up sooner; from then on it is looked whether one has."""
OOM_SCORE = 800
"""When memory runs out the kernel is to take an instance, not a template (300) or the gateway."""


class Pool:
    """Instances, queue and counters of one function. `starter` is None while no template is there.

    user: whom its processes run as, None for the runner's own. sticky: whether its connections may stay lent
    where the table of routes has no say. minimum: provisioned instances, whatever its settings say.
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
        self.core = core
        self.door = door
        self.name = name
        self.sticky = sticky
        self.settings: dict[str, Any] = {}
        self.interface = ""
        self.mode = FORK
        self.rides = True
        self.generation = 0
        self.starter: Starter | None = None
        self.limits = Limits(1, 1, core.cores)
        self.instances: dict[int, Instance] = {}
        self.idle: dict[int, Instance] = {}
        self.queue: deque[Connection] = deque()
        self.tally = Tally()
        self._failures = StartFailures()
        self.last_forked_ns = 0
        short = f"out of file descriptors: {name} cannot start instances (raise `ulimit -n`)."
        self._kits = Kits(core.loop, lambda: core.console.warn(short), user)
        self._demanding = False
        self._topping_up = False
        self._deaths = Deaths(core.loop, self.tally.deaths, core.instances)
        self.on_report: Callable[[Instance, dict[str, Any]], None] = lambda one, message: None
        self.on_trial_over: Callable[[Instance], None] = lambda one: None
        self.on_need: Callable[[], None] = lambda: None
        self.minimum = 0
        self.allowance_ns = 0

    # -- configuration -------------------------------------------------------------------------------

    def configure(self, settings: dict[str, Any], interface: str, maximum: int, rides: bool) -> None:
        """Take the settings that a template resolved.

        `rides`: a start runs nothing of the user's, so a request may go along with its order. Otherwise
        requests wait for whichever instance is ready first.
        """
        self.settings = settings
        self.interface = interface
        self.rides = rides
        self.limits = Limits(settings["concurrency"], maximum, self.core.cores)
        self._kits.discard()

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
        while self.idle:
            number, one = self.idle.popitem()
            if one.state == READY and not one.loans and not one.running:
                self._lend(one, conn, WARM)
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

    def _can_start(self, *, asked: bool) -> bool:
        if self.starter is None or not self._failures.may_start(self.core.clock(), asked=asked):
            return False
        return self._kits.ready(self.limits.concurrency)

    def _start_for_waiting(self) -> None:
        """Where requests do not ride along: order instances for those that wait."""
        if self.rides:
            return
        working, starting = self._count(READY), self._count(STARTING)
        for _ in range(starts_for_waiting(len(self.queue), working, starting, self.limits)):
            self._start_one()

    def _start_one(self) -> None:
        if self._can_start(asked=True):
            self.start(self.mode)

    def _count(self, *wanted: str) -> int:
        count = 0  # a loop: a generator takes three times as long, and this is asked for each request
        for one in self.instances.values():
            if one.state in wanted:
                count += 1
        return count

    @property
    def total(self) -> int:
        """Instances that start or live and are not on their way out."""
        return self._count(READY, STARTING)

    @property
    def spares(self) -> int:
        return sum(1 for one in self.instances.values() if one.fresh and one.state in (READY, STARTING))

    def _loan(self, one: Instance, conn: Connection, kind: int) -> bytes:
        self.tally.starts[START_NAMES[kind]] += 1
        sticky = conn.sticky and conn.epoch == self.core.epoch  # else the table has changed meanwhile
        return one.take(conn, next(self.core.loan_ids), kind, sticky)

    def _lend(self, one: Instance, conn: Connection, kind: int) -> None:
        if one.channel is None:
            raise AssertionError("an instance that may be lent to has a control socket")
        was_fresh = one.fresh
        one.channel.send(self._loan(one, conn, kind), (conn.fd,))
        if was_fresh:
            self._top_up_soon()

    # -- starting ------------------------------------------------------------------------------------

    def start(self, kind: int, conn: Connection | None = None, trial: bool = False) -> Instance:
        """Order one instance; `conn`, if given, rides along and is answered by it."""
        if self.starter is None:
            raise AssertionError("start() needs a template")
        core = self.core
        kit = self._kits.take(self.limits.concurrency)
        number = next(core.numbers)
        one = Instance(number, kind, self.generation, self.limits.concurrency, kit, core.clock())
        one.pool = self
        one.starter = self.starter
        one.trial = trial
        if core.stopping:
            one.stopping()
        core.instances[number] = one
        loan, passed = b"", tuple(kit.theirs)
        if not trial:
            self.instances[number] = one
            one.demand(self._demanding)
        if conn is not None:
            loan = self._loan(one, conn, kind)
            passed += (conn.fd,)
        t0 = conn.t0_ns if conn is not None else core.clock()
        order = frames.StartFrame(kind, trial, one.nslots, number, self.generation, t0, loan)
        self.starter.channel.send(frames.pack_start(order), passed)
        # The rest while the instance comes up.
        one.channel = Channel(
            core.loop, kit.control, lambda view, got: self._heard(one, view, got), lambda: self._hung_up(one)
        )
        kit.handed_over()
        core.attach_log(kit.log_read, self.name, str(number), 0)
        return one

    def _top_up_soon(self) -> None:
        if not self._topping_up:
            self._topping_up = True
            self.core.loop.call_later(SPARE_DELAY_S, self.top_up)

    def top_up(self) -> None:
        """Start spares and provisioned instances that are missing."""
        self._topping_up = False
        if self.core.stopping or not self.settings or not self._can_start(asked=False):
            return
        for _ in range(starts_needed(Census(self.total, self.spares), self.wanted())):
            if self._can_start(asked=False):
                self.start(self.mode)

    def wanted(self) -> Wanted:
        """How many instances are to be kept."""
        minimum = max(self.settings.get("min_instances", 0), self.minimum)
        return Wanted(minimum, self.settings.get("spares", 0), max(self.limits.maximum, self.minimum))

    # -- what instances say ----------------------------------------------------------------------------

    def forked(self, one: Instance, pid: int, pidfd: int) -> None:
        """The process of an ordered instance exists."""
        if one.pidfd >= 0 or one.state == GONE:
            os.close(pidfd)
            return
        one.pid = pid
        one.pidfd = pidfd
        self.last_forked_ns = self.core.clock()
        self.core.watches[one.number] = Watch(self.core.loop, pidfd, lambda: self._dead(one))
        memory.prefer_for_oom_kill(pid, OOM_SCORE)
        if one.cause:
            one.kill(one.cause)

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

    def _adopt_process(self, one: Instance) -> None:
        # Its template died between the fork and the report; it is our child now (subreaper).
        with contextlib.suppress(ProcessLookupError):  # dead and collected: its socket says the rest
            self.forked(one, one.pid, os.pidfd_open(one.pid))

    def _returned(self, one: Instance, back: frames.ReturnFrame) -> None:
        conn = one.loans.pop(back.id, None)
        if conn is None:
            return
        one.free_slots.append(conn.slot)
        if back.requests == 0:
            one.lent_requests -= 1
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

    def dismiss(self, one: Instance, level: int = 1) -> None:
        """Ask an instance to go; it is killed when it has not gone after the drain deadline."""
        self.idle.pop(one.number, None)
        if not one.leave_ns:
            one.leave_ns = self.core.clock()
        one.ask_to_leave(level)

    def _hung_up(self, one: Instance) -> None:
        if one.pidfd < 0 and one.starter is not None and not one.starter.alive:
            self._dead(one)

    def starter_died(self, starter: Starter) -> None:
        """Orders that it never carried out will not be: their requests go elsewhere."""
        if self.starter is starter:
            self.starter = None
        for one in list(self.instances.values()):
            if one.starter is starter and one.pidfd < 0 and one.channel is not None:
                one.channel.drain()
                if not one.channel.is_open:
                    self._dead(one)
                elif one.pid:
                    self._adopt_process(one)

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
        if was_starting and not one.said_bye:
            self._start_failed(one)
        self._deaths.add(one)
        one.close()
        if not self.core.stopping:
            self.pump()
            self._top_up_soon()

    def died(self, one: Instance, frame: frames.DiedFrame) -> None:
        """Its parent collected it."""
        self._deaths.reported(one, frame.status)

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

    def fail(self, conn: Connection, status: int, why: str, request_id: str = "", code: str = "") -> None:
        """Answer in the app's place, and count it."""
        self.tally.errors[status] += 1
        self.door.answer(conn, status, why, request_id, code)

    def fail_all(self, status: int, why: str, code: str) -> None:
        """Give up on all requests that wait."""
        while self.queue:
            self.fail(self.queue.popleft(), status, why, code=code)
        self._set_demand(False)

    def recall(self) -> None:
        """Connections that are lent now come back before a further request is read from them."""
        first = next(self.core.loan_ids)
        for one in self.instances.values():
            one.recall_before(first)

    def rest(self) -> None:
        """Let the instances go, and start none until there is a template again."""
        self.starter = None
        for one in list(self.instances.values()):
            self.dismiss(one)
        self._kits.discard()

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

    def pages(self) -> list[memoryview]:
        """The pages of living instances, for meters."""
        return [one.words for one in self.instances.values()]

    def close(self) -> None:
        """Release what was made ahead."""
        self._kits.discard()

"""One function's instances: ordered, counted, topped up and let go. Who uses them is in pool.py."""

from __future__ import annotations

import contextlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from snapfork.runner.gateway.channel import Channel
from snapfork.runner.gateway.children import Watch
from snapfork.runner.gateway.connection import Connection
from snapfork.runner.gateway.deaths import Deaths
from snapfork.runner.gateway.instances import GONE, READY, STARTING, Instance
from snapfork.runner.gateway.kits import Kits
from snapfork.runner.gateway.starter import Starter
from snapfork.runner.gateway.tally import Tally
from snapfork.runner.policy.elastic import MOST_INSTANCES, Census, StartFailures, Wanted, starts_needed
from snapfork.runner.policy.placement import Limits
from snapfork.runner.policy.sharing import MOST_HELD
from snapfork.runner.processes import memory
from snapfork.runner.wire import frames
from snapfork.runner.wire.frames import FORK, START_NAMES

if TYPE_CHECKING:
    from snapfork.runner.gateway.core import Core

SPARE_DELAY_S = 0.02
"""Spares are topped up a moment after one was taken, so that the fork does not compete with the request."""
MANY_REQUESTS = 1000
"""An instance that serves fewer holds one connection at a time."""
OOM_SCORE = 800
"""When memory runs out the kernel is to take an instance, not a template (300) or the gateway."""


class Supply(ABC):
    """Instances and counters of one function. `starter` is None while no template is there.

    user: whom its processes run as, None for the runner's own. minimum: provisioned instances, whatever its
    settings say. patient: a deployed unit's, whose timeout counts the run alone, however long a request has
    waited for its turn. ceiling: how many instances there may be at most for requests that would wait long.
    shares: its instances, which serve one request at a time, may hold several connections; slots: how many.
    farewell_ns: how long its pre-stop may take.
    """

    def __init__(self, core: Core, name: str, user: tuple[int, int, str] | None) -> None:
        self.core = core
        self.name = name
        self.settings: dict[str, Any] = {}
        self.interface = ""
        self.mode = FORK
        self.rides = True
        self.generation = 0
        self.starter: Starter | None = None
        self.limits = Limits(1, 1, core.cores)
        self.instances: dict[int, Instance] = {}
        self.idle: dict[int, Instance] = {}
        self.tally = Tally()
        self._deaths = Deaths(core.loop, self.tally.deaths, core.instances)
        self.minimum = 0
        self.patient = False
        self.ceiling = 0
        self.shares = False
        self.slots = 1
        self.farewell_ns = 0
        self.last_forked_ns = 0
        short = f"out of file descriptors: {name} cannot start instances (raise `ulimit -n`)."
        self._kits = Kits(core.loop, lambda: core.console.warn(short), user)
        self._failures = StartFailures()
        self._demanding = False
        self._topping_up = False

    @abstractmethod
    def _heard(self, one: Instance, view: memoryview, received: list[int]) -> None:
        """An instance has said something."""

    @abstractmethod
    def _hung_up(self, one: Instance) -> None:
        """It will say no more."""

    @abstractmethod
    def _dead(self, one: Instance) -> None:
        """Its process has ended."""

    def configure(self, settings: dict[str, Any], interface: str, maximum: int, rides: bool) -> None:
        """Take the settings that a template resolved.

        `rides`: a start runs nothing of the user's, so a request may go along with its order. Otherwise
        requests wait for whichever instance is ready first.
        """
        self.settings = settings
        self.interface = interface
        self.rides = rides
        self.limits = Limits(settings["concurrency"], maximum, self.core.cores)
        grows = self.patient and settings["concurrency"] == 1 and not settings["max_instances"]
        self.ceiling = MOST_INSTANCES if grows else 0
        self.shares = _shares(settings, interface) and not self.patient
        self.slots = MOST_HELD if self.shares else settings["concurrency"]
        self._kits.discard()

    # -- counting ----------------------------------------------------------------------------------------

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

    # -- starting ------------------------------------------------------------------------------------

    def _can_start(self, *, asked: bool) -> bool:
        if self.starter is None or not self._failures.may_start(self.core.clock(), asked=asked):
            return False
        return self._kits.ready(self.slots)

    def _start_one(self) -> None:
        if self._can_start(asked=True):
            self.start(self.mode)

    def _loan(self, one: Instance, conn: Connection, kind: int) -> bytes:
        self.tally.starts[START_NAMES[kind]] += 1
        if self.patient:
            conn.extra_ns = self.core.clock() - conn.t0_ns
        sticky = conn.sticky and conn.epoch == self.core.epoch  # else the table has changed meanwhile
        return one.take(conn, next(self.core.loan_ids), kind, sticky)

    def start(self, kind: int, conn: Connection | None = None, trial: bool = False) -> Instance:
        """Order one instance; `conn`, if given, rides along and is answered by it."""
        if self.starter is None:
            raise AssertionError("start() needs a template")
        core = self.core
        kit = self._kits.take(self.slots)
        number = next(core.numbers)
        one = Instance(number, kind, self.generation, self.slots, kit, core.clock())
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

    def _adopt_process(self, one: Instance) -> None:
        # Its template died between the fork and the report; it is our child now (subreaper).
        with contextlib.suppress(ProcessLookupError):  # dead and collected: its socket says the rest
            self.forked(one, one.pid, os.pidfd_open(one.pid))

    def died(self, one: Instance, frame: frames.DiedFrame) -> None:
        """Its parent collected it."""
        one.peak = frame.max_rss
        self._deaths.reported(one, frame.status)

    def when_known(self, one: Instance, call: Callable[[], None]) -> None:
        """Have `call` called once it is known how a dead instance has ended: soon, in any case."""
        self._deaths.ask(one, call)

    # -- letting go --------------------------------------------------------------------------------------

    def dismiss(self, one: Instance, level: int = 1) -> None:
        """Ask an instance to go; it is killed when it has not gone after the drain deadline."""
        self.idle.pop(one.number, None)
        if not one.leave_ns:
            one.leave_ns = self.core.clock()
        one.ask_to_leave(level)

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

    def has_room(self) -> bool:
        """Whether there are descriptors for one more instance."""
        return self._kits.ready(self.slots)

    def spare_descriptors(self) -> None:
        """Let go of what is only kept for a start that may come."""
        self._kits.discard()

    @property
    def descriptors(self) -> int:
        """How many this process has open for its instances and what is made ahead: control, pidfd and log
        pipe of an instance, five for a kit, a page's lock of both, and the connections that are lent."""
        lent = sum(len(one.loans) for one in self.instances.values())
        lock = self.slots > 1
        return (3 + lock) * len(self.instances) + lent + (5 + lock) * len(self._kits)

    def pages(self) -> list[memoryview]:
        """The pages of living instances, for meters."""
        return [one.words for one in self.instances.values()]

    def close(self) -> None:
        """Release what was made ahead."""
        self._kits.discard()


def _shares(settings: dict[str, Any], interface: str) -> bool:
    """Whether instances are such as go from connection to connection, and live long enough for it."""
    lives_long = (settings["max_requests"] or MANY_REQUESTS) >= MANY_REQUESTS
    return interface == "wsgi" and settings["concurrency"] == 1 and lives_long

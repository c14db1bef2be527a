"""Several connections in one instance that serves one request at a time: who gets them, who loses them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snapfork.runner.gateway.instances import GONE, LEAVING, READY, STARTING, Instance
from snapfork.runner.policy import sharing as policy
from snapfork.runner.policy.sharing import PATIENT_LOOKS, REST_NS, SAMPLE, SURE_LOOKS, SWIFT_NS, Load
from snapfork.runner.processes.memory import processor_ns, runnable, sleeps
from snapfork.runner.wire.page import (
    BOUNDARY,
    FREE,
    W_CURRENT,
    W_DONE,
    W_DURATION,
    W_LEAVING,
    W_STARTED,
    W_TAKEN,
)

if TYPE_CHECKING:
    from snapfork.runner.gateway.connection import Connection
    from snapfork.runner.gateway.pool import Pool

LOOK_S = 0.004
"""How often instances are looked at that hold several connections; a request waits for another one's end for
two looks at most."""
SURVEY_LOOKS = 8
"""Every so many looks it is asked how the load lies."""
FROZEN_LOOKS = 500
"""An instance has its lock for microseconds; one that has it for so many looks, two seconds, is frozen."""
BUSY_NS = 5_000_000
"""How long an answer about the machine's processors holds."""


class Sharing:
    """Of one pool."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._core = pool.core
        self._looking = False
        self._looks = 0
        self._busy = False
        self._asked_ns = 0
        self._crowded = 0
        self._lopsided = 0

    def holder(self) -> Instance | None:
        """The instance that takes one more connection although it has some."""
        pool = self._pool
        total = 0
        candidates = []
        for one in pool.instances.values():
            if one.state == READY or one.state == STARTING:
                total += 1
                if one.loans and one.ready_ns and not one.words[W_LEAVING]:
                    candidates.append(one)
        return policy.holder(candidates, total < pool.limits.maximum, self._core.cores, self._is_busy())

    def crowded(self) -> bool:
        """Whether so many instances work that they are to be preferred to idle ones."""
        if self._crowded < SURE_LOOKS:
            return False
        return sum(1 for one in self._pool.instances.values() if one.loans) >= self._core.cores

    def look_soon(self) -> None:
        """Look after instances with several connections until there are none."""
        if not self._looking:
            self._looking = True
            self._core.loop.call_later(LOOK_S, self._look)

    def _is_busy(self) -> bool:
        now = self._core.clock()
        if now - self._asked_ns > BUSY_NS:
            self._asked_ns = now
            self._busy = runnable() > self._core.cores
        return self._busy

    def _look(self) -> None:
        self._looking = False
        pool = self._pool
        # One that is to go may do so only after a long request: it is no place to wait for that, either.
        sharers = [
            one
            for one in pool.instances.values()
            if len(one.loans) > 1 and (one.state == READY or one.state == LEAVING)
        ]
        if not sharers:
            self._crowded = self._lopsided = 0
            return
        self.look_soon()
        for one in sharers:
            if self._is_held_up(one):
                one.swift = False
                self._crowded = 0
                if not self._take_back(one) and one.stuck > FROZEN_LOOKS:
                    one.kill("timeout")
        self._looks += 1
        if self._looks % SURVEY_LOOKS == 0:
            self._survey()

    def _is_held_up(self, one: Instance) -> bool:
        started = one.words[W_STARTED]
        if started != one.seen_started:
            one.seen_started = started
            one.stuck = 0
            return False
        one.stuck += 1
        current = one.loans.get(one.words[W_CURRENT])
        if current is None or one.slot(current.slot)[1] in (BOUNDARY, FREE):
            # It would have begun what it has, or given it back: something keeps it (SIGSTOP, say).
            return one.stuck >= PATIENT_LOOKS
        return policy.is_held_up(one.stuck, one.stuck < PATIENT_LOOKS and sleeps(one.pid), self._is_busy())

    def _take_back(self, one: Instance) -> bool:
        """Take all connections from an instance but the one that it works on; False when it has the lock."""
        guard, words, channel = one.guard, one.words, one.channel
        if channel is None or guard is None or not guard.try_lock():
            return False
        channel.drain()  # what it gave back before it turned to the present one
        if one.state == GONE:
            return True
        current = words[W_CURRENT]
        taken = [(conn, self._served(one, conn)) for number, conn in one.loans.items() if number != current]
        words[W_TAKEN] = next(self._core.loan_ids)
        guard.unlock()
        for conn, _ in taken:
            one.forget(conn)
        for conn, served in taken:
            if served:
                conn.seq += served
                conn.retries = 0
                self._pool.door.adopt(conn)
            else:
                self._pool.submit(conn)
        return True

    def _look_at_work(self, one: Instance) -> None:
        busy_ns, cpu_ns = one.words[W_DURATION], processor_ns(one.pid)
        if one.seen_cpu_ns and cpu_ns:
            spent, worked = busy_ns - one.surveyed_busy_ns, cpu_ns - one.seen_cpu_ns
            if not policy.is_work(spent, worked):
                one.rests_until_ns = self._core.clock() + REST_NS
                one.swift = False
        one.surveyed_busy_ns, one.seen_cpu_ns = busy_ns, cpu_ns
        weigh(one, self._core.clock())

    def _served(self, one: Instance, conn: Connection) -> int:
        loan, _, requests, _ = one.slot(conn.slot)
        return requests if loan == conn.loan_id else 0

    def _survey(self) -> None:
        pool, cores = self._pool, self._core.cores
        active = []
        for one in pool.instances.values():
            if one.loans and one.words[W_STARTED] != one.surveyed:
                one.surveyed = one.words[W_STARTED]
                self._look_at_work(one)
                active.append(one)
        if not active:
            self._crowded = self._lopsided = 0
            return
        fullest = max(active, key=_lent)
        more = bool(pool.idle) or pool.total < pool.limits.maximum
        queues = fullest.lent > 1 and fullest.running > 0
        load = Load(len(active), all(one.swift for one in active), self._is_busy(), queues, more)
        self._crowded = self._crowded + 1 if policy.is_crowded(load, cores) else 0
        self._lopsided = self._lopsided + 1 if policy.is_lopsided(load, cores) else 0
        if self._crowded >= SURE_LOOKS and len(active) > cores:
            min(active, key=_lent).recall_before(next(self._core.loan_ids))
        elif self._lopsided >= SURE_LOOKS:
            self._lopsided = 0
            self._take_back(fullest)


def _lent(one: Instance) -> int:
    return one.lent


def weigh(one: Instance, now_ns: int) -> None:
    """Note whether its latest requests were short."""
    done = one.words[W_DONE]
    if done - one.seen_done >= SAMPLE:
        spent = one.words[W_DURATION]
        short = (spent - one.seen_busy_ns) < SWIFT_NS * (done - one.seen_done)
        one.swift = short and now_ns > one.rests_until_ns
        one.seen_done, one.seen_busy_ns = done, spent

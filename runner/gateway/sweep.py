"""What the gateway does by the clock for one function: timeouts, memory, idle instances, leavers, spares."""

from __future__ import annotations

import select

from snapfork.runner.gateway import losses
from snapfork.runner.gateway.instances import LEAVING, READY, STARTING, Instance
from snapfork.runner.gateway.pool import Pool
from snapfork.runner.policy.elastic import idle_leavers, surplus_spares
from snapfork.runner.processes.memory import rss_bytes
from snapfork.runner.wire.page import RUNNING, W_CURRENT, W_HEARTBEAT, W_WAITING

STALE_NS = 5 * 10**9
"""An event loop that has not turned for so long is blocked: its instance is killed."""
START_TIMEOUTS = 4
"""An instance that no request is tied to may take this many timeouts to start: 4 minutes by default."""
FORKS_NS = 20 * 10**9
"""A deployed unit's template has so long for a fork; its functions' own timeouts may be short."""
KILL_AFTER_NS = 5 * 10**9
"""How long after the drain deadline and the time of its pre-stop an instance that is to go is killed."""


def sweep(pool: Pool, now: int) -> None:
    """One turn, every tenth of a second; `now` is the gateway's clock in nanoseconds."""
    if not pool.settings:
        return
    timeout = int(pool.settings["timeout"] * 1e9)
    _refuse_late(pool, now, timeout)
    alone = pool.limits.concurrency == 1
    for one in list(pool.instances.values()):
        if one.pidfd < 0:
            _check_fork(pool, one, now, timeout)
            continue
        starts = max(START_TIMEOUTS * timeout, pool.allowance_ns)
        if one.state == STARTING and not one.loans and now - one.born_ns > starts:
            one.kill("start timeout")
        if one.loans:
            _check_time(pool, one, now, timeout, alone)
        if pool.settings["memory"]:
            _check_memory(pool, one)
        if one.leave_ns:
            _hurry(pool, one, now)
    if alone:
        _end_abandoned(pool)
    if not pool.core.stopping:
        _reclaim(pool, now)
        pool.pump()
        pool.top_up()


def _check_fork(pool: Pool, one: Instance, now: int, timeout: int) -> None:
    """End a template that has an order and has forked nothing for as long as a request may take."""
    if one.cause or one.starter is None:
        return
    limit = max(timeout, FORKS_NS) if pool.patient else timeout
    if now - max(pool.last_forked_ns, one.born_ns) > limit:
        one.cause = "timeout"
        for conn in one.loans.values():
            conn.late = not pool.patient
        pool.core.console.warn(
            f"{pool.name}: the template has not forked for {limit / 1e9:g} s; it is ended."
        )
        one.starter.end()


def _refuse_late(pool: Pool, now: int, timeout: int) -> None:
    """End the wait of queued requests: 504 past `timeout`, 429 past the queue's time.

    The latter leaves those alone for which instances are starting.
    """
    if pool.starter is None and pool.allowance_ns:
        _refuse_unstarted(pool, now, timeout + pool.allowance_ns)
        return
    limit = int(pool.settings["queue_timeout"] * 1e9)
    starting = sum(1 for one in pool.instances.values() if one.state == STARTING)
    served_soon = starting * pool.limits.concurrency
    for place, conn in enumerate(list(pool.queue)):
        if not pool.patient and now - conn.t0_ns - conn.extra_ns > timeout:
            pool.queue.remove(conn)
            pool.fail(conn, 504, f"function {pool.name!r} did not answer within {timeout / 1e9:g} s")
        elif place >= served_soon and now - conn.queued_ns > limit:
            pool.queue.remove(conn)
            pool.refuse(conn, f"no instance of function {pool.name!r} was free for {limit / 1e9:g} s")


def _refuse_unstarted(pool: Pool, now: int, limit: int) -> None:
    while pool.queue and now - pool.queue[0].t0_ns > limit:
        why = f"function {pool.name!r} had not started after {limit / 1e9:g} s"
        pool.fail(pool.queue.popleft(), 504, why, code="start_failed" if pool.patient else "")


def _check_time(pool: Pool, one: Instance, now: int, timeout: int, alone: bool) -> None:
    late = False
    grace = 0 if alone else STALE_NS
    current = one.words[W_CURRENT]
    for number, conn in one.loans.items():
        if pool.shares and number != current and len(one.loans) > 1:
            continue  # it waits for another, and is taken back in time
        loan, state, requests, since = one.slot(conn.slot)
        if loan == conn.loan_id and requests:
            if requests == 1 and not pool.patient:
                since = conn.t0_ns + conn.extra_ns
            conn.late = state == RUNNING and now - since > timeout
            late = late or (conn.late and alone)
        elif pool.patient:  # it has not begun: that is not its own fault, and another instance may
            limit = pool.allowance_ns if one.state == STARTING else timeout + STALE_NS
            late = late or now - max(conn.t0_ns + conn.extra_ns, one.ready_ns) > limit
        else:
            conn.late = now - conn.t0_ns - conn.extra_ns > timeout + grace
            late = late or conn.late
    waiting, beat = one.words[W_WAITING], one.words[W_HEARTBEAT]
    if not alone and waiting and now - waiting > timeout and now - beat > STALE_NS:
        late = True
    if late:
        one.kill("timeout")


def _end_abandoned(pool: Pool) -> None:
    """Kill instances at concurrency 1 whose request the services process has given up: a stopped task.

    It has closed the connection, which is then of no more use. An HTTP client that goes is no reason to end
    what he has begun: he may have sent it for its effect.
    """
    lent: dict[int, Instance] = {}
    for one in pool.instances.values():
        for conn in one.loans.values():
            if conn.direct and one.pidfd >= 0 and not one.cause:
                loan, state, requests, _ = one.slot(conn.slot)
                if loan != conn.loan_id or not requests or state == RUNNING:
                    lent[conn.fd] = one
    if not lent:
        return
    poll = select.poll()
    for fd in lent:
        poll.register(fd, 0)
    for fd, _ in poll.poll(0):
        lent[fd].kill(losses.STOPPED)


def _check_memory(pool: Pool, one: Instance) -> None:
    if one.state not in (READY, LEAVING) or one.cause:
        return
    try:
        used = rss_bytes(one.pid)
    except OSError:
        return  # it has just died
    if used <= pool.settings["memory"]:
        return
    if one.loans and (one.running == 1 or (one.running and pool.shares)):
        one.kill("memory")
    elif one.state == READY:
        pool.dismiss(one)
        pool.tally.deaths["memory drain"] += 1


def _hurry(pool: Pool, one: Instance, now: int) -> None:
    drain = int(pool.settings["drain_timeout"] * 1e9)
    waited = now - one.leave_ns
    if waited > drain + pool.farewell_ns + KILL_AFTER_NS:
        one.kill("drain deadline")
    elif waited > drain and one.words[2] < 2:
        one.ask_to_leave(2)


def _reclaim(pool: Pool, now: int) -> None:
    settings = pool.settings
    idle = [
        (one.number, now - one.idle_since_ns)
        for one in pool.instances.values()
        if one.state == READY and not one.fresh and not one.loans and not one.running
    ]
    worked = pool.total - pool.spares
    limit = int(settings["idle_timeout"] * 1e9)
    wanted = pool.wanted()
    for number in idle_leavers(idle, limit, worked, wanted.minimum):
        pool.dismiss(pool.instances[number])
    extra = surplus_spares(pool.spares, pool.total, wanted)
    for one in [one for one in pool.instances.values() if one.fresh and one.state == READY][:extra]:
        pool.dismiss(one)

"""What the client of a dead instance is owed, from the kernel's counters and the instance's page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snapfork.runner.gateway import endings
from snapfork.runner.gateway.connection import CLOSED, Connection
from snapfork.runner.gateway.instances import Instance
from snapfork.runner.http.answers import request_id_for
from snapfork.runner.policy.death import Evidence, Verdict, judge, judge_flags
from snapfork.runner.wire.page import (
    S_CONSUMED,
    S_NEXT_CONSUMED,
    S_NEXT_WRITTEN,
    S_WRITTEN,
    SLOT,
    W_BUSY,
    W_SLOTS,
)

if TYPE_CHECKING:
    from snapfork.runner.gateway.pool import Pool

MAX_RETRIES = 3
"""How often a request that no instance has begun is given to another one."""
STOPPED = "stopped"
"""Cause of death of an instance whose request nobody waits for any more."""


def settle(pool: Pool, one: Instance, conn: Connection) -> None:
    """Give the client of a dead instance what it is owed."""
    if one.cause == STOPPED and conn.is_broken():
        conn.instance = None
        pool.door.close(conn)
        return
    found, request = verdict(one, conn, flags_lead=pool.interface != "asgi")
    conn.instance = None
    if found is Verdict.RELEND and one.cause == "timeout" and conn.late:
        found = Verdict.ANSWER
    if found is Verdict.RELEND:
        if not (pool.shares and one.words[W_BUSY]):  # else it died of another's request
            conn.retries += 1
        if conn.retries <= MAX_RETRIES:
            pool.submit(conn)
            return
        if pool.patient:
            pool.fail(conn, 503, f"no instance of function {pool.name!r} has lived to take this request")
            return
        found = Verdict.ANSWER
    if found is Verdict.ADOPT:
        conn.seq += request
        conn.buffer = b""
        pool.door.adopt(conn)
    elif found is Verdict.END:
        pool.door.end(conn)
    else:
        status, why = blame(one, conn, pool.name, pool.settings["timeout"])
        if request > 1:
            conn.head = None  # it was the head of an earlier request of this loan
        request_id = request_id_for(pool.core.boot_id, conn.loan_id, conn.seq + max(0, request - 1))
        if not conn.direct:
            pool.fail(conn, status, why, request_id)
            return
        run = endings.seen(one, conn, request, pool.core.clock())

        def answer() -> None:
            if conn.state != CLOSED:
                pool.fail(conn, status, why, request_id, extra=endings.header(one, run))

        pool.when_known(one, answer)


def verdict(one: Instance, conn: Connection, *, flags_lead: bool) -> tuple[Verdict, int]:
    """Judge a connection that `one` held when it died; also how many of its requests had begun.

    Called after its pidfd has fired: until then it might still finish a send. `flags_lead`: see judge_flags.
    """
    loan, state, requests, _ = one.slot(conn.slot)
    noted = loan == conn.loan_id
    if not noted:
        requests = 0
    if not conn.is_tcp:
        return judge_flags(noted, state, requests, flags_lead), requests
    consumed, written = conn.counters()
    if consumed < 0:
        return Verdict.END, requests
    base = W_SLOTS + SLOT * conn.slot

    def note(word: int) -> int:
        return one.words[base + word] if noted else 0

    seen = Evidence(
        consumed=consumed - conn.base_consumed,
        written=written - conn.base_written,
        noted=noted,
        note_state=state,
        note_requests=requests,
        note_consumed=note(S_CONSUMED),
        note_written=note(S_WRITTEN),
        next_consumed=note(S_NEXT_CONSUMED),
        next_written=note(S_NEXT_WRITTEN),
        only_eof=conn.only_eof(),
    )
    return judge(seen), requests


def blame(one: Instance, conn: Connection, function: str, timeout: float) -> tuple[int, str]:
    """Status and sentence for a request whose instance is gone; `timeout` in seconds."""
    if one.cause == "timeout" and conn.late:
        return 504, f"function {function!r} did not answer within {timeout:g} s"
    if one.cause == "memory":
        return 507, f"function {function!r} needed more than its memory limit"
    if one.cause == "timeout":
        return 502, f"another request of the same instance of {function!r} blocked it past its timeout"
    return 502, f"the instance of function {function!r} that had this request died"

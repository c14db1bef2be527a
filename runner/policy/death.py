"""What a connection is owed when the instance that held it has died. Pure.

The kernel's counters on the gateway's duplicate tell what was read from and written to the client,
whatever the dead process managed to note down itself.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from snapfork.runner.wire.page import ANSWERED, BOUNDARY, RUNNING


class Verdict(Enum):
    """RELEND: the request was never touched, lend it again with its prefix. ADOPT: between requests, read on.
    ANSWER: its request was taken and nothing answered. END: an answer has begun."""

    RELEND = "relend"
    ADOPT = "adopt"
    ANSWER = "answer"
    END = "end"


class Evidence(NamedTuple):
    """consumed, written: bytes since the loan began, by the kernel. The note_ fields are the instance's page:
    whether its slot names this loan, its state, totals at the last boundary, and (in state ANSWERED) those
    after the answer's last send. only_eof: the one byte consumed beyond is the client's FIN."""

    consumed: int
    written: int
    noted: bool
    note_state: int
    note_requests: int
    note_consumed: int
    note_written: int
    next_consumed: int
    next_written: int
    only_eof: bool


def judge(seen: Evidence) -> Verdict:
    """Decide from the evidence; a FIN counts as one consumed byte."""
    consumed = seen.consumed - (1 if seen.only_eof else 0)
    if not seen.noted or seen.note_requests == 0:
        if seen.written:
            return Verdict.END
        return Verdict.RELEND if consumed <= 0 else Verdict.ANSWER
    state, at_consumed, at_written = seen.note_state, seen.note_consumed, seen.note_written
    if state == ANSWERED and seen.written == seen.next_written:
        # Its last bytes did go out: the connection is at a boundary.
        state, at_consumed, at_written = BOUNDARY, seen.next_consumed, seen.next_written
    if state == BOUNDARY and consumed <= at_consumed:
        return Verdict.ADOPT
    return Verdict.ANSWER if seen.written == at_written else Verdict.END


def judge_flags(noted: bool, state: int, requests: int, flags_lead: bool) -> Verdict:
    """The same for Unix sockets, which have no counters: only the page's flags, and END when in doubt.

    `flags_lead` is True when the instance sets its flag before it reads (the blocking loop does).
    """
    if not noted or requests == 0:
        return Verdict.RELEND
    if state == BOUNDARY:
        return Verdict.ADOPT if flags_lead else Verdict.END
    return Verdict.ANSWER if state == RUNNING else Verdict.END

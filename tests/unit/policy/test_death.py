"""What a connection is owed after a death: a small model of one dies after every step it can die after."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.policy.death import Evidence, Verdict, judge, judge_flags
from snapfork.runner.wire import page
from snapfork.runner.wire.page import BEGUN, BOUNDARY, FREE, RUNNING

LOAN = 7


@dataclass
class Kernel:
    """What the counters say, and the truth that no counter tells."""

    consumed: int = 0
    written: int = 0
    request_taken: bool = False  # some byte of a request without a whole answer was read
    answer_begun: bool = False  # that request's answer has bytes out, or a further answer is partly there
    served: int = 0


@dataclass(frozen=True)
class Request:
    """size of it, and of the writes of its answer; split: it is read in two goes."""

    size: int
    writes: tuple[int, ...]
    split: bool


WRITES = st.lists(st.integers(1, 99), min_size=1, max_size=3).map(tuple)
REQUESTS = st.builds(Request, st.integers(2, 99), WRITES, st.booleans())


def serve(requests: list[Request], one: page.Page, kernel: Kernel) -> Iterator[None]:
    """An instance that serves one connection; it may die wherever this yields."""
    yield
    one.claim(0, LOAN)
    yield
    for request in requests:
        pieces = (1, request.size - 1) if request.split else (request.size,)
        kernel.consumed += pieces[0]
        kernel.request_taken = True
        yield
        one.begin(0, 1)
        yield
        for piece in pieces[1:]:
            kernel.consumed += piece
            yield
        one.first_byte(0)
        yield
        for write in request.writes[:-1]:
            kernel.written += write
            kernel.answer_begun = True
            yield
        one.answered(0, kernel.consumed, kernel.written + request.writes[-1])
        yield
        kernel.written += request.writes[-1]
        kernel.request_taken = kernel.answer_begun = False
        kernel.served += 1
        yield
        one.boundary(0, kernel.consumed, kernel.written)
        yield


def evidence(one: page.Page, kernel: Kernel, fin: bool) -> Evidence:
    words, base = one.words, page.W_SLOTS
    return Evidence(
        consumed=kernel.consumed + fin,
        written=kernel.written,
        noted=words[base + page.S_LOAN] == LOAN,
        note_state=words[base + page.S_STATE],
        note_requests=words[base + page.S_REQUESTS],
        note_consumed=words[base + page.S_CONSUMED],
        note_written=words[base + page.S_WRITTEN],
        next_consumed=words[base + page.S_NEXT_CONSUMED],
        next_written=words[base + page.S_NEXT_WRITTEN],
        only_eof=fin,
    )


@given(st.lists(REQUESTS, max_size=4), st.booleans())
def test_every_moment_to_die(requests: list[Request], fin: bool) -> None:
    one, kernel = page.private_page(), Kernel()
    for _ in serve(requests, one, kernel):
        verdict = judge(evidence(one, kernel, fin))
        if kernel.answer_begun:
            assert verdict is Verdict.END
        elif kernel.request_taken:
            assert verdict is Verdict.ANSWER
        elif kernel.served:
            assert verdict is Verdict.ADOPT
        else:
            assert verdict is Verdict.RELEND


@given(st.integers(1, 99), st.integers(1, 99), st.integers(0, 98))
def test_pipelined_requests_that_were_read_ahead(size: int, answer: int, sent: int) -> None:
    """The second request was read with the first; the page notes only what the first's answer took."""
    one, kernel = page.private_page(), Kernel()
    one.claim(0, LOAN)
    kernel.consumed = 2 * size
    one.begin(0, 1)
    one.first_byte(0)
    kernel.written = answer
    assert judge(evidence(one, kernel, False)) is Verdict.END  # whether it is whole nobody knows
    one.wrote(0, answer)
    one.begin(0, 2)
    assert judge(evidence(one, kernel, False)) is Verdict.ANSWER
    one.first_byte(0)
    kernel.written += sent
    assert judge(evidence(one, kernel, False)) is (Verdict.END if sent else Verdict.ANSWER)


def test_a_slot_of_another_loan_says_nothing() -> None:
    one, kernel = page.private_page(), Kernel()
    one.claim(0, LOAN - 1)
    one.begin(0, 1)
    one.boundary(0, 500, 500)
    assert judge(evidence(one, kernel, False)) is Verdict.RELEND
    kernel.consumed = 1
    assert judge(evidence(one, kernel, False)) is Verdict.ANSWER
    kernel.written = 1
    assert judge(evidence(one, kernel, False)) is Verdict.END


@pytest.mark.parametrize(
    ("noted", "state", "requests", "flags_lead", "verdict"),
    [
        (False, FREE, 0, True, Verdict.RELEND),
        (False, BEGUN, 3, True, Verdict.RELEND),
        (True, BOUNDARY, 0, True, Verdict.RELEND),
        (True, BOUNDARY, 1, True, Verdict.ADOPT),
        (True, BOUNDARY, 1, False, Verdict.END),
        (True, RUNNING, 1, True, Verdict.ANSWER),
        (True, RUNNING, 2, False, Verdict.ANSWER),
        (True, BEGUN, 1, True, Verdict.END),
        (True, FREE, 1, True, Verdict.END),
    ],
)
def test_unix_sockets_have_flags_only(
    noted: bool, state: int, requests: int, flags_lead: bool, verdict: Verdict
) -> None:
    assert judge_flags(noted, state, requests, flags_lead) is verdict

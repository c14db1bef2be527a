"""Where a request goes: never beyond the limits, never waiting while an instance is free."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.policy.placement import Limits, Move, place, starts_for_waiting


@dataclass(frozen=True)
class One:
    """An instance as the choice sees it."""

    fresh: bool
    running: int
    lent: int


@st.composite
def instances(draw: st.DrawFn) -> list[One]:
    """Any mixture; a fresh one may be on its way to its first request, a lent one may be idle."""
    result = []
    for _ in range(draw(st.integers(0, 6))):
        running = draw(st.integers(0, 5))
        result.append(One(draw(st.booleans()), running, running + draw(st.integers(0, 3))))
    return result


LIMITS = st.builds(Limits, st.integers(1, 6), st.integers(1, 8), st.integers(1, 4))


@given(instances(), st.integers(0, 4), LIMITS, st.booleans())
def test_every_choice_keeps_the_limits(pool: list[One], starting: int, limits: Limits, can: bool) -> None:
    total = len(pool) + starting
    choice = place(pool, total, limits, can)
    if isinstance(choice, One):
        assert choice.lent < limits.concurrency
    elif choice is Move.FORK:
        assert can
        assert total < limits.maximum


@given(instances(), st.integers(0, 4), LIMITS, st.booleans())
def test_nobody_waits_while_something_can_be_done(
    pool: list[One], starting: int, limits: Limits, can: bool
) -> None:
    total = len(pool) + starting
    if place(pool, total, limits, can) is Move.WAIT:
        assert all(one.lent >= limits.concurrency for one in pool)
        assert not can or total >= limits.maximum


@given(instances(), st.integers(0, 4), LIMITS, st.booleans())
def test_the_order_of_preference(pool: list[One], starting: int, limits: Limits, can: bool) -> None:
    total = len(pool) + starting
    choice = place(pool, total, limits, can)
    room = [one for one in pool if one.lent < limits.concurrency]
    warm = [one for one in room if not one.running and not one.fresh]
    spare = [one for one in room if not one.running and one.fresh]
    below_cores = sum(one.running > 0 for one in pool) < limits.cores
    if warm:
        assert choice in warm
    elif spare:
        assert choice in spare
    elif can and total < limits.maximum and (below_cores or not room):
        assert choice is Move.FORK
    elif room:
        assert isinstance(choice, One)
        assert choice.running == min(one.running for one in room)
    else:
        assert choice is Move.WAIT


@given(LIMITS, st.integers(1, 60))
def test_a_burst_spreads_over_the_cores_then_fills_then_waits(limits: Limits, burst: int) -> None:
    """Requests that come at once and do not end: every place is taken before one waits."""
    pool: list[One] = []
    waiting = 0
    for number in range(burst):
        choice = place(pool, len(pool), limits, True)
        if choice is Move.FORK:
            pool.append(One(False, 1, 1))
        elif choice is Move.WAIT:
            waiting += 1
        else:
            assert isinstance(choice, One)
            pool[pool.index(choice)] = One(False, choice.running + 1, choice.lent + 1)
        if number < min(limits.cores, limits.maximum):
            assert len(pool) == number + 1
    places = limits.concurrency * limits.maximum
    assert waiting == max(0, burst - places)
    assert len(pool) <= limits.maximum
    assert all(one.running <= limits.concurrency for one in pool)


@given(st.integers(0, 60), st.integers(0, 8), st.integers(0, 8), LIMITS)
def test_starts_for_waiting_requests(waiting: int, working: int, starting: int, limits: Limits) -> None:
    starts = starts_for_waiting(waiting, working, starting, limits)
    assert 0 <= starts <= max(0, limits.maximum - working - starting)
    assert starts + starting <= max(starting, waiting), "no instance that nobody waits for"
    if working + starting + starts < limits.maximum:
        assert (starting + starts) * limits.concurrency >= waiting, "each of them will find room"
        assert starting + starts >= min(waiting, limits.cores - working), "they spread over the cores"

"""How many invocations of each function are in flight."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.policy.fairness import ALWAYS, FIRST, TOTAL, Window


def test_a_window_grows_while_work_waits_and_halves_when_refused() -> None:
    window = Window()
    for _ in range(5000):
        window.answered(waiting=True)
    grown = window.size
    assert grown > 10 * FIRST
    assert window.refused(others=3) == 0
    for _ in range(3):  # begun before it was halved
        assert window.refused(others=2) == 0
    assert window.size == grown // 2
    window.refused(others=0)
    assert window.size == grown // 4
    for _ in range(100):
        window.answered(waiting=False)
    assert window.size == grown // 4


def test_only_what_is_refused_alone_pauses_longer_and_longer() -> None:
    window = Window()
    while window.size > 1:
        assert window.refused(others=0) == 0
    assert [window.refused(others=0) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0]
    window.answered(waiting=True)
    assert window.size == 2
    assert window.refused(others=0) == 0
    assert window.refused(others=0) == 0.1  # an answer in between: the pauses begin anew


def test_what_is_unavailable_is_put_off_at_once_and_once_for_all_in_flight() -> None:
    window = Window()
    assert window.unavailable(others=2) == 0.1
    assert [window.unavailable(others=0), window.unavailable(others=0)] == [0, 0]
    assert window.unavailable(others=0) == 0.2
    assert window.size == FIRST


def test_no_function_is_ever_left_with_nothing() -> None:
    window = Window()
    for _ in range(100):
        window.refused(others=0)
    assert window.allowance(others=1000, room=-50) == 1


@given(st.integers(0, 2000), st.integers(-100, TOTAL), st.one_of(st.none(), st.integers(1, 50)))
def test_the_allowance_keeps_its_bounds(others: int, room: int, cap: int | None) -> None:
    window = Window(cap)
    window.size = TOTAL
    allowance = window.allowance(others, room)
    assert 1 <= allowance <= TOTAL
    if cap is not None:
        assert allowance <= cap
    if room <= 0:
        assert allowance <= ALWAYS


@given(st.integers(1, 100))
def test_one_function_alone_leaves_room_for_the_next(others: int) -> None:
    window = Window()
    window.size = TOTAL
    assert window.allowance(0, TOTAL) <= TOTAL // 2
    assert (others + 1) * window.allowance(others, TOTAL) <= max(TOTAL, (others + 1) * ALWAYS)

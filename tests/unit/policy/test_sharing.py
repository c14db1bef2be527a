"""Who holds several connections, and when they are taken from it."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.policy.sharing import (
    MOST_HELD,
    PATIENT_LOOKS,
    Load,
    holder,
    is_crowded,
    is_held_up,
    is_lopsided,
    is_work,
)


@dataclass(frozen=True)
class One:
    """An instance as the choice sees it."""

    swift: bool
    running: int
    lent: int


INSTANCES = st.lists(st.builds(One, st.booleans(), st.integers(0, 2), st.integers(1, MOST_HELD)), max_size=6)
CORES = 2


@given(INSTANCES, st.booleans())
def test_only_swift_instances_with_room_take_more(pool: list[One], busy: bool) -> None:
    taker = holder(pool, True, CORES, busy)
    if taker is not None:
        assert taker.swift
        assert taker.lent < MOST_HELD
        assert not taker.running or (busy and sum(1 for one in pool if one.running) >= CORES)


@given(INSTANCES, st.booleans())
def test_at_the_maximum_nobody_waits_for_a_swift_instance(pool: list[One], busy: bool) -> None:
    room = [one for one in pool if one.swift and one.lent < MOST_HELD]
    assert (holder(pool, False, CORES, busy) is None) == (not room)


def test_who_is_free_goes_before_who_works_and_who_holds_less_before_who_holds_more() -> None:
    full, half, working = One(True, 0, 9), One(True, 0, 4), One(True, 1, 1)
    assert holder([working, full, half], True, CORES, True) is half
    assert holder([One(True, 1, 5), working, One(False, 1, 1)], True, CORES, True) is working


def test_one_request_keeps_others_waiting_only_where_a_processor_is_what_it_waits_for() -> None:
    assert not is_held_up(0, sleeps=True, busy=False)
    assert is_held_up(1, sleeps=True, busy=True)
    assert is_held_up(1, sleeps=False, busy=False)
    assert not is_held_up(1, sleeps=False, busy=True)
    assert is_held_up(PATIENT_LOOKS, sleeps=False, busy=True)


def test_requests_that_wait_for_others_are_no_work() -> None:
    assert is_work(1000, 1200)
    assert is_work(1000, 500)
    assert not is_work(1000, 300)


def test_how_the_load_lies() -> None:
    crowd = Load(active=8, swift=True, busy=True, queues=True, more=True)
    assert is_crowded(crowd, 2)
    assert not is_crowded(crowd._replace(swift=False), 2)
    assert not is_crowded(crowd._replace(busy=False), 2)
    assert not is_lopsided(crowd, 2)
    assert is_lopsided(crowd._replace(busy=False), 2)
    assert is_lopsided(crowd._replace(active=1), 2)
    assert not is_lopsided(crowd._replace(active=1, queues=False), 2)
    assert not is_lopsided(crowd._replace(active=1, more=False), 2)

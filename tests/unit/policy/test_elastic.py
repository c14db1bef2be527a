"""How many instances are kept: within the cap, without going back and forth."""

from __future__ import annotations

from hypothesis import assume, given
from hypothesis import strategies as st
from snapfork.runner.policy.elastic import (
    Census,
    StartFailures,
    Wanted,
    backoff_s,
    effective_maximum,
    idle_leavers,
    starts_needed,
    surplus_spares,
)

SMALL = st.integers(0, 12)
WANTED = st.builds(Wanted, SMALL, SMALL, st.integers(1, 12))


@given(SMALL, SMALL, WANTED)
def test_starts_keep_the_cap_and_bring_what_is_wanted(worked: int, spares: int, wanted: Wanted) -> None:
    total = worked + spares
    starts = starts_needed(Census(total, spares), wanted)
    assert starts >= 0
    assert total + starts <= max(total, wanted.maximum)
    after = Census(total + starts, spares + starts)
    assert starts_needed(after, wanted) == 0
    if after.total < wanted.maximum:
        assert after.total >= wanted.minimum
        assert after.spares >= wanted.spares


@given(SMALL, SMALL, WANTED)
def test_nothing_is_started_only_to_be_sent_away(worked: int, spares: int, wanted: Wanted) -> None:
    total = worked + spares
    starts = starts_needed(Census(total, spares), wanted)
    assert not starts or not surplus_spares(spares, total, wanted)
    assert not starts or not surplus_spares(spares + starts, total + starts, wanted)


@given(SMALL, SMALL, WANTED)
def test_nothing_is_sent_away_only_to_be_started_again(worked: int, spares: int, wanted: Wanted) -> None:
    total = worked + spares
    surplus = surplus_spares(spares, total, wanted)
    assert 0 <= surplus <= spares
    assert not surplus or starts_needed(Census(total - surplus, spares - surplus), wanted) == 0


@given(st.lists(st.integers(0, 100), max_size=10), st.integers(0, 100), SMALL, SMALL)
def test_who_leaves(idle: list[int], limit: int, busy: int, minimum: int) -> None:
    worked = len(idle) + busy
    numbered = list(enumerate(idle))
    leavers = idle_leavers(numbered, limit, worked, minimum)
    assert len(set(leavers)) == len(leavers)
    assert all(idle[number] >= limit for number in leavers)
    assert not leavers or worked - len(leavers) >= minimum
    staying = [ns for number, ns in numbered if number not in leavers and ns >= limit]
    if staying:
        assert worked - len(leavers) <= minimum
        assert all(idle[number] >= max(staying) for number in leavers)


@given(st.integers(1, 100), st.integers(0, 2**34), st.integers(0, 2**38))
def test_the_maximum_fits_half_of_the_free_memory(asked: int, private: int, free: int) -> None:
    maximum = effective_maximum(asked, private, free)
    assert 1 <= maximum <= asked
    assert maximum == 1 or maximum * private <= free // 2
    assume(maximum < asked)
    assert (maximum + 1) * private > free // 2


@given(st.integers(0, 2000))
def test_the_back_off_grows_to_its_limit(failures: int) -> None:
    assert 0.5 <= backoff_s(failures) <= backoff_s(failures + 1) <= 30.0


@given(st.integers(1, 20), st.integers(0, 10**12))
def test_waiting_requests_are_kept_from_a_try_for_a_second_at_most(failures: int, now: int) -> None:
    record = StartFailures()
    delays = [record.note(now) for _ in range(failures)]
    assert delays == [0.0, *(backoff_s(count) for count in range(1, failures))]
    longest = int(delays[-1] * 1e9)
    assert record.may_start(now + longest, asked=False)
    assert record.may_start(now + min(longest, 10**9), asked=True)
    if failures > 1:
        assert not record.may_start(now + longest - 1, asked=False)
        assert not record.may_start(now, asked=True)
    record.over()
    assert record.may_start(now, asked=False)
    assert record.note(now) == 0.0

"""What becomes of an asynchronous invocation after a run."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.policy import retries
from snapfork.runner.policy.retries import Decision, History, Rules

LAMBDA = Rules(2, (60.0, 120.0), 6 * 3600.0, 1.0, 300.0)
FC = Rules(3, (1.0, 2.0, 4.0), 86400.0, 0.5, 300.0)
RUNNER = Rules(3, (1.0, 2.0, 4.0), None, 0.5, 300.0)
SECONDS = st.floats(0, 1e6)


@pytest.mark.parametrize(
    ("rules", "delays"), [(LAMBDA, [60.0, 120.0]), (FC, [1.0, 2.0, 4.0]), (RUNNER._replace(retries=0), [])]
)
def test_a_function_error_is_retried_as_often_as_the_rules_say(rules: Rules, delays: list[float]) -> None:
    for number, delay in enumerate(delays, 1):
        assert retries.after_function_error(rules, History(number, 0, 1.0)) == Decision("again", delay)
    last = retries.after_function_error(rules, History(len(delays) + 1, 0, 1.0))
    assert last == Decision("failed", condition="RetriesExhausted")


def test_the_last_delay_repeats() -> None:
    rules = RUNNER._replace(retries=8)
    assert [retries.retry_delay(rules.delays, number) for number in range(1, 6)] == [1, 2, 4, 4, 4]
    assert retries.retry_delay((), 3) == 0


def test_a_retry_that_would_come_too_late_is_no_retry() -> None:
    assert retries.after_function_error(LAMBDA, History(1, 0, 6 * 3600.0 - 30)).verdict == "expired"


@pytest.mark.parametrize(
    ("rules", "expected"), [(LAMBDA, [1, 2, 4, 8, 16]), (FC, [0.5, 1, 2, 4, 8]), (RUNNER, [0.5, 1, 2, 4, 8])]
)
def test_system_errors_are_backed_off_doubling(rules: Rules, expected: list[float]) -> None:
    assert [retries.backoff(rules, number) for number in range(1, 6)] == expected
    assert retries.backoff(rules, 1000) == 300.0


def test_without_an_age_limit_system_errors_never_end() -> None:
    decision = retries.after_system_error(RUNNER, History(0, 500, 1e9), 0.0)
    assert decision == Decision("again", 300.0)


def test_a_reserved_concurrency_of_0_is_not_waited_for() -> None:
    assert retries.after_system_error(LAMBDA, History(0, 1, 0.0), 0.5, reserved=0).verdict == "failed"
    assert retries.after_system_error(LAMBDA, History(0, 1, 0.0), 0.5, reserved=1).verdict == "again"


@given(st.integers(1, 100), SECONDS, st.floats(0, 1))
def test_system_errors_end_by_age_and_by_nothing_else(errors: int, age: float, draw: float) -> None:
    decision = retries.after_system_error(LAMBDA, History(0, errors, age), draw)
    if age > 6 * 3600.0:
        assert decision == Decision("expired", condition="EventAgeExceeded")
    else:
        assert decision.verdict == "again"
        assert 0 < decision.delay <= 300.0 * (1 + retries.JITTER)
        # A last try comes right after the limit at the latest, when it is found too old.
        assert age + decision.delay <= max(6 * 3600.0 + 0.01, age + 1e-3)


@given(st.integers(0, 8), st.integers(1, 20), st.one_of(st.none(), st.floats(1, 1e5)), SECONDS)
def test_function_errors_are_tried_at_most_retries_times(
    allowed: int, errors: int, max_age: float | None, age: float
) -> None:
    decision = retries.after_function_error(Rules(allowed, (1.0,), max_age), History(errors, 0, age))
    assert (decision.verdict == "again") <= (errors <= allowed)
    if errors <= allowed and max_age is None:
        assert decision == Decision("again", 1.0)


def test_deliveries_are_tried_for_longer_and_longer() -> None:
    assert [retries.delivery_delay(number) for number in (1, 2, 3, 20)] == [1, 2, 4, 300]

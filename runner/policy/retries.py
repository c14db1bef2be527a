"""What becomes of an asynchronous invocation after a run: ended, run again and when, or given up. Pure.

Function errors are retried a number of times after delays of the function's own. What is not the function's
fault (throttled, unavailable) is backed off, doubling, until it runs or the invocation has become too old.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

Verdict = Literal["succeeded", "again", "failed", "expired", "lost"]
"""lost: its function is no more."""
JITTER = 0.25
"""Share of a backoff that is left to chance: what was refused together does not come back together."""


class Rules(NamedTuple):
    """How a function's invocations are executed (registry.model.AsyncConfig, and its dialect).

    retries: after function errors. delays: seconds before each, the last one repeats. max_age: seconds from
    the enqueueing, None without limit. first, longest: seconds of the backoff after system errors.
    """

    retries: int
    delays: Sequence[float]
    max_age: float | None
    first: float = 0.5
    longest: float = 300.0


class History(NamedTuple):
    """An invocation so far, the run that has just ended included: function errors, system errors in a row,
    and its age in seconds."""

    errors: int
    system_errors: int
    age: float


class Decision(NamedTuple):
    """What to do; `delay` seconds before it runs again. condition: as the dialects' records call the end."""

    verdict: Verdict
    delay: float = 0.0
    condition: str = ""


def too_old(rules: Rules, age: float) -> bool:
    """True when an invocation of this age is not begun any more."""
    return rules.max_age is not None and age > rules.max_age


def after_success() -> Decision:
    """It has run."""
    return Decision("succeeded", condition="Success")


def after_function_error(rules: Rules, history: History) -> Decision:
    """The function has failed; `history.errors` counts this failure."""
    if history.errors > rules.retries:
        return Decision("failed", condition="RetriesExhausted")
    delay = retry_delay(rules.delays, history.errors)
    if too_old(rules, history.age + delay):
        return Decision("expired", condition="EventAgeExceeded")
    return Decision("again", delay)


def after_system_error(rules: Rules, history: History, draw: float, reserved: int | None = None) -> Decision:
    """It was not the function's fault; `history.system_errors` counts this one, `draw` is a random number
    from 0 to 1. A function whose reserved concurrency is 0 will not run for anybody: no retry."""
    if reserved == 0:
        return Decision("failed", condition="ReservedConcurrencyZero")
    delay = backoff(rules, history.system_errors) * (1.0 + JITTER * draw)
    if too_old(rules, history.age):
        return Decision("expired", condition="EventAgeExceeded")
    if rules.max_age is not None:
        # One try more when it is nearly too old, instead of none because the next would be too late.
        delay = min(delay, max(0.0, rules.max_age - history.age) + 0.001)
    return Decision("again", delay)


def retry_delay(delays: Sequence[float], failures: int) -> float:
    """Seconds before the retry that follows the `failures`-th function error."""
    return delays[min(failures, len(delays)) - 1] if delays and failures > 0 else 0.0


def backoff(rules: Rules, failures: int) -> float:
    """Seconds after `failures` system errors in a row, without jitter."""
    return float(min(rules.longest, rules.first * 2.0 ** min(max(0, failures - 1), 30)))


def delivery_delay(attempts: int) -> float:
    """Seconds before a destination that was not reached `attempts` times is tried again: 1 s to 5 min."""
    return float(min(300.0, 2.0 ** min(max(0, attempts - 1), 10)))

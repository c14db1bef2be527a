"""Expressions of timers: what they mean, and what is none."""

from __future__ import annotations

import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.registry import schedules
from snapfork.runner.registry.errors import Invalid

UTC = datetime.UTC
NOON = datetime.datetime(2026, 1, 31, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "after", "before"),
    [
        ("@every 5m", "2026-01-31T12:05:00", "2026-01-31T12:00:00"),
        ("@every 1h30m", "2026-01-31T13:30:00", "2026-01-31T12:00:00"),
        ("0 0 4 * * *", "2026-02-01T04:00:00", "2026-01-31T04:00:00"),
        ("0 0 12 * * *", "2026-02-01T12:00:00", "2026-01-31T12:00:00"),
        ("*/20 * * * * *", "2026-01-31T12:00:20", "2026-01-31T12:00:00"),
        ("0 30 8 ? * MON-FRI", "2026-02-02T08:30:00", "2026-01-30T08:30:00"),
        ("0 0 0 1 JAN ?", "2027-01-01T00:00:00", "2026-01-01T00:00:00"),
        ("CRON_TZ=Asia/Shanghai 0 0 4 1 * *", "2026-01-31T20:00:00", "2025-12-31T20:00:00"),
    ],
)
def test_when(text: str, after: str, before: str) -> None:
    found = schedules.parse(text)
    assert found.after(NOON) == datetime.datetime.fromisoformat(after).replace(tzinfo=UTC)
    assert found.before(NOON) == datetime.datetime.fromisoformat(before).replace(tzinfo=UTC)


def test_a_time_that_the_clocks_leave_out_is_when_they_go_on() -> None:
    found = schedules.parse("CRON_TZ=America/New_York 0 30 2 8 3 *")
    assert found.after(NOON) == datetime.datetime(2026, 3, 8, 7, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0 4 * * *",
        "0 0 4 * * * *",
        "@daily",
        "@every",
        "@every 5",
        "@every 0s",
        "@every 400d",
        "H * * * * *",
    ]
    + [
        "60 * * * * *",
        "0 0 24 * * *",
        "0 0 0 0 * *",
        "0 0 0 * 13 *",
        "0 0 0 * * FOO",
        "a b c d e f",
        "0 0 0 * * *;",
    ]
    + [
        "CRON_TZ= 0 0 4 * * *",
        "CRON_TZ=../../etc/passwd 0 0 4 * * *",
        "CRON_TZ=UTC",
        "0 0 0 * * 1#2",
        "R * * * * *",
    ],
)
def test_what_is_none(text: str) -> None:
    with pytest.raises(Invalid) as caught:
        schedules.parse(text)
    assert caught.value.member == "cronExpression" and "\n" not in caught.value.message


def test_a_day_that_never_comes() -> None:
    assert schedules.parse("0 0 0 31 2 *").after(NOON) is None


FIELD = st.one_of(st.sampled_from(["*", "?", "*/7", "1-5", "3,9", "MON", "JAN", "L"]), st.text(max_size=4))


@given(st.lists(FIELD, min_size=4, max_size=8).map(" ".join))
def test_whatever_the_text_it_is_read_or_refused(text: str) -> None:
    try:
        found = schedules.parse(text)
    except Invalid:
        return
    after, before = found.after(NOON), found.before(NOON)
    assert (after is None or after > NOON) and (before is None or before <= NOON)

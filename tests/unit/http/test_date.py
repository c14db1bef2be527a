"""Dates of responses."""

from __future__ import annotations

from email.utils import formatdate

from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.http.date import http_date


@given(st.integers(0, 253_402_300_799))
def test_dates_are_those_of_the_standard_library(second: int) -> None:
    assert http_date(second + 0.25).decode() == formatdate(second, usegmt=True)

"""Host and Origin: what a browser on a foreign page can send is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.services import guard


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:9000", "127.0.0.1", "127.0.0.1:1", "[::1]:9", "[::1]", "10.1.2.3"]
)
def test_addresses_and_localhost_are_hosts(host: str) -> None:
    assert guard.host_allowed(host)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "example.com",
        "localhost.evil.com",
        "127.0.0.1.nip.io",
        "127.0.0.1:x",
        "[::1",
        "::1",
        "localhost:",
        "a@127.0.0.1",
    ],
)
def test_names_are_not(host: str) -> None:
    assert not guard.host_allowed(host)


def test_origin_is_absent_or_the_same() -> None:
    assert guard.origin_allowed(None, "127.0.0.1:9000")
    assert guard.origin_allowed("http://127.0.0.1:9000", "127.0.0.1:9000")
    for origin in ("null", "", "http://evil.com", "http://127.0.0.1:9001", "https://127.0.0.1:9000"):
        assert not guard.origin_allowed(origin, "127.0.0.1:9000")


@given(st.text(max_size=30))
def test_any_text_gets_an_answer(text: str) -> None:
    assert guard.host_allowed(text) in (True, False)
    assert guard.origin_allowed(text, "127.0.0.1") in (True, False)

"""X-Forwarded-* counts only from trusted peers."""

from __future__ import annotations

import pytest
from snapfork.runner.http.forwarded import Trusted

LOCAL = Trusted(["127.0.0.1", "::1", "10.0.0.0/8", "unix"])


@pytest.mark.parametrize(
    ("address", "trusted"),
    [
        ("127.0.0.1", True),
        ("::1", True),
        ("10.1.2.3", True),
        ("::ffff:10.1.2.3", True),
        ("11.1.2.3", False),
        ("fe80::1%eth0", False),
        ("nonsense", False),
        (None, True),
    ],
)
def test_peers(address: str | None, trusted: bool) -> None:
    assert LOCAL.peer(address) is trusted


def test_everybody_and_nobody() -> None:
    assert Trusted(["*"]).peer("9.9.9.9") and Trusted(["*"]).peer(None)
    assert not Trusted([]).peer("127.0.0.1") and not Trusted([]).peer(None)


@pytest.mark.parametrize(
    ("value", "client"),
    [
        (b"9.9.9.9", "9.9.9.9"),
        (b"1.1.1.1, 9.9.9.9, 10.0.0.1", "9.9.9.9"),
        (b"10.0.0.2, 10.0.0.1", "10.0.0.2"),
        (b" , ", None),
    ],
)
def test_the_rightmost_untrusted_address_is_the_client(value: bytes, client: str | None) -> None:
    assert LOCAL.client_and_scheme([(b"x-forwarded-for", value)], "127.0.0.1") == (client, None)


def test_headers_are_joined_in_order() -> None:
    headers = [
        (b"x-forwarded-for", b"1.1.1.1"),
        (b"x-forwarded-for", b"9.9.9.9"),
        (b"x-forwarded-proto", b"HTTPS"),
    ]
    assert LOCAL.client_and_scheme(headers, None) == ("9.9.9.9", "https")


def test_a_stranger_is_not_believed() -> None:
    headers = [(b"x-forwarded-for", b"1.1.1.1"), (b"x-forwarded-proto", b"https")]
    assert LOCAL.client_and_scheme(headers, "9.9.9.9") == (None, None)


def test_with_everybody_trusted_the_first_address_counts() -> None:
    assert Trusted(["*"]).client_and_scheme([(b"x-forwarded-for", b"1.1.1.1, 2.2.2.2")], "3.3.3.3") == (
        "1.1.1.1",
        None,
    )


def test_unknown_schemes_are_ignored() -> None:
    assert LOCAL.client_and_scheme([(b"x-forwarded-proto", b"javascript")], "::1") == (None, None)

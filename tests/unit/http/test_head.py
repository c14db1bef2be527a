"""Reading heads: what is understood, and what is refused because others might read it differently."""

from __future__ import annotations

import re
from unittest.mock import patch

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.http import head as reading
from snapfork.runner.http.head import BadHead, Head, find_end, parse_head


def read(
    *lines: bytes, start: bytes = b"GET /a%20b?q=1&r HTTP/1.1", host: bytes | None = b"Host: Shop.example:80"
) -> Head:
    given_host = [] if host is None else [host]
    return parse_head(b"\r\n".join([start, *given_host, *lines, b"", b""]))


def refused(*lines: bytes, **options: bytes | None) -> int:
    with pytest.raises(BadHead) as caught:
        read(*lines, **options)  # type: ignore[arg-type]
    assert caught.value.message and caught.value.code
    return caught.value.status


def test_parts_of_a_head() -> None:
    head = read(b"X-One:  a \t", b"x-one: b", b"Cookie: c=d")
    assert (head.method, head.target) == ("GET", b"/a%20b?q=1&r")
    assert (head.raw_path, head.path, head.query) == (b"/a%20b", "/a b", b"q=1&r")
    assert (head.version, head.host) == ((1, 1), "shop.example")
    assert head.headers == [
        (b"host", b"Shop.example:80"),
        (b"x-one", b"a"),
        (b"x-one", b"b"),
        (b"cookie", b"c=d"),
    ]
    assert head.keep_alive and not head.chunked and not head.expect and not head.upgrade
    assert head.content_length is None and head.body_known()


def test_path_bytes_are_latin_1_characters() -> None:
    head = read(start=b"GET /caf%C3%A9/%e9 HTTP/1.1")
    assert head.path.encode("latin-1") == b"/caf\xc3\xa9/\xe9"


def test_absolute_target_replaces_the_host_header() -> None:
    head = read(start=b"GET http://user@Other.example:81/x?y HTTP/1.1")
    assert (head.host, head.path, head.query) == ("other.example", "/x", b"y")
    assert head.headers[0] == (b"host", b"Other.example:81")
    assert len(head.headers) == 1
    assert read(start=b"GET http://other.example HTTP/1.1").path == "/"


@pytest.mark.parametrize(
    ("value", "host"),
    [
        (b"[::1]:8000", "[::1]"),
        (b"A.b", "a.b"),
        (b"a_b.example", "a_b.example"),
        (b"", ""),
        (b"1.2.3.4:5", "1.2.3.4"),
    ],
)
def test_hosts(value: bytes, host: str) -> None:
    assert read(host=b"Host: " + value).host == host


@pytest.mark.parametrize("value", [b"a b", b"a/b", b"a:b", b"a:1:2", b"a\\b", b"a@b", b"[::1", b"a,b c"])
def test_malformed_hosts(value: bytes) -> None:
    assert refused(host=b"Host: " + value) == 400


@pytest.mark.parametrize(
    ("start", "lines", "keep"),
    [
        (b"GET / HTTP/1.1", [], True),
        (b"GET / HTTP/1.1", [b"Connection: close"], False),
        (b"GET / HTTP/1.1", [b"Connection: foo, Close"], False),
        (b"GET / HTTP/1.0", [], False),
        (b"GET / HTTP/1.0", [b"Connection: Keep-Alive"], True),
    ],
)
def test_keep_alive(start: bytes, lines: list[bytes], keep: bool) -> None:
    assert read(*lines, start=start).keep_alive is keep


def test_bodies_and_expectations() -> None:
    assert read(b"Content-Length: 12").content_length == 12
    chunked = read(b"Transfer-Encoding: Chunked")
    assert chunked.chunked and not chunked.body_known()
    assert read(b"Expect: 100-Continue").expect
    assert not read(b"Expect: 100-continue", start=b"GET / HTTP/1.0").expect
    assert read(b"Connection: Upgrade", b"Upgrade: websocket").upgrade
    assert not read(b"Upgrade: websocket").upgrade
    assert read(start=b"GET / HTTP/1.0", host=None).host == ""


@pytest.mark.parametrize(
    "lines",
    [
        [b"Content-Length: 1", b"Transfer-Encoding: chunked"],
        [b"Transfer-Encoding: chunked", b"Content-Length: 1"],
        [b"Content-Length: 1", b"Content-Length: 1"],
        [b"Content-Length: 1, 1"],
        [b"Content-Length: +1"],
        [b"Content-Length: -1"],
        [b"Content-Length: 0x1"],
        [b"Content-Length: 1_0"],
        [b"Content-Length:"],
        [b"Content-Length: 9999999999999999999"],
        [b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"],
        [b"Host: other"],
        [b"X : y"],
        [b"X\t: y"],
        [b"X: y", b" folded"],
        [b"X: y", b"\tfolded"],
        [b" X: y"],
        [b"X"],
        [b": y"],
        [b"X: a\0b"],
        [b"X: a\rb"],
        [b"X: a\nY: b"],
        [b"X(: y"],
    ],
)
def test_ambiguous_or_malformed_headers(lines: list[bytes]) -> None:
    assert refused(*lines) == 400


@pytest.mark.parametrize(
    "coding", [b"gzip", b"gzip, chunked", b"chunked, gzip", b"chunked, chunked", b"xchunked", b""]
)
def test_other_codings(coding: bytes) -> None:
    assert refused(b"Transfer-Encoding: " + coding) in (400, 501)


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/0.9", 505),
        (b"GET /", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET / HTTP/1.1 ", 400),
        (b" GET / HTTP/1.1", 400),
        (b"GET / http/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET a HTTP/1.1", 400),
        (b"GET * HTTP/1.1", 400),
        (b"GET /\x01 HTTP/1.1", 400),
        (b"GET /\xc3\xa9 HTTP/1.1", 400),
        (b"CONNECT a:1 HTTP/1.1", 501),
        (b"\x16\x03\x01\x02\x00\x01", 400),
    ],
)
def test_request_lines_that_are_refused(start: bytes, status: int) -> None:
    assert refused(start=start) == status


def test_no_transfer_coding_in_http_1_0() -> None:
    assert refused(b"Transfer-Encoding: chunked", start=b"POST / HTTP/1.0") == 400


def test_http_1_1_needs_a_host() -> None:
    assert refused(host=None) == 400


def test_options_of_the_server() -> None:
    assert read(start=b"OPTIONS * HTTP/1.1").path == "*"


def test_bare_line_feeds_end_a_head_and_are_refused() -> None:
    for data in (b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\r\nHost: a\n\r\n"):
        assert find_end(data) == len(data)
        with pytest.raises(BadHead):
            parse_head(data)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        parse_head(data + b"\r\n\r\n")
    except BadHead as error:
        assert error.status in (400, 501, 505)


_PIECE = st.sampled_from([b"\r", b"\n", b"\r\n", b"a", b"GET / HTTP/1.1", b"X: y"])


@given(st.lists(_PIECE, max_size=30).map(b"".join), st.lists(st.integers(1, 7), min_size=1, max_size=40))
def test_the_end_is_found_however_the_bytes_arrive(data: bytes, steps: list[int]) -> None:
    whole = find_end(data)
    buffer, scanned, at = b"", 0, 0
    for step in steps * (len(data) + 1):
        buffer = data[: at + step]
        at += step
        found = find_end(buffer, max(0, scanned - 3))
        if found >= 0:
            # What arrived first decides: no earlier end may be passed over.
            assert found == find_end(buffer) and (whole >= 0)
            return
        scanned = len(buffer)
        if at >= len(data):
            break
    assert whole < 0


_NAMES = st.sampled_from(
    [
        b"Host",
        b"Content-Length",
        b"Transfer-Encoding",
        b"Connection",
        b"Expect",
        b"Upgrade",
        b"Cookie",
        b"X-A",
    ]
)
_VALUES = st.sampled_from(
    [
        b"",
        b" ",
        b"a",
        b" a\t",
        b"\t5",
        b" 5 5",
        b"+5",
        b"chunked",
        b"close, upgrade",
        b"a:80",
        b"100-continue",
        b"a b",
    ]
) | st.text(st.characters(min_codepoint=9, max_codepoint=255, exclude_characters="\r\n"), max_size=8).map(
    lambda text: text.encode("latin-1")
)
_STARTS = st.tuples(
    st.sampled_from([b"GET", b"HEAD", b"POST", b"OPTIONS", b"get", b"BREW", b"CONNECT"]),
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=9).map(
        lambda text: b"/" + text.encode()
    ),
    st.sampled_from([b"HTTP/1.1", b"HTTP/1.0", b"HTTP/2.0"]),
).map(b" ".join)


def _outcome(data: bytes) -> object:
    try:
        head = parse_head(data)
    except BadHead as bad:
        return bad.status
    return {name: getattr(head, name) for name in Head.__slots__}


@given(_STARTS, st.lists(st.tuples(_NAMES, _VALUES), max_size=5))
def test_plain_heads_are_read_as_the_tokeniser_reads_them(
    start: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    lines = [b"Host: a", *(name + b":" + value for name, value in headers)]
    data = b"\r\n".join([start, *lines, b"", b""])
    with patch.object(reading, "_PLAIN", re.compile(rb"(?!)")):
        expected = _outcome(data)
    assert _outcome(data) == expected

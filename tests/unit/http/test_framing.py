"""Chunked bodies: any split of the bytes gives the same result."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.http.framing import MAX_LINE, MAX_TRAILERS, BadChunk, ChunkedDecoder, ChunkedScanner


def encode(chunks: list[bytes], extension: bytes = b"", trailers: bytes = b"") -> bytes:
    lines = b"".join(b"%x%s\r\n%s\r\n" % (len(one), extension, one) for one in chunks)
    return lines + b"0\r\n" + trailers + b"\r\n"


def split(data: bytes, cuts: list[int]) -> list[bytes]:
    points = sorted({cut % (len(data) + 1) for cut in cuts})
    return [data[a:b] for a, b in zip([0, *points], [*points, len(data)], strict=True)]


def decode(pieces: list[bytes]) -> tuple[bytes, bytes, bool]:
    decoder = ChunkedDecoder()
    payload, rest = b"", b""
    for piece in pieces:
        if decoder.done:
            rest += piece
            continue
        found, rest = decoder.feed(piece)
        payload += b"".join(found)
    return payload, rest, decoder.done


_CHUNKS = st.lists(st.binary(min_size=1, max_size=40), max_size=6)
_CUTS = st.lists(st.integers(0, 500), max_size=20)


@given(_CHUNKS, st.binary(max_size=30), _CUTS, st.sampled_from([b"", b";a=b", b' ; x="y"']))
def test_any_split_gives_the_payload_and_what_follows(
    chunks: list[bytes], after: bytes, cuts: list[int], extension: bytes
) -> None:
    data = encode(chunks, extension, b"X-Sum: 1\r\n" if extension else b"") + after
    assert decode(split(data, cuts)) == (b"".join(chunks), after, True)


@given(_CHUNKS, st.binary(max_size=30), _CUTS)
def test_the_scanner_finds_the_same_end(chunks: list[bytes], after: bytes, cuts: list[int]) -> None:
    body = encode(chunks)
    scanner = ChunkedScanner()
    seen = 0
    for piece in split(body + after, cuts):
        end = scanner.feed(piece)
        if end >= 0:
            assert seen + end == len(body)
            return
        seen += len(piece)
    raise AssertionError("no end was found")


@given(
    st.lists(st.sampled_from([b"0", b"1", b"f", b"\r", b"\n", b"\r\n", b";", b"x: y", b" "]), max_size=14),
    _CUTS,
)
def test_malformed_bodies_are_refused_however_they_are_split(parts: list[bytes], cuts: list[int]) -> None:
    data = b"".join(parts)

    def outcome(pieces: list[bytes]) -> object:
        try:
            return decode(pieces)
        except BadChunk:
            return "bad"

    assert (
        outcome([data]) == outcome(split(data, cuts)) == outcome([data[i : i + 1] for i in range(len(data))])
    )


@pytest.mark.parametrize(
    "data",
    [
        b"g\r\n",
        b"-1\r\n",
        b"0x1\r\n",
        b"1 \r\na\r\n",
        b" 1\r\n",
        b"\r\n",
        b"1\na\r\n",
        b"1\r\nab\r\n",
        b"1\r\na\n",
        b"1;\x01\r\n",
        b"1;a\rb\r\n",
        b"11111111111111111\r\n",
        b"0\r\nno colon\r\n",
        b"0\r\n: a\r\n",
        b"0\r\nX: y\r\n folded\r\n",
        b"0\r\nX: y\n",
        b"0\r\nX: \0\r\n",
    ],
)
def test_malformed(data: bytes) -> None:
    with pytest.raises(BadChunk):
        ChunkedDecoder().feed(data)


def test_lines_and_trailers_are_bounded() -> None:
    with pytest.raises(BadChunk):
        ChunkedDecoder().feed(b"1;" + b"a" * MAX_LINE)
    decoder = ChunkedDecoder()
    decoder.feed(b"0\r\n")
    with pytest.raises(BadChunk):
        for _ in range(MAX_TRAILERS):
            decoder.feed(b"X: y\r\n")


def test_total_counts_payload() -> None:
    decoder = ChunkedDecoder()
    decoder.feed(encode([b"abc", b"de"]))
    assert decoder.total == 5

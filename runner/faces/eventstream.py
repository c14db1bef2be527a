"""Frames of application/vnd.amazon.eventstream, in which responses are streamed.

A frame: total length and headers' length (u32, big-endian), CRC-32 of these eight bytes, headers, payload,
CRC-32 of everything before. A header: length of its name, the name, 7 for a string, length of the value
(u16), the value (smithy.io, "Amazon Event Stream Specification").
"""

from __future__ import annotations

import struct
from binascii import crc32

CONTENT_TYPE = b"application/vnd.amazon.eventstream"
PIECE = 1 << 20
"""Bytes of payload in one frame; the format allows 16 MB, clients hold a frame whole."""


def frame(event: str, payload: bytes, content_type: str) -> bytes:
    """One event."""
    headers = b"".join(
        _header(name, value)
        for name, value in (
            (":event-type", event),
            (":content-type", content_type),
            (":message-type", "event"),
        )
    )
    prelude = struct.pack(">II", 16 + len(headers) + len(payload), len(headers))
    start = prelude + struct.pack(">I", crc32(prelude)) + headers + payload
    return start + struct.pack(">I", crc32(start))


def _header(name: str, value: str) -> bytes:
    raw = value.encode()
    return bytes([len(name)]) + name.encode() + b"\x07" + struct.pack(">H", len(raw)) + raw

"""The messages between gateway, base, templates and instances.

The frequent ones (loan, return, start, forked, died) are fixed structs, because their cost is part
of every start; the rare ones are JSON. The first byte tells the kind.
"""

from __future__ import annotations

import json
import struct
from typing import Any, NamedTuple

LOAN, RETURN, RECALL, BYE, READY = b"L"[0], b"R"[0], b"C"[0], b"B"[0], b"Y"[0]
START, FORKED, DIED, JSON = b"S"[0], b"F"[0], b"D"[0], b"J"[0]

WARM, SPARE, FORK, SPAWN = 0, 1, 2, 3
START_NAMES = ("warm", "spare", "fork", "spawn")

KEEP, END, RETRY = 0, 1, 2
CLEAN = 1

STICKY, DIRECT, PLACED = 1, 2, 4
TRIAL = 1

_LOAN = struct.Struct("<BBBxHHIQQ")
_RETURN = struct.Struct("<BBBxIQQQ")
_START = struct.Struct("<BBBxIIIQ")
_READY = struct.Struct("<BxxxI")
_FORKED = struct.Struct("<BxxxIQ")
_DIED = struct.Struct("<BxxxIQiIIQ")
_ADDRESSES = struct.Struct("<BBHH")
_HAS_CLIENT, _HAS_PORT = 1, 2
_new = tuple.__new__

RECALL_FRAME = bytes([RECALL])
BYE_FRAME = bytes([BYE])


class LoanFrame(NamedTuple):
    """A client connection on its way to an instance; the connection itself travels beside it.

    direct: it was accepted on the direct listener, by whose peer headers that name invocations are meant.
    place: the only one that it is lent for (`http.routes.Place`, packed); b"" where the instance's own table
    of routes tells.
    """

    start: int
    sticky: bool
    slot: int
    seq: int
    id: int
    t0_ns: int
    addresses: bytes
    prefix: bytes
    direct: bool = False
    place: bytes = b""


class ReturnFrame(NamedTuple):
    """A loan given back: how, with what was read too far, and byte totals at the last boundary."""

    how: int
    clean: bool
    requests: int
    id: int
    consumed: int
    written: int
    leftover: bytes


class StartFrame(NamedTuple):
    """An order to fork one instance; `loan` is the first request's frame or empty."""

    start: int
    trial: bool
    nslots: int
    number: int
    generation: int
    t0_ns: int
    loan: bytes


class ForkedFrame(NamedTuple):
    pid: int
    number: int


class DiedFrame(NamedTuple):
    """A reaped child: wait status, CPU time in milliseconds, largest resident size in bytes."""

    pid: int
    number: int
    status: int
    user_ms: int
    system_ms: int
    max_rss: int


def pack_loan(loan: LoanFrame) -> bytes:
    flags = (STICKY if loan.sticky else 0) | (DIRECT if loan.direct else 0)
    about = loan.addresses
    if loan.place:
        flags |= PLACED
        about = b"%c%b%b" % (len(about), about, loan.place)
    head = _LOAN.pack(LOAN, loan.start, flags, loan.slot, len(about), loan.seq, loan.id, loan.t0_ns)
    return head + about + loan.prefix


def unpack_loan(data: memoryview) -> LoanFrame:
    _, start, flags, slot, size, seq, number, t0 = _LOAN.unpack_from(data)
    at = _LOAN.size + size
    about, place = bytes(data[_LOAN.size : at]), b""
    if flags & PLACED:
        end = 1 + about[0]
        about, place = about[1:end], about[end:]
    prefix, direct = bytes(data[at:]), flags & DIRECT != 0
    fields = (start, flags & STICKY != 0, slot, seq, number, t0, about, prefix, direct, place)
    return _new(LoanFrame, fields)  # without the class's own __new__, which is Python code


def pack_return(back: ReturnFrame) -> bytes:
    how, clean, requests, number, consumed, written, leftover = back
    return _RETURN.pack(RETURN, how, CLEAN if clean else 0, requests, number, consumed, written) + leftover


def unpack_return(data: memoryview) -> ReturnFrame:
    _, how, flags, requests, number, consumed, written = _RETURN.unpack_from(data)
    return ReturnFrame(
        how, bool(flags & CLEAN), requests, number, consumed, written, bytes(data[_RETURN.size :])
    )


def pack_start(order: StartFrame) -> bytes:
    flags = TRIAL if order.trial else 0
    head = _START.pack(START, order.start, flags, order.nslots, order.number, order.generation, order.t0_ns)
    return head + order.loan


def unpack_start(data: memoryview) -> StartFrame:
    _, start, flags, nslots, number, generation, t0 = _START.unpack_from(data)
    return StartFrame(start, bool(flags & TRIAL), nslots, number, generation, t0, bytes(data[_START.size :]))


def pack_forked(frame: ForkedFrame) -> bytes:
    return _FORKED.pack(FORKED, frame.pid, frame.number)


def unpack_forked(data: memoryview) -> ForkedFrame:
    _, pid, number = _FORKED.unpack_from(data)
    return ForkedFrame(pid, number)


def pack_died(frame: DiedFrame) -> bytes:
    return _DIED.pack(
        DIED, frame.pid, frame.number, frame.status, frame.user_ms, frame.system_ms, frame.max_rss
    )


def unpack_died(data: memoryview) -> DiedFrame:
    _, pid, number, status, user_ms, system_ms, max_rss = _DIED.unpack_from(data)
    return DiedFrame(pid, number, status, user_ms, system_ms, max_rss)


def pack_ready(pid: int) -> bytes:
    return _READY.pack(READY, pid)


def unpack_ready(data: memoryview) -> int:
    """The pid of the instance that is ready."""
    pid: int = _READY.unpack_from(data)[1]
    return pid


def pack_json(message: dict[str, Any]) -> bytes:
    """Encode a rare message; it must stay below `fds.MAX_MESSAGE` bytes."""
    return bytes([JSON]) + json.dumps(message, separators=(",", ":")).encode()


def unpack_json(data: memoryview) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(bytes(data[1:]))
    return message


def pack_addresses(client: tuple[str, int] | None, server: tuple[str, int | None]) -> bytes:
    """Both ends of a connection as they travel in a loan."""
    peer, number = (client[0].encode(), client[1]) if client else (b"", 0)
    host, port = server
    flags = (_HAS_CLIENT if client else 0) | (_HAS_PORT if port is not None else 0)
    return _ADDRESSES.pack(flags, len(peer), number, port or 0) + peer + host.encode()


def unpack_addresses(data: bytes) -> tuple[tuple[str, int] | None, tuple[str, int | None]]:
    """Inverse of `pack_addresses`."""
    flags, size, number, port = _ADDRESSES.unpack_from(data)
    end = _ADDRESSES.size + size
    client = (data[_ADDRESSES.size : end].decode(), number) if flags & _HAS_CLIENT else None
    return client, (data[end:].decode(), port if flags & _HAS_PORT else None)

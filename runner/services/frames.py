"""The reading end of processes/stdio.py's framing: bytes of one pipe in, units of text out."""

from __future__ import annotations

import re
from dataclasses import dataclass

HEADER = re.compile(rb"\x1e([OEIAoeiaD])([^\x1e\x1f\n]{1,120})\x1f(\d{1,6})\x1f")
MAYBE = re.compile(rb"\x1e([OEIAoeiaD]([^\x1e\x1f\n]{0,120}(\x1f\d{0,6})?)?)?")
RAW_LIMIT = 8192  # a line of raw output is cut here
BRACKET = re.compile(rb"(?:(START|FC Invoke Start)|END|FC Invoke End) RequestId: (\S+)")
RECORD, ACCESS = "record", "access"
STREAMS = {"A": ACCESS, "O": "stdout", "E": "stderr", "R": "raw", "I": RECORD}


@dataclass
class Unit:
    """What was said at once. stream: "stdout", "stderr", "raw" (C code or a child process) "record", whose
    text is the JSON of an invocation's record, or "access", an access line."""

    stream: str
    request_id: str
    text: str
    dropped: int = 0


class FrameParser:
    """Feed bytes in any pieces, get units in order.

    Raw output belongs to the invocation between whose first and last line it stands, if that is the only one.
    """

    def __init__(self) -> None:
        self._data = b""
        self._raw = b""
        self._parts: dict[tuple[str, str], list[bytes]] = {}
        self._running: set[str] = set()

    def feed(self, data: bytes) -> list[Unit]:
        """The units that `data` completes."""
        self._data += data
        units: list[Unit] = []
        while self._data:
            start = self._data.find(b"\x1e")
            if start:
                raw = self._data if start < 0 else self._data[:start]
                self._data = self._data[len(raw) :]
                self._take_raw(raw, units)
                continue
            if not self._take_frame(units):
                break
        return units

    def finish(self) -> list[Unit]:
        """What is left at the end of the pipe."""
        units: list[Unit] = []
        self._take_raw(self._data, units)
        self._data = b""
        self._end_raw(units)
        for (kind, request_id), parts in self._parts.items():
            units.append(_unit(kind, request_id, b"".join(parts)))
        self._parts.clear()
        return units

    def _take_frame(self, units: list[Unit]) -> bool:
        """Take the frame at the start of the data; False when more bytes are needed."""
        match = HEADER.match(self._data)
        if match is None:
            if MAYBE.fullmatch(self._data):
                return False
            self._data = self._data[1:]
            self._take_raw(b"\x1e", units)
            return True
        end = match.end() + int(match[3])
        if len(self._data) < end:
            return False
        payload = self._data[match.end() : end]
        self._data = self._data[end:]
        self._take_payload(match[1].decode(), match[2].decode("ascii", "replace"), payload, units)
        return True

    def _take_payload(self, letter: str, request_id: str, payload: bytes, units: list[Unit]) -> None:
        if letter == "D":
            count = int(payload) if payload.isdigit() else 1
            text = f"[{count} lines dropped: the output was not read fast enough]"
            units.append(Unit("stderr", "-", text, count))
            return
        key = (letter.upper(), request_id)
        if letter.islower():
            self._parts.setdefault(key, []).append(payload)
            return
        whole = b"".join([*self._parts.pop(key, []), payload])
        self._follow(key[0], request_id, whole, units)
        units.append(_unit(key[0], request_id, whole))

    def _take_raw(self, raw: bytes, units: list[Unit]) -> None:
        self._raw += raw
        whole = self._raw.rfind(b"\n") + 1
        if len(self._raw) - whole > RAW_LIMIT:
            whole = len(self._raw)
        if whole:
            units.append(_unit("R", self._whose(), self._raw[:whole]))
            self._raw = self._raw[whole:]

    def _end_raw(self, units: list[Unit]) -> None:
        """A line of raw output that nobody has ended ends here."""
        if self._raw:
            units.append(_unit("R", self._whose(), self._raw))
            self._raw = b""

    def _follow(self, kind: str, request_id: str, payload: bytes, units: list[Unit]) -> None:
        """Know which invocations are running: from first and last lines, and records."""
        bracket = BRACKET.match(payload) if kind == "O" else None
        if kind == "I" or (bracket is not None and bracket[2] == request_id.encode()):
            self._end_raw(units)
            if bracket is not None and bracket[1]:
                self._running.add(request_id)
            else:
                self._running.discard(request_id)

    def _whose(self) -> str:
        return next(iter(self._running)) if len(self._running) == 1 else "-"


def _unit(kind: str, request_id: str, payload: bytes) -> Unit:
    text = payload.decode("utf-8", "backslashreplace").removesuffix("\n")
    return Unit(STREAMS[kind], request_id, text)

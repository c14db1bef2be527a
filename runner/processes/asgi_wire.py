"""The transport of one lent connection as responses see it: counted, and with heads and bodies joined."""

from __future__ import annotations

import asyncio
from typing import Any

from snapfork.runner.processes.link import Loan


class Wire:
    """Counts what is written into `loan.written`; can hold a response head back until its body follows.

    `hold()` makes the next `write` wait for the one after it, for `flush()` or for `close()`, so that a short
    response is one segment and one system call.
    """

    __slots__ = ("_held", "_loan", "_transport", "_wait", "lost")

    def __init__(self, transport: asyncio.Transport, loan: Loan) -> None:
        self._transport = transport
        self._loan = loan
        self._held = b""
        self._wait = False
        self.lost = False

    def hold(self) -> None:
        """The next write is a response head."""
        self._wait = True

    def release(self) -> bool:
        """Take `hold()` back; True if no head was written since."""
        waited, self._wait = self._wait, False
        return waited

    def write(self, data: bytes) -> None:
        if self.lost:
            return
        if self._wait:
            self._wait = False
            self._held = data
            return
        if self._held:
            held, self._held = self._held, b""
            self._loan.written += len(held) + len(data)
            self._transport.writelines((held, data))
        elif data:
            self._loan.written += len(data)
            self._transport.write(data)

    def flush(self) -> None:
        """Send a held head now."""
        self._wait = False
        if self._held and not self.lost:
            held, self._held = self._held, b""
            self._loan.written += len(held)
            self._transport.write(held)

    def close(self) -> None:
        """Close this process's descriptor once everything is written; the connection itself stays open."""
        if not self.lost:
            self.flush()
            self._transport.close()

    def is_closing(self) -> bool:
        return self.lost or self._transport.is_closing()

    def pending(self) -> bool:
        """Whether bytes wait to be taken by the kernel."""
        return bool(self._held) or self._transport.get_write_buffer_size() > 0

    def pause_reading(self) -> None:
        self._transport.pause_reading()

    def resume_reading(self) -> None:
        self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

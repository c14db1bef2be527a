"""The transport of a lent connection as requests see it: counted, flow-controlled, heads joined to bodies."""

from __future__ import annotations

import asyncio
from typing import Any

from snapfork.runner.processes.link import Loan

JOIN = 65536
"""Bytes up to which a head and its body are copied together: one system call and one segment for both."""


class Wire:
    """Writes are counted in `loan.written`. A head given to `hold` goes out with the next `write`, with
    `flush` or with `close`, whichever comes first.
    """

    __slots__ = ("_held", "_loan", "_reading", "_transport", "_writable", "_write", "lost")

    def __init__(self, transport: asyncio.Transport, loan: Loan) -> None:
        self._transport = transport
        self._write = transport.write
        self._loan = loan
        self._held = b""
        self._reading = True
        self._writable: asyncio.Event | None = None
        self.lost = False

    def hold(self, head: bytes) -> None:
        self._held = head

    def write(self, data: bytes) -> None:
        if self.lost:
            return
        if self._held:
            if len(data) <= JOIN:
                data = self._held + data
                self._held = b""
            else:
                self.flush()
        self._loan.written += len(data)
        self._write(data)

    def flush(self) -> None:
        """Send a held head now."""
        if self._held and not self.lost:
            held, self._held = self._held, b""
            self._loan.written += len(held)
            self._write(held)

    def close(self) -> None:
        """Close this process's descriptor once everything is written; the connection itself stays open."""
        if not self.lost:
            self.flush()
            self._transport.close()

    def is_closing(self) -> bool:
        return self.lost or self._transport.is_closing()

    def total(self, more: int) -> int:
        """`loan.written` as it will be when `more` bytes have followed what is held."""
        return self._loan.written + len(self._held) + more

    def pending(self) -> int:
        """How many bytes wait to be taken by the kernel."""
        return len(self._held) + self._transport.get_write_buffer_size()

    # Flow control; the first two are called by the transport's protocol

    def pause_writing(self) -> None:
        self._writable = asyncio.Event()

    def resume_writing(self) -> None:
        if self._writable is not None:
            self._writable.set()
            self._writable = None

    @property
    def full(self) -> bool:
        """True while the client reads more slowly than the app writes."""
        return self._writable is not None

    async def drain(self) -> None:
        """Wait until the client has caught up or is gone."""
        while self._writable is not None:
            await self._writable.wait()

    def pause_reading(self) -> None:
        if self._reading:
            self._reading = False
            self._transport.pause_reading()

    def resume_reading(self) -> None:
        if not self._reading:
            self._reading = True
            self._transport.resume_reading()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._transport.get_extra_info(name, default)

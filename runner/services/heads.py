"""uvicorn's protocol with an end to clients that never finish a request's head, and to their number.

A connection that is open and says nothing costs a descriptor, for as long as whoever opened it likes; uvicorn
itself limits only the time between two requests.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol

HEAD_S = 10.0
"""From the connection, or the first byte of a further head, to the head's end."""
MOST = 512
"""Connections of one listener; further ones are closed at once."""
_Base: Any = AutoHTTPProtocol


class Protocol(_Base):  # type: ignore[misc]  # which of uvicorn's two it is depends on what is installed
    """One connection."""

    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:
        super().connection_made(transport)
        if len(self.connections) > MOST:
            transport.abort()
        else:
            self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_answering():
            self._relax()
        elif self._timer is None and not self.transport.is_closing():
            self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._relax()
        super().connection_lost(exc)

    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _expect(self) -> None:
        self._timer = self.loop.call_later(HEAD_S, self._late)

    def _relax(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _late(self) -> None:
        self._timer = None
        if not self._is_answering():
            self.transport.abort()

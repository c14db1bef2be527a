"""What instances are started by."""

from __future__ import annotations

from typing import Protocol

from snapfork.runner.gateway.channel import Channel


class Starter(Protocol):
    """A template, or for spawned functions the base: takes START frames."""

    alive: bool

    @property
    def channel(self) -> Channel: ...

    def end(self) -> None:
        """SIGKILL, for one that hangs; it is built again."""

"""A child of a template or a base that does one thing behind everything else, and tells how it ended."""

from __future__ import annotations

import contextlib
import signal
from abc import ABC, abstractmethod
from collections.abc import Callable

from snapfork.runner.gateway.channel import Channel
from snapfork.runner.gateway.children import Watch
from snapfork.runner.gateway.core import Core
from snapfork.runner.wire import fds, frames

DEADLINE_S = 600.0
"""At the lowest priority on a machine that may be busy."""
ENDED = "the process that was to do it ended by itself"
LATE = f"it was not done within {DEADLINE_S:g} s"


class Errand(ABC):
    """One child at a time; whoever inherits sends the order, and reads what comes back."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._channel: Channel | None = None
        self._watch: Watch | None = None
        self._number = 0

    @abstractmethod
    def _message(self, view: memoryview, received: list[int]) -> None:
        """The child has said something."""

    @abstractmethod
    def _fail(self, number: int, why: str) -> None:
        """A child, perhaps an earlier one, will not do it."""

    def forked(self, pid: int, pidfd: int) -> None:
        """The child exists now."""
        self._watch = Watch(self._core.loop, pidfd, lambda: None)

    def died(self, frame: frames.DiedFrame) -> None:  # noqa: B027  nothing else to do
        """Its socket tells."""

    def _next(self, send: Callable[[int, int], None]) -> None:
        """Have a child: `send` is given its number and its end of a socket."""
        self._close()
        ours, theirs = fds.pair()
        self._number = number = next(self._core.numbers)
        self._core.others[number] = self
        self._channel = Channel(self._core.loop, ours, self._message, lambda: self._fail(number, ENDED))
        send(number, theirs.fileno())
        theirs.close()
        self._core.loop.call_later(DEADLINE_S, self._fail, number, LATE)

    def _close(self) -> None:
        """Let go of the child."""
        self._core.others.pop(self._number, None)
        if self._channel is not None:
            self._channel.close()
        if self._watch is not None:
            with contextlib.suppress(ProcessLookupError, OSError):
                signal.pidfd_send_signal(self._watch.pidfd, signal.SIGKILL)
            self._watch.close()
            self._watch = None

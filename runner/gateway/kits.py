"""What every instance needs, made ahead of the order, so that no request waits for it."""

from __future__ import annotations

import asyncio
import os
from collections import deque

from snapfork.runner.wire import fds, page

AHEAD = 2
REFILL_S = 0.005


class Kit:
    """What every instance needs, made ahead of the order: control pair, page, log pipe."""

    __slots__ = ("control", "log_read", "theirs", "words")

    def __init__(self, nslots: int) -> None:
        self.control, child = fds.pair()
        page_fd = page.make_page(nslots)
        self.words = page.map_words(page_fd, nslots)
        self.words[page.W_MAGIC] = page.MAGIC
        self.log_read, log_write = os.pipe2(os.O_CLOEXEC)
        self.theirs = [child.detach(), page_fd, log_write]

    def handed_over(self) -> None:
        """The order has been sent: only the child keeps its ends."""
        fds.close_all(self.theirs)
        self.theirs = []

    def discard(self) -> None:
        self.handed_over()
        self.control.close()
        page.unmap(self.words)
        os.close(self.log_read)


class Kits:
    """A few kits in store for one function."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._nslots = 0
        self._store: deque[Kit] = deque()

    def take(self, nslots: int) -> Kit:
        """A kit for an instance with `nslots` connection slots; the store is filled up a moment later."""
        if nslots != self._nslots:
            self.discard()
            self._nslots = nslots
        self._loop.call_later(REFILL_S, self._refill)
        return self._store.popleft() if self._store else Kit(nslots)

    def _refill(self) -> None:
        if self._nslots and len(self._store) < AHEAD:
            self._store.append(Kit(self._nslots))
            self._loop.call_later(REFILL_S, self._refill)

    def discard(self) -> None:
        """Release what is in store."""
        self._nslots = 0
        while self._store:
            self._store.pop().discard()

"""What every instance needs, made ahead of the order, so that no request waits for it."""

from __future__ import annotations

import asyncio
import errno
import os
import resource
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack

from snapfork.runner.gateway.pipes import output_pipe
from snapfork.runner.wire import fds, page
from snapfork.runner.wire.guard import Guard, reopen

AHEAD = 2
REFILL_S = 0.005
SCARCE = 0.6
"""From this part of all descriptors on, none are spent on what may be wanted later."""


class Kit:
    """What every instance needs, made ahead of the order: control pair, page and its lock, log pipe."""

    __slots__ = ("control", "guard", "log_read", "theirs", "words")

    def __init__(self, nslots: int, user: tuple[int, int, str] | None = None) -> None:
        """Raises OSError when descriptors are out."""
        with ExitStack() as undo:
            self.control, child = fds.pair()
            undo.callback(self.control.close)
            undo.callback(child.close)
            page_fd = page.make_page(nslots)
            undo.callback(os.close, page_fd)
            their_page_fd = page_fd
            if nslots > 1:  # else there is never a second loan to take back
                their_page_fd = reopen(page_fd)
                undo.callback(os.close, their_page_fd)
            self.log_read, log_write = output_pipe(user)
            undo.callback(fds.close_all, [self.log_read, log_write])
            self.words = page.map_words(page_fd)
            undo.pop_all()
        self.words[page.W_MAGIC] = page.MAGIC
        self.guard = Guard(page_fd) if nslots > 1 else None
        self.theirs = [child.detach(), their_page_fd, log_write]

    def handed_over(self) -> None:
        """The order has been sent: only the child keeps its ends."""
        fds.close_all(self.theirs)
        self.theirs = []

    def discard(self) -> None:
        self.handed_over()
        self.control.close()
        if self.guard is not None:
            self.guard.close()
        page.unmap(self.words)
        os.close(self.log_read)


def is_scarce(part: float = SCARCE) -> bool:
    """Whether more than `part` of the descriptors that this process may have are in use."""
    try:
        fd = os.dup(0)  # the lowest number that is free: those below are taken
    except OSError as error:
        return error.errno == errno.EMFILE
    os.close(fd)
    return fd > part * resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def has_room(count: int) -> bool:
    """Whether so many more descriptors can be had now."""
    taken: list[int] = []
    try:
        for _ in range(count):
            taken.append(os.dup(0))
    except OSError:
        return False
    finally:
        fds.close_all(taken)
    return True


class Kits:
    """A few kits in store for one function. `warn` is called when descriptors begin to be too few for one."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        warn: Callable[[], None],
        user: tuple[int, int, str] | None = None,
    ) -> None:
        self._user = user
        self._loop = loop
        self._warn = warn
        self._short = False
        self._nslots = 0
        self._store: deque[Kit] = deque()

    def take(self, nslots: int) -> Kit:
        """A kit for an instance with `nslots` connection slots; the store is filled up a moment later."""
        self._want(nslots)
        self._loop.call_later(REFILL_S, self._refill)
        return self._store.popleft() if self._store else Kit(nslots, self._user)

    def ready(self, nslots: int) -> bool:
        """Whether `take` will succeed: there are, or were just now, descriptors for a kit."""
        self._want(nslots)
        return bool(self._store) or self._make()

    def _want(self, nslots: int) -> None:
        if nslots != self._nslots:
            self.discard()
            self._nslots = nslots

    def _make(self) -> bool:
        try:
            self._store.append(Kit(self._nslots, self._user))
        except OSError:
            if not self._short:
                self._warn()
            self._short = True
            return False
        self._short = False
        return True

    def _refill(self) -> None:
        if self._nslots and len(self._store) < AHEAD and not is_scarce() and self._make():
            self._loop.call_later(REFILL_S, self._refill)

    def __len__(self) -> int:
        return len(self._store)

    def discard(self) -> None:
        """Release what is in store."""
        self._nslots = 0
        while self._store:
            self._store.pop().discard()

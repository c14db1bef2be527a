"""Watching child processes: a pidfd says when one has died, its parent's report or waitid() says how."""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable, Iterable

from snapfork.runner.processes.descendants import children_of, end_tree
from snapfork.runner.wire import frames


class Watch:
    """Calls `on_death` once when the process behind `pidfd` has died."""

    __slots__ = ("_loop", "pidfd")

    def __init__(self, loop: asyncio.AbstractEventLoop, pidfd: int, on_death: Callable[[], None]) -> None:
        self._loop = loop
        self.pidfd = pidfd

        def fired() -> None:
            self._loop.remove_reader(self.pidfd)
            on_death()

        loop.add_reader(pidfd, fired)

    def close(self) -> None:
        """Stop watching and close the descriptor."""
        if self.pidfd >= 0:
            self._loop.remove_reader(self.pidfd)
            os.close(self.pidfd)
            self.pidfd = -1


def reap_orphan(pidfd: int) -> int | None:
    """Collect a dead process that has become our child (template and base died first).

    Returns a wait status like os.wait's, or None when it is not ours: its template or a warden reports it.
    """
    try:
        result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG)
    except (ChildProcessError, OSError):
        return None
    if result is None:
        return None
    if result.si_code == os.CLD_EXITED:
        return int(result.si_status) << 8
    return int(result.si_status)


def reap_strays(ours: set[int]) -> None:
    """Collect dead processes that user code left behind and that fell to us, the subreaper.

    `ours` are pids that somebody else waits for.
    """
    while True:
        try:
            seen = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if seen is None or seen.si_pid in ours:
            return
        with contextlib.suppress(ChildProcessError):
            os.waitpid(seen.si_pid, os.WNOHANG)


class Strays:
    """Ends what instances have started and left behind: it falls to the wardens of their bases when they die,
    or to us, the subreaper above those."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def tick(self, ours: set[int], wardens: Iterable[int]) -> None:
        """Collect the dead among our children, and kill the living among ours and the wardens' that are not
        `ours`.

        Only those that have been there a turn ago: an instance whose template has just died is a child of
        ours, too, and may have told of itself in a message that is still to be read.
        """
        reap_strays(ours)
        found = children_of(os.getpid()).union(*map(children_of, wardens)) - ours
        for pid in found & self._seen:
            end_tree(pid)
        self._seen = found


def cause_of(status: int) -> str:
    """A wait status as a cause for people and metrics: "exit 1", "signal 9"."""
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"


def died_frame(number: int, pid: int, status: int) -> frames.DiedFrame:
    """The report of a process that we reaped ourselves."""
    return frames.DiedFrame(pid, number, status, 0, 0, 0)

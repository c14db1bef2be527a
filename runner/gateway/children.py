"""Watching child processes: a pidfd says when one has died, its parent's report or waitid() says how."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable

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
    """Collect a dead process that has become our child (its template died first).

    Returns a wait status like os.wait's, or None when it is not ours: its template reports it.
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
    """Ends what instances have started and left behind: it falls to us, the subreaper, when they die."""

    def __init__(self) -> None:
        self._seen: set[int] = set()

    def tick(self, ours: set[int]) -> None:
        """Collect the dead and kill the living among our children that are not `ours`.

        Only those that have been there a turn ago: an instance whose template has just died is a child of
        ours, too, and may have told of itself in a message that is still to be read.
        """
        reap_strays(ours)
        found = children_of(os.getpid()) - ours
        for pid in found & self._seen:
            end_tree(pid)
        self._seen = found


def end_tree(pid: int) -> None:
    """SIGKILL for a child of ours and all that it has started."""
    below = children_of(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)
    for one in below:
        end_tree(one)


def end_all(seconds: float) -> None:
    """Kill and collect every child, and what falls to us by that; at most for so long."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            pid, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            for one in children_of(os.getpid()):
                end_tree(one)
            time.sleep(0.005)


def children_of(pid: int) -> set[int]:
    """The children of a process, as proc(5) lists them by thread; none where it is gone."""
    found: set[int] = set()
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with (
                contextlib.suppress(FileNotFoundError),
                open(f"/proc/{pid}/task/{thread}/children", "rb") as file,
            ):
                found.update(map(int, file.read().split()))
    except OSError:
        return found
    return found


def cause_of(status: int) -> str:
    """A wait status as a cause for people and metrics: "exit 1", "signal 9"."""
    if os.WIFSIGNALED(status):
        return f"signal {os.WTERMSIG(status)}"
    return f"exit {os.WEXITSTATUS(status)}"


def died_frame(number: int, pid: int, status: int) -> frames.DiedFrame:
    """The report of a process that we reaped ourselves."""
    return frames.DiedFrame(pid, number, status, 0, 0, 0)

"""All that a process has started, however far below it: found by way of /proc, and ended."""

from __future__ import annotations

import contextlib
import os
import signal
import time


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

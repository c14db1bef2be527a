"""Forking children and reporting their births and deaths to the gateway."""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # the C half: `signal` costs a child 30 page copies
import os
import socket
from types import FrameType

from snapfork.runner.wire import fds, frames


class Forker:
    """Forks on order; each child is announced with its pidfd before its death can be.

    Only children made here are reaped: a process that user code started stays user code's own.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.children: dict[int, int] = {}
        self._busy = False
        self._missed = False
        _signal.signal(_signal.SIGCHLD, self._on_child)

    def fork(self, number: int) -> bool:
        """Fork; True in the child. The parent sends `number`, pid and pidfd to the gateway."""
        self._busy = True
        pid = os.fork()
        if pid == 0:
            _signal.signal(_signal.SIGCHLD, _signal.SIG_DFL)
            return True
        self.children[pid] = number
        pidfd = os.pidfd_open(pid)
        try:
            fds.send(self.sock, frames.pack_forked(frames.ForkedFrame(pid, number)), (pidfd,))
        except OSError:
            os._exit(0)
        os.close(pidfd)
        self._resume()
        return False

    def _on_child(self, _number: int, _frame: FrameType | None) -> None:
        # Signals may interrupt this handler itself, and must not find a child that is not announced yet.
        if self._busy:
            self._missed = True
            return
        self._busy = True
        self._missed = True
        self._resume()

    def _resume(self) -> None:
        while self._missed:
            self._missed = False
            self._reap()
        self._busy = False
        if self._missed:
            self._on_child(0, None)

    def _reap(self) -> None:
        """Collect every dead child of ours and report status and use."""
        for pid, number in list(self.children.items()):
            done, status, usage = os.wait4(pid, os.WNOHANG)
            if done == 0:
                continue
            del self.children[pid]
            frame = frames.DiedFrame(
                pid,
                number,
                status,
                int(usage.ru_utime * 1000),
                int(usage.ru_stime * 1000),
                usage.ru_maxrss * 1024,
            )
            try:
                fds.send(self.sock, frames.pack_died(frame))
            except OSError:
                os._exit(0)  # the gateway has closed its side: there is nothing left to do here

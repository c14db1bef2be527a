"""Forking children and reporting their births and deaths to the gateway."""

from __future__ import annotations

import os
import signal
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
        self._forking = False
        self._missed = False
        signal.signal(signal.SIGCHLD, self._on_child)

    def fork(self, number: int) -> bool:
        """Fork; True in the child. The parent sends `number`, pid and pidfd to the gateway."""
        self._forking = True
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            return True
        self.children[pid] = number
        pidfd = os.pidfd_open(pid)
        try:
            fds.send(self.sock, frames.pack_forked(frames.ForkedFrame(pid, number)), (pidfd,))
        except OSError:
            os._exit(0)
        os.close(pidfd)
        self._forking = False
        if self._missed:
            self._missed = False
            self.reap()
        return False

    def reap(self) -> None:
        """Collect every dead child of ours and report status and use."""
        for pid, number in list(self.children.items()):
            try:
                done, status, usage = os.wait4(pid, os.WNOHANG)
            except ChildProcessError:
                done, status, usage = pid, 0, None
            if done == 0:
                continue
            del self.children[pid]
            frame = frames.DiedFrame(
                pid,
                number,
                status,
                int(usage.ru_utime * 1000) if usage else 0,
                int(usage.ru_stime * 1000) if usage else 0,
                usage.ru_maxrss * 1024 if usage else 0,
            )
            try:
                fds.send(self.sock, frames.pack_died(frame))
            except OSError:
                os._exit(0)  # the gateway has closed its side: there is nothing left to do here

    def _on_child(self, _number: int, _frame: FrameType | None) -> None:
        if self._forking:
            self._missed = True
        else:
            self.reap()

"""Every process of the runner dies with the gateway, whatever it is doing.

The gateway alone holds the write end of a *life pipe*. Each process opens a description of its own of
the read end and asks the kernel for SIGKILL when its state changes, which happens when the gateway dies.
Unlike PR_SET_PDEATHSIG this does not depend on who the parent is.
"""

from __future__ import annotations

import fcntl
import os
import signal
from types import FrameType

_armed = -1
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def arm(read_fd: int) -> None:
    """Have the kernel kill this process when the last write end behind `read_fd` is closed.

    `read_fd` stays open: children forked later arm themselves through it.
    """
    global _armed
    if _armed >= 0:
        os.close(_armed)
    _armed = os.open(f"/proc/self/fd/{read_fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(_armed, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(_armed, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(_armed, fcntl.F_SETFL, os.O_RDONLY | os.O_NONBLOCK | os.O_ASYNC)
    if _gateway_is_gone(_armed):
        os.kill(os.getpid(), signal.SIGKILL)


def _gateway_is_gone(fd: int) -> bool:
    # The gateway may have died between the fork and F_SETFL: EOF then reads as b"".
    try:
        return os.read(fd, 1) == b""
    except BlockingIOError:
        return False


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Signals to the whole group (Ctrl-C, systemd) are the gateway's business."""


def shield() -> None:
    """Let INT, TERM, HUP and QUIT pass without effect.

    A handler, not SIG_IGN: handlers are reset by exec, so that programs started by user code keep the
    usual signals.
    """
    for number in _SIGNALS:
        signal.signal(number, _ignore)


def handler() -> object:
    """The handler that `shield` installs."""
    return _ignore

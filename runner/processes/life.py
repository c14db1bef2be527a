"""Every process of the runner dies with the gateway, whatever it is doing.

The gateway alone holds the write end of a *life pipe*. Who opens a description of its own of the read end
may ask the kernel for SIGKILL, to itself or to its process group, when the pipe's state changes, which
happens when the gateway dies. Unlike PR_SET_PDEATHSIG this does not depend on who the parent is.

A base template asks for its whole group: templates, instances and what they start belong to it, and no start
has to spend anything on it. A template whose app has left the group arms each of its instances.
"""

from __future__ import annotations

import fcntl
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_armed = -1
_group = 0
_exposing = False
_mask: set[int] = set()
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


def arm(read_fd: int) -> None:
    """Have the kernel kill this process when the last write end behind `read_fd` is closed.

    `read_fd` stays open: children forked later arm themselves through it.
    """
    _arm(read_fd, os.getpid())


def arm_group(read_fd: int) -> None:
    """The same for this process, which leads its process group, and everything that is in the group then."""
    global _group
    _group = os.getpgrp()
    _arm(read_fd, -_group)


def is_armed_by_group() -> bool:
    """Whether this process dies with the gateway because it is still in the group of its base template."""
    return os.getpgrp() == _group


def _arm(read_fd: int, owner: int) -> None:
    global _armed
    if _armed >= 0:
        os.close(_armed)
    _armed = os.open(f"/proc/self/fd/{read_fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(_armed, fcntl.F_SETOWN, owner)
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


def expose_children() -> None:
    """From here on, processes that this one forks are user code's, and get the usual signals.

    Without it `multiprocessing`, which ends its workers with SIGTERM, would wait for them for ever.
    """
    global _exposing
    _exposing = True


@contextmanager
def shielded_children() -> Iterator[None]:
    """The children forked in here are our own."""
    global _exposing
    before, _exposing = _exposing, False
    try:
        yield
    finally:
        _exposing = before


def _before_fork() -> None:
    # Blocked meanwhile: one that came before the child has its own handlers would pass without effect.
    global _mask
    if _exposing:
        _mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _in_parent() -> None:
    if _exposing:
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask)


def _in_child() -> None:
    if _exposing:
        for number in _SIGNALS:
            if signal.getsignal(number) is _ignore:
                usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, usual)
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask)


os.register_at_fork(before=_before_fork, after_in_child=_in_child, after_in_parent=_in_parent)


def handler() -> object:
    """The handler that `shield` installs."""
    return _ignore

"""Every process of the runner dies with the gateway, whatever it is doing.

The gateway alone holds the write end of a *life pipe*. Who opens a description of its own of the read end
may ask the kernel for SIGKILL, to itself or to its process group, when the pipe's state changes, which
happens when the gateway dies. Unlike PR_SET_PDEATHSIG this does not depend on who the parent is.

A base template asks for its whole group: templates, instances and what they start belong to it, and no start
has to spend anything on it. A process whose app leaves the group arms itself first; a template that has left
it arms each of its instances.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import functools
import os
import signal
import sys
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from snapfork.runner.processes import atfork

_armed = -1
_group = 0
_exposing = False
_is_users = False
_mask: set[int] = set()
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36  # linux/prctl.h
_prctl = ctypes.CDLL(None).prctl  # looked up once: each instance calls it
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


def arm_leavers(read_fd: int) -> None:
    """This process, and our forks of it, from now on arm themselves when user code leaves the group.

    C code that calls setsid() by itself goes unnoticed.
    """

    def guarded(leave: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(leave)
        def armed(*args: int) -> Any:
            if not _is_users:
                with contextlib.suppress(OSError):  # user code may have closed every descriptor
                    arm(read_fd)
            return leave(*args)

        return armed

    for name in ("setsid", "setpgid", "setpgrp"):
        setattr(os, name, guarded(getattr(os, name)))


def keep_descendants() -> None:
    """From here on what this process has started is below it even when its own parent has ended: orphans come
    to us, not to the gateway, which takes those that come to it for the leavings of dead instances."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end_with(parent: int) -> None:
    """Die with our parent, `parent`; forks of this process do not ask for it."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


class Ending:
    """The end of the gateway as a signal, `number`, to this process instead of its death."""

    def __init__(self, read_fd: int, number: int) -> None:
        self._fd = _ask(read_fd, os.getpid(), number)

    def has_come(self) -> bool:
        """Whether the gateway is gone."""
        return _gateway_is_gone(self._fd)


def end_users_fork(error: BaseException | None = None) -> None:
    """End this process if user code has forked it: it has come back into the code that serves clients.

    `error` is what it came back with, if anything.
    """
    if not _is_users:
        return
    if isinstance(error, SystemExit):
        status = error.code if isinstance(error.code, int) else int(error.code is not None)
    else:
        status = 1
        sys.stderr.write(
            "a process that the app has forked came back into the server and is ended; "
            "it should end itself with os._exit()\n"
        )
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status & 0xFF)


def _arm(read_fd: int, owner: int) -> None:
    global _armed
    if _armed >= 0:
        os.close(_armed)
    _armed = _ask(read_fd, owner, signal.SIGKILL)
    if _gateway_is_gone(_armed):
        os.kill(os.getpid(), signal.SIGKILL)


def _ask(read_fd: int, owner: int, number: int) -> int:
    """A description of our own, at whose end `owner` gets the signal `number`."""
    fd = os.open(f"/proc/self/fd/{read_fd}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    fcntl.fcntl(fd, fcntl.F_SETOWN, owner)
    fcntl.fcntl(fd, fcntl.F_SETSIG, number)
    fcntl.fcntl(fd, fcntl.F_SETFL, os.O_RDONLY | os.O_NONBLOCK | os.O_ASYNC)
    return fd


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


@contextlib.contextmanager
def shielded_children() -> Iterator[None]:
    """The children forked in here are our own."""
    global _exposing
    before, _exposing = _exposing, False
    try:
        yield
    finally:
        _exposing = before


def _forks_for_user() -> bool:
    return _exposing and not atfork.is_passing()


def _before_fork() -> None:
    # Blocked meanwhile: one that came before the child has its own handlers would pass without effect.
    global _mask
    if _forks_for_user():
        _mask = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)


def _in_parent() -> None:
    if _forks_for_user():
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask)


def _in_child() -> None:
    global _is_users
    if _forks_for_user():
        _is_users = True
        for number in _SIGNALS:
            if signal.getsignal(number) is _ignore:
                usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
                signal.signal(number, usual)
        signal.pthread_sigmask(signal.SIG_SETMASK, _mask)


os.register_at_fork(before=_before_fork, after_in_child=_in_child, after_in_parent=_in_parent)


def handler() -> object:
    """The handler that `shield` installs."""
    return _ignore

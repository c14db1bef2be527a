"""The warden of a base template: its parent, which ends what outlives a gateway that was killed.

The kernel ends the process groups of the runner's processes together with the gateway (see `life`), but not
what a function has put into a session of its own. Such processes fall to the nearest ancestor that asks for
orphans: the gateway while it lives, if nobody was in between, and init afterwards. The warden stands in
between. It runs no code of anybody's, and keeps the rights that the base gives up, so that no function can
end it first. Whom it collects it reports to the gateway; it leaves as the base did, and what is below it
then is the gateway's.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
from typing import Any

from snapfork.runner.processes import descendants, life
from snapfork.runner.wire import fds, frames

ENDING_S = 10.0
FOLLOWS_S = 1.0
"""A gateway that is killed may have closed the base's socket a moment before the kernel tells of its end."""
_SIGNALS = {signal.SIGCHLD, signal.SIGIO}


def stand_above(setup: dict[str, Any]) -> None:
    """Fork; comes back in the child, which is the base. The parent is its warden for as long as it lives."""
    warden = os.getpid()
    base = os.fork()
    if base == 0:
        setup["warden"] = warden
        return
    try:
        Warden(base, setup).watch()
    finally:
        os._exit(1)


class Warden:
    """See the module. It reports on the base's own socket, number 0: the gateway knows them by pid."""

    def __init__(self, base: int, setup: dict[str, Any]) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
            signal.signal(number, signal.SIG_IGN)  # the gateway's business
        life.keep_descendants()
        self._base = base
        self._gateway = life.Ending(setup["life"], signal.SIGIO)
        self._control = socket.socket(fileno=setup["control"])
        for fd in (setup["life"], setup["access"]):
            if fd >= 0:
                os.close(fd)

    def watch(self) -> None:
        """Until the base or the gateway has ended."""
        while True:
            self._collect()
            if self._gateway.has_come():
                descendants.end_all(ENDING_S)
                os._exit(0)
            signal.sigwait(_SIGNALS)

    def _collect(self) -> None:
        while True:
            try:
                pid, status, usage = os.wait4(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self._base:
                self._follow(status)
            told = frames.DiedFrame(
                pid, 0, status, int(usage.ru_utime * 1000), int(usage.ru_stime * 1000), usage.ru_maxrss * 1024
            )
            with contextlib.suppress(OSError):  # no room: its end is then of unknown cause
                fds.send(self._control, frames.pack_died(told), (), fds.DONTWAIT | fds.NOSIGNAL)

    def _follow(self, status: int) -> None:
        """Leave as the base has, unless the gateway is gone, too."""
        poll = select.poll()
        poll.register(self._control, 0)
        if poll.poll(0):  # the gateway has hung up
            signal.sigtimedwait({signal.SIGIO}, FOLLOWS_S)
        if not self._gateway.has_come():
            os._exit(os.waitstatus_to_exitcode(status) & 0xFF)

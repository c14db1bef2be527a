"""The base template: the app's interpreter with the instance side imported and no user code.

It forks one process per template, one more base that is stocked with frameworks if templates are restored
from snapshots, and, for functions that cannot be forked after initialisation, one per
instance (start kind `spawn`).

Setup, a JSON object: `control` (SEQPACKET descriptor to the gateway), `life` (read end of the life pipe),
`borrow` (directories), `threads` (variables that limited BLAS and OpenMP to one thread, with the user's
values), `nofile` (the soft limit instances get), `access` (descriptor for access lines; -1 for deployed
functions, who write them into their log pipes), `user` (uid, gid and name whom it becomes before any user
code runs, or null), `warden` (the parent). The environment's OPT_VARIABLE: directories that it has in /opt,
the first on top.
"""

from __future__ import annotations

import os
import resource
import socket
import sys
from typing import Any

from snapfork.runner.processes import instance, life, privileges, stdio, template
from snapfork.runner.processes.forker import Forker
from snapfork.runner.units import OPT_VARIABLE
from snapfork.runner.wire import fds, frames

NO_USER = 78
"""Exit status of a base that cannot become its user (EX_CONFIG of sysexits.h)."""
STARTS_THREADS = 69
"""Exit status of a stocked base that something has made unfit to be forked (EX_UNAVAILABLE)."""


def main(setup: dict[str, Any]) -> None:
    """Run the base template until the gateway closes its socket."""
    os.setsid()
    for fd in (setup["control"], setup["life"], *([setup["access"]] if setup["access"] >= 0 else [])):
        os.set_inheritable(fd, False)  # programs that user code starts have no business with them
    life.arm_group(setup["life"])
    life.shield()
    stdio.prepare()
    _restore_file_limit(setup["nofile"])
    control = socket.socket(fileno=setup["control"])
    if setup.get("user"):
        uid, gid, name = setup["user"]
        opt = os.environ.pop(OPT_VARIABLE, "")
        try:
            privileges.become(uid, gid, name, opt=opt.split(":") if opt else ())
        except privileges.NotPossible as error:
            fds.send(control, frames.pack_json({"unusable": str(error)}))
            os._exit(NO_USER)
    life.end_with(setup["warden"])  # not before: with its rights a process loses this wish
    fds.send(control, frames.pack_json({"base": {"pid": os.getpid(), "version": sys.version.split()[0]}}))
    Base(control, setup).run()


def _restore_file_limit(soft: int) -> None:
    # The gateway raised its own limit; programs that use select() or close every descriptor expect theirs.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, hard), hard))


class Base:
    """Takes the gateway's orders one at a time."""

    def __init__(self, control: socket.socket, setup: dict[str, Any]) -> None:
        self.control = control
        self.setup = setup
        self.forker = Forker(control)
        self.orders: dict[int, dict[str, Any]] = {}

    def run(self) -> None:
        for view, received in fds.messages(self.control):
            if view[0] == frames.START:
                self._spawn(frames.unpack_start(view), received)
            else:
                self._order(frames.unpack_json(view), received)
        os._exit(0)

    def _order(self, message: dict[str, Any], received: list[int]) -> None:
        operation = message["op"]
        if operation == "load":
            order = message["order"] | {"setup": self.setup}
            if self.forker.fork(message["number"]):
                self._become_template(order, received)
        elif operation == "spawn":
            self.orders[message["generation"]] = message["order"] | {"setup": self.setup}
            if message["interface"] == "asgi":
                # Once here, instead of in every spawned instance.
                import snapfork.runner.processes.asgi_loop  # noqa: F401
        elif operation == "forget":
            self.orders.pop(message["generation"], None)
        elif operation == "stock":
            if self.forker.fork(message["number"]):
                self._become_stocked(socket.socket(fileno=received[0]))
        elif operation == "take":
            self._take(message["modules"], freeze=message.get("freeze", False))
        fds.close_all(received)

    def _become_stocked(self, control: socket.socket) -> None:
        """Be a base of one's own, whose templates come from snapshots: frameworks are imported in it."""
        self.control.close()
        Base(control, self.setup).run()

    def _take(self, modules: list[str], freeze: bool) -> None:
        from snapfork.runner.processes import stock

        if not (stock.take(modules) and (not freeze or stock.close())):
            os._exit(STARTS_THREADS)

    def _become_template(self, order: dict[str, Any], received: list[int]) -> None:
        self.control.close()
        template.main(order, received)
        os._exit(0)

    def _spawn(self, start: frames.StartFrame, received: list[int]) -> None:
        if self.forker.fork(start.number):
            self.control.close()
            instance.spawned(self.orders[start.generation], start, received)
            os._exit(0)
        fds.close_all(received)

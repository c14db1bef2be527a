"""Instances for requests that have waited for their template: forked as soon as the app can be called.

Warm-up requests and the freeze make every later fork cheaper, and would make these requests wait. What is
forked here copies more pages, and calls the app's code for the first time.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from snapfork.runner.processes import afterfork, atfork, hooks, instance, life
from snapfork.runner.processes.quiesce import quiesce
from snapfork.runner.wire import fds, frames

if TYPE_CHECKING:
    from snapfork.runner.processes.audit import Audit
    from snapfork.runner.processes.forker import Forker
    from snapfork.runner.processes.instance import Prepared


def can_fork(prepared: Prepared, auditor: Audit) -> bool:
    """Whether what import and initialisation left may be forked as it is, and no hook has a say in that."""
    if prepared.loaded.interface == "asgi" and prepared.lifespan not in ("off", "none"):
        return False  # its start-up is the candidate's or the instances' own
    if hooks.has_before_snapshot(prepared.loaded.hooks):
        return False
    quiesce(None)
    return not any(one.severity == "spawn" for one in auditor.now())


def serve(
    prepared: Prepared, control: socket.socket, forker: Forker, in_child: Callable[[], Mapping[int, str]]
) -> bool:
    """Fork an instance for every START frame until told to go on; False when told to end.

    `in_child` undoes in an instance what only the building of the template needs; it gives the generators
    that the app has seeded itself.
    """
    for view, received in fds.messages(control):
        if view[0] != frames.START:
            fds.close_all(received)
            return bool(frames.unpack_json(view)["op"] == "go on")
        start = frames.unpack_start(view)
        sys.stdout.flush()
        sys.stderr.flush()
        with life.shielded_children(), atfork.passing():
            forked = forker.fork(start.number)
        if forked:
            control.close()
            afterfork.prepare(prepared.order["setup"]["threads"], in_child())
            prepared.after_fork = hooks.after_fork(prepared.loaded.hooks)
            prepared.arm_each = not life.is_armed_by_group()
            instance.forked(prepared, start, received)
            os._exit(0)
        fds.close_all(received)
    return False

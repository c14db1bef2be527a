"""A template's life: it is built (builder.py), then it forks instances on order."""

from __future__ import annotations

import os
import socket
from typing import Any

from snapfork.runner.processes import instance, keep, life, memory, stdio, surroundings
from snapfork.runner.processes.builder import Builder, Failed
from snapfork.runner.processes.forker import Forker
from snapfork.runner.processes.instance import Prepared
from snapfork.runner.wire import fds, frames

OOM_SCORE = 300  # before the gateway, after instances


def main(order: dict[str, Any], received: list[int]) -> None:
    """Become a template; `received` holds its control socket and the pipe for its output."""
    control = socket.socket(fileno=received[0])
    stdio.install(received[1])
    life.arm_leavers(order["setup"]["life"])
    life.expose_children()
    memory.prefer_for_oom_kill("self", OOM_SCORE)
    surroundings.enter(order)
    builder = Builder(order, control)
    if names := surroundings.shadowed(order):
        builder.tell({"shadowed": names})
        os._exit(0)
    try:
        prepared = builder.build()
    except Failed as failure:
        if "verify" in order:
            keep.refuse(order, order["verify"], failure.sentence, control)
        builder.tell({"failed": {"sentence": failure.sentence, "traceback": failure.traceback}})
        prepared = None
    if prepared is not None:
        if "verify" in order:
            keep.verify(prepared, order["verify"], control)
        serve_orders(prepared, control, builder.forker or Forker(control))
    stdio.drain()
    os._exit(0)


def serve_orders(prepared: Prepared, control: socket.socket, forker: Forker) -> None:
    """Fork an instance for every START frame until told to exit."""
    inherited = control.fileno()
    measured = False
    instance.look_up(prepared)
    for view, received in fds.messages(control):
        if view[0] != frames.START:
            message = frames.unpack_json(view)
            if message["op"] == "exit":
                return
            if forker.fork(message["number"]):
                keep.in_child(prepared, message, socket.socket(fileno=received[0]))
            fds.close_all(received)
            continue
        start = frames.unpack_start(view)
        if forker.fork(start.number):
            os.close(inherited)
            instance.forked(prepared, start, received)
        fds.close_all(received)
        if not measured:  # not before somebody is served: the kernel walks through all pages
            measured = True
            try:
                fds.send(control, frames.pack_json({"private": memory.private_bytes()}))
            except OSError:
                return

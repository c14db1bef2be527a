"""`runner snapshot`'s other half: makes a snapshot of an app, or tells what an app answers.

Exec'd like a base template in the app's interpreter, it builds the template of `setup["order"]` as `runner
serve` would. `setup["capture"]` is {"output": FILE, "by_value": [], "by_reference": []} to write its
snapshot, or {} to do without; either way the app's warm-up requests are replayed, and its answers are told.
"""

from __future__ import annotations

import os
import socket
import time
from typing import Any

from snapfork.runner.processes import audit, keep, life, stdio
from snapfork.runner.processes.builder import Builder, Failed
from snapfork.runner.processes.instance import Prepared


class Capturer(Builder):
    """A builder that takes no app which cannot be forked: what a fork loses, a file does not hold either."""

    records = True

    def _conclude(self, prepared: Prepared, findings: list[audit.Finding], self_pid: bool) -> Prepared | None:
        if audit.must_spawn(findings):
            _with_paths(prepared)
            told = [
                f"{one.kind} {one.object} (from {one.origin or 'C code'}); {one.cure}"
                for one in findings
                if one.severity == "spawn"
            ]
            raise Failed("The app holds what cannot be captured:\n  " + "\n  ".join(told))
        return super()._conclude(prepared, findings, self_pid)

    def tell(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        if "ready" not in message:  # this process has more to tell
            super().tell(message, descriptors)


def _with_paths(prepared: Prepared) -> None:
    """If the app can be followed to what stands against capturing it, say where that is. Raises Failed."""
    try:
        keep.make(prepared)
    except keep.NotKept as error:
        raise Failed(error.sentence) from None


def main(setup: dict[str, Any]) -> None:
    """Do what `setup["capture"]` says; one message on the socket `setup["control"]`."""
    os.setsid()
    life.arm(setup["life"])
    stdio.prepare()
    os.dup2(2, 1)  # the app's own output must not mix with the command's
    control = socket.socket(fileno=setup["control"])
    builder = Capturer(setup["order"] | {"setup": setup}, control)
    begun = time.perf_counter()
    try:
        prepared = builder.build()
        if prepared is not None:
            ready_ms = (time.perf_counter() - begun) * 1000
            builder.tell({"done": _work(prepared, setup["capture"]) | {"ready_ms": ready_ms}})
    except Failed as failure:
        builder.tell({"failed": {"sentence": failure.sentence, "traceback": failure.traceback}})
    stdio.drain()
    os._exit(0)


def _work(prepared: Prepared, wish: dict[str, Any]) -> dict[str, Any]:
    message: dict[str, Any] = {}
    try:
        if wish:
            message["captured"] = keep.capture(prepared, wish.pop("output"), **wish)
        message["answers"] = keep.replay(prepared)
    except keep.NotKept as error:
        raise Failed(error.sentence) from None
    except BaseException as error:  # hooks and start-up code of the user
        import traceback

        raise Failed(
            f"a hook or start-up code failed: {type(error).__name__}: {error}", traceback.format_exc()
        ) from None
    return message

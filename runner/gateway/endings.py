"""What the services are told of a run whose instance has died: where it ran, how long, how it ended."""

from __future__ import annotations

import json
import os
import signal
from typing import Any

from snapfork.runner.gateway.answers import Extra
from snapfork.runner.gateway.connection import Connection
from snapfork.runner.gateway.instances import Instance
from snapfork.runner.units import RUN_HEADER
from snapfork.runner.wire.frames import START_NAMES, WARM

MS = 1e6
MB = 1 << 20


def seen(one: Instance, conn: Connection, requests: int, now: int) -> dict[str, Any]:
    """What units.RUN_HEADER tells of it, as far as the dead instance's page goes; it has yet to be unmapped.

    requests: how many had begun on this loan, the last of which is meant; 0: it had only been lent.
    """
    lent_ns = conn.t0_ns + conn.extra_ns
    began_ns = one.slot(conn.slot)[3] if requests else now
    first = requests <= 1 and one.requests <= 1
    start = WARM
    if first:
        start = one.kind_of_first(conn.t0_ns) if one.ready_ns else one.start
    return {
        "instance": str(one.number),
        "start": START_NAMES[start],
        "init_ms": round(max(0, began_ns - lent_ns) / MS, 3) if first else 0.0,
        "run_ms": round((now - began_ns) / MS, 3),
        "began_ns": began_ns,
    }


def header(one: Instance, run: dict[str, Any]) -> Extra:
    """The answer's header, once it is known how the instance has ended."""
    told = {**run, "memory_mb": round(one.peak / MB, 2), "exit": _exit_text(one)}
    return ((RUN_HEADER, json.dumps(told, separators=(",", ":")).encode()),)


def _exit_text(one: Instance) -> str:
    """How it ended by itself: "exit status 3", "signal: segmentation fault"; "" if it was ended, or well."""
    if one.cause or one.status is None or one.status == 0:
        return ""
    if os.WIFSIGNALED(one.status):
        number = os.WTERMSIG(one.status)
        return f"signal: {(signal.strsignal(number) or str(number)).lower()}"
    return f"exit status {os.WEXITSTATUS(one.status)}"

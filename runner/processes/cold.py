"""Into which stages the wait for a first answer falls: what a template and an instance did meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

Span = tuple[str, int, int]
"""A stage of a template, its beginning and its end (CLOCK_MONOTONIC, ns)."""
FETCH, UNPACK, INITIALISE = "fetch", "unpack", "initialise"
STAGES = {"look up": FETCH, "restore": UNPACK}
"""What a template's stages are to an invocation that waits for it: a kept snapshot is looked up and restored;
all others initialise the app. Code itself is unpacked when it is uploaded."""
_MS = 1_000_000


@dataclass(frozen=True)
class Cold:
    """How the app of this process came up. asked_ns: when somebody wanted it; ready_ns: when it was there."""

    asked_ns: int = 0
    ready_ns: int = 0
    spans: tuple[Span, ...] = ()


def stages(cold: Cold, accepted_ns: int, lent_ns: int, started_ns: int) -> dict[str, float]:
    """Milliseconds of schedule, fetch, unpack, start and initialise, those above 0.

    Together they are the time from `accepted_ns` to `started_ns`.
    lent_ns: since when the request wanted an instance, started_ns for one that went on with its own.
    """
    found: dict[str, int] = {}
    waited = cold.ready_ns > accepted_ns
    for name, begun, ended in cold.spans if waited else ():
        took = min(ended, started_ns) - max(begun, accepted_ns)
        if took > 0:
            stage = STAGES.get(name, INITIALISE)
            found[stage] = found.get(stage, 0) + took
    rest = max(0, started_ns - accepted_ns - sum(found.values()))
    wanted_ns = cold.asked_ns if waited else lent_ns
    found["schedule"] = min(rest, max(0, wanted_ns - accepted_ns))
    found["start"] = rest - found["schedule"]
    return {name: round(ns / _MS, 3) for name, ns in found.items() if ns}


def spans_of(order: dict[str, object]) -> list[Span]:
    """Those of processes before this one, as an order has them: lists, where they came as JSON."""
    told = order.get("spans")
    # Not an abstract class: its first look at a type costs a fork 200 page copies.
    return [(one[0], one[1], one[2]) for one in told] if isinstance(told, (list, tuple)) else []

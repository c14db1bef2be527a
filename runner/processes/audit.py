"""The audit: what a template holds that its forked instances could not use.

`baseline` is taken before user code is imported; `Audit.check` is called after each stage and remembers
which stage, and which warm-up request, first left what it finds; `Audit.final` is the verdict. A finding of
severity "spawn" means that the function cannot be forked from this template; a "note" is only told.
"""

from __future__ import annotations

import gc
import os
import sys
import threading
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any, NamedTuple

from snapfork.runner.processes import audit_objects, descriptors
from snapfork.runner.processes.origins import Origins


@dataclass
class Finding:
    """A thing instances could not share, left by `stage` (`request`: by that warm-up request, or None)."""

    severity: str
    kind: str
    object: str
    origin: str
    cure: str
    key: str = ""
    stage: str = ""
    request: int | None = None

    def as_dict(self) -> dict[str, Any]:
        """What consoles, status and doctor show; JSON-able."""
        return {
            "severity": self.severity,
            "kind": self.kind,
            "object": self.object,
            "origin": self.origin,
            "cure": self.cure,
            "stage": self.stage,
            "request": self.request,
        }


class Baseline(NamedTuple):
    """What the process held before user code: descriptors and targets, threads, loops and executors."""

    fds: dict[int, str]
    threads: frozenset[int]
    objects: frozenset[int]


def baseline() -> Baseline:
    """Look at this process now. Call it after the process forked and before user code is imported."""
    objects = frozenset(id(thing) for thing in audit_objects.suspects())
    return Baseline(descriptors.open_descriptors(), frozenset(_tasks()), objects)


def audit(
    base: Baseline, *, own_fds: Collection[int] = (), loop: Any = None, origins: Origins | None = None
) -> list[Finding]:
    """Everything made since `base` that matters after a fork, worst first.

    `own_fds` are descriptors of the runner itself; `loop` is the template's own loop if it is still open.
    """
    origins = origins or Origins()
    found = _threads(base, origins)
    claimed: set[int] = set(own_fds)
    for suspect in audit_objects.judge(audit_objects.suspects(), base.objects, loop):
        claimed |= suspect.fds
        found.append(
            Finding(
                "spawn",
                suspect.kind,
                suspect.object,
                origins.objects.get(suspect.ident) or suspect.origin,
                suspect.cure,
                f"{suspect.kind}:{suspect.ident}",
            )
        )
    found += _descriptors(base, claimed, origins)
    return _unique(found)


def _unique(found: list[Finding]) -> list[Finding]:
    by_key: dict[str, Finding] = {}
    for finding in found:
        by_key.setdefault(finding.key, finding)
    return sorted(by_key.values(), key=lambda finding: finding.severity != "spawn")


def _tasks() -> list[int]:
    return [int(tid) for tid in os.listdir("/proc/self/task")]


def _threads(base: Baseline, origins: Origins) -> list[Finding]:
    found: list[Finding] = []
    names = {thread.native_id: thread for thread in threading.enumerate()}
    for tid in _tasks():
        if tid == os.getpid() or tid in base.threads:
            continue
        thread = names.get(tid)
        try:
            with open(f"/proc/self/task/{tid}/comm", encoding="utf-8", errors="replace") as file:
                command = file.read().strip()
        except OSError:
            continue  # it has ended
        if thread is None and command == "libuv-worker":
            # uvloop's own pool for name look-ups: libuv makes it anew in a child (pthread_atfork).
            cure = "None needed: libuv makes its threads anew in each instance."
            found.append(Finding("note", "thread", command, "uvloop", cure, "thread:libuv"))
            continue
        if thread is None:
            name, cure = f"{command!r}, not made by Python", _NATIVE_CURE
        else:
            name, cure = f"{thread.name!r} ({_target(thread)})", audit_objects.thread_cure(thread)
        found.append(Finding("spawn", "thread", name, origins.threads.get(tid, ""), cure, f"thread:{tid}"))
    return found


_NATIVE_CURE = "A C library made it; use that library first in an after_fork hook."


def _target(thread: threading.Thread) -> str:
    target = getattr(thread, "_target", None)
    if target is None:
        return f"{type(thread).__module__}.{type(thread).__qualname__}"
    return f"{getattr(target, '__module__', '?')}.{getattr(target, '__qualname__', repr(target))}"


def _descriptors(base: Baseline, claimed: set[int], origins: Origins) -> list[Finding]:
    found: list[Finding] = []
    tracker = getattr(sys.modules.get("multiprocessing.resource_tracker"), "_resource_tracker", None)
    if tracker is not None and tracker._fd is not None:
        claimed.add(tracker._fd)  # made to be shared by forked processes
    for fd, target in sorted(descriptors.open_descriptors().items()):
        if fd in claimed or base.fds.get(fd) == target:
            continue
        seen = descriptors.describe(fd, target)
        if seen is not None:
            origin = origins.sockets.get(fd, "") if target.startswith("socket:") else ""
            key = f"fd:{seen.identity}"
            found.append(Finding(seen.severity, seen.kind, seen.object, origin, seen.cure, key))
    return found


class Audit:
    """Audits of one template, with the memory of which stage left what.

    `own_fds` may grow while the template is built; `loop` is set while the template's own loop is open.
    """

    def __init__(self, base: Baseline, origins: Origins, own_fds: set[int] | None = None) -> None:
        self.base = base
        self.origins = origins
        self.own_fds: set[int] = own_fds if own_fds is not None else set()
        self.loop: Any = None
        self._first: dict[str, tuple[str, int | None]] = {}

    def check(self, stage: str, request: int | None = None) -> list[Finding]:
        """After `stage` (in warm-up: after request number `request`): what is new since the last check."""
        new = [finding for finding in self._look() if finding.key not in self._first]
        for finding in new:
            self._first[finding.key] = (stage, request)
            finding.stage, finding.request = stage, request
        return new

    def now(self) -> list[Finding]:
        """What there is, without noting when it was left."""
        return self._look()

    def final(self, stage: str = "quiesce") -> list[Finding]:
        """Once pools are dropped: collect garbage; then all that is left, with the stage that left it."""
        gc.collect()
        found = self._look()
        for finding in found:
            finding.stage, finding.request = self._first.setdefault(finding.key, (stage, None))
        return found

    def _look(self) -> list[Finding]:
        return audit(self.base, own_fds=self.own_fds, loop=self.loop, origins=self.origins)


def must_spawn(findings: list[Finding]) -> bool:
    """Whether something that import, initialise or start-up left forbids forking, whatever warm-up did."""
    return any(finding.severity == "spawn" and finding.request is None for finding in findings)


def requests_to_skip(findings: list[Finding]) -> list[int]:
    """Warm-up requests without which a template could be forked (they alone left something)."""
    return sorted({f.request for f in findings if f.severity == "spawn" and f.request is not None})

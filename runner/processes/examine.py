"""`runner doctor`'s other half: the stages of a template run once in the app's interpreter, and watched.

Exec'd like a base template, it builds exactly what `runner serve` would build, adds what the inspector saw
to the reports, and leaves; no instance is ever forked. Setup as for the base, with `order` beside it.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from snapfork.runner.processes import apart, audit, keep, life, stdio
from snapfork.runner.processes.builder import Builder, Failed
from snapfork.runner.processes.inspect_app import Inspector


class Examiner(Builder):
    """A builder that lets an inspector look on."""

    records = True

    def __init__(self, order: dict[str, Any], control: socket.socket) -> None:
        super().__init__(order, control)
        self.inspector = Inspector(self.origins)
        self.found: list[audit.Finding] = []
        self.snapshot: dict[str, Any] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, str]]:
        if name == "import":
            self.inspector.start()
        elif name == "warm up":
            self.inspector.loaded()
            self.inspector.warming()
        with super().stage(name) as about:
            yield about
        if name == "warm up":
            self.inspector.warmed()

    def tell(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        if "ready" in message:
            message["ready"]["noticed"] = [finding.as_dict() for finding in self.inspector.findings()]
            message["ready"]["imports"] = self.inspector.imports.slowest()
            message["ready"]["snapshot"] = self.snapshot
        elif "dirtied" in message:
            message["dirtied"]["findings"] = [finding.as_dict() for finding in self.found]
        super().tell(message, descriptors)

    def _conclude(self, prepared: Any, findings: list[audit.Finding], self_pid: bool) -> Any:
        self.found = findings
        prepared.recorder, prepared.begun_ns = self.recorder, self.begun_ns
        self.snapshot = apart.ask(lambda: _snapshot(prepared))
        if audit.must_spawn(findings) and "refused" not in self.snapshot:
            self.snapshot = {"refused": "What stands against forking, a file would not hold either."}
        return super()._conclude(prepared, findings, self_pid)


def _snapshot(prepared: Any) -> dict[str, Any]:
    """What a snapshot of the app would hold, or {"refused": why there can be none}."""
    try:
        made = keep.make(prepared)
    except keep.NotKept as error:
        return {"refused": error.sentence}
    header, captured = made.header, made.captured
    buffers = sum(memoryview(one).nbytes for one in captured.buffers)
    return {
        "bytes": len(captured.stream) + buffers,
        "modules": [name for name, _ in header.modules],
        "needs": header.needs,
        "warnings": header.warnings,
    }


def main(setup: dict[str, Any]) -> None:
    """Build the template of `setup["order"]`, telling each step on the socket `setup["control"]`."""
    os.setsid()
    life.arm(setup["life"])
    stdio.prepare()
    os.dup2(2, 1)  # the app's own output must not mix with doctor's
    control = socket.socket(fileno=setup["control"])
    examiner = Examiner(setup["order"] | {"setup": setup}, control)
    try:
        examiner.build()
    except Failed as failure:
        examiner.tell({"failed": {"sentence": failure.sentence, "traceback": failure.traceback}})
    stdio.drain()
    os._exit(0)

"""The gateway's handle of one template, from its order to its death."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Callable
from typing import Any, Protocol

from snapfork.runner.gateway.channel import Channel
from snapfork.runner.gateway.children import Watch, cause_of
from snapfork.runner.serve_config import FunctionConfig
from snapfork.runner.wire import fds, frames

REPORT_S = 0.05
"""How long a template's death waits for the base's report before it is told without."""
BUILDING, READY, FAILED, DEAD = "building", "ready", "failed", "dead"


class Owner(Protocol):
    """Who is told about a template: its function's pool."""

    def template_stage(self, template: Template, stage: dict[str, Any]) -> None: ...
    def template_early(self, template: Template, report: dict[str, Any]) -> None: ...
    def template_ready(self, template: Template, report: dict[str, Any]) -> None: ...
    def template_failed(self, template: Template, sentence: str, traceback: str | None) -> None: ...
    def template_dirtied(self, template: Template, skip_warmup: list[int]) -> None: ...
    def template_found(self, template: Template, found: dict[str, Any]) -> None: ...
    def template_restoring(self, template: Template, found: dict[str, Any]) -> None: ...
    def template_shadowed(self, template: Template, names: list[str]) -> None: ...
    def template_died(self, template: Template) -> None: ...
    def template_gone(self, template: Template) -> None: ...


class Template:
    """`number` names the process among the base's children; `generation` the version of the code, which
    `config` says where to find."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        number: int,
        generation: int,
        config: FunctionConfig,
        owner: Owner,
        on_frame: Callable[[memoryview, list[int]], None],
    ) -> None:
        self._loop = loop
        self.number = number
        self.generation = generation
        self.config = config
        self._owner = owner
        self._on_frame = on_frame
        ours, theirs = fds.pair()
        self.theirs = theirs
        self.channel = Channel(loop, ours, self._message, self._eof)
        self.pid = 0
        self._watch: Watch | None = None
        self.state = BUILDING
        self.stages: list[dict[str, Any]] = []
        self.report: dict[str, Any] = {}
        self.error: str | None = None
        self.retired = False
        self._status: int | None = None
        self.alive = True
        self.went_on = False
        self.begun_ns = time.monotonic_ns()

    def forked(self, pid: int, pidfd: int) -> None:
        """The process exists now (or a candidate has taken its place)."""
        if self._watch is not None:
            self._watch.close()
        self.pid = pid
        self._watch = Watch(self._loop, pidfd, lambda: self._dead(pid))

    def died(self, frame: frames.DiedFrame) -> None:
        """The base reaped it; its pidfd acts."""
        if frame.pid == self.pid:
            self._status = frame.status

    def go_on(self) -> None:
        """After `template_early`: nobody waits any more, it may make itself ready."""
        if not self.went_on:
            self.went_on = True
            self.channel.send(frames.pack_json({"op": "go on"}))

    def retire(self) -> None:
        """It exits after the orders that it has; its instances live on."""
        self.retired = True
        self.state = DEAD
        self.channel.send(frames.pack_json({"op": "exit"}))

    def kill(self) -> None:
        """SIGKILL, for builds that are overtaken or take too long."""
        self.end()
        self.retire()

    def end(self) -> None:
        """SIGKILL, for one that hangs; what its death leads to is as for any other."""
        if self._watch is not None and self._watch.pidfd >= 0:
            with contextlib.suppress(ProcessLookupError):  # dead already
                signal.pidfd_send_signal(self._watch.pidfd, signal.SIGKILL)

    def _message(self, view: memoryview, received: list[int]) -> None:
        if view[0] != frames.JSON:
            self._on_frame(view, received)
            return
        message = frames.unpack_json(view)
        if "stage" in message:
            self.stages.append(message["stage"])
            self._owner.template_stage(self, message["stage"])
        elif "early" in message:
            self._owner.template_early(self, message["early"])
        elif "ready" in message:
            if received:
                self.forked(message["ready"]["pid"], received.pop(0))
            self.report = message["ready"]
            self.state = READY
            self._owner.template_ready(self, self.report)
        elif "private" in message:
            self.report["private"] = message["private"]
        elif "failed" in message:
            self.state = FAILED
            self.error = message["failed"]["sentence"]
            self._owner.template_failed(self, self.error or "", message["failed"].get("traceback"))
        elif "dirtied" in message:
            self.state = FAILED
            self._owner.template_dirtied(self, message["dirtied"]["skip_warmup"])
        elif "found" in message:
            self.state = FAILED
            self._owner.template_found(self, message["found"])
        elif "restoring" in message:
            self._owner.template_restoring(self, message["restoring"])
        elif "shadowed" in message:
            self.state = FAILED
            self._owner.template_shadowed(self, message["shadowed"])
        fds.close_all(received)

    def _eof(self) -> None:
        pass  # its pidfd tells of its death; instances closed their copies at birth

    def _dead(self, pid: int) -> None:
        self.channel.drain()  # what it said last, a candidate's hello before all
        if pid != self.pid:
            return
        if self._watch is not None:
            with contextlib.suppress(OSError):  # not ours: the base reaps it
                os.waitid(os.P_PIDFD, self._watch.pidfd, os.WEXITED | os.WNOHANG)
            self._watch.close()
        self.alive = False
        self.channel.close()
        if self.state == BUILDING:
            self.state = FAILED
            self._loop.call_later(REPORT_S, self._tell_death)  # until the base has told how
            return
        self._owner.template_gone(self)
        if not self.retired and self.state != FAILED:
            self.state = DEAD
            self._owner.template_died(self)

    def _tell_death(self) -> None:
        self._owner.template_gone(self)
        how = f" ({cause_of(self._status)})" if self._status is not None else ""
        self.error = (
            f"the template died while it was starting{how}: the app's code, or C code that it called, ended "
            "the process; its last output stands above, if it gave any"
        )
        self._owner.template_failed(self, self.error, None)

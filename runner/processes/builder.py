"""Building a template: import, initialise, warm up, quiesce, collect, audit, freeze."""

from __future__ import annotations

import json
import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from snapfork.runner.kept.recorder import Recorder
from snapfork.runner.processes import (
    afterfork,
    apart,
    audit,
    cold,
    early,
    freeze,
    hooks,
    instance,
    life,
    memory,
    stdio,
    warmup,
)
from snapfork.runner.processes.descriptors import open_descriptors
from snapfork.runner.processes.forker import Forker
from snapfork.runner.processes.instance import Prepared
from snapfork.runner.processes.load import LoadError, load
from snapfork.runner.processes.load_errors import start_up_failed, suit, user_traceback
from snapfork.runner.processes.origins import Origins
from snapfork.runner.processes.quiesce import quiesce
from snapfork.runner.processes.serving import make_served
from snapfork.runner.processes.target import is_snapshot
from snapfork.runner.wire import fds, frames

INITIALISING = ("import", "initialise", "lifespan", "initializer")
"""The stages that a restore saves."""
CANDIDATES = ("lifespan", "initializer")
"""The stages that are tried in a process which is given up if they leave what cannot be forked."""


class Failed(Exception):
    """The template cannot come up: one sentence, and the user's traceback if there is one."""

    def __init__(self, sentence: str, traceback: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.traceback = traceback


class Builder:
    """One walk through the stages, telling the gateway about each.

    records: what the app reads is noted although no snapshot is to be kept.
    """

    records = False

    def __init__(self, order: dict[str, Any], control: socket.socket) -> None:
        self.order = order
        self.control = control
        self.origins = Origins()
        self.auditor = audit.Audit(audit.baseline(), self.origins)
        self.warmups: list[dict[str, Any]] = []
        self.recorder = Recorder()
        self.begun_ns = time.time_ns()
        self.init_ms = 0.0
        self.forker: Forker | None = None
        self.spans = cold.spans_of(order)

    def tell(self, message: dict[str, Any], descriptors: tuple[int, ...] = ()) -> None:
        try:
            fds.send(self.control, frames.pack_json(message), descriptors)
        except OSError:
            os._exit(0)  # the gateway has given this build up

    @contextmanager
    def stage(self, name: str) -> Iterator[dict[str, str]]:
        """Time one stage; the caller may set ["detail"]."""
        about: dict[str, str] = {}
        begun_ns = time.monotonic_ns()
        yield about
        ended_ns = time.monotonic_ns()
        self.spans.append((name, begun_ns, ended_ns))
        ms = round((ended_ns - begun_ns) / 1e6, 3)
        self.init_ms += ms if name in INITIALISING else 0.0
        self.tell({"stage": {"name": name, "ms": ms, "detail": about.get("detail", "")}})

    def build(self) -> Prepared | None:
        """The finished template's contents, or None when this process is not the one to serve orders."""
        if self._look_up():
            return None
        self.origins.install()
        if self.records or self.order["keep"]:
            self.recorder.install()
        with self.stage("restore" if self.order.get("restore") else "import"):
            try:
                loaded = load(self.order)
            except LoadError as error:
                raise Failed(suit(error.sentence, self.order), error.traceback_text) from None
        self._disown_snapshot()
        self.auditor.check("import")
        if loaded.restored is None:
            with self.stage("initialise"):
                _run_user_code("the initializer hook", lambda: hooks.run_initializer(loaded.hooks))
            self.auditor.check("initialise")
        prepared = Prepared(self.order, loaded, make_served(loaded, self.order), _claim_signals())
        wish = loaded.settings["lifespan"]
        if loaded.restored is not None and wish == "auto":
            return self._go_on(prepared, loaded.restored)
        if loaded.interface == "wsgi" or wish in ("off", "instance"):
            prepared.lifespan = "none" if loaded.interface == "wsgi" else wish
            return self._with_initializer(prepared)
        return self._with_candidate(prepared, start_up=True)

    def _with_initializer(self, prepared: Prepared) -> Prepared | None:
        """The lifespan needs no trial; a deployed function's initializer does, if there is one."""
        if not self.order.get("initializer"):
            return self._finish(prepared, None)
        if prepared.lifespan == "instance":
            self._leave_to_instances(prepared, start_up=False)
            return self._finish(prepared, None)
        return self._with_candidate(prepared, start_up=False)

    def _look_up(self) -> bool:
        """Find the snapshot that this order names, or may use; True if another process is to restore it."""
        order = self.order
        if order.get("restore") or not (order["keep"] or is_snapshot(order["target"])):
            return False
        if not (order.get("look", True) or is_snapshot(order["target"])):
            return False
        if is_snapshot(order["target"]):
            said = apart.ask(lambda: lookup().enter(order))
            if "found" not in said:
                raise Failed(said.get("refused") or f"{order['target']} cannot be checked: {said['error']}")
        else:
            with self.stage("look up") as about:
                said = apart.ask(lambda: lookup().look(order, dict(os.environ)))
                about["detail"] = said.get("fresh") or said.get("error") or "a snapshot"
            order["keep"] = "refused" not in said
        if "found" not in said:
            return False
        if order["elsewhere"]:
            self.tell({"found": said["found"] | {"spans": self.spans}})
            return True
        self.tell({"restoring": said["found"]})
        order["restore"] = said["found"]["path"]
        return False

    def _disown_snapshot(self) -> None:
        """A mapping keeps its descriptor, which nobody reads."""
        path = self.order.get("restore")
        if path:
            opened = open_descriptors()
            self.auditor.own_fds |= {fd for fd, target in opened.items() if target == os.path.realpath(path)}

    def _go_on(self, prepared: Prepared, past: dict[str, Any]) -> Prepared | None:
        """With a restored app: what its start-up did, it has."""
        prepared.lifespan = past.get("lifespan") or "none"
        prepared.served.state.update(prepared.loaded.state)
        self.order["skip_warmup"] = sorted({*self.order["skip_warmup"], *past.get("skip_warmup", ())})
        known, where = past.get("initializer") or (None, "")
        if self.order.get("initializer") and known == self.order["initializer"]:
            prepared.initialise = where
            return self._finish(prepared, None)
        return self._with_initializer(prepared)

    # -- lifespan and initializer: a candidate runs them once ------------------------------------------

    def _with_candidate(self, prepared: Prepared, *, start_up: bool) -> Prepared | None:
        if threading.active_count() > 1:  # a candidate would not have them, and its audit not see them
            self._leave_to_instances(prepared, start_up)
            return self._finish(prepared, None)
        read, write = os.pipe2(os.O_CLOEXEC)
        before = open_descriptors()
        with life.shielded_children():
            pid = os.fork()
        if pid == 0:
            os.close(read)
            # Made anew by libraries' fork handlers: libuv's pipe for signals, where the base has had a loop.
            now = open_descriptors().items()
            self.auditor.own_fds |= {fd for fd, target in now if before.get(fd, target) != target}
            return self._candidate(prepared, write, start_up)
        os.close(write)
        with open(read, "rb") as pipe:
            verdict = pipe.read().decode()
        if verdict in ("taken", "over"):
            return None  # the candidate is the template now, or has told the gateway why there is none
        os.waitpid(pid, 0)
        if not verdict.startswith("dirty"):
            raise Failed("the app's start-up code ended the process; look at its last output above")
        self._leave_to_instances(prepared, start_up)
        prepared.notes = json.loads(verdict[5:])
        return self._finish(prepared, None)

    def _leave_to_instances(self, prepared: Prepared, start_up: bool) -> None:
        if start_up:
            prepared.lifespan = "instance"
        if self.order.get("initializer"):
            prepared.initialise = "instance"
            self.order["keep"] = False

    def _candidate(self, prepared: Prepared, verdict: int, start_up: bool) -> Prepared | None:
        self.auditor.own_fds.add(verdict)
        loop = lifespan = None
        if prepared.loaded.interface == "asgi":
            loop = self._make_loop()
        if start_up:
            lifespan = self._start_up(prepared, loop, verdict)
        if self.order.get("initializer"):
            self._initialise(prepared, loop, verdict)
        findings = self._warm_and_audit(prepared, loop)
        early = [one for one in findings if one.severity == "spawn" and one.stage in CANDIDATES]
        others = [one for one in findings if one.severity == "spawn" and one.stage not in CANDIDATES]
        if early and not any(one.request is None for one in others):
            if lifespan is not None:
                self._undo_startup(loop, lifespan)
            notes = [one.as_dict() | {"severity": "note"} for one in early]
            os.write(verdict, b"dirty" + json.dumps(notes).encode())
            stdio.drain()
            os._exit(0)
        if loop is not None:
            loop.end()
            self.auditor.loop = None
            self.auditor.own_fds -= loop.fds
        finished = self._conclude(prepared, findings, self_pid=True)
        os.write(verdict, b"taken" if finished is not None else b"over")
        os.close(verdict)
        return finished

    def _initialise(self, prepared: Prepared, loop: Any, verdict: int) -> None:
        from snapfork.runner.processes import lifecycle

        try:
            with self.stage("initializer"):
                on = loop.loop if loop is not None else None
                lifecycle.initialise(self.order, prepared.served, on, stays=False)
        except lifecycle.HookFailed as failure:
            os.write(verdict, b"over")
            trace = None if failure.__cause__ is None else user_traceback(failure.__cause__)
            raise Failed(str(failure), trace) from None
        prepared.initialise = "template"
        self.auditor.check("initializer")

    def _start_up(self, prepared: Prepared, loop: Any, verdict: int) -> Any:
        from snapfork.runner.processes.lifespan import Lifespan, LifespanFailed

        lifespan = Lifespan(prepared.loaded.app, prepared.served.state)
        try:
            with self.stage("lifespan") as about:
                self._run_on(loop, lifespan.startup())
                about["detail"] = "" if lifespan.supported else lifespan.note
        except LifespanFailed as failure:
            os.write(verdict, b"over")
            told = start_up_failed(failure.sentence, failure.traceback, self.order["app_dir"])
            raise Failed(told.sentence, told.traceback_text) from None
        self.auditor.check("lifespan")
        prepared.lifespan = "template" if lifespan.supported else "none"
        lifespan.hold()
        return lifespan

    def _undo_startup(self, loop: Any, lifespan: Any) -> None:
        try:
            self._run_on(loop, lifespan.shutdown())
        except Exception as error:  # user code; the instances will run it again and show it
            self.tell({"stage": {"name": "shutdown", "ms": 0.0, "detail": f"failed: {error}"}})

    def _run_on(self, loop: Any, coroutine: Any) -> Any:
        return loop.run(coroutine)

    # -- warm-up to freeze -------------------------------------------------------------------------------

    def _fork_early(self, prepared: Prepared) -> None:
        """Have requests that wait already served before everything else is done."""
        self.forker = Forker(self.control)
        instance.import_loop(prepared.served)  # else each of them would
        self._came_up(prepared)
        self.tell({"early": self._report(prepared, "fork", [])})
        if not early.serve(prepared, self.control, self.forker, self._be_instance):
            stdio.drain()
            os._exit(0)

    def _be_instance(self) -> dict[int, str]:
        seeded = dict(self.origins.seeded)
        self.origins.remove()
        if self.records or self.order["keep"]:
            self.recorder.remove()
        return seeded

    def _came_up(self, prepared: Prepared) -> None:
        prepared.came_up = cold.Cold(self.order.get("asked_ns", 0), time.monotonic_ns(), tuple(self.spans))

    def _finish(self, prepared: Prepared, loop: Any) -> Prepared | None:
        if self.order.get("early") and not prepared.initialise and early.can_fork(prepared, self.auditor):
            self._fork_early(prepared)
        if prepared.loaded.interface == "asgi" and loop is None and prepared.lifespan != "instance":
            loop = self._make_loop()
        findings = self._warm_and_audit(prepared, loop)
        if loop is not None:
            loop.end()
        return self._conclude(prepared, findings, self_pid=False)

    def _make_loop(self) -> Any:
        """A loop whose descriptors are none of the app's."""
        from snapfork.runner.processes.loops import TemplateLoop

        loop = TemplateLoop()
        self.auditor.own_fds |= loop.fds
        self.auditor.loop = loop.loop
        return loop

    def _warm_and_audit(self, prepared: Prepared, loop: Any) -> list[audit.Finding]:
        instance.import_loop(prepared.served)
        stocked = self.order.get("stocked")  # its base has rehearsed it
        if not stocked and (loop is not None or prepared.loaded.interface == "wsgi"):
            warmup.run_in(prepared.served, loop.loop if loop is not None else None)
        self._warm_up(prepared, loop)
        with self.stage("quiesce") as about:
            dropped = quiesce(loop.loop if loop is not None else None)
            if prepared.loaded.restored is None:
                found = prepared.loaded.hooks
                _run_user_code("a before_snapshot hook", lambda: hooks.run_before_snapshot(found))
            about["detail"] = " ".join(dropped)
        with self.stage("audit") as about:
            findings = self.auditor.final()
            about["detail"] = _count(findings)
        return findings

    def _warm_up(self, prepared: Prepared, loop: Any) -> None:
        requests = prepared.served.settings["warmup"]
        if "instance" in (prepared.lifespan, prepared.initialise):
            with self.stage("warm up") as about:
                about["detail"] = "skipped: start-up runs in each instance"
            return
        if prepared.loaded.restored is not None and hooks.has_before_snapshot(prepared.loaded.hooks):
            with self.stage("warm up") as about:
                about["detail"] = "skipped: what before_snapshot hooks let go of comes back after the fork"
            return
        with self.stage("warm up") as about:
            said = []
            for index, request in enumerate(requests):
                if index in self.order["skip_warmup"]:
                    said.append(f"request {index} skipped")
                    continue
                result = warmup.warm_one(prepared.served, index, request, loop.loop if loop else None)
                self.auditor.check("warm up", index)
                self.warmups.append(result.as_dict())
                said.append(f"{result.method} {result.path} -> {result.status or result.note}")
            about["detail"] = ", ".join(said) or "none"

    def _conclude(self, prepared: Prepared, findings: list[audit.Finding], self_pid: bool) -> Prepared | None:
        told = [*prepared.notes, *(one.as_dict() for one in findings)]
        if audit.must_spawn(findings):
            self._ready(prepared, "spawn", told, False)
            return None
        skip = audit.requests_to_skip(findings)
        if skip:
            self.tell({"dirtied": {"skip_warmup": [*self.order["skip_warmup"], *skip]}})
            return None
        with self.stage("freeze") as about:
            afterfork.prepare(self.order["setup"]["threads"], self.origins.seeded)
            self.origins.remove()
            if self.records or self.order["keep"]:
                self.recorder.remove()
                prepared.recorder, prepared.begun_ns = self.recorder, self.begun_ns
                prepared.init_ms = self.init_ms
            prepared.make_ready()
            stats = freeze.freeze()
            about["detail"] = f"{stats['rss_bytes'] / 1e6:.0f} MB resident"
        self._came_up(prepared)
        self._ready(prepared, "fork", told, self_pid)
        return prepared

    def _ready(self, prepared: Prepared, mode: str, findings: list[dict[str, Any]], self_pid: bool) -> None:
        report = self._report(prepared, mode, findings)
        if self_pid and mode == "fork":
            pidfd = os.pidfd_open(os.getpid())
            self.tell({"ready": report}, (pidfd,))
            os.close(pidfd)
        else:
            self.tell({"ready": report})

    def _report(self, prepared: Prepared, mode: str, findings: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "pid": os.getpid(),
            "interface": "event" if prepared.loaded.kind == "event" else prepared.loaded.interface,
            "settings": prepared.loaded.settings,
            "target": prepared.loaded.target,
            "mode": mode,
            "lifespan": prepared.lifespan,
            "user_code_at_start": "instance" in (prepared.lifespan, prepared.initialise)
            or bool(prepared.after_fork),
            "findings": findings,
            "warmup": self.warmups,
            "rss": memory.rss_bytes(),
            "private": memory.faulted_bytes(),
            "buffers": prepared.loaded.buffers,
            "keeps": prepared.recorder is not None,
            "init_ms": self.init_ms,
        }


def lookup() -> Any:
    """The module that finds snapshots; imported only by processes that end."""
    from snapfork.runner.kept import lookup

    return lookup


def _count(findings: list[audit.Finding]) -> str:
    bad = sum(1 for one in findings if one.severity == "spawn")
    notes = len(findings) - bad
    return f"{bad} against forking, {notes} notes" if findings else "clean"


def _run_user_code(what: str, run: Any) -> None:
    try:
        run()
    except BaseException as error:  # user code may raise anything, SystemExit included
        import traceback

        raise Failed(f"{what} failed: {type(error).__name__}: {error}", traceback.format_exc()) from None


def _claim_signals() -> Any:
    """Put our handlers back if user code has set its own; return its TERM handler, which pre_stop calls."""
    theirs = signal.getsignal(signal.SIGTERM)
    ours = life.handler()
    life.shield()
    return theirs if callable(theirs) and theirs is not ours else None

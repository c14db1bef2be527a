"""An instance, from its first instruction after the fork to its last."""

from __future__ import annotations

import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from types import FrameType
from typing import TYPE_CHECKING, Any

from snapfork.runner.processes import afterfork, atfork, freeze, hooks, life, memory, stdio, surroundings
from snapfork.runner.processes.access import AccessLog
from snapfork.runner.processes.cold import Cold
from snapfork.runner.processes.link import Link
from snapfork.runner.processes.touched import Touched
from snapfork.runner.wire import fds, frames, page
from snapfork.runner.wire.guard import Guard

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from snapfork.runner.kept.recorder import Recorder
    from snapfork.runner.processes.ledger import Ledger
    from snapfork.runner.processes.lifespan import Lifespan
    from snapfork.runner.processes.load import Loaded
    from snapfork.runner.processes.serving import Served

PRE_STOP_S = 10.0
"""How long pre_stop hooks may take together."""
FAILED_START = 70
"""Exit status of an instance whose start failed (EX_SOFTWARE of sysexits.h)."""


@dataclass
class Prepared:
    """What a template holds ready for its instances.

    lifespan: "template" (start-up has run), "instance" (runs in each), "off" or "none". term_handler: the
    app's own SIGTERM handler. notes: findings that are told but do not forbid forking. after_fork: the hooks
    of that moment. arm_each: instances do not die with the gateway by their process group. touched: the pages
    that spares copy ahead; None where instances are not forked. recorder, begun_ns, init_ms: what
    initialising read, when it began (CLOCK_REALTIME) and how long it took, where a snapshot is to be kept.
    initialise: where a deployed function's initializer runs: "template" (it has), "instance" or "". came_up:
    when and how the app did. run: what serves loans; None before `look_up`. access: the log of what clients
    have asked.
    """

    order: dict[str, Any]
    loaded: Loaded
    served: Served
    term_handler: Callable[[int, FrameType | None], Any] | None = None
    lifespan: str = "none"
    notes: list[dict[str, Any]] = field(default_factory=list)
    after_fork: list[Callable[[], Any]] = field(default_factory=list)
    arm_each: bool = False
    touched: Touched | None = None
    recorder: Recorder | None = None
    begun_ns: int = 0
    init_ms: float = 0.0
    initialise: str = ""
    came_up: Cold = field(default_factory=Cold)
    run: Callable[..., None] | None = None
    access: AccessLog = field(default_factory=AccessLog)

    def make_ready(self) -> None:
        """Look up, once for all instances, what each would otherwise pay for."""
        from snapfork.runner.processes import dry_run  # which runs what is here

        self.after_fork = hooks.after_fork(self.loaded.hooks)
        self.arm_each = not life.is_armed_by_group()
        self.touched = Touched()
        dry_run.repeat(self.served, dry_run.MORE if self.order.get("stocked") else dry_run.RUNS)
        atfork.prepare()


def forked(prepared: Prepared, start: frames.StartFrame, received: list[int]) -> None:
    """Run as a fork of a template; does not return."""
    try:
        life.keep_descendants()
        link = begin(prepared, start, received)
        if prepared.after_fork:
            hooks.run_all(prepared.after_fork)
        serve(prepared, link, start, received)
    except BaseException:  # whatever user code raised at its start
        _give_up()
    _leave(prepared, link)


def begin(prepared: Prepared, start: frames.StartFrame, received: list[int]) -> Link:
    """An instance's first steps."""
    atfork.in_child()
    if prepared.arm_each:
        life.arm(prepared.order["setup"]["life"])
    link = _connect(start, received)
    freeze.thaw()
    afterfork.repair()
    return link


def wake(prepared: Prepared) -> None:
    """Be a fork of a template that serves nobody."""
    atfork.in_child()
    if prepared.arm_each:
        life.arm(prepared.order["setup"]["life"])
    freeze.thaw()
    afterfork.repair()


def spawned(order: dict[str, Any], start: frames.StartFrame, received: list[int]) -> None:
    """Run as a fork of the base: import and initialise the app here; does not return."""
    from snapfork.runner.processes.load import LoadError, load
    from snapfork.runner.processes.serving import make_served

    begun_ns = time.monotonic_ns()
    try:
        link = _connect(start, received)
        life.arm_leavers(order["setup"]["life"])
        life.expose_children()
        for name, value in order["setup"]["threads"].items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        surroundings.enter(order)
        try:
            loaded = load(order)
        except LoadError as error:
            failed = {"sentence": error.sentence, "traceback": error.traceback_text}
            fds.send(link.sock, frames.pack_json({"failed": failed}))
            os._exit(FAILED_START)
        hooks.run_initializer(loaded.hooks)
        prepared = Prepared(order, loaded, make_served(loaded, order))
        _came_up(prepared, begun_ns)
        prepared.initialise = "instance" if order.get("initializer") else ""
        if loaded.interface == "asgi":
            prepared.lifespan = "off" if loaded.settings["lifespan"] == "off" else "instance"
        life.shield()
        life.keep_descendants()
        hooks.run_all(hooks.after_fork(loaded.hooks))
        serve(prepared, link, start, received)
    except BaseException:  # whatever user code raised at its start
        _give_up()
    _leave(prepared, link)


def _connect(start: frames.StartFrame, received: list[int]) -> Link:
    """Take the descriptors of a start order: control socket, page, log pipe."""
    _, _, nslots, _, generation, _, _ = start
    control, board_fd, output, *_ = received
    board = page.Page(page.map_words(board_fd))
    stdio.install(output, board.log_drops)
    guard = Guard(board_fd) if nslots > 1 else None  # else there is never a second loan
    if guard is None:
        os.close(board_fd)
    return Link(fds.adopt(control), board, generation, guard)


def look_up(prepared: Prepared) -> Callable[..., None]:
    """Find what instances serve with, once for all of them where this is their template."""
    order, fd = prepared.order, prepared.order["setup"]["access"]
    prepared.run = run = import_loop(prepared.served)
    prepared.access = AccessLog(fd, order["access_log"], order["function"])
    if fd < 0:
        prepared.access.via = stdio.access
    return run


def serve(prepared: Prepared, link: Link, start: frames.StartFrame, received: list[int]) -> None:
    served = prepared.served
    served.page = link.page
    run = prepared.run or look_up(prepared)
    _, trial, _, number, _, t0_ns, loan = start
    lifespan = _own_lifespan(prepared) if prepared.lifespan == "instance" else None
    if prepared.initialise == "instance" and served.interface == "wsgi":
        _initialise(prepared, link, None)
    if trial:
        _trial(prepared, link, lifespan, t0_ns)
        return
    served.access = prepared.access
    if prepared.order.get("record"):
        stdio.be_patient()
        served.ledger = _ledger(prepared, number)
    first = None
    if loan:
        first = link.accept(frames.unpack_loan(memoryview(loan)), received[3])
    elif prepared.touched is not None:
        prepared.touched.populate()
    if served.settings["memory"]:
        _limit_memory(served.settings["memory"])
    if served.interface == "asgi":
        run(served, link, first, lifespan, begin=_beginner(prepared, link), end=_ender(prepared))
        return
    link.ready()
    run(served, link, first)
    _stop(prepared, None)


def _ledger(prepared: Prepared, number: int) -> Ledger:
    from snapfork.runner.processes.ledger import Ledger

    order, is_event = prepared.order, prepared.loaded.kind == "event"
    return Ledger(
        order.get("context") or {},
        order["function"],
        str(number),
        records=True,
        is_event=is_event,
        came_up=prepared.came_up,
    )


def _initialise(prepared: Prepared, link: Link, loop: AbstractEventLoop | None) -> None:
    """Run the initializer of a deployed function; a process in which it fails goes at once."""
    from snapfork.runner.processes import lifecycle

    begun_ns = time.monotonic_ns()
    try:
        lifecycle.initialise(prepared.order, prepared.served, loop, stays=True)
    except lifecycle.HookFailed as failure:
        traceback.print_exc()
        stdio.drain()
        told = {"sentence": str(failure), "traceback": None}
        fds.send(link.sock, frames.pack_json({"failed": told}))
        os._exit(FAILED_START)
    _came_up(prepared, begun_ns)


def _came_up(prepared: Prepared, begun_ns: int) -> None:
    """This process itself has been initialising since `begun_ns`."""
    known, now = prepared.came_up, time.monotonic_ns()
    spans = (*known.spans, ("initialise", begun_ns, now))
    prepared.came_up = Cold(known.asked_ns or begun_ns, now, spans)
    if prepared.served.ledger is not None:
        prepared.served.ledger.came_up = prepared.came_up


def _stop(prepared: Prepared, loop: AbstractEventLoop | None) -> None:
    """Run pre-stop of a deployed function."""
    if not prepared.order.get("pre_stop"):
        return
    from snapfork.runner.processes import lifecycle

    try:
        lifecycle.stop(prepared.order, prepared.served, loop)
    except lifecycle.HookFailed:
        traceback.print_exc()


def _beginner(prepared: Prepared, link: Link) -> Callable[[AbstractEventLoop], None] | None:
    if prepared.initialise != "instance":
        return None
    return lambda loop: _initialise(prepared, link, loop)


def _ender(prepared: Prepared) -> Callable[[AbstractEventLoop], None] | None:
    if not prepared.order.get("pre_stop"):
        return None
    return lambda loop: _stop(prepared, loop)


def import_loop(served: Served) -> Callable[..., None]:
    """Import what will serve: where no warm-up request runs, every fork would pay for it otherwise."""
    if served.interface == "asgi":
        from snapfork.runner.processes import asgi_loop

        return asgi_loop.run
    if served.settings["concurrency"] == 1:
        from snapfork.runner.processes import wsgi_loop

        return wsgi_loop.run
    from snapfork.runner.processes import wsgi_threads

    return wsgi_threads.run


def _own_lifespan(prepared: Prepared) -> Lifespan:
    from snapfork.runner.processes.lifespan import Lifespan

    return Lifespan(prepared.loaded.app, prepared.served.state)


def _trial(prepared: Prepared, link: Link, lifespan: Lifespan | None, t0_ns: int) -> None:
    """Measure a start: milliseconds until ready, those of the first warm-up request, private memory."""
    from snapfork.runner.processes import warmup

    served = prepared.served
    requests = served.settings["warmup"]
    loop = None
    if served.interface == "asgi":
        import asyncio

        from snapfork.runner.processes.loops import new_loop

        loop = new_loop()
        asyncio.set_event_loop(loop)
        if lifespan is not None:
            loop.run_until_complete(lifespan.startup())
        if prepared.initialise == "instance":
            _initialise(prepared, link, loop)
    ready_ms = (time.monotonic_ns() - t0_ns) / 1e6
    request_ms = 0.0
    if requests:
        request_ms = warmup.warm_one(served, 0, requests[0], loop).ms
        if prepared.touched is not None:
            prepared.touched.record()
    figures = {"ready_ms": ready_ms, "request_ms": request_ms, "private": memory.private_bytes()}
    fds.send(link.sock, frames.pack_json({"trial": figures}))
    if loop is not None and lifespan is not None:
        loop.run_until_complete(lifespan.shutdown())


def _limit_memory(limit: int) -> None:
    # A backstop for one huge allocation between two samples; what the template holds already is on top.
    with open("/proc/self/statm") as file:
        data = int(file.read().split()[5]) * resource.getpagesize()
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = data + 2 * limit
    if hard == resource.RLIM_INFINITY or wanted < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (wanted, hard))


def _give_up() -> None:
    traceback.print_exc()
    stdio.drain()
    os._exit(FAILED_START)


def _leave(prepared: Prepared, link: Link) -> None:
    """Run pre_stop hooks within their time, say bye, and go without unwinding what the template made."""
    signal.signal(signal.SIGALRM, _too_late)
    signal.setitimer(signal.ITIMER_REAL, PRE_STOP_S)
    try:
        hooks.run_pre_stop(prepared.loaded.hooks)
        if prepared.term_handler is not None:
            prepared.term_handler(signal.SIGTERM, None)
    except SystemExit:
        pass  # what TERM handlers usually end with
    except BaseException as error:
        print(f"pre_stop failed: {type(error).__name__}: {error}", file=sys.stderr)
        traceback.print_exc()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    link.bye()
    stdio.drain()
    os._exit(0)


def _too_late(_number: int, _frame: FrameType | None) -> None:
    raise TimeoutError(f"pre_stop hooks took more than {PRE_STOP_S:g} s")

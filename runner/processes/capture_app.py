"""`runner snapshot`'s other half: makes a snapshot of an app, or tells what an app answers.

Exec'd like a base template in the app's interpreter. `setup["capture"]` is {"output": FILE, "by_value": [],
"by_reference": []} to initialise the app of `setup["order"]` and write its snapshot, or {} only to load it;
either way its warm-up requests are replayed, twice, and what it answered is told.
"""

from __future__ import annotations

import hashlib
import os
import socket
import time
from typing import Any

from snapfork.runner.processes import hooks, life, stdio, warmup
from snapfork.runner.processes.load import Loaded, LoadError, lacks, load
from snapfork.runner.processes.quiesce import quiesce
from snapfork.runner.processes.serving import Served, make_served
from snapfork.runner.wire import fds, frames

REPLAYS = 2
"""What differs between two answers of one process is expected to differ in others."""


def main(setup: dict[str, Any]) -> None:
    """Do what `setup["capture"]` says; one message on the socket `setup["control"]`."""
    os.setsid()
    life.arm(setup["life"])
    stdio.prepare()
    os.dup2(2, 1)  # the app's own output must not mix with the command's
    control = socket.socket(fileno=setup["control"])
    try:
        message = _work(setup["order"] | {"setup": setup}, setup["capture"])
    except LoadError as error:
        message = {"failed": {"sentence": error.sentence, "traceback": error.traceback_text}}
    fds.send(control, frames.pack_json(message))
    stdio.drain()
    os._exit(0)


def _work(order: dict[str, Any], wish: dict[str, Any]) -> dict[str, Any]:
    begun = time.perf_counter()
    loaded = load(order)
    if not loaded.restored:
        _user_code("the initializer hook", lambda: hooks.run_initializer(loaded.hooks))
    message: dict[str, Any] = {"loaded_ms": (time.perf_counter() - begun) * 1000}
    if wish:
        message["captured"] = _capture(loaded, order, wish)
    message["answers"] = replay(loaded, order)
    return {"done": message}


def _capture(loaded: Loaded, order: dict[str, Any], wish: dict[str, Any]) -> dict[str, Any]:
    from snapfork.adapter.snapshots.errors import SnapshotError

    try:
        from snapfork.adapter.snapshots.snapshot import snapshot
    except ImportError as error:
        raise lacks(error) from None

    begun = time.perf_counter()
    quiesce(None)
    _user_code("a before_snapshot hook", lambda: hooks.run_before_snapshot(loaded.hooks))
    try:
        made = snapshot(
            loaded.app,
            app_dir=os.path.abspath(order["app_dir"]),
            target=loaded.target,
            by_value=wish["by_value"],
            by_reference=wish["by_reference"],
        )
        made.save(wish["output"])
    except SnapshotError as error:
        raise LoadError(str(error)) from None
    return {
        "ms": (time.perf_counter() - begun) * 1000,
        "modules": [name for name, _ in made.header.modules],
        "needs": made.header.needs,
        "bytes": os.path.getsize(wish["output"]),
    }


def replay(loaded: Loaded, order: dict[str, Any]) -> list[list[dict[str, Any]]]:
    """REPLAYS times, what the app answers to each of its warm-up requests."""
    served = make_served(loaded, order)
    _user_code("an after_fork hook", lambda: hooks.run_all(hooks.after_fork(loaded.hooks)))
    if loaded.interface == "wsgi":
        return [[_answer(served, request, None) for request in _requests(served)] for _ in range(REPLAYS)]
    from snapfork.runner.processes.lifespan import Lifespan, LifespanFailed
    from snapfork.runner.processes.loops import TemplateLoop

    loop = TemplateLoop()
    lifespan = Lifespan(loaded.app, served.state)
    try:
        if loaded.settings["lifespan"] != "off":
            loop.run(lifespan.startup())
        return [
            [_answer(served, request, loop.loop) for request in _requests(served)] for _ in range(REPLAYS)
        ]
    except LifespanFailed as failure:
        raise LoadError(failure.sentence, failure.traceback) from None


def _requests(served: Served) -> list[Any]:
    return list(served.settings["warmup"]) or ["/"]


def _answer(served: Served, request: Any, loop: Any) -> dict[str, Any]:
    """Status, header fields and a hash of the body; status None where there was no answer."""
    raw = warmup.raw_answer(served, request, loop)
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    fields = sorted([name.strip().lower(), value.strip()] for name, _, value in lines)
    return {
        "request": request if isinstance(request, str) else str(request.get("path", "/")),
        "status": warmup.status_of(raw),
        "fields": fields,
        "body": hashlib.sha256(body).hexdigest(),
    }


def _user_code(what: str, run: Any) -> None:
    try:
        run()
    except BaseException as error:  # user code may raise anything, SystemExit included
        import traceback

        raise LoadError(f"{what} failed: {type(error).__name__}: {error}", traceback.format_exc()) from None

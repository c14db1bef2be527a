"""A template's app into a snapshot file, and the answers that tell whether it came back as it was.

`capture_in_child` and `verify` are the two halves by which `runner serve` keeps snapshots by itself: a fork
of the ready template writes a draft, with what the live app answers beside it; a fresh process restores the
draft, compares, and lets the store have it. `capture` and `replay` serve `runner snapshot`, too.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from snapfork.runner.processes import hooks, instance, warmup
from snapfork.runner.processes.load import lacks
from snapfork.runner.wire import fds, frames

if TYPE_CHECKING:
    from snapfork.adapter.snapshots.interpreter import Start
    from snapfork.adapter.snapshots.snapshot import Snapshot
    from snapfork.runner.kept.inputs import Inputs
    from snapfork.runner.kept.recorder import Recorder
    from snapfork.runner.processes.instance import Prepared

REPLAYS = 2
"""What differs between two answers of one process is expected to differ in others."""
NICENESS = 19
MOST_DIFFERENCES = 5


class NotKept(Exception):
    """No snapshot; `lasting` if trying again would end the same way."""

    def __init__(self, sentence: str, *, lasting: bool = True) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.lasting = lasting


def capture(prepared: Prepared, path: str, **wish: Any) -> dict[str, Any]:
    """Write the app's snapshot to `path`; {"ms", "modules", "needs", "bytes", "warnings"}.

    `wish`: by_value and by_reference of `snapfork.adapter.snapshot`. Raises NotKept.
    """
    from snapfork.adapter.snapshots.errors import SnapshotError

    begun = time.perf_counter()
    made = make(prepared, **wish)
    try:
        with _config_of_the_runner(prepared.order):
            made.write(path)
    except SnapshotError as error:
        raise NotKept(str(error), lasting=False) from None
    return {
        "ms": (time.perf_counter() - begun) * 1000,
        "modules": [name for name, _ in made.header.modules],
        "needs": made.header.needs,
        "warnings": made.header.warnings,
        "bytes": os.path.getsize(path),
    }


def make(prepared: Prepared, **wish: Any) -> Snapshot:
    """The app's snapshot, in memory; see `capture`."""
    try:
        from snapfork.adapter.snapshots.errors import SnapshotError
        from snapfork.adapter.snapshots.snapshot import take
    except ImportError as error:
        raise NotKept(lacks(error).sentence) from None
    loaded, order = prepared.loaded, prepared.order
    if names := hooks.uncaptured(loaded.hooks):
        raise NotKept(f"the initializer {', '.join(names)} is marked as not to be captured")
    recorder = prepared.recorder
    try:
        made = take(
            loaded.app,
            app_dir=os.path.abspath(order["app_dir"]),
            target=loaded.target,
            state=prepared.served.state,
            settings={
                "lifespan": prepared.lifespan,
                "skip_warmup": order["skip_warmup"],
                "warmup": loaded.settings["warmup"],
                "initializer": [order.get("initializer"), prepared.initialise],
            },
            notes=_notes(recorder) if recorder is not None else None,
            since=prepared.begun_ns / 1e9 if prepared.begun_ns else None,
            start=_start(prepared),
            **wish,
        )
    except SnapshotError as error:
        raise NotKept(str(error)) from None
    if recorder is not None:
        made.header.warnings += [
            f"what start-up got from {peer} ({origin})" for peer, origin in recorder.peers.items()
        ]
    return made


def _start(prepared: Prepared) -> Start | None:
    """How it was before the app, with the variables that were declared for it."""
    from snapfork.adapter.snapshots.interpreter import Start

    recorder = prepared.recorder
    if recorder is None:
        return None
    declared = {**prepared.loaded.settings["env"], **prepared.order["overrides"].get("env", {})}
    ours = prepared.order["setup"]["threads"]  # held at one thread until a fork
    before = {name: value for name, value in (recorder.environ | declared).items() if name not in ours}
    now = {name: os.environ[name] for name in ours if name in os.environ}
    return Start(before | now, recorder.directory, recorder.umask)


def _notes(recorder: Recorder) -> dict[Any, str]:
    """Values that are known -> where they came from."""
    from snapfork.adapter.snapshots.suspects import is_secret

    notes = dict(recorder.draws.notes)
    for name in recorder.variables:
        if is_secret(name) and recorder.environ.get(name):
            notes[recorder.environ[name]] = f"read from the variable {name}"
    return notes


@contextlib.contextmanager
def _config_of_the_runner(order: dict[str, Any]) -> Iterator[None]:
    """The key that signs is the runner's user's, also where the app has a HOME of its own."""
    before = os.environ.get("XDG_CONFIG_HOME")
    os.environ["XDG_CONFIG_HOME"] = order["config_home"]
    try:
        yield
    finally:
        os.environ.pop("XDG_CONFIG_HOME")
        if before is not None:
            os.environ["XDG_CONFIG_HOME"] = before


def replay(prepared: Prepared, times: int = REPLAYS) -> list[list[dict[str, Any]]]:
    """Begin like an instance, and tell `times` times what the app answers to each warm-up request."""
    served = prepared.served
    hooks.run_all(hooks.after_fork(prepared.loaded.hooks))
    # A handler has effects, so that it is called only where `warmup` says so.
    requests = list(served.settings["warmup"]) or (["/"] if prepared.loaded.kind != "event" else [])
    loop = None
    if prepared.loaded.interface == "asgi":
        from snapfork.runner.processes.lifespan import Lifespan
        from snapfork.runner.processes.loops import TemplateLoop

        loop = TemplateLoop()
        if prepared.lifespan == "instance":
            loop.run(Lifespan(prepared.loaded.app, served.state).startup())
    inner = loop.loop if loop is not None else None
    return [[_answer(prepared, request, inner) for request in requests] for _ in range(times)]


def _answer(prepared: Prepared, request: Any, loop: Any) -> dict[str, Any]:
    """Status, header fields and a hash of the body; status None where there was no answer."""
    raw = warmup.raw_answer(prepared.served, request, loop)
    head, _, body = raw.partition(b"\r\n\r\n")
    lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
    fields = sorted([name.strip().lower(), value.strip()] for name, _, value in lines)
    return {
        "request": request if isinstance(request, str) else str(request.get("path", "/")),
        "status": warmup.status_of(raw),
        "fields": fields,
        "body": hashlib.sha256(body).hexdigest(),
    }


# -- kept by `runner serve` -----------------------------------------------------------------------------


def in_child(prepared: Prepared, order: dict[str, Any], sock: socket.socket) -> None:
    """In a fork of a ready template: what the gateway has ordered; does not return."""
    if order["op"] == "check":
        check_in_child(order["path"], sock)
    else:
        capture_in_child(prepared, order["draft"], sock)


def capture_in_child(prepared: Prepared, draft: str, sock: socket.socket) -> None:
    """In a fork of a ready template: write `draft` and what it is to be compared with; does not return."""
    instance.wake(prepared)

    def work() -> dict[str, Any]:
        order, recorder = prepared.order, prepared.recorder
        if recorder is None:
            raise AssertionError("a template that is to be kept notes its inputs")
        inputs = _inputs(order, recorder, prepared.begun_ns)
        try:
            about = capture(prepared, draft)
            answers = replay(prepared)
        except NotKept as error:
            _remember(order, inputs, error)
            raise
        beside = {"answers": answers, "inputs": inputs.as_dict(), "init_ms": prepared.init_ms}
        Path(f"{draft}.json").write_text(json.dumps(beside))
        return {"captured": about}

    _in_background(work, sock)


def _inputs(order: dict[str, Any], recorder: Recorder, begun_ns: int) -> Inputs:
    from snapfork.runner.kept import gathering
    from snapfork.runner.kept.store import Store

    files = gathering.read_by_app(recorder.files, recorder.written) | gathering.imported()
    files |= gathering.listed_by_app(recorder.directories, recorder.written)
    inputs = gathering.gather(
        order,
        recorder.environ,
        recorder.variables,
        recorder.every_variable,
        files,
        Store(order["data_dir"]).salt(),
    )
    if path := gathering.changed_since(inputs.files, begun_ns):
        raise NotKept(f"{path} was written to while the app started", lasting=False)
    return inputs


def verify(prepared: Prepared, draft: str, sock: socket.socket) -> None:
    """In a fresh process that has restored `draft`: compare, and publish it; does not return."""

    def work() -> dict[str, Any]:
        from snapfork.adapter.snapshots import file
        from snapfork.adapter.snapshots.likeness import all_differences
        from snapfork.runner.kept.inputs import Inputs
        from snapfork.runner.kept.lookup import address
        from snapfork.runner.kept.store import Record, Store, app_key

        beside = json.loads(Path(f"{draft}.json").read_text())
        inputs = Inputs(**beside["inputs"])
        (answers,) = replay(prepared, 1)
        order = prepared.order
        if found := all_differences(beside["answers"], answers):
            error = NotKept(
                f"restored, the app does not answer as it did: {'; '.join(found[:MOST_DIFFERENCES])}"
            )
            _remember(order, inputs, error)
            raise error
        store = Store(order["data_dir"])
        with _config_of_the_runner(order):
            name = address(file.read(draft))
        store.publish(draft, name)
        store.keep(app_key(order), Record(inputs, time.time(), name, beside["init_ms"]))
        return {"kept": {"requests": len(answers)}}

    _in_background(work, sock)


def check_in_child(path: str, sock: socket.socket) -> None:
    """In a fork of a template that was restored from `path`: compare all of it; does not return."""

    def work() -> dict[str, Any]:
        from snapfork.adapter.snapshots import file
        from snapfork.adapter.snapshots.errors import SnapshotError

        try:
            file.parse(path).verify_buffers()
        except SnapshotError as error:
            return {"damaged": str(error)}
        return {"damaged": ""}

    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    _in_background(work, sock)


def refuse(order: dict[str, Any], draft: str, sentence: str, sock: socket.socket) -> None:
    """In a fresh process that could not restore `draft`: say so, and remember it; does not return."""

    def work() -> dict[str, Any]:
        from snapfork.runner.kept.inputs import Inputs

        error = NotKept(f"it does not come back: {sentence}")
        _remember(order, Inputs(**json.loads(Path(f"{draft}.json").read_text())["inputs"]), error)
        raise error

    _in_background(work, sock)


def _remember(order: dict[str, Any], inputs: Inputs, error: NotKept) -> None:
    """Spare the next starts the attempt."""
    from snapfork.runner.kept.store import Record, Store, app_key

    if error.lasting:
        record = Record(inputs, time.time(), refused=error.sentence)
        Store(order["data_dir"]).keep(app_key(order), record)


def _in_background(work: Any, sock: socket.socket) -> None:
    """Do `work` behind everything else on this machine, tell its end on `sock`, and leave."""
    os.nice(NICENESS)
    quiet = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # the app has said it all before
        os.dup2(quiet, stream)
    try:
        message = work()
    except NotKept as error:
        message = {"unkept": error.sentence}
    except BaseException as error:  # user code runs in here; there is always another start
        message = {"unkept": f"{type(error).__name__}: {error}"}
    with contextlib.suppress(OSError):  # nobody waits for it any more
        fds.send(sock, frames.pack_json(message))
    os._exit(0)

"""Whether a file brings the app back: restored in a fresh process and compared with the live app.

The live app answers in a fork, so that what its answers change (counters, connections, start-up code of a
lifespan) stays there. This module is also the program of the fresh process.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import select
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from snapfork.adapter.snapshots.errors import SnapshotError
from snapfork.adapter.snapshots.likeness import all_differences

if TYPE_CHECKING:
    from snapfork.adapter.snapshots.file import Header

LIMIT = 120.0
"""Seconds that either side may take."""
_MOST_SHOWN = 10
_HEADERS = {"host": "localhost", "user-agent": "snapfork-warm-up", "accept": "*/*", "x-snapfork-warm-up": "1"}


def compare(app: Any, path: str, header: Header) -> None:
    """Raises SnapshotError unless what the file at `path` restores answers the warm-up requests as `app`."""
    from snapfork.adapter import marks

    noted = marks.find(app)
    requests = (noted.settings.get("warmup") if noted is not None else None) or ["/"]
    live = _in_fork(lambda: _answers(app, requests, 2))
    restored = _in_fresh_process(path, header, requests)
    if found := all_differences(live, restored[0]):
        more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
        raise SnapshotError(
            "The restored app does not answer as the live one does, so no snapshot is kept: "
            f"{'; '.join(found[:_MOST_SHOWN])}{more}."
        )


def _answers(app: Any, requests: list[Any], times: int) -> list[list[dict[str, Any]]]:
    from snapfork.adapter import calls, interface

    plain = calls.plain(app)
    ask: Callable[[dict[str, Any], bytes], Any]
    if interface.detect(app) == "wsgi":
        from snapfork.adapter.events.wsgi import call_wsgi

        def ask(scope: dict[str, Any], body: bytes) -> Any:
            return call_wsgi(plain, scope, body)

    else:
        from snapfork.adapter.events.asgi import AsgiCaller

        ask = AsgiCaller(plain).call
    return [[_answer(ask, request) for request in requests] for _ in range(times)]


def _answer(ask: Callable[[dict[str, Any], bytes], Any], request: Any) -> dict[str, Any]:
    """As `likeness.Answer`."""
    wanted: dict[str, Any] = {"path": request} if isinstance(request, str) else request
    body = wanted.get("body") or b""
    body = body.encode() if isinstance(body, str) else bytes(body)
    method = str(wanted.get("method") or "GET").upper()
    path, _, query = str(wanted.get("path") or "/").partition("?")
    own = wanted.get("headers") or {}
    fields = _HEADERS | {str(name).lower(): str(value) for name, value in own.items()}
    if body or method in ("POST", "PUT", "PATCH"):
        fields["content-length"] = str(len(body))
    status, headers, answered = ask(_scope(method, path, query, fields), body)
    return {
        "request": str(wanted.get("path") or "/"),
        "status": status,
        "fields": sorted(
            [name.decode("latin-1").lower(), value.decode("latin-1")] for name, value in headers
        ),
        "body": hashlib.sha256(answered).hexdigest(),
    }


def _scope(method: str, path: str, query: str, fields: dict[str, str]) -> dict[str, Any]:
    from urllib.parse import unquote

    return {
        "type": "http",
        "method": method,
        "http_version": "1.1",
        "headers": [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields.items()],
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "scheme": "http",
        "query_string": query.encode(),
        "server": ("localhost", 80),
        "client": ("127.0.0.1", 0),
        "asgi": {"version": "3.0", "spec_version": "2.0"},
    }


def _in_fork(work: Callable[[], Any]) -> Any:
    """What `work` returns in a fork. Raises SnapshotError."""
    read, write = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forks beside threads, which it does not need
        pid = os.fork()
    if pid == 0:
        _tell(write, work)
    os.close(write)
    try:
        return _heard(read, "live", lambda: os.kill(pid, signal.SIGKILL))
    finally:
        os.close(read)
        os.waitpid(pid, 0)


def _tell(descriptor: int, work: Callable[[], Any]) -> None:
    """Tell what `work` returns, quietly; does not return."""
    try:
        quiet = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):  # what the app says of these requests nobody has asked for
            os.dup2(quiet, stream)
        try:
            said = {"done": work()}
        except BaseException as error:  # user code runs in here
            line = traceback.format_exception_only(error)[-1].strip()
            said = {"failed": str(error) if isinstance(error, SnapshotError) else line}
        with open(descriptor, "w") as pipe:
            json.dump(said, pipe)
    finally:
        os._exit(0)


def _heard(read: int, side: str, stop: Callable[[], None]) -> Any:
    """What came through the pipe until its other end was closed."""
    text = b""
    until = time.monotonic() + LIMIT
    while select.select([read], [], [], max(0.0, until - time.monotonic()))[0]:
        piece = os.read(read, 1 << 16)
        if not piece:
            break
        text += piece
    else:
        stop()
        raise SnapshotError(f"The {side} app did not answer its warm-up requests within {LIMIT:g} s.")
    said = json.loads(text or b'{"failed": "its process ended without a word"}')
    if "failed" in said:
        raise SnapshotError(
            f"The {side} app did not answer its warm-up requests: {said['failed'].rstrip('.')}."
        )
    return said["done"]


def _in_fresh_process(path: str, header: Header, requests: list[Any]) -> Any:
    read, write = os.pipe()
    own = os.path.join(header.app_dir, "")
    # Without the app's own modules, unless the file says that it needs them.
    places = [one for one in sys.path if header.needs or os.path.join(os.path.abspath(one), "") != own]
    order = {"path": path, "requests": requests, "tell": write}
    try:
        process = subprocess.Popen(
            [sys.executable, "-c", _PROGRAM.format(places=places, name=__name__)],
            stdin=subprocess.PIPE,
            pass_fds=[write],
            start_new_session=True,
        )
    finally:
        os.close(write)
    try:
        with contextlib.suppress(BrokenPipeError), process.stdin as pipe:  # type: ignore[union-attr]
            pipe.write(json.dumps(order, default=_text).encode())
        return _heard(read, "restored", process.kill)
    finally:
        os.close(read)
        process.kill()
        process.wait()


_PROGRAM = "import sys; sys.path[:] = {places!r}; from {name} import main; main()"


def _text(value: Any) -> Any:
    return bytes(value).decode("latin-1")


def main() -> None:
    """In the fresh process: restore the file, and tell what the app answers."""
    order = json.load(sys.stdin)
    os.set_inheritable(order["tell"], False)

    def work() -> Any:
        from snapfork.adapter.snapshots.snapshot import restore

        return _answers(restore(order["path"]), order["requests"], 1)

    _tell(order["tell"], work)

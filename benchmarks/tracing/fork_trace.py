"""Time stamps within one fork start, for parts/breakdown.py; imported in a template by an app's wrapper.

`install` wraps functions of the runner in the template, before it forks: nothing of it exists in the runner
itself. Each stamp is CLOCK_MONOTONIC in ns and the process's minor page faults; it costs about 2 microseconds
and some allocation. They are written to a file when the instance says bye, after the client has its answer.
"""

from __future__ import annotations

import json
import os
import resource
import time
from collections.abc import Callable
from typing import Any

from snapfork.runner.processes import afterfork, instance
from snapfork.runner.processes.link import Link
from snapfork.runner.wire import frames
from snapfork.runner.wire.page import Page

STAMPS: dict[str, tuple[int, int]] = {}


def stamp(name: str) -> None:
    """Only the first one of a name counts."""
    if name not in STAMPS:
        faults = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        STAMPS[name] = (time.monotonic_ns(), faults)


def before(owner: Any, name: str, stamped: str) -> None:
    """Stamp when `owner.name` is called."""
    inner = getattr(owner, name)

    def call(*args: Any, **named: Any) -> Any:
        stamp(stamped)
        return inner(*args, **named)

    setattr(owner, name, call)


def after(owner: Any, name: str, stamped: str) -> None:
    """Stamp when `owner.name` has returned."""
    inner = getattr(owner, name)

    def call(*args: Any, **named: Any) -> Any:
        result = inner(*args, **named)
        stamp(stamped)
        return result

    setattr(owner, name, call)


def install(app: Any, kind: str, directory: str) -> Callable[..., Any]:
    """Wrap what a start goes through; the app to serve in the place of `app`."""
    _order_received()
    before(instance, "forked", "forked")
    after(instance, "_connect", "connected")
    after(afterfork, "repair", "repaired")
    after(Link, "accept", "loan taken")
    if kind == "wsgi":
        from snapfork.runner.processes.wsgi_conversation import Conversation

        before(Conversation, "run", "serving")
    else:
        from snapfork.runner.processes.asgi_protocol import Connection

        before(Connection, "connection_made", "serving")
    before(Page, "first_byte", "answered")
    _dump_at_bye(directory)
    return _wsgi(app) if kind == "wsgi" else _asgi(app)


def _order_received() -> None:
    inner = frames.unpack_start

    def call(data: memoryview) -> frames.StartFrame:
        STAMPS.clear()  # warm-up requests have stamped, too
        stamp("ordered")
        start = inner(data)
        STAMPS["head read"] = (start.t0_ns, 0)
        return start

    frames.unpack_start = call


def _dump_at_bye(directory: str) -> None:
    inner = Link.bye

    def bye(link: Link) -> None:
        draft = f"{directory}/draft-{os.getpid()}"
        with open(draft, "w") as file:
            json.dump(STAMPS, file)
        os.rename(draft, f"{directory}/{STAMPS['ordered'][0]}.json")
        inner(link)

    Link.bye = bye  # type: ignore[method-assign]


def _wsgi(app: Any) -> Callable[..., Any]:
    def application(environ: Any, start_response: Any) -> Any:
        stamp("app called")
        return app(environ, start_response)

    return application


def _asgi(app: Any) -> Callable[..., Any]:
    async def application(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            stamp("app called")
        await app(scope, receive, send)

    return application

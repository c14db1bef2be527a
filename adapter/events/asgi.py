"""Calls of an ASGI app with requests that events described: one loop and one lifespan for all of them."""

from __future__ import annotations

import asyncio
import atexit
import os
import sys
import threading
import traceback
from typing import Any

from snapfork.adapter.events.requests import Headers

SHUTDOWN_S = 2.0
"""How long shutdown code may take when the process ends; about what Lambda gives."""


class StartFailed(Exception):
    """The app's start-up code failed."""


class AsgiCaller:
    """Calls `app`, one request at a time. Its loop is made at the first call, in the process that calls."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._lock = threading.Lock()
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._state: dict[str, Any] = {}

    def call(self, scope: dict[str, Any], body: bytes) -> tuple[int, Headers, bytes]:
        """Status, headers and body of the app's answer; 500 for what it raises. Raises StartFailed."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return self._call(scope, body)
        answered: list[Any] = []  # beside a loop that runs already: a notebook's cell, say
        thread = threading.Thread(target=lambda: answered.append(self._call(scope, body)))
        thread.start()
        thread.join()
        if not answered:
            raise StartFailed("the app's start-up code failed; its traceback is above")
        result: tuple[int, Headers, bytes] = answered[0]
        return result

    def _call(self, scope: dict[str, Any], body: bytes) -> tuple[int, Headers, bytes]:
        with self._lock:
            loop = self._started()
            return loop.run_until_complete(_request(self.app, {**scope, "state": dict(self._state)}, body))

    def _started(self) -> asyncio.AbstractEventLoop:
        if self._loop is not None and self._pid == os.getpid():
            return self._loop
        loop = asyncio.new_event_loop()
        lifespan = _Lifespan(self.app)
        try:
            self._state = loop.run_until_complete(lifespan.startup())
        except BaseException:
            loop.close()
            raise
        self._loop, self._pid = loop, os.getpid()
        atexit.register(_shut_down, loop, lifespan, self._pid)
        return loop


def _shut_down(loop: asyncio.AbstractEventLoop, lifespan: _Lifespan, pid: int) -> None:
    if pid != os.getpid() or loop.is_running() or loop.is_closed():
        return
    try:
        loop.run_until_complete(asyncio.wait_for(lifespan.shutdown(), SHUTDOWN_S))
    except Exception:
        sys.stderr.write(f"The app's shutdown code failed\n{traceback.format_exc()}")


class _Lifespan:
    """Start-up once, shutdown once; an app that refuses the scope has neither."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self._inbox: asyncio.Queue[dict[str, Any]] | None = None
        self._answers: asyncio.Queue[dict[str, Any]] | None = None
        self._task: asyncio.Task[None] | None = None
        self._taken = False

    async def startup(self) -> dict[str, Any]:
        """The state that start-up code filled. Raises StartFailed."""
        self._inbox, self._answers = asyncio.Queue(), asyncio.Queue()
        self._inbox.put_nowait({"type": "lifespan.startup"})
        state: dict[str, Any] = {}
        self._task = asyncio.get_running_loop().create_task(self._run(state, self._inbox, self._answers))
        said = await self._answers.get()
        if said["type"] == "lifespan.startup.failed":
            raise StartFailed(str(said.get("message") or "the app's start-up code failed"))
        if said["type"] == "end":
            self._task = None
            if self._taken and said["error"] is not None:
                raise StartFailed(f"the app's start-up code failed: {said['error']!r}") from said["error"]
        return state

    async def shutdown(self) -> None:
        """Run shutdown code to its end."""
        if self._task is None or self._inbox is None or self._task.done():
            return
        self._inbox.put_nowait({"type": "lifespan.shutdown"})
        await asyncio.wait([self._task])

    async def _run(
        self,
        state: dict[str, Any],
        inbox: asyncio.Queue[dict[str, Any]],
        answers: asyncio.Queue[dict[str, Any]],
    ) -> None:
        async def receive() -> dict[str, Any]:
            message = await inbox.get()
            self._taken = True
            return message

        async def send(message: dict[str, Any]) -> None:
            answers.put_nowait(message)

        error: BaseException | None = None
        scope = {"type": "lifespan", "asgi": {"version": "3.0", "spec_version": "2.0"}, "state": state}
        try:
            await self.app(scope, receive, send)
        except Exception as failure:  # an app without lifespan says so by raising
            error = failure
        answers.put_nowait({"type": "end", "error": error})


async def _request(app: Any, scope: dict[str, Any], body: bytes) -> tuple[int, Headers, bytes]:
    inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
    inbox.put_nowait({"type": "http.request", "body": body, "more_body": False})
    begun: dict[str, Any] = {}
    pieces: list[bytes] = []

    async def send(message: dict[str, Any]) -> None:
        kind = message["type"]
        if not begun and kind == "http.response.start":
            begun.update(message)
        elif begun and "over" not in begun and kind == "http.response.body":
            pieces.append(message.get("body", b""))
            if not message.get("more_body", False):
                begun["over"] = True
                inbox.put_nowait({"type": "http.disconnect"})
        else:
            raise RuntimeError(f"Unexpected ASGI message {kind!r}")

    try:
        await app(scope, inbox.get, send)
    except Exception:
        sys.stderr.write(f"Exception in ASGI application\n{traceback.format_exc()}")
    if "over" not in begun:
        return 500, [(b"content-type", b"text/plain; charset=utf-8")], b"Internal Server Error"
    told = [(bytes(name), bytes(value)) for name, value in begun.get("headers", ())]
    return int(begun["status"]), told, b"".join(pieces)

"""A deployed function's initializer and pre-stop, as FC has them: a handler with a context, or a request.

`order["initializer"]` and `order["pre_stop"]` are {"handler": "module.function", "timeout": seconds} or None.
Of a web app the handler may be "": then they are POST /initialize and GET /pre-stop to the app itself.

The initializer runs once, in a template, if what it leaves behind can be forked; else in each instance before
its first request. FC promises no more than once per instance, which either is.
"""

from __future__ import annotations

import importlib
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

from snapfork.runner.processes import serving, stdio, warmup

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

    from snapfork.runner.processes.serving import Served

LONGEST_S = 300.0
PRE_STOP_LONGEST_S = 90.0
DEFAULT_S = 3.0
"""FC's limits and default."""


class HookFailed(Exception):
    """An initializer or pre-stop failed or took too long; the message is one sentence."""


class _Late(BaseException):
    """The time is up. Not an Exception: the function's own handlers must not eat it."""


def initialise(
    order: Mapping[str, Any], served: Served, loop: AbstractEventLoop | None, *, stays: bool
) -> None:
    """Run the initializer. stays: this process is the one that serves requests, and is not forked.

    Raises HookFailed, from the function's own error if there is one.
    """
    wish = order["initializer"]
    limit = min(float(wish.get("timeout") or DEFAULT_S), LONGEST_S)
    _run("initializer", "Initialize", ("POST", "/initialize"), wish, limit, order, served, loop, stays)


def stop(order: Mapping[str, Any], served: Served, loop: AbstractEventLoop | None) -> None:
    """Run pre-stop. Raises HookFailed."""
    wish = order["pre_stop"]
    limit = min(float(wish.get("timeout") or DEFAULT_S), PRE_STOP_LONGEST_S)
    _run("pre_stop", "PreStop", ("GET", "/pre-stop"), wish, limit, order, served, loop, True)


def _run(
    name: str,
    word: str,
    request: tuple[str, str],
    wish: Mapping[str, Any],
    limit: float,
    order: Mapping[str, Any],
    served: Served,
    loop: AbstractEventLoop | None,
    stays: bool,
) -> None:
    about = order.get("context") or {}
    request_id = str(uuid.uuid4())
    told = about.get("dialect") == "fc"
    token = serving.current_request_id.set(request_id)
    if told:
        stdio.say(request_id, f"FC {word} Start RequestId: {request_id}\n".encode())
    try:
        if wish.get("handler"):
            with _limit(name, limit):
                context = _context(about, request_id, limit)
                _call(name, str(wish["handler"]), context, loop, stays)
        else:
            _request(name, request, served, request_id, loop, limit)
    finally:
        if told:
            stdio.say(request_id, f"FC {word} End RequestId: {request_id}\n".encode())
        serving.current_request_id.reset(token)


def _context(about: Mapping[str, Any], request_id: str, limit: float) -> Any:
    from snapfork.adapter.events.context import Context

    return Context(about, {"id": request_id, "deadline_ms": (time.time() + limit) * 1000})


def _call(name: str, handler: str, context: Any, loop: AbstractEventLoop | None, stays: bool) -> None:
    module, _, attr = handler.replace(":", ".").rpartition(".")
    try:
        function: Callable[[Any], Any] = getattr(importlib.import_module(module), attr)
    except (ImportError, AttributeError, ValueError) as error:
        raise HookFailed(f"The {name} {handler} cannot be found: {error}.") from error
    try:
        result = function(context)
        if hasattr(result, "__await__"):
            _wait_for(result, loop, stays)
    except (Exception, SystemExit) as error:  # the function's own
        raise HookFailed(f"The {name} {handler} failed: {type(error).__name__}: {error}") from error


def _wait_for(result: Any, loop: AbstractEventLoop | None, stays: bool) -> None:
    """Run what an async hook returned on the loop that the app's requests run on, if there is one yet."""

    async def awaited() -> None:
        await result

    if loop is not None:
        loop.run_until_complete(awaited())
    elif stays:
        from snapfork.adapter.events import loops

        loops.run(awaited())
    else:
        import asyncio

        asyncio.run(awaited())


def _request(
    name: str,
    request: tuple[str, str],
    served: Served,
    request_id: str,
    loop: AbstractEventLoop | None,
    limit: float,
) -> None:
    method, path = request
    headers = {"x-fc-request-id": request_id, "x-fc-control-path": path, "user-agent": "snapfork"}
    try:
        answer = warmup.ask(served, {"method": method, "path": path, "headers": headers}, loop, limit)
    except TimeoutError:
        raise HookFailed(f"The {name} did not end within {limit:g} s.") from None
    status = warmup.status_of(answer)
    if status is None or not 200 <= status < 300:
        said = "did not answer it" if status is None else f"answered {status}"
        raise HookFailed(f"The {name} failed: {method} {path}, and the app {said}.")


@contextmanager
def _limit(name: str, seconds: float) -> Iterator[None]:
    def ring(_number: int, _frame: FrameType | None) -> None:
        raise _Late

    previous = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds, 1.0)
    try:
        yield
    except _Late:
        raise HookFailed(f"The {name} did not end within {seconds:g} s.") from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, previous)

"""The ASGI lifespan of one app in one process: start-up, shutdown, or suspended for ever in a template.

In a template the app's lifespan coroutine is suspended in `await receive()`, usually inside `async with`.
Instances need what it holds, so it must never be resumed, closed or collected: `hold` keeps the task, its
coroutine and everything they refer to in a module global, and `loops.TemplateLoop.end` closes the loop
without cancelling tasks or closing asynchronous generators. Code after the app's `yield` therefore does not
run in the instances of such a template.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from snapfork.runner.processes import loops

Message = MutableMapping[str, Any]
ASGIApp = Callable[[Any, Any, Any], Awaitable[None]]


class LifespanFailed(Exception):
    """The app's own start-up or shutdown code failed. `sentence` says it, `traceback` may be None."""

    def __init__(self, sentence: str, traceback_text: str | None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.traceback = traceback_text


class _ForeignMessage(Exception):
    """The app answered the lifespan scope with a message of another protocol."""


class Lifespan:
    """Drives one app's lifespan. `state` is the dict that the app may fill at start-up.

    `supported` is None before `startup`, then whether the app takes part; `note` says why not.
    """

    def __init__(self, app: ASGIApp, state: dict[str, Any]) -> None:
        self.app = app
        self.state = state
        self.supported: bool | None = None
        self.note = ""
        self._task: asyncio.Task[None] | None = None
        self._inbox: asyncio.Queue[Message] | None = None
        self._answers: asyncio.Queue[Message] | None = None
        self._accepted = False

    async def startup(self) -> None:
        """Run start-up code until the app says complete. Raises LifespanFailed if that code fails.

        An app that refuses the scope (raises before it takes the start-up message, returns without an
        answer, or sends something else) is not an error: `supported` becomes False.
        """
        self._inbox = asyncio.Queue()
        self._answers = asyncio.Queue()
        self._inbox.put_nowait({"type": "lifespan.startup"})
        self._task = asyncio.get_running_loop().create_task(self._run(), name="lifespan")
        answer = await self._answer()
        kind = answer["type"]
        if kind == "lifespan.startup.complete":
            self.supported = True
        elif kind == "lifespan.startup.failed":
            text = str(answer.get("message", "")).strip()
            raise LifespanFailed(f"The app's start-up code failed: {_last_line(text)}", text or None)
        else:
            self._judge_end(answer.get("error"))

    async def shutdown(self) -> None:
        """Run shutdown code to its end; nothing to do for an app without lifespan.

        Raises LifespanFailed if it fails. The loop must be the one `startup` ran on.
        """
        if not self.supported or self._task is None or self._inbox is None or self._task.done():
            return
        self._inbox.put_nowait({"type": "lifespan.shutdown"})
        answer = await self._answer()
        error = answer.get("error")
        if answer["type"] == "lifespan.shutdown.failed":
            text = str(answer.get("message", "")).strip()
            raise LifespanFailed(f"The app's shutdown code failed: {_last_line(text)}", text or None)
        if isinstance(error, BaseException):
            raise LifespanFailed(f"The app's shutdown code failed: {_describe(error)}", _traceback(error))
        await asyncio.wait([self._task])

    def hold(self) -> None:
        """Keep the suspended start-up code alive for the rest of this process's life."""
        loops.hold(self, self._task)

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task in which the app's lifespan is suspended."""
        return self._task

    async def _answer(self) -> Message:
        assert self._answers is not None
        return await self._answers.get()

    def _judge_end(self, error: BaseException | None) -> None:
        # The app left the lifespan call without completing start-up.
        self.supported = False
        if error is None:
            self.note = "the app returned from the lifespan scope without an answer"
        elif self._accepted and not isinstance(error, _ForeignMessage):
            self.supported = None
            raise LifespanFailed(f"The app's start-up code failed: {_describe(error)}", _traceback(error))
        else:
            self.note = f"the app refused the lifespan scope ({_describe(error)})"

    async def _run(self) -> None:
        assert self._answers is not None
        scope = {
            "type": "lifespan",
            "asgi": {"version": "3.0", "spec_version": "2.0"},
            "state": self.state,
        }
        error: BaseException | None = None
        try:
            await self.app(scope, self._receive, self._send)
        except (asyncio.CancelledError, KeyboardInterrupt):
            raise
        except BaseException as failure:  # whatever user code raises, SystemExit included, is reported
            error = failure
        self._answers.put_nowait({"type": "end", "error": error})

    async def _receive(self) -> Message:
        assert self._inbox is not None
        message = await self._inbox.get()
        self._accepted = True
        return message

    async def _send(self, message: Message) -> None:
        assert self._answers is not None
        if not str(message.get("type", "")).startswith("lifespan."):
            raise _ForeignMessage(f"it sent {message.get('type')!r}")
        self._answers.put_nowait(message)


def _describe(error: BaseException) -> str:
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _last_line(text: str) -> str:
    return text.splitlines()[-1] if text else "it gave no reason"


def _traceback(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))

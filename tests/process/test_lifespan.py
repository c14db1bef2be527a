"""The lifespan protocol with apps that follow it, refuse it or fail in it."""

from __future__ import annotations

import asyncio
import contextlib
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from snapfork.runner.processes.lifespan import Lifespan, LifespanFailed
from stages import results, take_through
from starlette.applications import Starlette


async def raises_at_once(scope: Any, receive: Any, send: Any) -> None:
    assert scope["type"] == "http"


async def lacks_a_key(scope: Any, receive: Any, send: Any) -> None:
    print(scope["path"])


async def answers_http(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "http.response.start", "status": 200, "headers": []})


async def returns(scope: Any, receive: Any, send: Any) -> None:
    return None


@pytest.mark.parametrize("app", [raises_at_once, lacks_a_key, answers_http, returns])
def test_apps_without_lifespan(app: Any) -> None:
    async def run() -> None:
        lifespan = Lifespan(app, {})
        await lifespan.startup()
        assert lifespan.supported is False and lifespan.note
        await lifespan.shutdown()

    asyncio.run(run())


async def breaks_after_receive(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    raise OSError("the database is down")


async def says_failed(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.failed", "message": "Traceback\nOSError: the database is down"})


@contextlib.asynccontextmanager
async def _broken(app: Starlette) -> AsyncIterator[None]:
    raise OSError("the database is down")
    yield


@pytest.mark.parametrize("app", [breaks_after_receive, says_failed, Starlette(lifespan=_broken)])
def test_start_up_code_that_fails(app: Any) -> None:
    with pytest.raises(LifespanFailed) as caught:
        asyncio.run(Lifespan(app, {}).startup())
    assert caught.value.sentence == "The app's start-up code failed: OSError: the database is down"
    assert caught.value.traceback is not None and "Traceback" in caught.value.traceback


def test_state_start_up_and_shutdown() -> None:
    events: list[str] = []

    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[dict[str, int]]:
        events.append("up")
        yield {"answer": 42}
        events.append("down")

    async def run() -> None:
        state: dict[str, Any] = {}
        lifespan = Lifespan(Starlette(lifespan=life), state)
        await lifespan.startup()
        assert lifespan.supported and state == {"answer": 42} and events == ["up"]
        await lifespan.shutdown()
        assert events == ["up", "down"]
        await lifespan.shutdown()

    asyncio.run(run())


def test_shutdown_code_that_fails() -> None:
    @contextlib.asynccontextmanager
    async def life(app: Starlette) -> AsyncIterator[None]:
        yield
        raise ValueError("cannot say goodbye")

    async def run() -> None:
        lifespan = Lifespan(Starlette(lifespan=life), {})
        await lifespan.startup()
        with pytest.raises(LifespanFailed, match="cannot say goodbye"):
            await lifespan.shutdown()

    asyncio.run(run())


def test_a_held_lifespan_is_never_unwound(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        import asyncio, contextlib, gc
        from starlette.applications import Starlette
        events = []

        @contextlib.asynccontextmanager
        async def lifespan(app):
            try:
                yield
            finally:
                events.append("unwound")

        app = Starlette(lifespan=lifespan)

        def use():
            gc.unfreeze()
            gc.collect()
            asyncio.run(asyncio.sleep(0))
            return events
        """,
    )
    assert results(said) == [[], []]
    assert said["findings"] == []
    gc.collect()

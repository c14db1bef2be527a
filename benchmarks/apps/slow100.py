"""Requests that take 100 ms and no processor: `app` for WSGI, `asgi_app` for ASGI."""

import asyncio
import time
from collections.abc import Iterable
from typing import Any

import raw_asgi
import raw_wsgi

SECONDS = 0.1


def app(environ: dict[str, Any], start_response: Any) -> Iterable[bytes]:
    time.sleep(SECONDS)
    return raw_wsgi.app(environ, start_response)


async def asgi_app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await asyncio.sleep(SECONDS)
    await raw_asgi.app(scope, receive, send)

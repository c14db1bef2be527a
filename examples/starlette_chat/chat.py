"""A chat: rooms over WebSocket, and the same rooms as server-sent events.

Messages go through SQLite, not through this process's memory: two people in one room may well be connected
to two instances.

    runner serve chat:app --app-dir examples/starlette_chat
    uvicorn --app-dir examples/starlette_chat chat:app
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route, WebSocketRoute
from starlette.websockets import WebSocket, WebSocketDisconnect

HERE = Path(__file__).parent
DATABASE = Path(os.environ.get("CHAT_DATABASE", HERE / "chat.sqlite3"))
POLL_S = 0.1  # how late a message may be in another process
HISTORY = 50
LATER = "SELECT id, author, text, at FROM message WHERE room = ? AND id > ? ORDER BY id"
LONGEST = 2000  # characters of a message


def connect() -> sqlite3.Connection:
    connection = sqlite3.connect(DATABASE, timeout=20, isolation_level=None)
    connection.row_factory = sqlite3.Row
    return connection


def say(room: str, author: str, text: str) -> None:
    with closing(connect()) as database:
        database.execute(
            "INSERT INTO message (room, author, text, at) VALUES (?, ?, ?, ?)",
            (room, author[:40], text[:LONGEST], time.time()),
        )


async def messages(room: str, after: int | None = None) -> AsyncIterator[dict[str, object]]:
    """The room's messages with a number above `after` (None: the newest few), for ever as they come."""
    with closing(connect()) as database:
        if after is None:
            newest = "SELECT id FROM message WHERE room = ? ORDER BY id DESC LIMIT 1 OFFSET ?"
            row = database.execute(newest, (room, HISTORY)).fetchone()
            after = row["id"] if row else 0
        while True:
            found = database.execute(LATER, (room, after)).fetchall()
            for row in found:
                after = row["id"]
                yield dict(row)
            await asyncio.sleep(POLL_S)


async def page(request: Request) -> Response:
    return FileResponse(HERE / "chat.html")


async def talk(socket: WebSocket) -> None:
    """Both ways: what is said here goes to the room, what the room says comes here."""
    room = socket.path_params["room"]
    await socket.accept()

    async def listen() -> None:
        async for message in messages(room):
            await socket.send_json(message)

    listening = asyncio.create_task(listen())
    try:
        while True:
            said = json.loads(await socket.receive_text())
            say(room, str(said["author"]), str(said["text"]))
    except WebSocketDisconnect:
        pass
    except (ValueError, KeyError, TypeError):
        await socket.close(1003, "a message is JSON with author and text")
    finally:
        listening.cancel()


async def events(request: Request) -> Response:
    """The room as server-sent events; a browser that reconnects goes on where it was."""
    last = request.headers.get("last-event-id") or request.query_params.get("after", "")

    async def stream() -> AsyncIterator[str]:
        async for message in messages(request.path_params["room"], int(last) if last.isdigit() else None):
            yield f"id: {message['id']}\ndata: {json.dumps(message)}\n\n"

    return StreamingResponse(stream(), media_type="text/event-stream", headers={"Cache-Control": "no-store"})


async def post(request: Request) -> Response:
    """Say something without a WebSocket: JSON with author and text."""
    try:
        said = await request.json()
        say(request.path_params["room"], str(said["author"]), str(said["text"]))
    except (ValueError, KeyError, TypeError):
        return JSONResponse({"error": "a message is JSON with author and text"}, 400)
    return Response(status_code=204)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    with closing(connect()) as database:
        database.executescript(
            "PRAGMA journal_mode=WAL;"
            "CREATE TABLE IF NOT EXISTS message"
            " (id INTEGER PRIMARY KEY AUTOINCREMENT, room TEXT, author TEXT, text TEXT, at REAL);"
            "CREATE INDEX IF NOT EXISTS message_room ON message (room, id);"
        )
    yield


app = Starlette(
    lifespan=lifespan,
    routes=[
        Route("/", page),
        WebSocketRoute("/rooms/{room}/talk", talk),
        Route("/rooms/{room}/events", events),
        Route("/rooms/{room}", post, methods=["POST"]),
    ],
)

"""FastAPI with an httpx client and an async SQLAlchemy engine made and used in its lifespan."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from fastapi import FastAPI, Request
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.engine = create_async_engine(os.environ["ASYNC_DATABASE_URL"])
    async with httpx.AsyncClient(base_url=os.environ["UPSTREAM_URL"]) as app.state.http:
        async with app.state.engine.connect() as connection:
            await connection.execute(text("SELECT 1"))
        await app.state.http.get("")
        yield
    await app.state.engine.dispose()


app = FastAPI(lifespan=lifespan)


@app.get("/")
async def ready() -> dict[str, object]:
    return {"pid": os.getpid()}


@app.get("/mine/{number}")
async def mine(number: int, request: Request) -> dict[str, object]:
    """What database and upstream answer to a question that only this request asks."""
    async with request.app.state.engine.connect() as connection:
        query = text("SELECT CAST(:n AS bigint), pg_backend_pid(), pg_sleep(0.002)")
        row = (await connection.execute(query, {"n": number})).one()
    reply = await request.app.state.http.get(f"?n={number}")
    return {"database": row[0], "backend": row[1], "upstream": reply.headers["x-asked"], "pid": os.getpid()}

"""Dropping the idle connections of database libraries, so that the pool itself stays usable after a fork.

Every function takes one live object of the library and returns what it dropped as a short phrase, or "".
In-memory SQLite databases are left alone: they hold no descriptor, and closing one would lose its data.
"""

from __future__ import annotations

import sys
from typing import Any


def django() -> str:
    """Close all of Django's database and cache connections, persistent ones and pools included."""
    conf = sys.modules.get("django.conf")
    if conf is None or not conf.settings.configured:
        return ""
    closed = 0
    pools: list[Any] = []
    for connection in sys.modules["django.db"].connections.all(initialized_only=True):
        closed += connection.connection is not None
        connection.close()
        pools.append(connection)
    for connection in pools:
        close_pool = getattr(connection, "close_pool", None)
        if close_pool is not None:
            close_pool()
    cache = sys.modules.get("django.core.cache")
    if cache is not None:
        cache.close_caches()
    return f"{closed} database connection{'s' * (closed != 1)} closed" if closed else ""


def django_elsewhere(wrapper: Any) -> str:
    """Close a Django connection that another, finished thread had opened."""
    if wrapper.connection is None:
        return ""
    wrapper.inc_thread_sharing()  # else Django refuses to close it from this thread
    try:
        wrapper.close()
    finally:
        wrapper.dec_thread_sharing()
    return f"connection {wrapper.alias!r} of another thread closed"


def _in_memory(engine: Any) -> bool:
    database = str(engine.url.database or "")
    memory = database in ("", ":memory:") or "mode=memory" in str(engine.url)
    return memory and engine.dialect.name == "sqlite"


def _idle(engine: Any) -> int | None:
    count = getattr(engine.pool, "checkedin", None)
    return int(count()) if count is not None else None


def _engine(engine: Any) -> str:
    return f"the pool of {engine.url.render_as_string(hide_password=True)}"


def sqlalchemy(engine: Any) -> str:
    """Close the idle connections of a synchronous engine; the engine opens new ones when asked."""
    if engine.dialect.is_async or _in_memory(engine):
        return ""
    idle = _idle(engine)
    engine.dispose()
    return _engine(engine) if idle != 0 else ""


async def sqlalchemy_async(engine: Any) -> str:
    """The same for the synchronous face of an asynchronous engine, on the loop that made its connections."""
    if not engine.dialect.is_async or (_in_memory(engine) and engine.dialect.driver != "aiosqlite"):
        return ""
    idle = _idle(engine)
    await sys.modules["sqlalchemy.ext.asyncio"].AsyncEngine(engine).dispose()
    return _engine(engine) if idle != 0 else ""


def redis(pool: Any) -> str:
    """Disconnect a redis pool; its connections connect again on use."""
    connected = _redis_connected(pool)
    pool.disconnect()
    return "connections to the server closed" if connected else ""


async def redis_async(pool: Any) -> str:
    """Disconnect a redis.asyncio pool."""
    connected = _redis_connected(pool)
    await pool.disconnect()
    return "connections to the server closed" if connected else ""


def _redis_connected(pool: Any) -> bool:
    return bool(getattr(pool, "_available_connections", True) or getattr(pool, "_in_use_connections", True))


def psycopg2_pool(pool: Any) -> str:
    """Close the idle connections of a psycopg2 pool without closing the pool."""
    idle, pool._pool[:] = list(pool._pool), []
    for connection in idle:
        connection.close()
    return f"{len(idle)} idle connection{'s' * (len(idle) != 1)} closed" if idle else ""


def peewee(database: Any) -> str:
    """Close the connection of a peewee database (and its idle pooled ones); the next query connects."""
    if str(getattr(database, "database", "")) == ":memory:":
        return ""
    was_open = not database.is_closed()
    if was_open:
        database.close()
    close_idle = getattr(database, "close_idle", None)
    if close_idle is not None:
        close_idle()
    return "connection closed" if was_open else ""

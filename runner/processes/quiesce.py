"""Dropping known connection pools in the template, before it is audited and frozen.

Closing an inherited connection in a child would say goodbye on the session that its siblings share, so all
of them are closed here, once. The client objects themselves stay usable and connect again in each instance.
Nothing is imported for this: a library that the app has not loaded holds no connection.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from snapfork.runner.processes import drop_clients, drop_databases, heap

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop

_SETTLE_SECONDS = 1.0  # how long ending threads may take
_STEADY_SECONDS = 0.05  # no thread ended for so long: the rest goes on


class _Pool(NamedTuple):
    """A kind of pool: `drop` takes one live `module.cls` and returns (asynchronous: awaits) a phrase."""

    label: str
    module: str
    cls: str
    drop: Callable[[Any], Any]


# In this order: what uses other pools comes before what is used.
_POOLS = (
    _Pool("Django", "django.db.backends.base.base", "BaseDatabaseWrapper", drop_databases.django_elsewhere),
    _Pool("SQLAlchemy", "sqlalchemy.engine.base", "Engine", drop_databases.sqlalchemy),
    _Pool("peewee", "peewee", "Database", drop_databases.peewee),
    _Pool("psycopg2", "psycopg2.pool", "AbstractConnectionPool", drop_databases.psycopg2_pool),
    _Pool("redis", "redis.connection", "ConnectionPool", drop_databases.redis),
    _Pool("pymemcache", "pymemcache.client.base", "Client", drop_clients.memcached),
    _Pool("pymemcache", "pymemcache.client.base", "PooledClient", drop_clients.memcached),
    _Pool("Sentry", "sentry_sdk.client", "_Client", drop_clients.sentry),
    _Pool(
        "OpenTelemetry",
        "opentelemetry.sdk._shared_internal",
        "BatchProcessor",
        drop_clients.opentelemetry_batches,
    ),
    _Pool(
        "OpenTelemetry",
        "opentelemetry.sdk.metrics._internal.export",
        "PeriodicExportingMetricReader",
        drop_clients.opentelemetry_metrics,
    ),
    _Pool("a2wsgi", "a2wsgi.wsgi", "WSGIMiddleware", drop_clients.a2wsgi),
    _Pool("urllib3", "urllib3.connectionpool", "HTTPConnectionPool", drop_clients.urllib3),
    _Pool("httpx", "httpcore", "ConnectionPool", drop_clients.httpcore),
)
_ASYNC_POOLS = (
    _Pool("SQLAlchemy", "sqlalchemy.engine.base", "Engine", drop_databases.sqlalchemy_async),
    _Pool("redis", "redis.asyncio.connection", "ConnectionPool", drop_databases.redis_async),
    _Pool("httpx", "httpcore", "AsyncConnectionPool", drop_clients.httpcore_async),
)


def quiesce(loop: AbstractEventLoop | None) -> list[str]:
    """Drop every known pool; returns one sentence for each thing dropped or not droppable.

    `loop` is the open, idle loop on which start-up and warm-up ran; without one asynchronous pools are left
    alone. Threads that were told to end are waited for.
    """
    done: list[str] = []
    if "django.db" in sys.modules:
        _note(done, "Django", drop_databases.django)
    pools = {str(number): pool for number, pool in enumerate(_POOLS)}
    for number, things in _census(pools).items():
        for thing in things:
            _note(done, pools[number].label, pools[number].drop, thing)
    owner = heap.known("asgiref.sync", "SyncToAsync")
    if owner is not None:
        _note(done, "asgiref", drop_clients.asgiref, owner)
    if loop is not None and not loop.is_closed():
        loop.run_until_complete(_drop_async(done))
        from snapfork.runner.processes import loops  # not for WSGI: it imports asyncio and uvloop

        loops.rest_default_executor(loop)
        unbind(loop)
    _settle_threads()
    return list(dict.fromkeys(done))


def _census(pools: dict[str, _Pool]) -> dict[str, list[Any]]:
    wanted = {}
    for number, pool in pools.items():
        cls = heap.known(pool.module, pool.cls)
        if cls is not None:
            wanted[number] = cls
    return heap.census(wanted)


def _note(done: list[str], label: str, drop: Callable[..., str], *thing: Any) -> None:
    try:
        phrase = drop(*thing)
    except Exception as error:  # a library's own code: what could not be dropped is found by the audit
        done.append(f"{label}: could not be dropped ({type(error).__name__}: {error}).")
        return
    if phrase:
        done.append(f"{label}: {phrase}.")


async def _drop_async(done: list[str]) -> None:
    import asyncio  # loaded by whoever made the loop; not needed in a WSGI template

    pools = {str(number): pool for number, pool in enumerate(_ASYNC_POOLS)}
    for number, things in _census(pools).items():
        for thing in things:
            label = pools[number].label
            try:
                phrase = await asyncio.wait_for(pools[number].drop(thing), 5.0)
            except Exception as error:  # a library's own code: the audit finds what is left
                done.append(f"{label}: could not be dropped ({type(error).__name__}: {error}).")
                continue
            if phrase:
                done.append(f"{label}: {phrase}.")
    # Transports close their sockets in later turns of the loop.
    for _ in range(5):
        await asyncio.sleep(0)


def unbind(loop: AbstractEventLoop) -> int:
    """Let idle asyncio locks, events and queues used on `loop` be used on another; returns how many.

    They bind to a loop the first time somebody has to wait, and would fail in every instance.
    """
    mixin = heap.known("asyncio.mixins", "_LoopBoundMixin")
    freed = 0
    for thing in heap.instances(mixin):
        if getattr(thing, "_loop", None) is loop and not _has_waiters(thing):
            thing._loop = None
            freed += 1
    return freed


def _has_waiters(primitive: Any) -> bool:
    waiting: Iterable[str] = ("_waiters", "_getters", "_putters")
    return any(
        not future.done() for name in waiting for future in tuple(getattr(primitive, name, None) or ())
    )


def _settle_threads() -> None:
    # Threads that have been told to end need a moment; those that go on are the audit's business.
    deadline = time.monotonic() + _SETTLE_SECONDS
    count, since = len(os.listdir("/proc/self/task")), time.monotonic()
    while count > 1 and time.monotonic() < min(deadline, since + _STEADY_SECONDS):
        time.sleep(0.002)
        now = len(os.listdir("/proc/self/task"))
        if now != count:
            count, since = now, time.monotonic()

"""Dropping the idle connections of network clients, so that the client itself stays usable after a fork.

Every function takes one live object of the library and returns what it dropped as a short phrase, or "".
"""

from __future__ import annotations

import queue
from concurrent.futures import ThreadPoolExecutor
from typing import Any

_THREAD_SECONDS = 5.0  # how long a thread may take to send what it has and end


def urllib3(pool: Any) -> str:
    """Close the connections a urllib3 pool keeps (requests and boto3 use these); each reconnects on use."""
    slots = pool.pool
    if slots is None:
        return ""
    taken: list[Any] = []
    while True:
        try:
            taken.append(slots.get_nowait())
        except queue.Empty:
            break
    closed = 0
    for connection in reversed(taken):
        if connection is not None:
            closed += getattr(connection, "sock", None) is not None
            connection.close()
        slots.put_nowait(connection)
    return f"connections to {pool.host} closed" if closed else ""


def httpcore(pool: Any) -> str:
    """Close the connections of an httpx (httpcore) pool; neither it nor its client counts as closed."""
    count = len(pool.connections)
    pool.close()
    return f"{count} connection{'s' * (count != 1)} closed" if count else ""


async def httpcore_async(pool: Any) -> str:
    """The same for AsyncClient, on the loop that made the connections."""
    count = len(pool.connections)
    await pool.aclose()
    return f"{count} connection{'s' * (count != 1)} closed" if count else ""


def memcached(client: Any) -> str:
    """Close a pymemcache client; it connects again on use."""
    connected = getattr(client, "sock", None) is not None
    client.close()
    return "connection closed" if connected else ""


def sentry(client: Any) -> str:
    """Send what Sentry has queued and end its sender thread; it is started again by the next event."""
    worker = getattr(getattr(client, "transport", None), "_worker", None)
    if worker is None or not worker.is_alive:
        return ""
    client.flush(timeout=2.0)
    thread = getattr(worker, "_thread", None)
    worker.kill()
    if thread is not None:
        thread.join(_THREAD_SECONDS)
    return "sender thread ended"


def opentelemetry_batches(batches: Any) -> str:
    """End the thread of an OpenTelemetry batch processor; its own fork hook starts one in each child."""
    if not batches._worker_thread.is_alive():
        return ""
    batches._shutdown = True
    batches._worker_awaken.set()
    batches._worker_thread.join(_THREAD_SECONDS)
    batches._shutdown = False
    return "exporter thread ended"


def opentelemetry_metrics(reader: Any) -> str:
    """The same for a metric reader that exports periodically."""
    thread = reader._daemon_thread
    if thread is None or not thread.is_alive():
        return ""
    reader._shutdown_event.set()
    thread.join(_THREAD_SECONDS)
    reader._shutdown_event.clear()
    return "exporter thread ended"


def asgiref(owner: Any) -> str:
    """Replace the thread pool in which asgiref runs synchronous code (`owner`: its class SyncToAsync)."""
    executor = getattr(owner, "single_thread_executor", None)
    if executor is None or not executor._threads:
        return ""
    executor.shutdown(wait=True)
    owner.single_thread_executor = ThreadPoolExecutor(max_workers=1)
    return "thread for synchronous code ended"


def a2wsgi(middleware: Any) -> str:
    """Replace the thread pool of an a2wsgi WSGIMiddleware."""
    executor = middleware.executor
    if not executor._threads:
        return ""
    executor.shutdown(wait=True)
    middleware.executor = ThreadPoolExecutor(
        thread_name_prefix=executor._thread_name_prefix, max_workers=executor._max_workers
    )
    return "threads for synchronous code ended"

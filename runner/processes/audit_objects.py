"""The part of the audit that looks at Python objects: executors, process pools, event loops, tasks."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterable
from typing import Any, NamedTuple

from snapfork.runner.processes import heap
from snapfork.runner.processes.origins import is_library, short

_EXECUTOR_CURE = "Make the executor in an after_fork hook or on first use."
_LOOP_CURE = "Make the event loop in an after_fork hook, or close it before the snapshot."
_TASK_CURE = "Use lifespan='instance', or start the task in an after_fork hook."
_BOUND_CURE = "It works only on the loop it was made on: use lifespan='instance' or an after_fork hook."

# Clients that keep a reference to the loop they were made on and cannot be moved to another one.
_BOUND_TO_LOOP = (
    ("asyncpg.pool", "Pool"),
    ("asyncpg.connection", "Connection"),
    ("aiohttp.client", "ClientSession"),
    ("aiokafka.client", "AIOKafkaClient"),
    ("aiomysql.pool", "Pool"),
    ("aio_pika.connection", "Connection"),
    ("psycopg.connection_async", "AsyncConnection"),
    ("psycopg_pool.pool_async", "AsyncConnectionPool"),
)


class Suspect(NamedTuple):
    """An object that cannot be used after a fork; `fds` are descriptors that belong to it."""

    kind: str
    object: str
    origin: str
    cure: str
    ident: int
    fds: frozenset[int]


def suspects() -> list[Any]:
    """All live objects that `judge` has an opinion on."""
    return heap.instances(
        heap.known("concurrent.futures", "Executor"),
        heap.known("multiprocessing.pool", "Pool"),
        heap.known("asyncio.events", "AbstractEventLoop"),
        *(heap.known(module, name) for module, name in _BOUND_TO_LOOP),
    )


def judge(things: Iterable[Any], known: frozenset[int], own_loop: Any) -> list[Suspect]:
    """The suspects among `things` that are not in `known` (ids) and do not belong to `own_loop`."""
    loop_class = heap.known("asyncio.events", "AbstractEventLoop")
    loops = sys.modules.get("snapfork.runner.processes.loops")  # only where there is an event loop
    own = set() if loops is None else loops.own_executors()
    found: list[Suspect] = []
    for thing in things:
        if id(thing) in known or id(thing) in own or thing is own_loop:
            continue
        if loop_class is not None and isinstance(thing, loop_class):
            suspect = _loop(thing)
        elif _is_bound(thing):
            suspect = _bound(thing)
        else:
            suspect = _executor(thing)
        if suspect is not None:
            found.append(suspect)
    return found + _tasks(own_loop)


def user_modules() -> list[str]:
    """Names of the loaded modules that are the user's own code."""
    names = []
    for name, module in list(sys.modules.items()):
        filename = getattr(module, "__dict__", {}).get("__file__")
        if isinstance(filename, str) and not is_library(filename) and not name.startswith("snapfork."):
            names.append(name)
    return names


def thread_cure(thread: threading.Thread) -> str:
    """What to do about a running thread, by what made it."""
    module = type(thread).__module__ if type(thread) is not threading.Thread else ""
    module = module or str(getattr(getattr(thread, "_target", None), "__module__", ""))
    for prefix, cure in _THREAD_CURES.items():
        if module.startswith(prefix):
            return cure
    return "Start the thread in an after_fork hook."


_THREAD_CURES = {
    "concurrent.futures": _EXECUTOR_CURE,
    "asyncio": _EXECUTOR_CURE,
    "pymongo": "Make the MongoClient in an after_fork hook.",
    "psycopg_pool": "Make the pool with open=False and open it in an after_fork hook.",
    "apscheduler": "Start the scheduler in an after_fork hook.",
    "opentelemetry": "Make the exporter or processor in an after_fork hook.",
    "ddtrace": "Start the tracer in an after_fork hook.",
    "kafka": "Make the Kafka client in an after_fork hook.",
    "aiosqlite": "Open the connection in an after_fork hook, or use lifespan='instance'.",
    "prometheus_client": "Start the metrics server in an after_fork hook.",
    "watchdog": "Start the observer in an after_fork hook.",
}


def _name(thing: Any) -> str:
    held = heap.holder(thing, user_modules())
    kind = f"{type(thing).__module__}.{type(thing).__qualname__}"
    return f"{held} ({kind})" if held else kind


def _executor(thing: Any) -> Suspect | None:
    threads = getattr(thing, "_threads", None)
    if threads is not None:
        held = heap.holder(thing, user_modules())
        # One that a library made and nobody used yet starts its threads in the instance; the user's own is
        # reported, since the first submit before the fork would break it there.
        if getattr(thing, "_shutdown", False) or (not threads and not held):
            return None
    elif getattr(thing, "_shutdown_thread", False) or getattr(thing, "_state", "") in ("CLOSE", "TERMINATE"):
        return None
    return Suspect("executor", _name(thing), "", _EXECUTOR_CURE, id(thing), frozenset())


def _loop(loop: Any) -> Suspect | None:
    if loop.is_closed():
        return None
    fds = set()
    for part in ("_ssock", "_csock", "_selector"):
        fileno = getattr(getattr(loop, part, None), "fileno", None)
        if fileno is not None:
            fds.add(fileno())
    return Suspect("event loop", _name(loop), "", _LOOP_CURE, id(loop), frozenset(fds))


def _is_bound(thing: Any) -> bool:
    classes = (heap.known(module, name) for module, name in _BOUND_TO_LOOP)
    return any(cls is not None and isinstance(thing, cls) for cls in classes)


def _bound(thing: Any) -> Suspect | None:
    closed = getattr(thing, "closed", None)
    if closed is None:
        is_closed = getattr(thing, "is_closed", None)
        closed = is_closed() if is_closed is not None else getattr(thing, "_closed", False)
    if closed:
        return None
    return Suspect("loop-bound client", _name(thing), "", _BOUND_CURE, id(thing), frozenset())


def _tasks(own_loop: Any) -> list[Suspect]:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or own_loop is None:
        return []
    found = []
    for task in asyncio.all_tasks(own_loop):
        coroutine = task.get_coro()
        if task.get_name() == "lifespan" and _is_ours(coroutine):
            continue
        code = getattr(coroutine, "cr_code", None)
        origin = ""
        if code is not None and not is_library(code.co_filename):
            origin = f"{short(code.co_filename)}:{code.co_firstlineno}"
        name = f"{getattr(coroutine, '__qualname__', repr(coroutine))}"
        found.append(Suspect("task", name, origin, _TASK_CURE, id(task), frozenset()))
    return found


def _is_ours(coroutine: Any) -> bool:
    code = getattr(coroutine, "cr_code", None)
    return code is not None and code.co_qualname == "Lifespan._run"

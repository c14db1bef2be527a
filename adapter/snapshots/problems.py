"""What could not be captured, with the path from the app to it and what to do about it."""

from __future__ import annotations

import functools
import threading
import types
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

MOST_STEPS = 3_000_000
"""Objects looked at for paths; an object behind more is reported without one."""
_CURES = {
    "socket": "close it in a before_snapshot hook and open it in an after_fork hook",
    "thread": "start it in an after_fork hook",
    "file": "open it where it is used, or in an after_fork hook",
    "loop": "make it where it is used; ASGI apps get theirs in lifespan",
    "connection": "connect in an after_fork hook, or on first use",
    "generator": "keep what it would give, as a list, or make it where it is used",
    "pool": "make it in an after_fork hook, or on first use",
    "directory": "make it in an after_fork hook, so that each instance has its own",
    "other": "make it in an after_fork hook, or say how with register_reducer(), or give a placeholder",
}
_KINDS = (
    ("socket", ("socket", "SSLSocket", "SSLObject")),
    ("directory", ("TemporaryDirectory",)),
    ("thread", ("Thread", "Timer", "_DummyThread", "_MainThread", "Process", "Popen")),
    (
        "file",
        ("TextIOWrapper", "BufferedReader", "BufferedWriter", "BufferedRandom", "FileIO", "mmap", "memmap"),
    ),
    ("loop", ("Loop", "_UnixSelectorEventLoop", "Future", "Task", "Server")),
    ("connection", ("Connection", "connection", "Cursor", "cursor", "AsyncConnection")),
    ("generator", ("generator", "coroutine", "async_generator", "frame", "traceback")),
    ("pool", ("ThreadPoolExecutor", "ProcessPoolExecutor", "Pool", "ThreadPool", "SimpleQueue", "Queue")),
)


@dataclass
class Problem:
    """path: `app.extensions["cache"]._client._sock`. kind: the object's type. cure: what to do."""

    path: str
    kind: str
    why: str
    cure: str

    def __str__(self) -> str:
        return f"{self.path}: {self.kind}; {self.cure}"


def describe(found: list[tuple[Any, str]], roots: dict[str, Any]) -> list[Problem]:
    """The problems with their paths; `roots` are the names one can start from."""
    things = {id(thing): (thing, why) for thing, why in found}
    routes = paths(roots, set(things))
    problems = []
    for key, (thing, why) in things.items():
        kind = type(thing).__qualname__
        problems.append(Problem(routes.get(key, "(not reached by name)"), kind, why, _cure(kind)))
    return sorted(problems, key=lambda problem: problem.path)


def _cure(kind: str) -> str:
    for name, kinds in _KINDS:
        if kind.rpartition(".")[2] in kinds:
            return _CURES[name]
    return _CURES["other"]


def paths(roots: dict[str, Any], wanted: set[int]) -> dict[int, str]:
    """The shortest path from a root to each wanted object, by id, as one would write it in Python."""
    found: dict[int, str] = {}
    seen: set[int] = set()
    queue: deque[tuple[str, Any]] = deque(roots.items())
    left = set(wanted)
    steps = 0
    while queue and left and steps < MOST_STEPS:
        path, thing = queue.popleft()
        if id(thing) in seen:
            continue
        seen.add(id(thing))
        steps += 1
        if id(thing) in left:
            left.discard(id(thing))
            found[id(thing)] = path
            continue  # what it is made of is not the user's affair
        queue.extend(edges(path, thing))
    return found


def edges(path: str, thing: Any) -> Iterator[tuple[str, Any]]:
    """What `thing` leads to, with how one would write it."""
    kind = type(thing)
    if kind in (str, bytes, int, float, bool, complex, type(None), types.ModuleType):
        return
    if issubclass(type(thing), dict):
        for key, value in list(thing.items()):
            yield f"{path}[{_short(key)}]", value
            if not isinstance(key, (str, int)):
                yield f"{path}.keys()", key
    elif issubclass(type(thing), (list, tuple, deque)):
        for index, value in enumerate(list(thing)):
            yield f"{path}[{index}]", value
    elif issubclass(type(thing), (set, frozenset)):
        for value in list(thing):
            yield f"{path}{{...}}", value
    elif issubclass(type(thing), threading.local):
        for name, value in list(vars(thing).items()):
            yield f"{path}.{name}", value
    elif kind is types.FunctionType:
        yield from _function_edges(path, thing)
    elif kind is types.MethodType:
        yield f"{path}.__self__", thing.__self__
        yield f"{path}.__func__", thing.__func__
    elif kind is functools.partial:
        yield f"{path}.func", thing.func
        yield f"{path}.args", thing.args
        yield f"{path}.keywords", thing.keywords
    elif kind in (staticmethod, classmethod):
        yield f"{path}.__func__", thing.__func__
    elif kind is property:
        for name in ("fget", "fset", "fdel"):
            yield f"{path}.{name}", getattr(thing, name)
    yield from _attributes(path, thing)


def _function_edges(path: str, function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=False):
        try:
            yield f"{path}.<closure {name}>", cell.cell_contents
        except ValueError:
            continue  # empty
    yield f"{path}.__defaults__", function.__defaults__
    yield f"{path}.__kwdefaults__", function.__kwdefaults__
    wrapped = function.__dict__.get("__wrapped__")
    if wrapped is not None:
        yield f"{path}.__wrapped__", wrapped


def _attributes(path: str, thing: Any) -> Iterator[tuple[str, Any]]:
    # Past __getattr__ and __class__ of lazy proxies, which may run anything.
    try:
        own = object.__getattribute__(thing, "__dict__")
    except AttributeError:
        own = None
    if isinstance(own, (dict, types.MappingProxyType)):
        for name, value in list(own.items()):
            yield f"{path}.{name}", value
    for base in type(thing).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else slots:
            try:
                yield f"{path}.{slot}", object.__getattribute__(thing, slot)
            except AttributeError:
                continue  # not set, or a name that is mangled


def _short(key: Any) -> str:
    text = repr(key) if isinstance(key, (str, int, float, bytes, tuple)) else f"<{type(key).__name__}>"
    text = '"' + text[1:-1] + '"' if isinstance(key, str) and '"' not in text else text
    return text if len(text) <= 60 else text[:57] + "..."

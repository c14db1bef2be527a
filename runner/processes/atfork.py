"""Which of CPython's fork handlers a fork of a template runs.

`os.fork` calls what was given to `os.register_at_fork`. The standard library's own handlers are half of what
a fork costs (0.5 of 1.07 ms, 194 of 262 page copies, for a Flask app on CPython 3.11): `threading` renews its
locks and its list of threads, `logging` takes its lock and renews those of all handlers. A template is
single-threaded and blocked in a read when it forks: those locks are free, and there is no thread to forget.
So its handlers are told to pass, and the child does the little that remains. Handlers of other libraries run
as ever, and so do all of them when an instance's own code forks.

CPython has no call that lists or removes handlers; they are found in the lists that its interpreter keeps
(`PyInterpreterState.before_forkers` and its two siblings), which are ordinary lists. What is not found as
expected simply goes on running.
"""

from __future__ import annotations

import _random
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinMethodType, MethodType
from typing import Any

Handler = Callable[[], object]

_PASSING = (
    ("threading", ("_after_fork",)),
    ("random", ("_inst.seed",)),
    ("logging", ("_acquireLock", "_after_at_fork_child_reinit_locks", "_releaseLock")),
    ("logging", ("_prepareFork", "_after_at_fork_child_reinit_locks", "_afterFork")),  # from 3.13
    (
        "concurrent.futures.thread",
        (
            "_global_shutdown_lock.acquire",
            "_global_shutdown_lock._at_fork_reinit",
            "_global_shutdown_lock.release",
        ),
    ),
    ("snapfork.runner.processes.stdio", ("_before_fork", "_in_child")),
    ("snapfork.runner.processes.life", ("_before_fork", "_in_parent", "_in_child")),
)
"""Handlers with nothing to do in the child of a blocked, single-threaded process: together, or not at all,
because what one of a group takes another gives back."""

_passing = False
_main_thread: dict[str, Any] = {}  # its attributes: set by name, one costs eight page copies
_generator: Any = None
_noted: list[list[Any]] = []
_seed = _random.Random.seed  # random.Random.seed() ends there, after a dozen further page copies


def prepare() -> int:
    """In a template that is about to fork instances: let the known handlers pass; how many were found."""
    global _passing, _main_thread, _generator
    main_thread = getattr(sys.modules.get("threading"), "_main_thread", None)
    _main_thread = {} if main_thread is None else vars(main_thread)
    _generator = getattr(sys.modules.get("random"), "_inst", None)
    if _generator is not None:
        _generator.gauss_next = None  # as seeding it in the child would do, at four page copies
    groups = list(_groups())
    lists = _noted or _lists(groups)
    passing: list[tuple[list[Any], int]] = []
    for group in groups:
        places = [place for handler in group for place in _places(handler, lists)]
        if len(places) == len(group):
            passing += places
    for handlers in lists:
        _let_pass(handlers, {index for those, index in passing if those is handlers})
    _passing = True
    return len(passing)


def _let_pass(handlers: list[Any], places: set[int]) -> None:
    """Have those at `places` pass; neighbours that children call are joined, at four page copies a call."""
    known = _attribute(sys.modules.get("threading"), "_after_fork")
    of_children = any(one is known for one in handlers)
    last = len(handlers) - 1
    while last >= 0:
        first = last
        while of_children and {first, first - 1} <= places:
            first -= 1
        if last in places:
            handlers[first : last + 1] = [_unless_passing(handlers[first : last + 1])]
        last = first - 1


def note_lists() -> None:
    """In a base, before what it holds is frozen: its templates would not find those lists any more."""
    _noted[:] = _lists(list(_groups()))


@contextmanager
def passing() -> Iterator[None]:
    """For one fork of a template that is still being built, whose own code may fork afterwards."""
    global _passing
    prepare()
    try:
        yield
    finally:
        _passing = False


def is_passing() -> bool:
    """Whether a fork now would be that of an instance."""
    return _passing


def in_child() -> None:
    """First in a child of a template: handlers act again, and what they would have mended is mended."""
    global _passing
    _passing = False
    _main_thread["_native_id"] = os.getpid()
    if _generator is not None:
        _seed(_generator)


def _unless_passing(handlers: list[Handler]) -> Handler:
    def run() -> None:
        if not _passing:
            for handler in handlers:
                handler()

    return run


def _groups() -> Iterator[tuple[Handler, ...]]:
    for module, paths in _PASSING:
        group = tuple(_attribute(sys.modules.get(module), path) for path in paths)
        if all(group):
            yield group


def _attribute(thing: Any, path: str) -> Any:
    for name in path.split("."):
        thing = getattr(thing, name, None)
    return thing


def _lists(groups: list[tuple[Handler, ...]]) -> list[list[Any]]:
    """The interpreter's lists of handlers: of callables only, with at least one of `groups` in each."""
    known = tuple(handler for group in groups for handler in group)  # a list would be found, too
    return [
        thing
        for thing in gc.get_objects()
        if type(thing) is list
        and all(map(callable, thing))
        and any(_same(entry, one) for entry in thing for one in known)
    ]


def _places(handler: Handler, lists: list[list[Any]]) -> Iterator[tuple[list[Any], int]]:
    for handlers in lists:
        for index, one in enumerate(handlers):
            if _same(one, handler):
                yield handlers, index


def _same(one: Any, other: Any) -> bool:
    """Whether both are one function, or one method of one object; `==` might run user code."""
    if one is other:
        return True
    kind = type(one)
    if kind is not type(other) or kind not in (MethodType, BuiltinMethodType):
        return False
    return one.__self__ is other.__self__ and one.__name__ == other.__name__

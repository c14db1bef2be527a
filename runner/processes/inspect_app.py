"""What `runner doctor` knows beyond the audit: habits of the app that a fork makes visible.

An `Inspector` is started before user code is imported, told when warm-up begins and ends, and then asked.
Findings have the shape of the audit's: severity, kind, object, origin, cure.
"""

from __future__ import annotations

import collections
import datetime
import functools
import os
import secrets
import sys
import time
from collections.abc import Callable
from typing import Any

from snapfork.runner.processes import audit_objects, heap
from snapfork.runner.processes.audit import Finding
from snapfork.runner.processes.import_times import ImportTimes
from snapfork.runner.processes.origins import Origins, caller

_CONTAINERS = (dict, list, set, collections.deque)
_Cached = type(functools.cache(len))
_RECENT_SECONDS = 3600.0

# Libraries that keep threads, native state or connections which a fork breaks, and what to do.
_LIBRARIES = {
    "grpc": ("grpc makes threads and native state", "Make channels in an after_fork hook."),
    "pymongo": ("MongoClient starts threads", "Make the MongoClient in an after_fork hook."),
    "confluent_kafka": ("librdkafka starts threads", "Make producers and consumers in an after_fork hook."),
    "kafka": ("the client starts a thread", "Make producers and consumers in an after_fork hook."),
    "celery": (
        "a producer keeps a broker connection",
        "Send no task before the fork, or close the pool in a before_snapshot hook.",
    ),
    "torch": ("CUDA does not survive a fork", "Load on the CPU; move to the GPU in an after_fork hook."),
    "tensorflow": ("its runtime starts threads", "Build and run models in an after_fork hook."),
    "jax": ("its runtime starts threads", "Use JAX first in an after_fork hook."),
    "cupy": ("CUDA does not survive a fork", "Use the GPU first in an after_fork hook."),
    "pyarrow": ("it keeps a thread pool", "Use Arrow first in an after_fork hook."),
    "polars": ("it keeps a thread pool", "Use polars first in an after_fork hook."),
    "ray": ("it starts threads and connections", "Call ray.init in an after_fork hook."),
    "apscheduler": ("a scheduler is a thread", "Start the scheduler elsewhere: instances come and go."),
    "ddtrace": ("the tracer starts threads", "Start the tracer in an after_fork hook."),
}


class Inspector:
    """Collects what an app does while it is loaded and warmed up. Call the methods in their order here."""

    def __init__(self, origins: Origins) -> None:
        self.imports = ImportTimes()
        self._origins = origins
        self._secrets: dict[str, str] = {}
        self._undo: list[Callable[[], None]] = []
        self._before: dict[str, object] = {}
        self._changed: dict[str, str] = {}

    def start(self) -> None:
        """Before user code is imported."""
        self.imports.start()
        for name in ("token_bytes", "token_hex", "token_urlsafe"):
            self._watch(secrets, name)
        self._watch(os, "urandom")

    def loaded(self) -> None:
        """After import and initialise."""
        self.imports.stop()
        while self._undo:
            self._undo.pop()()

    def warming(self) -> None:
        """Before the first warm-up request."""
        self._before = _state()

    def warmed(self) -> None:
        """After the last warm-up request."""
        for name, after in _state().items():
            before = self._before.get(name, after)
            if before != after:
                self._changed[name] = f"{before} → {after}"

    def findings(self) -> list[Finding]:
        """Everything noticed, as notes."""
        return [
            *_gevent(),
            *_libraries(),
            *self._seeds(),
            *_generators(),
            *self._drawn_secrets(),
            *_captured_times(),
            *self._kept_state(),
        ]

    def report(self) -> dict[str, Any]:
        """JSON-able: {"findings": [...], "imports": [{"package", "ms", "mb"}]}."""
        return {
            "findings": [finding.as_dict() for finding in self.findings()],
            "imports": self.imports.slowest(),
        }

    def _watch(self, owner: Any, name: str) -> None:
        original = getattr(owner, name)

        def watched(*args: Any) -> Any:
            origin = caller(through_imports=False)
            if origin:
                self._secrets.setdefault(origin, f"{owner.__name__}.{name}")
            return original(*args)

        setattr(owner, name, watched)
        self._undo.append(lambda: setattr(owner, name, original))

    def _drawn_secrets(self) -> list[Finding]:
        cure = "All instances share the value, and a rebuilt template changes it: set it by configuration."
        return [
            Finding("note", "random value drawn at import", what, origin, cure)
            for origin, what in self._secrets.items()
        ]

    def _seeds(self) -> list[Finding]:
        cure = "Instances would draw the same numbers; a generator that you seeded yourself is left as it is."
        return [
            Finding("note", "generator seeded at import", "Random" if key else "random.seed", origin, cure)
            for key, origin in self._origins.seeded.items()
            if origin
        ]

    def _kept_state(self) -> list[Finding]:
        cure = "Each instance has its own copy, gone when it ends: keep what must last in a database."
        return [
            Finding("note", "state kept in the process", f"{name} ({change})", name.rpartition(".")[0], cure)
            for name, change in self._changed.items()
        ]


def _libraries() -> list[Finding]:
    return [
        Finding("note", "library that minds a fork", f"{name}: {why}", name, cure)
        for name, (why, cure) in _LIBRARIES.items()
        if name in sys.modules
    ]


def _gevent() -> list[Finding]:
    found = []
    for name, patched in (("gevent.monkey", "saved"), ("eventlet.patcher", "already_patched")):
        if getattr(sys.modules.get(name), patched, None):
            cure = "Do not patch the standard library: instances run no gevent or eventlet loop."
            found.append(Finding("spawn", "patched standard library", name, name, cure))
    return found


def _generators() -> list[Finding]:
    generator = heap.known("numpy.random", "Generator")
    cure = "Instances would draw the same numbers: make it in an after_fork hook."
    return [
        Finding("note", "numpy generator", held, held.rpartition(".")[0], cure)
        for held, value in _globals()
        if generator is not None and issubclass(type(value), generator)
    ]


def _captured_times() -> list[Finding]:
    now = time.time()
    cure = "It is the time of the template; read the clock in an after_fork hook if it is meant as the start."
    found = []
    for held, value in _globals():
        if issubclass(type(value), datetime.datetime):
            age = abs(now - value.timestamp())
        elif type(value) is float:
            age = abs(now - value)
        else:
            continue
        if age < _RECENT_SECONDS:
            found.append(Finding("note", "time read at import", held, held.rpartition(".")[0], cure))
    return found


def _globals() -> list[tuple[str, Any]]:
    return [
        (f"{name}.{key}", value)
        for name in audit_objects.user_modules()
        for key, value in list(vars(sys.modules[name]).items())
        if not key.startswith("__")
    ]


def _state() -> dict[str, object]:
    """Sizes of module-level containers and caches, and values of module-level numbers, in user modules."""
    state: dict[str, object] = {}
    for held, value in _globals():
        # type(), not isinstance(): lazy proxies (flask.request) raise when asked for their class.
        if issubclass(type(value), _CONTAINERS):
            state[held] = len(value)
        elif type(value) in (int, float):
            state[held] = value
        elif type(value) is _Cached:
            state[held] = value.cache_info().currsize
    return state

"""What can be captured comes back; what cannot is named with its path and what to do."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextvars
import ctypes
import datetime
import functools
import hashlib
import io
import logging
import mmap
import multiprocessing
import os
import queue
import random
import select
import selectors
import socket
import sqlite3
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import types
import weakref
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import wrapt
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from holder import NAME, gave_back
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from snapfork.adapter import register_reducer, snapshot
from snapfork.adapter.snapshots import capture, reducers
from snapfork.adapter.snapshots.ownership import Ownership
from snapfork.adapter.snapshots.snapshot import NotCapturable

END = threading.Event()


def generator() -> Iterator[int]:
    yield 1


async def coroutine() -> None: ...


def running_thread() -> threading.Thread:
    thread = threading.Thread(target=END.wait, daemon=True)
    thread.start()
    return thread


def traceback() -> types.TracebackType | None:
    try:
        raise ValueError
    except ValueError as error:
        return error.__traceback__


CANNOT: dict[str, Callable[[Path], Any]] = {
    "socket": lambda _: socket.socket(),
    "TLS context with a key": lambda path: _with_certificate(path),
    "thread": lambda _: running_thread(),
    "ThreadPoolExecutor": lambda _: concurrent.futures.ThreadPoolExecutor(1),
    "ProcessPoolExecutor": lambda _: concurrent.futures.ProcessPoolExecutor(1),
    "Popen": lambda _: subprocess.Popen(["sleep", "0"]),
    "text file for writing": lambda path: open(path / "w", "w"),  # noqa: SIM115
    "file for writing": lambda path: open(path / "w", "wb"),  # noqa: SIM115
    "mmap": lambda _: mmap.mmap(-1, 10),
    "generator": lambda _: generator(),
    "coroutine": lambda _: coroutine(),
    "frame": lambda _: sys._getframe(),
    "traceback": lambda _: traceback(),
    "event loop": lambda _: asyncio.new_event_loop(),
    "sqlite connection": lambda _: sqlite3.connect(":memory:"),
    "sqlite cursor": lambda _: sqlite3.connect(":memory:").cursor(),
    "SimpleQueue": lambda _: queue.SimpleQueue(),
    "pointer": lambda _: ctypes.pointer(ctypes.c_int(1)),
    "context": lambda _: contextvars.copy_context(),
    "token": lambda _: contextvars.ContextVar[int]("mine").set(1),
    "multiprocessing queue": lambda _: multiprocessing.Queue(),
    "multiprocessing lock": lambda _: multiprocessing.Lock(),
    "selector": lambda _: selectors.DefaultSelector(),
    "epoll": lambda _: select.epoll(),
    "hash": lambda _: hashlib.sha256(b"a"),
    "compressor": lambda _: zlib.compressobj(),
    "temporary directory": lambda _: tempfile.TemporaryDirectory(),
    "temporary file": lambda _: tempfile.TemporaryFile(),  # noqa: SIM115
    "directory listing": lambda path: os.scandir(path),
    "proxy that says it is a function": lambda _: wrapt.ObjectProxy(_double),
}


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CANNOT)
def test_what_cannot_travel_is_named_with_its_path(
    kind: str, module: types.ModuleType, tmp_path: Path
) -> None:
    thing = CANNOT[kind](tmp_path)
    with pytest.raises(NotCapturable) as caught:
        gave_back(module, thing)
    (problem,) = caught.value.problems
    assert problem.path.startswith(f'{NAME}.STATE["deep"][0]["thing"]')
    assert problem.cure
    assert problem.path in str(caught.value) and problem.cure in str(caught.value)
    ending = {"Popen": "wait", "ThreadPoolExecutor": "shutdown", "ProcessPoolExecutor": "shutdown"}
    getattr(thing, ending.get(kind, "close"), lambda: None)()


def test_all_of_them_are_in_one_report(module: types.ModuleType) -> None:
    class Holder:
        def __init__(self) -> None:
            self._sock = socket.socket()

    holder = Holder()
    module.STATE["one"] = holder
    module.STATE["two"] = functools.partial(print, (x for x in ()))
    module.app.client = holder._sock  # the shorter way
    with pytest.raises(NotCapturable) as caught:
        snapshot(module.app)
    holder._sock.close()
    assert [problem.path for problem in caught.value.problems] == [
        "app.client",
        f'{NAME}.STATE["two"].args[0]',
    ]


CAN: dict[str, tuple[Callable[[Path], Any], Callable[[Any], bool]]] = {
    "lock": (lambda _: threading.Lock(), lambda one: one.acquire(blocking=False)),
    "held lock": (lambda _: _held(threading.Lock()), lambda one: one.acquire(blocking=False)),
    "rlock": (lambda _: threading.RLock(), lambda one: one.acquire(blocking=False)),
    "condition": (lambda _: threading.Condition(), lambda one: one.acquire(blocking=False)),
    "event": (lambda _: _set(threading.Event()), lambda one: one.is_set()),
    "semaphore": (lambda _: threading.BoundedSemaphore(3), lambda one: one._value == 3),
    "barrier": (lambda _: threading.Barrier(2), lambda one: one.parties == 2),
    "thread-local": (lambda _: _local(), lambda one: one.value == [1]),
    "queue": (lambda _: _put(queue.Queue()), lambda one: one.get_nowait() == 7),
    "asyncio event": (lambda _: asyncio.Event(), lambda one: not one.is_set()),
    "asyncio lock": (lambda _: asyncio.Lock(), lambda one: not one.locked()),
    "context variable": (lambda _: contextvars.ContextVar("x", default=5), lambda one: one.get() == 5),
    "weak reference": (lambda _: weakref.ref(_KEPT), lambda one: one() is not None),
    "dead weak reference": (lambda _: weakref.ref(_Thing()), lambda one: one() is None),
    "weak method": (lambda _: weakref.WeakMethod(_KEPT.own), lambda one: one()() is one().__self__),
    "finalizer": (lambda _: weakref.finalize(_KEPT, print), lambda one: one.alive and one.detach()),
    "finalizer that is done": (lambda _: _done(weakref.finalize(_KEPT, print)), lambda one: not one.alive),
    "weak set": (lambda _: weakref.WeakSet([_KEPT]), lambda one: len(one) == 1),
    "weak values": (lambda _: weakref.WeakValueDictionary(a=_KEPT), lambda one: "a" in one),
    "memory view": (lambda _: memoryview(b"ab"), lambda one: type(one) is memoryview and one == b"ab"),
    "file for reading": (lambda p: _read(p, "r"), lambda one: one.read() == "rest"),
    "binary file for reading": (lambda p: _read(p, "rb"), lambda one: one.read() == b"rest"),
    "bytes in memory": (lambda _: io.BytesIO(b"abc"), lambda one: one.read() == b"abc"),
    "cache": (lambda _: functools.lru_cache(5)(_double), lambda one: one(2) == 4),
    "partial": (lambda _: functools.partial(_double, 4), lambda one: one() == 8),
    "lambda": (lambda _: lambda x: x + 1, lambda one: one(1) == 2),
    "closure": (lambda _: _counter(), lambda one: (one(), one()) == (2, 3)),
    "random numbers": (lambda _: random.Random(3), lambda one: one.random() == random.Random(3).random()),
    "system's random numbers": (lambda _: random.SystemRandom(), lambda one: 0 <= one.random() < 1),
    "struct": (lambda _: struct.Struct("<I"), lambda one: one.size == 4),
    "logger": (lambda _: logging.getLogger("x.y"), lambda one: one is logging.getLogger("x.y")),
    "log handler": (lambda _: logging.StreamHandler(), lambda one: one.stream is sys.stderr),
    "mapping proxy": (lambda _: types.MappingProxyType({1: 2}), lambda one: one[1] == 2),
    "default dict": (lambda _: collections.defaultdict(list, a=[1]), lambda one: one["b"] == []),
    "closed file": (lambda path: _closed(path), lambda one: one.closed),
    "closed file for writing": (lambda path: _closed(path, "wb"), lambda one: one.closed),
    "TLS context": (
        lambda _: ssl.create_default_context(),
        lambda one: one.check_hostname and one.verify_mode == ssl.CERT_REQUIRED and one.get_ca_certs(),
    ),
    "object with __getattr__": (lambda _: _Forwards([1]), lambda one: one.count(1) == 1),
    "exception": (lambda _: ValueError("a"), lambda one: one.args == ("a",)),
    "decorated by wrapt": (
        lambda _: _wrapped(_double),
        lambda one: (one(4), type(one)) == (9, wrapt.FunctionWrapper),
    ),
    "decorator by wrapt": (lambda _: _wrapped, lambda one: one(_double)(4) == 9),
    "class method of C": (lambda _: dict.__dict__["fromkeys"], lambda one: one is dict.__dict__["fromkeys"]),
    "module": (lambda _: collections, lambda one: one is collections),
    "class": (lambda _: collections.OrderedDict, lambda one: one is collections.OrderedDict),
    "ellipsis": (lambda _: (..., NotImplemented), lambda one: one == (..., NotImplemented)),
}


class _Thing:
    def own(self) -> Any:
        return self


_KEPT = _Thing()


def _done(finalizer: Any) -> Any:
    finalizer.detach()
    return finalizer


def _held(lock: Any) -> Any:
    lock.acquire()
    return lock


def _set(event: Any) -> Any:
    event.set()
    return event


def _put(one: Any) -> Any:
    one.put(7)
    return one


def _local() -> Any:
    local = threading.local()
    local.value = [1]
    return local


def _read(directory: Path, mode: str) -> Any:
    (directory / "text").write_text("read rest")
    file = open(directory / "text", mode)  # noqa: SIM115
    file.read(5)
    return file


def _closed(directory: Path, mode: str = "r") -> Any:
    (directory / "text").touch()
    with open(directory / "text", mode) as file:
        return file


class _Forwards:
    """Its __getattr__ needs its state: pickle's question for __setstate__ would recurse."""

    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


def _with_certificate(directory: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1, now, now + datetime.timedelta(1))
        .sign(key, hashes.SHA256())
        .public_bytes(serialization.Encoding.PEM)
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (directory / "both.pem").write_bytes(secret + certificate)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(directory / "both.pem")
    return context


def _double(x: int) -> int:
    return 2 * x


@wrapt.decorator
def _wrapped(wrapped: Any, instance: Any, arguments: Any, named: Any) -> Any:
    return wrapped(*arguments, **named) + 1


def _counter() -> Callable[[], int]:
    count = 0

    def more() -> int:
        nonlocal count
        count += 1
        return count

    more()
    return more


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("kind", CAN)
def test_what_can_travel_works_when_it_is_back(kind: str, module: types.ModuleType, tmp_path: Path) -> None:
    make, works = CAN[kind]
    assert works(gave_back(module, make(tmp_path)))


def test_a_reducer_of_the_users(module: types.ModuleType) -> None:
    class Client:
        def __init__(self, address: str) -> None:
            self.address, self.sock = address, socket.socket()

    register_reducer(Client, lambda one: (Client, (one.address,)))
    try:
        client = Client("10.0.0.1")
        back = gave_back(module, client)
        assert back.address == "10.0.0.1" and back.sock is not client.sock
        client.sock.close()
        back.sock.close()
    finally:
        del reducers._users[Client]
        reducers._resolved.clear()


# -- any graph of capturable parts ----------------------------------------------------------------------


class Node:
    """A thing with attributes."""

    def __init__(self, **attributes: Any) -> None:
        vars(self).update(attributes)


class Slotted:
    """One without a dict."""

    __slots__ = ("part0", "part1", "part2", "part3")


class Forward(Node):
    """One that has an answer to everything."""

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["part0"], name)


def attributes(thing: Any) -> dict[str, Any]:
    if isinstance(thing, Slotted):
        return {name: getattr(thing, name) for name in Slotted.__slots__ if hasattr(thing, name)}
    return vars(thing)


ATOMS = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.binary())


@st.composite
def graphs(draw: st.DrawFn) -> list[Any]:
    """Containers that hold atoms, each other and themselves."""
    makers: list[Callable[[], Any]] = [
        list, dict, Node, Slotted, collections.deque, collections.OrderedDict, Forward,
    ]  # fmt: skip
    things = [draw(st.sampled_from(makers))() for _ in range(draw(st.integers(1, 8)))]
    for thing in things:
        for number in range(draw(st.integers(0, 4))):
            part = draw(st.one_of(ATOMS, st.sampled_from(things)))
            if draw(st.booleans()):
                part = (part, number)
            if isinstance(thing, (list, collections.deque)):
                thing.append(part)
            elif isinstance(thing, dict):
                thing[draw(st.text(max_size=3))] = part
            else:
                setattr(thing, f"part{number}", part)
    return things


def shape(thing: Any, seen: dict[int, int]) -> Any:
    """A description that is equal for graphs that are equal, identities and cycles included."""
    if isinstance(thing, (list, dict, Node, Slotted, collections.deque)):
        if id(thing) in seen:
            return ("again", seen[id(thing)])
        seen[id(thing)] = len(seen)
    kind = type(thing).__name__
    if isinstance(thing, (Node, Slotted)):
        return kind, [(name, shape(part, seen)) for name, part in attributes(thing).items()]
    if isinstance(thing, dict):
        return kind, [(key, shape(part, seen)) for key, part in thing.items()]
    if isinstance(thing, (list, tuple, collections.deque)):
        return kind, [shape(part, seen) for part in thing]
    return kind, thing


def test_any_graph_comes_back_with_its_identities(soak: Callable[[int, int], int]) -> None:
    @hypothesis_settings(max_examples=soak(25, 500))
    @given(graphs())
    def comes_back(things: list[Any]) -> None:
        captured = capture.capture(things, Ownership("/nowhere"))
        assert captured.problems == []
        back = capture.release(captured)
        assert back is not things
        assert shape(back, {}) == shape(things, {})

    comes_back()

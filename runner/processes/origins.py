"""Recorders that note which line of user code made a thread, socket or executor, or seeded a generator.

They are installed in the template before user code is imported and removed before the freeze. Only methods
of the classes are wrapped, never the classes themselves: isinstance tests, subclasses and pickles are as
before. A wrapper that somebody keeps (a saved `Thread.start`) goes on working after removal.
"""

from __future__ import annotations

import functools
import os
import random
import socket
import sys
import sysconfig
import threading
from collections.abc import Callable
from concurrent.futures.thread import ThreadPoolExecutor
from types import FrameType
from typing import Any

STANDS_FOR = "__snapfork_stands_for__"
"""The attribute by which a snapshot finds what a wrapper wraps, and takes that instead."""
_PATHS = sysconfig.get_paths()
_STDLIB = tuple({os.path.realpath(_PATHS["stdlib"]) + os.sep, _PATHS["stdlib"] + os.sep})
_OURS = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))) + os.sep
_LIBRARIES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def is_library(filename: str) -> bool:
    """Whether code of that file belongs to an installed package or the standard library."""
    if any(part in filename for part in _LIBRARIES):
        return True
    return _is_plumbing(filename)


def _is_plumbing(filename: str) -> bool:
    return filename.startswith(("<", *_STDLIB)) and not any(p in filename for p in _LIBRARIES)


def caller(depth: int = 2, *, through_imports: bool = True) -> str:
    """File and line of the nearest user code on the stack, else of the outermost library code, else "".

    Without `through_imports` what a library does while it is being imported has no origin.
    """
    frame: FrameType | None = sys._getframe(depth)
    library = ""
    while frame is not None:
        name = frame.f_code.co_filename
        if not through_imports and name == "<frozen importlib._bootstrap>":
            return ""
        if name.startswith(_OURS) or _is_plumbing(name):
            pass
        elif not is_library(name):
            return f"{short(name)}:{frame.f_lineno}"
        else:
            library = f"{short(name)}:{frame.f_lineno}"
        frame = frame.f_back
    return library


def short(filename: str) -> str:
    """`filename` relative to site-packages or the working directory where it is below one of them."""
    for part in _LIBRARIES:
        if part in filename:
            return filename.rpartition(part)[2]
    try:
        shorter = os.path.relpath(filename)
    except (ValueError, OSError):  # no working directory any more
        return filename
    return filename if shorter.startswith("..") else shorter


class Origins:
    """What the recorders have noted. Keys: native thread id, descriptor number, id() of an object."""

    def __init__(self) -> None:
        self.threads: dict[int, str] = {}
        self.sockets: dict[int, str] = {}
        self.objects: dict[int, str] = {}
        self.seeded: dict[int, str] = {}  # key 0: the generator behind the functions of `random`
        self._undo: list[Callable[[], None]] = []

    def install(self) -> None:
        """Start recording. Call before user code is imported."""
        self._wrap(threading.Thread, "start", self._thread_started)
        self._wrap(socket.socket, "__init__", self._socket_made)
        self._wrap(ThreadPoolExecutor, "__init__", self._object_made)
        self._wrap(random.Random, "seed", self._seeded)
        self._wrap(random, "seed", self._global_seeded)

    def remove(self) -> None:
        """Stop recording; what was noted stays. Does nothing if not installed."""
        while self._undo:
            self._undo.pop()()

    def _wrap(self, owner: Any, name: str, record: Callable[..., None]) -> None:
        inherited = name not in vars(owner)
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapper(*args: Any, **kwargs: Any) -> Any:
            result = original(*args, **kwargs)
            if self._undo:
                record(*args, **kwargs)
            return result

        wrapper.__dict__[STANDS_FOR] = original

        def undo() -> None:
            # Somebody may have wrapped it again (gevent, a tracer): then theirs stays.
            if vars(owner).get(name) is not wrapper:
                return
            if inherited:
                delattr(owner, name)
            else:
                setattr(owner, name, original)

        setattr(owner, name, wrapper)
        self._undo.append(undo)

    def _thread_started(self, thread: threading.Thread) -> None:
        if thread.native_id is not None:
            self.threads[thread.native_id] = caller(3)

    def _socket_made(self, made: socket.socket, *_: Any, **__: Any) -> None:
        self.sockets[made.fileno()] = caller(3)

    def _object_made(self, made: object, *_: Any, **__: Any) -> None:
        self.objects[id(made)] = caller(3)

    def _global_seeded(self, a: Any = None, *_: Any, **__: Any) -> None:
        if a is not None:
            self.seeded[0] = caller(3, through_imports=False)

    def _seeded(self, generator: random.Random, a: Any = None, *_: Any, **__: Any) -> None:
        if a is not None:
            self.seeded[id(generator)] = caller(3, through_imports=False)

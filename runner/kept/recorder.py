"""Notes what an app reads while it is initialised: files, environment variables, the network, programs.

Like `processes.origins`, it wraps functions before user code is imported and puts them back before the
freeze. A wrapper that somebody has kept goes on working. What C code opens by itself is not seen.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import socket
import sys
from collections.abc import Callable
from typing import Any

from snapfork.runner.kept.draws import Draws
from snapfork.runner.processes.origins import STANDS_FOR, caller

_SEARCHES = ("importlib", "pkg_resources", "pkgutil")
_LISTERS = ("os", "glob", "pathlib")
_WRITING = frozenset("wax+")
_WRITING_FLAGS = os.O_WRONLY | os.O_RDWR


class Recorder:
    """files: paths opened for reading; written: for writing; directories: listed. variables: names asked for.
    peers: what was connected to, or started -> by which line. environ, directory, umask: as they were at the
    beginning. draws: see there."""

    def __init__(self) -> None:
        self.files: set[str] = set()
        self.written: set[str] = set()
        self.directories: set[str] = set()
        self.variables: set[str] = set()
        self.every_variable = False
        self.peers: dict[str, str] = {}
        self.environ: dict[str, str] = {}
        self.directory: str | None = None
        self.umask: int | None = None
        self.draws = Draws()
        self._undo: list[Callable[[], None]] = []

    def install(self) -> None:
        """Start noting. Call before user code is imported."""
        self.environ = dict(os.environ)
        with contextlib.suppress(OSError):  # it has been removed
            self.directory = os.getcwd()
        self.umask = os.umask(0o077)
        os.umask(self.umask)
        kind = type(os.environ)
        self._wrap((builtins, io), "open", self._opened)
        self._wrap((os,), "open", self._descriptor_opened)
        self._wrap((os,), "listdir", self._listed)
        self._wrap((os,), "scandir", self._listed)
        self._wrap((kind,), "__getitem__", self._variable_read)
        self._wrap((kind,), "__iter__", self._variables_listed)
        self._wrap((socket.socket,), "connect", self._connected)
        self.draws.install()
        sys.meta_path.insert(0, _WhenImported("sqlite3", self._watch_sqlite))
        if "subprocess" in sys.modules:
            self._watch_programs()
        else:
            sys.meta_path.insert(0, _WhenImported("subprocess", self._watch_programs))

    def remove(self) -> None:
        """Stop noting; what was noted stays. Does nothing if not installed."""
        self.draws.remove()
        while self._undo:
            self._undo.pop()()
        sys.meta_path[:] = [one for one in sys.meta_path if not isinstance(one, _WhenImported)]

    def _wrap(self, owners: tuple[Any, ...], name: str, note: Callable[..., None]) -> None:
        inherited = name not in vars(owners[0])
        original = getattr(owners[0], name)

        def wrapper(*args: Any, **kwargs: Any) -> Any:
            if self._undo:
                note(*args, **kwargs)
            return original(*args, **kwargs)

        wrapper.__name__ = wrapper.__qualname__ = name
        wrapper.__doc__ = original.__doc__
        wrapper.__dict__[STANDS_FOR] = original

        def undo() -> None:
            for owner in owners:
                if vars(owner).get(name) is not wrapper:
                    continue  # somebody has wrapped it again
                if inherited:
                    delattr(owner, name)
                else:
                    setattr(owner, name, original)

        for owner in owners:
            setattr(owner, name, wrapper)
        self._undo.append(undo)

    def _opened(self, file: Any, mode: Any = "r", *_: Any, **__: Any) -> None:
        self._note(file, isinstance(mode, str) and bool(_WRITING & set(mode)))

    def _descriptor_opened(self, path: Any, flags: int, *_: Any, **__: Any) -> None:
        self._note(path, bool(flags & _WRITING_FLAGS))

    def _note(self, path: Any, writes: bool) -> None:
        if isinstance(path, (str, bytes, os.PathLike)):
            (self.written if writes else self.files).add(os.path.abspath(os.fsdecode(path)))

    def _listed(self, path: Any = ".") -> None:
        if isinstance(path, (str, bytes, os.PathLike)) and not _looks_for_modules():
            self.directories.add(os.path.abspath(os.fsdecode(path)))

    def _program_started(self, _: Any, args: Any, *__: Any, **___: Any) -> None:
        name = args if isinstance(args, (str, bytes, os.PathLike)) else next(iter(args), "")
        self.peers.setdefault(f"the program {os.fsdecode(name)}", caller(3))

    def _variable_read(self, environ: Any, name: Any) -> None:
        if environ is os.environ and isinstance(name, str):
            self.variables.add(name)

    def _variables_listed(self, environ: Any) -> None:
        self.every_variable = True

    def _connected(self, sock: socket.socket, address: Any) -> None:
        peer = f"{address[0]}:{address[1]}" if isinstance(address, tuple) else os.fsdecode(address)
        self.peers.setdefault(peer, caller(3))

    def _watch_programs(self) -> None:
        self._wrap((sys.modules["subprocess"].Popen,), "__init__", self._program_started)

    def _watch_sqlite(self) -> None:
        import sqlite3

        def connected(database: Any, *_: Any, **__: Any) -> None:
            if isinstance(database, (str, bytes, os.PathLike)):
                self._note(os.fsdecode(database).removeprefix("file:").partition("?")[0], False)

        self._wrap((sqlite3, sqlite3.dbapi2), "connect", connected)


def _looks_for_modules() -> bool:
    """Whether who lists a directory searches sys.path; who runs him, an import perhaps, says nothing."""
    frame = sys._getframe(3)
    while frame.f_back is not None and frame.f_globals.get("__name__") in _LISTERS:
        frame = frame.f_back
    return str(frame.f_globals.get("__name__")).startswith(_SEARCHES)


class _WhenImported:
    """Calls `then` once `name` has been imported, which is not done for this: most apps do without."""

    def __init__(self, name: str, then: Callable[[], None]) -> None:
        self._name = name
        self._then = then

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> Any:
        if name != self._name:
            return None
        sys.meta_path.remove(self)
        from importlib.util import find_spec

        spec = find_spec(name)
        if spec is not None and spec.loader is not None:
            run = spec.loader.exec_module

            def exec_module(module: Any) -> None:
                run(module)
                self._then()

            spec.loader.exec_module = exec_module  # type: ignore[method-assign]
        return spec

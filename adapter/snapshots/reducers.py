"""How objects travel that pickle refuses or gets wrong: by exact type, or by a base class of it."""

from __future__ import annotations

import array
import contextvars
import gc
import io
import marshal
import os
import random
import struct
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

from snapfork.adapter.snapshots import arrays, clients, rebuild, typed
from snapfork.adapter.snapshots.errors import Refused

Reducer = Callable[[Any], Any]
_exact: dict[type, Reducer] = {}
_by_name: dict[tuple[str, str], Reducer] = {}
_users: dict[type, Reducer] = {}
_resolved: dict[type, Reducer | None] = {}


def register_reducer(kind: type, reducer: Reducer) -> None:
    """Have objects of `kind` and its subclasses captured by `reducer(thing)`, which returns what
    `__reduce__` would: a callable and its arguments, and optionally state.
    """
    _users[kind] = reducer
    _resolved.clear()


def placeholder(thing: Any) -> Any:
    """A reducer that captures nothing: what comes back raises SnapshotError when it is used.

    register_reducer(Client, placeholder)
    """
    return (rebuild.Placeholder, (type(thing).__qualname__,))


def reducer_for(kind: type) -> Reducer | None:
    """The reducer of objects of `kind`, if there is one."""
    if kind not in _resolved:
        _resolved[kind] = _find(kind)
    return _resolved[kind]


def _find(kind: type) -> Reducer | None:
    for base in kind.__mro__:
        if base in _users:
            return _users[base]
    if kind in _exact:
        return _exact[kind]
    for base in kind.__mro__:
        named = _by_name.get((base.__module__, base.__qualname__))
        if named is not None:
            return named
    return None


def _weakref(reference: Any) -> Any:
    target = reference()
    return (rebuild.make_weakref, (target,)) if target is not None else (rebuild.dead_weakref, ())


def _weak_method(reference: Any) -> Any:
    method = reference()
    return (weakref.WeakMethod, (method,)) if method is not None else (rebuild.dead_weakref, ())


def _finalizer(finalizer: Any) -> Any:
    told = finalizer.peek()
    return (rebuild.make_finalizer, told if told is not None else ())


def _weak_proxy(proxy: Any) -> Any:
    target = proxy.__repr__.__self__  # a slot of the proxy's own type would answer for itself
    return (weakref.proxy, (target,))


def _weak_mapping(mapping: Any) -> Any:
    return (rebuild.make_weak, (type(mapping),), list(mapping.items()), None, None, rebuild.fill_weak_mapping)


def _weak_set(found: Any) -> Any:
    return (rebuild.make_weak, (type(found),), list(found), None, None, rebuild.fill_weak_set)


def _local(local: Any) -> Any:
    # The values of this thread; others have none here, nor where it is restored. What each thread's
    # __init__ is called with, only the garbage collector is told of (Modules/_threadmodule.c).
    parts = gc.get_referents(local)
    given = next((part for part in parts if type(part) is tuple), ())
    named = next(
        (part for part in parts if type(part) is dict and part and set(map(type, part)) == {str}), {}
    )
    made = (type(local), given, named)
    return (rebuild.make_local, made, dict(vars(local)), None, None, rebuild.fill_dict)


def _context_var(variable: Any) -> Any:
    try:
        return (rebuild.make_context_var, (variable.name, contextvars.Context().run(variable.get)))
    except LookupError:
        return (rebuild.make_context_var, (variable.name,))


def _thread(thread: Any) -> Any:
    if thread.is_alive():
        raise Refused("it runs")
    return thread.__reduce_ex__(5)


def _process(process: Any) -> Any:
    if process.returncode is None:
        raise Refused("it runs")
    return process.__reduce_ex__(5)


def _exception(error: Any) -> Any:
    """Not by calling its class with `args`, which are not always what its __init__ was called with."""
    reduced = error.__reduce_ex__(5)
    if reduced[0] is not type(error):
        return reduced
    return (rebuild.make_exception, (type(error), *reduced[1]), *reduced[2:])


def _file(file: Any) -> Any:
    """A file of the disk that is only read is opened again, at its position; a closed one is closed."""
    if file.closed:
        return (rebuild.make_closed_file, (not isinstance(file, io.TextIOWrapper),))
    path, mode = file.name, file.mode
    if not isinstance(path, str) or not os.path.isfile(path) or set(mode) - set("rbt"):
        raise Refused("it is not a file of the disk that is only read")
    options = {} if "b" in mode else {"encoding": file.encoding, "errors": file.errors}
    return (rebuild.make_file, (os.path.abspath(path), mode, options, file.tell()))


def _file_handler(handler: Any) -> Any:
    # Without its stream it opens its file for the first line that it writes.
    state = {name: value for name, value in vars(handler).items() if name != "stream"} | {"stream": None}
    return (rebuild.make_bare, (type(handler),), state, None, None, rebuild.fill_dict)


def _never(why: str) -> Reducer:
    def refuse(_: Any) -> Any:
        raise Refused(why)

    return refuse


def _proxy(proxy: Any) -> Any:
    return (rebuild.make_mapping_proxy, (dict(proxy),))


def _memory_view(view: memoryview) -> Any:
    """Of what it was of if it showed all of that; else of a copy of what it showed."""
    holder: Any = view.obj
    if not (type(holder) in _HOLDERS and view.c_contiguous and memoryview(holder).nbytes == view.nbytes):
        holder = view.tobytes() if view.readonly else bytearray(view.tobytes())
    return (rebuild.make_memory_view, (holder, view.format, view.shape, view.readonly))


def _starlette_state(state: Any) -> Any:
    return (rebuild.make_state, (type(state), object.__getattribute__(state, "_state")))


_HOLDERS = (bytes, bytearray, array.array)

_exact.update(
    {
        type(threading.Lock()): lambda _: (rebuild.make_lock, ()),
        type(threading.RLock()): lambda _: (rebuild.make_rlock, ()),
        weakref.ref: _weakref,
        weakref.KeyedRef: _weakref,
        weakref.WeakMethod: _weak_method,
        weakref.finalize: _finalizer,
        weakref.ProxyType: _weak_proxy,
        weakref.CallableProxyType: _weak_proxy,
        weakref.WeakKeyDictionary: _weak_mapping,
        weakref.WeakValueDictionary: _weak_mapping,
        weakref.WeakSet: _weak_set,
        contextvars.ContextVar: _context_var,
        types.CodeType: lambda code: (rebuild.make_code, (marshal.dumps(code),)),
        io.TextIOWrapper: _file,
        io.BufferedReader: _file,
        io.BufferedWriter: _file,
        io.BufferedRandom: _file,
        io.FileIO: _file,
        memoryview: _memory_view,
        random.SystemRandom: lambda _: (random.SystemRandom, ()),
        struct.Struct: lambda one: (struct.Struct, (one.format,)),
        types.MappingProxyType: _proxy,
        types.ClassMethodDescriptorType: lambda one: (rebuild.of_class, (one.__objclass__, one.__name__)),
    }
    | typed.REDUCERS
)
_by_name.update(
    clients.REDUCERS
    | {
        ("_thread", "_local"): _local,
        ("builtins", "BaseException"): _exception,
        ("threading", "Thread"): _thread,
        ("subprocess", "Popen"): _process,
        ("logging", "FileHandler"): _file_handler,
        ("numpy", "memmap"): arrays.of_file,
        ("numpy", "finfo"): lambda one: (type(one), (one.dtype,)),
        ("starlette.datastructures", "State"): _starlette_state,
        ("asyncio.events", "AbstractEventLoop"): _never("it is an event loop"),
        ("concurrent.futures._base", "Executor"): _never("it has threads or processes of its own"),
        ("selectors", "BaseSelector"): _never("it watches descriptors"),
        ("tempfile", "TemporaryDirectory"): _never("its directory goes away with this process"),
    }
)

"""From an app to bytes, and from bytes to an app: the app, its modules' contents, and what they refer to."""

from __future__ import annotations

import copy
import importlib
import io
import pickle
import sys
import types
from dataclasses import dataclass, field
from typing import Any

from snapfork.adapter.snapshots import libraries, rebuild
from snapfork.adapter.snapshots.names import Names
from snapfork.adapter.snapshots.ownership import Ownership
from snapfork.adapter.snapshots.pickling import Pickler

_DATA = (dict, list, set, tuple, frozenset, str, bytes, int, float, complex, bool, type(None))
_CODE = (types.FunctionType, type, types.ModuleType)
_OF_THE_IMPORT = {"__builtins__", "__loader__", "__spec__", "__cached__"}


@dataclass
class Captured:
    """`modules` are (name, is a package) in the order of their import; `stream` follows it."""

    modules: list[tuple[str, bool]]
    stream: bytes
    buffers: list[Any]
    problems: list[tuple[Any, str]] = field(default_factory=list)
    references: set[str] = field(default_factory=set)
    state: Any = None


def capture(app: Any, ownership: Ownership, state: Any = None) -> Captured:
    """Pickle `app`, the state of the user's modules, what the app has set in libraries, and `state`."""
    ownership.settle()
    modules = ownership.modules()
    problems: list[tuple[Any, str]] = []

    def note(thing: Any, why: str) -> Any:
        problems.append((thing, why))
        return (object, ())

    out = io.BytesIO()
    buffers: list[Any] = []
    pickler = Pickler(out, ownership, Names(ownership), note, buffers.append)
    pickler.dump(libraries.capture(early=True, imports=bool(ownership.referred())))
    # Who was imported later, is usually needed by who was imported earlier: leaves come first. Code comes
    # before data, whose hashes and comparisons may need it.
    contents = [_contents(module) for module in reversed(modules.values())]
    for one in contents:
        pickler.dump({name: value for name, value in one.items() if isinstance(value, _CODE)})
    for one in contents:
        pickler.dump({name: value for name, value in one.items() if not isinstance(value, _CODE)})
    pickler.dump({name: _data(module) for name, module in ownership.referred().items()})
    pickler.dump(libraries.capture(early=False, imports=bool(ownership.referred())))
    pickler.dump(app)
    pickler.dump(state)
    named = [(name, hasattr(module, "__path__")) for name, module in modules.items()]
    references = pickler.references - set(modules)
    return Captured(named, out.getvalue(), buffers, problems, references)


def _data(module: types.ModuleType) -> dict[str, Any]:
    """Plain data of a module that travels by reference; copies, because the originals are named."""
    return {
        name: copy.copy(value)
        for name, value in vars(module).items()
        if not name.startswith("__") and type(value) in _DATA and _is_plain(value)
    }


def _is_plain(value: Any, depth: int = 6) -> bool:
    kind = type(value)
    if kind in _DATA and kind not in (dict, list, set, tuple, frozenset):
        return True
    if depth == 0:
        return False
    if kind is dict:
        return all(_is_plain(part, depth - 1) for pair in value.items() for part in pair)
    return kind in _DATA and all(_is_plain(part, depth - 1) for part in value)


def _lay_over(module: types.ModuleType, data: dict[str, Any]) -> None:
    """Give a module that has been imported anew the data that it had; containers stay the same objects."""
    for name, value in data.items():
        there: Any = vars(module).get(name)
        if type(there) is type(value) and isinstance(value, (dict, set)):
            there.clear()
            there.update(value)
        elif type(there) is type(value) and isinstance(value, list):
            there[:] = value
        else:
            setattr(module, name, value)


def _contents(module: types.ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in _OF_THE_IMPORT}


class Unpickler(pickle.Unpickler):
    """Reads what `Pickler` wrote."""

    def persistent_load(self, named: tuple[str, ...]) -> Any:
        kind, module = named[:2]
        if module not in sys.modules:
            __import__(module)
        if kind == "module":
            return sys.modules[module]
        if kind == "globals":
            return vars(sys.modules[module])
        return getattr(sys.modules[module], named[2])


def release(captured: Captured) -> Any:
    """The app again, in this process; its modules are in sys.modules, and its state in `captured`."""
    for name, has_path in captured.modules:
        rebuild.make_module(name, has_path)
    unpickler = Unpickler(io.BytesIO(captured.stream), buffers=captured.buffers)
    libraries.release(unpickler.load())
    own = [sys.modules[name] for name, _ in reversed(captured.modules)]
    for module in (*own, *own):  # code, then data
        vars(module).update(unpickler.load())
    for module in own:
        rebuild.complete_module(module)
    referred = unpickler.load()
    for name in referred:
        importlib.import_module(name)
    for name, data in referred.items():  # after all of them: they change each other's
        _lay_over(sys.modules[name], data)
    libraries.release(unpickler.load())
    app = unpickler.load()
    captured.state = unpickler.load()
    rebuild.finish()
    return app

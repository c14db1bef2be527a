"""From an app to bytes, and from bytes to an app: the app, its modules' contents, and what they refer to."""

from __future__ import annotations

import contextvars
import importlib
import io
import pickle
import sys
import types
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from snapfork.adapter.snapshots import (
    data,
    deposits,
    interpreter,
    libraries,
    listeners,
    patches,
    rebuild,
)
from snapfork.adapter.snapshots.errors import SnapshotError
from snapfork.adapter.snapshots.names import Names
from snapfork.adapter.snapshots.ownership import Ownership
from snapfork.adapter.snapshots.pickling import PROTOCOL, Pickler

_WORTH_TELLING = 1024
_CODE = (types.FunctionType, type, types.ModuleType)
_MODULE = types.ModuleType
_OF_THE_IMPORT = {"__builtins__", "__loader__", "__spec__", "__cached__"}


@dataclass
class Captured:
    """`modules` are (name, is a package) in the order of their imports' ends; `stream` follows it, behind
    where in `buffers` each of its own is.

    held: what the modules hold, by how it is written. sizes: bytes, by the same; what two hold is counted
    for the first. is_elsewhere: whether something is only named. lost: what libraries will lack, in words.
    """

    modules: list[tuple[str, bool]]
    stream: bytes
    buffers: list[Any]
    problems: list[tuple[Any, str]] = field(default_factory=list)
    references: set[str] = field(default_factory=set)
    state: Any = None
    held: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    is_elsewhere: Callable[[Any], bool] = lambda _: False
    lost: list[str] = field(default_factory=list)


def capture(
    app: Any, ownership: Ownership, state: Any = None, start: interpreter.Start | None = None
) -> Captured:
    """Pickle `app`, the state of the user's modules, what the app has set in libraries, and `state`.

    start: how the process was before; None for what can be known of it now.
    """
    start = start or interpreter.Start.of_process()
    ownership.settle()
    modules = ownership.modules()
    problems: list[tuple[Any, str]] = []

    def note(thing: Any, why: str) -> Any:
        problems.append((thing, why))
        return (object, ())

    out = io.BytesIO()
    buffers: list[pickle.PickleBuffer] = []
    sizes: dict[str, int] = {}

    def dump(label: str, value: Any) -> None:
        try:
            pickler.dump(value)
        except (RecursionError, pickle.PicklingError):
            raise SnapshotError(
                f"{label} leads to something that is nested too deeply to be captured, such as a long chain "
                "of objects: keep it flatter, or teach its class with register_reducer()."
            ) from None
        except Exception as error:  # user code runs in here
            raise SnapshotError(f"{label} cannot be captured: {type(error).__name__}: {error}") from error

    def dump_each(module: str, values: dict[str, Any]) -> None:
        pickler.dump(list(values))
        for name, value in values.items():
            before = out.tell() + pickler.memory.laid
            dump(f"{module}.{name}", value)
            size = out.tell() + pickler.memory.laid - before
            if size >= _WORTH_TELLING:
                sizes[f"{module}.{name}"] = sizes.get(f"{module}.{name}", 0) + size

    names = Names(ownership)
    pickler = Pickler(out, ownership, names, note, buffers.append)
    referred = data.of(ownership.referred(), ownership, names)
    pickler.filled = data.filled(referred)
    environ = interpreter.variables(start)
    pickler.dump(environ)
    pickler.dump([name for name, value in environ.items() if start.environ.get(name, value) != value])
    dump("the state of libraries", libraries.capture(early=True, imports=bool(ownership.referred())))
    # In the order in which their imports ended, so that what a module imports comes before it. Code comes
    # before data, whose hashes and comparisons may need it.
    contents = {name: _contents(module) for name, module in modules.items()}
    for name, one in contents.items():
        dump_each(name, {name: value for name, value in one.items() if issubclass(type(value), _CODE)})
    for name, one in contents.items():
        dump_each(name, {name: value for name, value in one.items() if not issubclass(type(value), _CODE)})
    dump(
        "the class of a module",
        {name: type(one) for name, one in modules.items() if type(one) is not _MODULE},
    )
    pickler.dump(list(referred))
    pickler.dump(data.contents(referred))
    with pickler.by_value([value for one in referred.values() for value in one.values()]):
        for name, one in referred.items():
            dump_each(name, one)
    dump("the state of libraries", libraries.capture(early=False, imports=bool(ownership.referred())))
    dump("what modules have put into libraries", patches.capture(ownership))
    pickler.dump(interpreter.capture(ownership.app_dir, start))
    dump("the app", app)
    dump("the lifespan's state", state)
    known = pickler.memo.copy()
    context = contextvars.copy_context().items()
    dump("the context", [(variable, value) for variable, value in context if id(variable) in known])
    put = deposits.find(ownership, lambda thing: id(thing) in known)
    dump("what libraries hold of the app", [listeners.signals(known), listeners.events(known)])
    pickler.dump(len(put))
    lost = []
    for deposit in put:
        refused = len(problems)
        dump(deposit.place(), deposit)
        pickler.dump(len(problems) == refused)
        if len(problems) > refused:
            del problems[refused:]
            lost.append(f"{deposit.place()} will not have what the app has put there")
        else:
            pickler.references.add(deposit.module)
    named = [(name, hasattr(module, "__path__")) for name, module in modules.items()]
    references = pickler.references - set(modules)
    held = {
        f"{module}.{name}": value
        for module, values in (contents | referred).items()
        for name, value in values.items()
        if not name.startswith("__")
    } | {"os.environ": environ}
    large, slices = pickler.memory.buffers(buffers)
    stream = pickle.dumps(slices, PROTOCOL) + out.getbuffer()
    return Captured(named, stream, large, problems, references, None, held, sizes, pickler.is_elsewhere, lost)


def _contents(module: types.ModuleType) -> dict[str, Any]:
    return {name: value for name, value in vars(module).items() if name not in _OF_THE_IMPORT}


class Unpickler(pickle.Unpickler):
    """Reads what `Pickler` wrote."""

    def __init__(self, captured: Captured) -> None:
        stream = io.BytesIO(captured.stream)
        views = [memoryview(one) for one in captured.buffers]
        slices = pickle.load(stream)
        super().__init__(stream, buffers=[views[at][start : start + size] for at, start, size in slices])
        self._filled: dict[tuple[str, str], Any] = {}

    def filled(self, module: str, name: str, kind: Any) -> Any:
        """What is known by this name: of the imported module if that has such a thing, else made empty."""
        if (module, name) not in self._filled:
            there = vars(importlib.import_module(module)).get(name)
            self._filled[module, name] = there if type(there) is kind else data.empty(kind)
        return self._filled[module, name]

    def persistent_load(self, named: tuple[Any, ...]) -> Any:
        kind, module = named[:2]
        if kind == "filled":
            return self.filled(*named[1:])
        if module not in sys.modules:
            __import__(module)
        if kind == "module":
            return sys.modules[module]
        if kind == "globals":
            return vars(sys.modules[module])
        thing = getattr(sys.modules[module], named[2])
        if thing is None:
            raise SnapshotError(f"{module}.{named[2]} is None here, and was not where it was captured")
        return thing


def release(captured: Captured) -> Any:
    """The app again, in this process; its modules are in sys.modules, and its state in `captured`."""
    for name, has_path in captured.modules:
        rebuild.make_module(name, has_path)
    unpickler = Unpickler(captured)
    interpreter.set_variables(unpickler.load(), unpickler.load())
    libraries.release(unpickler.load())
    own = [sys.modules[name] for name, _ in captured.modules]
    for module in (*own, *own):  # code, then data
        for name in unpickler.load():
            vars(module)[name] = unpickler.load()
    for module in own:
        rebuild.complete_module(module)
    for name, kind in unpickler.load().items():
        sys.modules[name].__class__ = kind
    referred, contents = unpickler.load(), unpickler.load()
    values = {name: {one: unpickler.load() for one in unpickler.load()} for name in referred}
    for name in values:
        importlib.import_module(name)
    for (holder, name), held in contents.items():  # after all imports: modules change each other's
        data.fill(unpickler.filled(holder, name, type(held)), held)
    for name, named in values.items():
        vars(sys.modules[name]).update(named)
    libraries.release(unpickler.load())
    patches.apply(unpickler.load())
    interpreter.apply(unpickler.load())
    app = unpickler.load()
    captured.state = unpickler.load()
    for variable, value in unpickler.load():
        variable.set(value)
    signals, events = unpickler.load()
    listeners.connect(signals)
    listeners.listen(events)
    for _ in range(unpickler.load()):
        deposit, is_whole = unpickler.load(), unpickler.load()
        if is_whole:
            deposits.put(deposit, importlib.import_module(deposit.module))
    rebuild.finish()
    return app

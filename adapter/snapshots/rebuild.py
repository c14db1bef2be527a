"""What a snapshot calls when it is loaded. Names here are part of the file format: do not rename."""

from __future__ import annotations

import builtins
import contextvars
import functools
import importlib
import importlib.machinery
import marshal
import os
import sys
import threading
import types
import weakref
from collections.abc import Callable
from typing import Any

from snapfork.adapter.snapshots.errors import SnapshotError


def make_module(name: str, has_path: bool) -> types.ModuleType:
    """An empty module, registered before it is filled."""
    module = types.ModuleType(name)
    vars(module)["__builtins__"] = vars(builtins)  # C code that imports looks there
    if has_path:
        module.__path__ = []
    sys.modules[name] = module
    parent, _, last = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], last, module)
    return module


def complete_module(module: types.ModuleType) -> None:
    """What an import sets beside the contents: libraries find a package's files by its spec."""
    file = getattr(module, "__file__", None)
    loader = importlib.machinery.SourceFileLoader(module.__name__, file) if file else None
    path = getattr(module, "__path__", None)
    spec = importlib.machinery.ModuleSpec(
        module.__name__, loader, origin=file, is_package=path is not None
    )  # fmt: skip
    if path is not None:
        spec.submodule_search_locations = list(path)
    spec.has_location = file is not None
    module.__spec__, module.__loader__ = spec, loader


def make_code(text: bytes) -> Any:
    """Code as it is in a .pyc file, with its file's name for tracebacks."""
    return marshal.loads(text)


def make_function(code: types.CodeType, namespace: dict[str, Any], closure: tuple[Any, ...] | None) -> Any:
    """A function that is filled later: its defaults may refer to it."""
    return types.FunctionType(code, namespace, code.co_name, None, closure)


def fill_function(function: Any, state: dict[str, Any]) -> None:
    attributes = state.pop("__dict__")
    for name, value in state.items():
        setattr(function, name, value)
    function.__dict__.update(attributes)


def make_cell() -> types.CellType:
    return types.CellType()


def fill_cell(cell: types.CellType, contents: tuple[Any, ...]) -> None:
    (cell.cell_contents,) = contents


_HELD_BACK = {"__init_subclass__"}
_HELD_BACK_OF_METACLASSES = _HELD_BACK | {"__new__", "__init__", "__prepare__", "__setattr__"}
_late: list[Callable[[], None]] = []


def finish() -> None:
    """Set what was held back; called when all of a snapshot is read."""
    while _late:
        _late.pop(0)()


def make_class(metaclass: Any, name: str, bases: tuple[Any, ...], body: dict[str, Any]) -> Any:
    """A class that is filled later; the code of a user's that would run now is held back (see fill_class)."""
    body = {sys.intern(one): value for one, value in body.items()}
    return types.new_class(name, bases, {"metaclass": metaclass}, lambda namespace: namespace.update(body))


def fill_class_early(cls: Any, code: dict[str, Any]) -> None:
    """Give `cls` its methods."""
    held = _HELD_BACK_OF_METACLASSES if issubclass(cls, type) else _HELD_BACK
    for name, value in code.items():
        if name in held:
            _late.append(functools.partial(type.__setattr__, cls, name, value))
        else:
            type.__setattr__(cls, name, value)


def fill_class(cls: Any, state: list[Any]) -> None:
    """Give `cls` what is not a method."""
    data = state[1]
    registered = data.pop("_abc_impl", ())
    for name, value in data.items():
        type.__setattr__(cls, name, value)
    if "__firstlineno__" in data:  # Python 3.13 forgets it when the module is set
        type.__setattr__(cls, "__firstlineno__", data["__firstlineno__"])
    for subclass in registered:
        cls.register(subclass)


class _Given:
    """A member's value, past what an enumeration makes of tuples."""

    def __init__(self, value: Any) -> None:
        self.value = value


def make_enum(
    metaclass: Any, name: str, bases: tuple[Any, ...], module: str, qualname: str, members: dict[str, Any]
) -> Any:
    """An enumeration with its members, made without the __new__ and __init__ of the user's classes."""
    body = metaclass.__prepare__(name, bases)
    body["__module__"], body["__qualname__"] = module, qualname
    body["__init__"] = lambda self, *_: None
    body["__new__"] = _make_member
    for one, value in members.items():
        body[one] = _Given(value)
    cls = metaclass.__new__(metaclass, name, bases, body)
    type.__delattr__(cls, "__init__")
    return cls


def _make_member(cls: Any, given: _Given) -> Any:
    kind = cls._member_type_
    made = object.__new__(cls) if kind is object else make_value(kind, cls, given.value)
    made._value_ = given.value
    return made


def make_value(kind: Any, cls: Any, value: Any) -> Any:
    """An instance of `cls` that is equal to `value`, which is of its base `kind`."""
    if kind in (int, str, bytes, float, complex, tuple):
        return kind.__new__(cls, value)
    made_by, arguments, *state = value.__reduce_ex__(2)
    made = kind.__new__(cls, *(arguments[1:] if made_by.__name__ == "__newobj__" else arguments))
    if state and isinstance(state[0], dict):
        made.__dict__.update(state[0])
    return made


def fill_enum(cls: Any, state: list[Any]) -> None:
    """Give the class its own, and the members theirs."""
    fill_class(cls, state)
    for name, values in state[2].items():
        cls.__members__[name].__dict__.update(values)


def make_lock() -> Any:
    return threading.Lock()


def make_rlock() -> Any:
    return threading.RLock()


def make_weakref(target: Any) -> Any:
    return weakref.ref(target) if target is not None else dead_weakref()


def dead_weakref() -> Any:
    class Gone: ...

    return weakref.ref(Gone())


def make_finalizer(
    thing: Any = None, function: Any = None, arguments: Any = (), named: dict[str, Any] | None = None
) -> Any:
    """A finalizer of `thing`; one that has done its work, for no arguments."""
    if function is None:
        done = weakref.finalize(make_finalizer, int)
        done.detach()
        return done
    return weakref.finalize(thing, function, *arguments, **(named or {}))


def make_weak(kind: Callable[[], Any]) -> Any:
    return kind()


def fill_weak_mapping(mapping: Any, items: list[tuple[Any, Any]]) -> None:
    for key, value in items:
        mapping[key] = value


def fill_weak_set(found: Any, items: list[Any]) -> None:
    for item in items:
        found.add(item)


def same(thing: Any) -> Any:
    """`thing`, in the place of something that stood for it."""
    return thing


def of_class(cls: type, name: str) -> Any:
    """What a class itself has under a name."""
    return vars(cls)[name]


def make_bare(kind: Any) -> Any:
    """An instance without its __init__."""
    return kind.__new__(kind)


def make_local(kind: Any, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
    """A thread-local object whose __init__ other threads will call with what it was given."""
    return threading.local.__new__(kind, *given, **named)


def make_object(kind: Any) -> Any:
    """An instance without the class's own __new__ and __init__."""
    return object.__new__(kind)


def make_exception(kind: Any, *args: Any) -> Any:
    """An exception with these `args`, whatever the classes' own __init__ would want to be given."""
    made = make_new(kind, *args)
    built_in = next(base for base in kind.__mro__ if base.__module__ == "builtins")
    built_in.__init__(made, *args)
    return made


def make_new(kind: Any, *args: Any) -> Any:
    """An instance by the __new__ of C code that is behind those which the classes have themselves."""
    made = next(base.__new__ for base in kind.__mro__ if not isinstance(base.__new__, types.FunctionType))
    return made(kind, *args)


def make_closed_file(binary: bool) -> Any:
    """A file that has been closed."""
    file = open(os.devnull, "rb" if binary else "r")  # noqa: SIM115  it is closed
    file.close()
    return file


def make_wrapper(wrapped: Any, wrapper: Any, enabled: Any) -> Any:
    """What wrapt makes of a decorated function."""
    import wrapt  # type: ignore[import-not-found,unused-ignore]

    return wrapt.FunctionWrapper(wrapped, wrapper, enabled)


def make_decorator(wrapped: Any, wrapper: Any, enabled: Any, adapter: Any) -> Any:
    """What wrapt makes of a decorator, or of a function that shows the signature of another one."""
    decorators: Any = importlib.import_module("wrapt.decorators")
    return decorators._AdapterFunctionWrapper(
        wrapped=wrapped, wrapper=wrapper, enabled=enabled, adapter=adapter
    )


def make_sqlalchemy_session(kind: Any) -> Any:
    """A session that is given its settings afterwards."""
    from sqlalchemy.orm import session as sessions  # type: ignore[import-not-found,unused-ignore]

    blank = sessions.Session()
    made = kind.__new__(kind)
    made.__dict__.update(vars(blank))
    sessions._sessions[made.hash_key] = made
    return made


def make_ssl_context(protocol: int, state: dict[str, int], ciphers: str, authorities: bytes) -> Any:
    """A TLS context with settings and authorities, and no certificate of its own."""
    import ssl

    context = ssl.SSLContext(protocol)
    context.check_hostname = False
    if ciphers:
        context.set_ciphers(ciphers)
    context.verify_mode = ssl.VerifyMode(state["verify_mode"])
    context.check_hostname = bool(state["check_hostname"])
    context.verify_flags = ssl.VerifyFlags(state["verify_flags"])
    context.minimum_version = ssl.TLSVersion(state["minimum_version"])
    context.maximum_version = ssl.TLSVersion(state["maximum_version"])
    context.options = ssl.Options(state["options"])
    if authorities:
        context.load_verify_locations(cadata=authorities)
    return context


def fill_dict(thing: Any, state: dict[str, Any]) -> None:
    """State that goes past __setattr__ and __setstate__."""
    thing.__dict__.update(state)


def fill_state(thing: Any, state: Any) -> None:
    """What pickle does with a state, but past __getattr__ and __setattr__."""
    attributes, slots = state if isinstance(state, tuple) and len(state) == 2 else (state, None)
    if attributes:
        object.__getattribute__(thing, "__dict__").update(attributes)
    for name, value in (slots or {}).items():
        object.__setattr__(thing, name, value)


def make_array(buffer: Any, dtype: Any, shape: Any, strides: Any, offset: int, is_writeable: bool) -> Any:
    """An array of numpy over memory that others may lie on, too."""
    import numpy  # type: ignore[import-not-found,unused-ignore]

    made = numpy.ndarray(shape, dtype, buffer, offset, strides)
    made.flags.writeable = is_writeable
    return made


def make_object_view(base: Any, start: int, shape: Any, strides: Any, is_writeable: bool) -> Any:
    """An array of objects that another one holds."""
    from numpy.lib.stride_tricks import as_strided  # type: ignore[import-not-found,unused-ignore]

    return as_strided(base.reshape(-1)[start:], shape, strides, writeable=is_writeable)


def make_array_of(kind: Any, array: Any) -> Any:
    """An array of a class of its own."""
    return array.view(kind)


def make_map(path: str, dtype: Any, offset: int, shape: Any) -> Any:
    """A file as an array that is only read."""
    import numpy

    return numpy.memmap(path, dtype, "r", offset, shape)


def make_memory_view(holder: Any, format: str, shape: Any, is_readonly: bool) -> memoryview:
    """A view of all that `holder` holds."""
    view: memoryview = memoryview(holder).cast("B").cast(format, shape)  # type: ignore[call-overload]
    return view.toreadonly() if is_readonly else view


def make_mapping_proxy(mapping: Any) -> types.MappingProxyType[Any, Any]:
    return types.MappingProxyType(mapping)


_relays: dict[int, Any] = {}


def make_cached(function: Any, size: int | None, typed: bool) -> Any:
    """An lru_cache of its own, empty."""
    relay = functools.partial(function)  # of C, and can be told to call something else
    cached = functools.update_wrapper(functools.lru_cache(size, typed)(relay), function)
    _relays[id(cached)] = relay
    return cached


def fill_cached(cached: Any, state: tuple[dict[str, Any], list[tuple[Any, dict[str, Any], Any]]]) -> None:
    """Its attributes, and what it holds: by being called while what it calls gives the known result."""
    attributes, calls = state
    vars(cached).update(attributes)
    relay = _relays.pop(id(cached))
    for arguments, named, result in calls:
        relay.__setstate__((_Result(result), (), {}, None))
        cached(*arguments, **named)
    relay.__setstate__((cached.__wrapped__, (), {}, None))


class _Result:
    """Called, it gives the one result."""

    def __init__(self, result: Any) -> None:
        self._result = result

    def __call__(self, *_: Any, **__: Any) -> Any:
        return self._result


class Placeholder:
    """Stands where something was that cannot travel; whoever uses it is told so."""

    def __init__(self, kind: str) -> None:
        self.__dict__["_kind"] = kind

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise SnapshotError(
            f"Here was a {self._kind}, which did not come with the snapshot, and its .{name} is asked for: "
            "put a new one in its place in an after_fork hook."
        )

    def __repr__(self) -> str:
        return f"<placeholder of a {self._kind}>"


def make_state(kind: Any, values: dict[str, Any]) -> Any:
    """Starlette's State, whose __getattr__ wants what is not there before it is filled."""
    thing = kind.__new__(kind)
    object.__setattr__(thing, "_state", values)
    return thing


def make_type_variable(
    kind: Any, name: str, parts: tuple[Any, ...], options: dict[str, Any], module: str
) -> Any:
    """A TypeVar, ParamSpec, TypeVarTuple or NewType."""
    made = kind(name, *parts, **options)
    made.__module__ = module
    return made


def make_alias(name: str, value: Any, parameters: tuple[Any, ...]) -> Any:
    """A TypeAliasType (Python 3.12)."""
    import typing

    return typing.TypeAliasType(name, value, type_params=parameters)  # type: ignore[attr-defined,unused-ignore]


def make_context_var(name: str, *default: Any) -> Any:
    return contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)


def make_file(path: str, mode: str, options: dict[str, Any], position: int) -> Any:
    """A file opened again where it was."""
    file = open(path, mode, **options)  # noqa: SIM115  the app closes it
    file.seek(position)
    return file

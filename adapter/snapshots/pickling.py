"""The pickler of snapshots: cloudpickle's, with modules, their globals and libraries' objects by name.

A user's module is never pickled as an object: whoever refers to it, or to its globals (every function does),
names it. Its contents travel once, and are put into a module that exists before anything is unpickled, so
that cycles between modules, functions and classes need no order.
"""

from __future__ import annotations

import contextlib
import copyreg
import sys
import types
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import cloudpickle
from cloudpickle import cloudpickle as internals
from snapfork.adapter.snapshots import arrays, caches, classes, rebuild
from snapfork.adapter.snapshots.errors import Refused
from snapfork.adapter.snapshots.names import Names
from snapfork.adapter.snapshots.ownership import Ownership
from snapfork.adapter.snapshots.reducers import reducer_for

PROTOCOL = 5
_FUNCTION_STATE = (
    "__name__",
    "__qualname__",
    "__module__",
    "__doc__",
    "__defaults__",
    "__kwdefaults__",
    "__annotations__",
    "__type_params__",
)
_NEW_ARGUMENTS = ("__getnewargs__", "__getnewargs_ex__")
STANDS_FOR = "__snapfork_stands_for__"
"""Set on wrappers that only look on while an app is initialised: what they wrap, which travels instead."""
_NEW: Any = getattr(copyreg, "__newobj__")  # noqa: B009  not in its types
_HEAP_TYPE = 1 << 9
_DYNAMIC = (internals._make_skeleton_class, internals._make_skeleton_enum)
OnProblem = Callable[[Any, str], Any]


def _past_own_access(reduced: Any) -> Any:
    """Have the state set without the object's own code: its __getattr__, which pickle asks for __setstate__,
    may need the state, and its __setattr__ may refuse to have anything set."""
    if not isinstance(reduced, tuple) or len(reduced) < 3 or reduced[2] is None or reduced[5:]:
        return reduced
    return (*reduced, None, None)[:5] + (rebuild.fill_state,)


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Writes one or more objects to `file`; objects shared between them are written once.

    `on_problem(thing, why)` is asked for what stands in for something that cannot be captured.
    """

    def __init__(
        self,
        file: Any,
        ownership: Ownership,
        names: Names,
        on_problem: OnProblem,
        buffer_callback: Callable[[Any], Any] | None = None,
    ) -> None:
        super().__init__(file, protocol=PROTOCOL, buffer_callback=buffer_callback)
        self._ownership = ownership
        self._names = names
        self._on_problem = on_problem
        self.references: set[str] = set()
        self.filled: dict[int, tuple[str, str]] = {}
        self._unnamed: set[int] = set()
        self.memory = arrays.Memory()

    @contextlib.contextmanager
    def by_value(self, things: Iterable[Any]) -> Iterator[None]:
        """Meanwhile, do not name these objects, though modules by reference hold them."""
        self._unnamed = {id(thing) for thing in things}
        yield
        self._unnamed = set()

    def persistent_id(self, thing: Any) -> tuple[Any, ...] | None:
        """Names for modules, module globals, and what modules by reference hold."""
        kind = type(thing)
        if id(thing) in self.filled:
            return ("filled", *self.filled[id(thing)], kind)
        if kind is dict:
            module = self._names.module_of_globals(thing)
            if module is not None:
                return self._named("globals", module)
        elif issubclass(type(thing), types.ModuleType):
            name = thing.__name__
            return self._named("module", name) if sys.modules.get(name) is thing else None
        found = self._names.of(thing) if id(thing) not in self._unnamed else None
        return self._named("name", *found) if found is not None else None

    def is_elsewhere(self, thing: Any) -> bool:
        """Whether `thing` is not captured, but found again by a name."""
        if issubclass(type(thing), (type, types.FunctionType)):
            module = sys.modules.get(thing.__module__ or "")
            return module is not None and not self._ownership.is_users(module)
        return issubclass(type(thing), types.ModuleType) or self._names.of(thing) is not None

    def _named(self, kind: str, module: str, *name: str) -> tuple[str, ...]:
        self.references.add(module)
        return (kind, module, *name)

    def reducer_override(self, thing: Any) -> Any:
        kind = type(thing)
        if kind is types.FunctionType:
            return self._function(thing)
        if issubclass(kind, type):
            return self._class(thing)
        if kind is types.CellType:
            return self._cell(thing)
        if caches.is_cache(kind):
            return self._cached(thing)
        reduce = reducer_for(kind)
        if reduce is not None:
            try:
                reduced = reduce(thing)
            except Refused as refused:
                return self._instead(thing, str(refused))
            return reduced
        if arrays.is_array(kind):
            return self.memory.reduce(thing)
        return self._usual(thing)  # not cloudpickle's, which believes proxies that say they are functions

    def _usual(self, thing: Any) -> Any:
        """What pickle would do, so that a refusal is noticed here and not where it ends everything."""
        kind = type(thing)
        if kind in self.dispatch_table:
            return NotImplemented
        try:
            reduced = thing.__reduce_ex__(PROTOCOL)
        except Exception as error:  # TypeError by the book; a __reduce__ of user code may raise anything
            return self._instead(thing, str(error))
        if isinstance(reduced, str):
            return self._global(thing, reduced)
        if reduced[0] is _NEW and self._has_own_new(kind):
            reduced = (rebuild.make_new, *reduced[1:])
        setter: Any = kind.__setattr__
        if not hasattr(kind, "__setstate__") and (
            hasattr(kind, "__getattr__") or setter is not object.__setattr__
        ):
            return _past_own_access(reduced)
        return reduced

    def _has_own_new(self, kind: type) -> bool:
        """Whether pickle would call a user's __new__, as that was not written to be called.

        A singleton's looks for the one in a class that is not filled yet; that of a str with more to it wants
        what it was given.
        """
        module = sys.modules.get(kind.__module__)
        return (
            isinstance(kind.__new__, types.FunctionType)
            and module is not None
            and self._ownership.is_users(module)
            and not any(isinstance(getattr(kind, name, None), types.FunctionType) for name in _NEW_ARGUMENTS)
        )

    def _global(self, thing: Any, name: str) -> Any:
        """Something that names itself: in a user's module, which is being filled, it is not to be found."""
        if self._is_by_name(thing, name):
            return name
        if not type(thing).__flags__ & _HEAP_TYPE:
            return self._instead(thing, f"there is no {name} by which to find it again")
        state = object.__getstate__(thing)  # type: ignore[attr-defined,unused-ignore]
        return (rebuild.make_new, (type(thing),), state)

    def _instead(self, thing: Any, why: str) -> Any:
        return self._on_problem(thing, why)

    # -- functions and classes -------------------------------------------------------------------------

    def _is_by_name(self, thing: Any, name: str) -> bool:
        """Whether `thing` is found again under its own name in a module that travels by reference."""
        module = sys.modules.get(getattr(thing, "__module__", None) or "")
        if module is None or self._ownership.is_users(module):
            return False
        found: Any = module
        for part in name.split("."):
            found = getattr(found, part, None)
        if found is thing:
            self.references.add(module.__name__)
        return found is thing

    def _function(self, function: types.FunctionType) -> Any:
        if STANDS_FOR in function.__dict__:
            return (rebuild.same, (function.__dict__[STANDS_FOR],))
        if self._is_by_name(function, function.__qualname__):
            return NotImplemented
        state = {name: getattr(function, name) for name in _FUNCTION_STATE if hasattr(function, name)}
        state["__dict__"] = function.__dict__
        arguments = (function.__code__, function.__globals__, function.__closure__)
        return (rebuild.make_function, arguments, state, None, None, rebuild.fill_function)

    def _cell(self, cell: types.CellType) -> Any:
        try:
            contents = (cell.cell_contents,)
        except ValueError:  # empty
            return (rebuild.make_cell, ())
        return (rebuild.make_cell, (), contents, None, None, rebuild.fill_cell)

    def _class(self, cls: type) -> Any:
        if self._is_by_name(cls, cls.__qualname__):
            return NotImplemented
        module = sys.modules.get(cls.__module__)
        if module is not None and self._ownership.is_users(module):
            return classes.reduce(cls)
        reduced = super().reducer_override(cls)
        return classes.reduce(cls) if reduced is not NotImplemented and reduced[0] in _DYNAMIC else reduced

    def _cached(self, function: Any) -> Any:
        if self._is_by_name(function, function.__qualname__):
            return function.__qualname__
        try:
            return caches.reduce(function)
        except Refused as refused:
            return self._instead(function, str(refused))

"""Which modules are the user's, and therefore captured by value: decided from the app's directory.

Modules of an environment are not the user's, wherever that environment lies; nor is `__main__`, unless the
app is from it. A user's module goes by reference when a framework keeps a register of its classes (ORM
models), and so do those that it imports, which importing it needs, and those that import it, because what
they told its objects (`db.init_app(app)`) is told again only by importing them. A module of C code goes by
reference, and nobody else for its sake.
"""

from __future__ import annotations

import ast
import functools
import os
import sys
import sysconfig
from collections.abc import Collection
from dataclasses import dataclass, field
from importlib.machinery import EXTENSION_SUFFIXES
from types import ModuleType

from snapfork.adapter.snapshots import libraries

_OURS = ("snapfork", "cloudpickle")
_OF_C = ("__", "_cython_", "cython_runtime")
"""Names of modules that C code makes up for itself."""
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


@dataclass
class Ownership:
    """The rule for one snapshot. `by_value` and `by_reference` name modules whose packages follow."""

    app_dir: str
    by_value: Collection[str] = ()
    by_reference: Collection[str] = ()
    _known: dict[str, bool] = field(default_factory=dict)
    _places: dict[str, bool] = field(default_factory=dict)

    def is_users(self, module: ModuleType) -> bool:
        """Whether `module` travels by value."""
        name = module.__name__
        if name not in self._known:
            self._known[name] = self._decide(name, module)
        return self._known[name]

    def modules(self) -> dict[str, ModuleType]:
        """The modules that travel by value, in the order in which their imports ended."""
        return {name: module for name, module in self._all() if self.is_users(module)}

    def referred(self) -> dict[str, ModuleType]:
        """The user's modules that travel by reference: their source must be there on restore."""
        return {
            name: module
            for name, module in self._all()
            if not self.is_users(module) and self._is_own(name, module)
        }

    def settle(self) -> None:
        """Find out which modules cannot go by value. Called once, before anything is pickled."""
        own = {name: module for name, module in self._all() if self.is_users(module)}
        left = [name for name, module in own.items() if not self._named(name) and holds_models(module)]
        left += [name for name, one in self.referred().items() if name not in left and not is_compiled(one)]
        if libraries.settings_module() in own:  # Django imports a project's modules by their names
            left += own
        needs = {name: imports(module, own) for name, module in own.items()} if left else {}
        while left:
            name = left.pop()
            self._known[name] = False
            around = needs.get(name, set()) | {other for other, needed in needs.items() if name in needed}
            around.add(name.rpartition(".")[0])  # an import goes through the package
            left += [one for one in around if self._known.get(one) and not self._named(one)]

    def _all(self) -> list[tuple[str, ModuleType]]:
        return [
            (name, module)
            for name, module in list(sys.modules.items())
            if isinstance(module, ModuleType) and module.__name__ == name
        ]

    def _named(self, name: str) -> bool:
        """Whether the user has said `by_value` of it."""
        return any(name == one or name.startswith(f"{one}.") for one in self.by_value)

    def _is_own(self, name: str, module: ModuleType) -> bool:
        if name.partition(".")[0] in _OURS:
            return False  # also where an app lies beside a checkout of them
        places = [getattr(module, "__file__", None), *list(getattr(module, "__path__", ()))]
        return name != "__main__" and (any(self._is_below(place) for place in places) or is_made_up(module))

    def _decide(self, name: str, module: ModuleType) -> bool:
        for names, verdict in ((self.by_reference, False), (self.by_value, True)):
            if any(name == one or name.startswith(f"{one}.") for one in names):
                return verdict
        if name == "__main__":
            return False  # of a server, or of whoever calls: only where the app is from it
        if is_compiled(module):
            return False  # what it holds in C does not travel
        return self._is_own(name, module)

    def _is_below(self, place: str | None) -> bool:
        if not place:
            return False
        if place not in self._places:
            self._places[place] = self._decide_place(os.path.realpath(place))
        return self._places[place]

    def _decide_place(self, place: str) -> bool:
        if any(part in place + os.sep for part in _PACKAGES):
            return False
        if any(place.startswith(directory + os.sep) for directory in _standard_library()):
            return False
        return place.startswith(os.path.realpath(self.app_dir) + os.sep)


def is_made_up(module: ModuleType) -> bool:
    """Whether `module` was put into sys.modules by Python code, so that no import would find it again."""
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    found = [
        getattr(one, name, None) for one in (top, module) for name in ("__spec__", "__file__", "__path__")
    ]
    if type(module) is not ModuleType or any(found) or module.__name__.startswith(_OF_C):
        return False
    return all(_is_of_python(type(value)) for value in vars(module).values())


def _is_of_python(kind: type) -> bool:
    file = getattr(sys.modules.get(kind.__module__), "__file__", None) or ""
    return kind.__module__ in ("builtins", "__main__") or file.endswith(".py")


def is_compiled(module: ModuleType) -> bool:
    """Whether `module` is from C code."""
    return (getattr(module, "__file__", None) or "").endswith(tuple(EXTENSION_SUFFIXES))


def holds_models(module: ModuleType) -> bool:
    """Whether a framework has registered a class that `module` defines."""
    return any(
        issubclass(type(thing), type) and thing.__module__ == module.__name__ and _is_registered(thing)
        for thing in list(vars(module).values())
    )


def _is_registered(cls: type) -> bool:
    if type(cls).__module__.startswith(("django.db.models", "mongoengine.", "peewee", "pony.")):
        return True
    return "__mapper__" in cls.__dict__ or any(
        base.__module__.startswith("sqlalchemy.orm") and base.__name__ == "DeclarativeBase"
        for base in cls.__mro__[1:]
    )


def imports(module: ModuleType, own: Collection[str]) -> set[str]:
    """The modules of `own` that the source of `module` imports, or imports something from."""
    file = getattr(module, "__file__", None)
    try:
        with open(file or "", "rb") as source:
            tree = ast.parse(source.read())
    except (OSError, SyntaxError, ValueError):
        return set()  # without source nothing can be imported again either
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = _absolute(node, module)
            found.add(base)
            found.update(f"{base}.{alias.name}" for alias in node.names)
    parents = {name.rpartition(".")[0] for name in found}
    return ((found | parents) & set(own)) - {module.__name__}


def _absolute(node: ast.ImportFrom, module: ModuleType) -> str:
    if not node.level:
        return node.module or ""
    package = getattr(module, "__package__", None) or module.__name__.rpartition(".")[0]
    parts = package.split(".")[: len(package.split(".")) - node.level + 1]
    return ".".join([*parts, *([node.module] if node.module else [])])


@functools.cache
def _standard_library() -> set[str]:
    paths = sysconfig.get_paths()
    return {os.path.realpath(paths[name]) for name in ("stdlib", "platstdlib")}


def directory_of(module: ModuleType) -> str:
    """The directory from which `module` is imported: that of its top-level package or file."""
    top = sys.modules.get(module.__name__.partition(".")[0], module)
    file: str | None = getattr(top, "__file__", None)
    if not file:
        path = [str(place) for place in getattr(top, "__path__", ())]
        return os.path.dirname(path[0]) if path else os.getcwd()
    directory = os.path.dirname(os.path.abspath(file))
    return os.path.dirname(directory) if hasattr(top, "__path__") else directory

"""Loads an app from an order: environment, path, import, attribute, factory, settings.

The working directory stays where the command was typed, as with `uvicorn --app-dir`: an app that reads files
relative to it finds what it would find there. `app_dir` comes first on sys.path.
"""

from __future__ import annotations

import importlib
import inspect
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from snapfork.adapter import hooks as adapter_hooks
from snapfork.adapter import interface, marks, settings
from snapfork.adapter.settings import SettingError
from snapfork.runner.processes import handlers, load_errors
from snapfork.runner.processes import target as targets
from snapfork.runner.processes.load_errors import LoadError
from snapfork.runner.processes.target import Target

__all__ = ["LoadError", "Loaded", "load"]

BARE = ("application", "app", "create_app", "make_app")
"""What a bare module is searched for, in this order; then for handlers of events."""
HANDLERS = ("handler", "lambda_handler")
CONCURRENCY = {"wsgi": 1, "asgi": 32}
FLASK_COMMAND = "FLASK_RUN_FROM_CLI"


@dataclass
class Loaded:
    """A loaded app.

    interface: "wsgi" or "asgi". kind: "web", or "event" for a handler, whose app is one of adapter.events.
    settings: every setting, resolved. hooks: name -> functions of `serverless` (see `hooks` for those
    registered elsewhere). target: "module:attr", with the attribute that was found.
    restored: it comes from a snapshot, and its initializer hooks have run: what the snapshot says of itself.
    state: what its lifespan had filled. buffers: how many of the snapshot's are mapped.
    """

    app: Any
    interface: str
    settings: dict[str, Any]
    hooks: dict[str, list[Callable[[], Any]]]
    target: str
    restored: dict[str, Any] | None = None
    state: dict[str, Any] = field(default_factory=dict)
    buffers: int = 0
    kind: str = "web"


def load(order: Mapping[str, Any]) -> Loaded:
    """Load the app that `order` names; it must have "target", "app_dir" and "overrides".

    Raises LoadError for everything that user code can do wrong, sys.exit included.
    """
    app_dir = os.path.abspath(order["app_dir"])
    if not order.get("write_bytecode", True):
        sys.dont_write_bytecode = True
    overrides = order.get("overrides") or {}
    # Held at one thread until the fork; `afterfork` sets what the user wants.
    threads = order.get("setup", {}).get("threads", {})
    _set_environment(overrides.get("env", {}), threads, {})
    if order.get("restore"):
        loaded = restore(order["restore"], app_dir, order)
        _set_environment(loaded.settings["env"], threads, overrides.get("env", {}))
        return loaded
    try:
        target = handlers.as_attribute(targets.parse(order["target"]), app_dir)
    except targets.TargetError as error:
        raise LoadError(str(error)) from None
    with _flask_stays_quiet():
        module = import_module(target.module, app_dir, fresh=not order.get("stocked"))
        found = find_attribute(module, target, app_dir)
        is_event = not target.called and handlers.is_event(found, target.attr, order)
        app = found if is_event else _make(found, target, app_dir)
    if is_event or (target.called and handlers.is_event(app, "", order)):
        app = handlers.wrap(app, order)
    loaded = _judge(app, target, overrides, app_dir)
    _set_environment(loaded.settings["env"], threads, overrides.get("env", {}))
    return loaded


def restore(path: str, app_dir: str, order: Mapping[str, Any]) -> Loaded:
    """The app of a snapshot file that has been checked. Raises LoadError."""
    overrides = order.get("overrides") or {}
    from snapfork.adapter.snapshots.errors import SnapshotError

    try:
        from snapfork.adapter.snapshots import file, snapshot
    except ImportError as error:
        raise lacks(error) from None
    try:
        opened = file.parse(path)
        header = opened.header
        for directory in (header.app_dir, app_dir):
            if os.path.isdir(directory) and directory not in sys.path:
                sys.path.insert(0, directory)
        app, state = snapshot.load(opened)
    except SnapshotError as error:
        raise LoadError(str(error)) from None
    if handlers.is_wrapped(app):
        handlers.suit(app, order)
    elif handlers.is_event(
        app, getattr(app, "__name__", ""), order
    ):  # captured alive, before a runner had it
        app = handlers.wrap(app, order)
    loaded = _judge(app, header.target or os.path.basename(path), overrides, app_dir)
    loaded.restored, loaded.state, loaded.buffers = header.settings, state or {}, header.buffers
    return loaded


def lacks(error: ImportError) -> LoadError:
    """What snapshots need is not in the environment of an app that has another Python than the runner."""
    return LoadError(
        f"Snapshots need {error.name}, which {sys.executable} does not have; "
        f"type: {sys.executable} -m pip install cloudpickle cryptography"
    )


@contextmanager
def _flask_stays_quiet() -> Iterator[None]:
    """Have `app.run()` at module level return, with Flask's own warning, instead of serving for ever.

    Flask leaves it to its command to serve wherever this variable is set.
    """
    before = os.environ.get(FLASK_COMMAND)
    os.environ[FLASK_COMMAND] = "true"
    try:
        yield
    finally:
        os.environ.pop(FLASK_COMMAND, None)
        if before is not None:
            os.environ[FLASK_COMMAND] = before


def _set_environment(env: Mapping[str, str], threads: dict[str, Any], done: Mapping[str, str]) -> None:
    for name, value in env.items():
        if name in done:
            continue  # set before the import, and the app may have changed it since
        if name in threads:
            threads[name] = value
        else:
            os.environ[name] = value


def import_module(name: str, app_dir: str, fresh: bool = True) -> ModuleType:
    """Import module `name` with `app_dir` first on the path. Raises LoadError.

    fresh: directories may have changed within the resolution of their times, and are read again.
    """
    if not os.path.isdir(app_dir):
        raise LoadError(f"{app_dir} is not a directory: say with --app-dir where the app is.")
    if sys.path[:1] != [app_dir]:
        sys.path.insert(0, app_dir)
    if fresh or app_dir in sys.path_importer_cache:
        importlib.invalidate_caches()
    _check_shadow(name.partition(".")[0], app_dir)
    try:
        return importlib.import_module(name)
    except BaseException as error:  # user code: SystemExit and the like are its failures too
        if _is_missing(error, name):
            raise load_errors.no_module(name, app_dir) from None
        raise load_errors.failed(f"{name} could not be imported", error, app_dir) from None


def _is_missing(error: BaseException, name: str) -> bool:
    """Whether the module itself, or a package above it, is what was not found."""
    return (
        isinstance(error, ModuleNotFoundError)
        and error.name is not None
        and f"{name}.".startswith(f"{error.name}.")
        and not load_errors.has_user_frames(error.__traceback__)
    )


def _check_shadow(top: str, app_dir: str) -> None:
    """Raise LoadError if the app's own module cannot be imported because another one has its name."""
    known = sys.modules.get(top)
    path = os.path.join(app_dir, top)
    own = [file for file in (path + ".py", os.path.join(path, "__init__.py")) if os.path.isfile(file)]
    if known is None or not own:
        return
    loaded_from = getattr(known, "__file__", None) or "built in"
    if os.path.realpath(loaded_from) != os.path.realpath(own[-1]):
        raise load_errors.shadowed(top, loaded_from, app_dir)


def find_attribute(module: ModuleType, target: Target, app_dir: str) -> Any:
    """What `target` names in `module`; a bare module's attribute is filled in. Raises LoadError."""
    if not target.attr:
        target.attr = next((name for name in BARE if callable(getattr(module, name, None))), "") or next(
            (name for name in HANDLERS if interface.is_handler(getattr(module, name, None), name)), ""
        )
        if not target.attr:
            raise load_errors.no_attribute(module, "", app_dir)
    found: Any = module
    for part in target.attr.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            if found is module:
                raise load_errors.no_attribute(module, part, app_dir) from None
            holder = interface.describe(found)
            raise LoadError(f"{target}: {holder} has no attribute '{part}'.") from None
        except BaseException as error:  # a property or a lazy module: user code
            raise load_errors.failed(f"{target} could not be read", error, app_dir) from None
    if isinstance(found, ModuleType):
        raise LoadError(
            f"{target} is a module, not an app: type {found.__name__}:ATTRIBUTE, or the bare module."
        )
    return found


def _make(found: Any, target: Target, app_dir: str) -> Any:
    """The app: `found` itself, or what it makes, called once. Raises LoadError."""
    try:
        if not target.called and not _is_factory(found):
            return found
    except SettingError as error:
        raise LoadError(f"{target}: {error}") from None
    _check_arguments(found, target)
    try:
        app = found(*target.args, **target.kwargs)
    except BaseException as error:  # user code: SystemExit and the like are its failures too
        raise load_errors.failed(f"{_call_text(target)} failed", error, app_dir) from None
    if app is None:
        raise LoadError(f"{_call_text(target)} returned None: it must return the app.")
    if inspect.isawaitable(app):
        if inspect.iscoroutine(app):
            app.close()
        raise LoadError(
            f"{_call_text(target)} is async, and no event loop runs when the app is made: "
            "make it a plain function, and move what it awaits to the app's lifespan."
        )
    own = marks.of(found)
    if own is not None and callable(app):
        marks.attach(app, own)
    return app


def _is_factory(found: Any) -> bool:
    known = marks.of(found)
    return interface.is_factory(found, known.interface if known is not None else None)


def _call_text(target: Target) -> str:
    return f"{target.module}:{target.attr}{target.call_text or '()'}"


def _check_arguments(found: Any, target: Target) -> None:
    if not callable(found):
        raise LoadError(f"{target.module}:{target.attr} cannot be called; it is {interface.describe(found)}.")
    try:
        signature = inspect.signature(found)
    except (TypeError, ValueError):
        return  # the call itself will tell
    try:
        signature.bind(*target.args, **target.kwargs)
    except TypeError as error:
        name = f"{target.module}:{target.attr}"
        if not target.args and not target.kwargs and _is_app(found):
            raise LoadError(f"{name} is an app, not a factory: type {name} without '()'.") from None
        raise LoadError(
            f"{_call_text(target)} cannot be called: {error}; give its arguments defaults, "
            "or wrap it in a function that passes them."
        ) from None


def _is_app(found: Any) -> bool:
    try:
        return not interface.is_factory(found)
    except SettingError:
        return False


def _judge(app: Any, target: Target | str, overrides: Mapping[str, Any], app_dir: str) -> Loaded:
    noted = marks.find(app) or marks.Marks({}, {})
    is_event = handlers.is_wrapped(app)
    try:
        kind = interface.detect(app)
        resolved = settings.resolve(noted.settings, overrides)
    except SettingError as error:
        raise LoadError(f"{target}: {error}") from None
    except Exception as error:  # a proxy that is not bound to anything yet
        raise load_errors.failed(f"{target} is not an app", error, app_dir) from None
    if is_event and "warmup" not in {**noted.settings, **overrides}:
        resolved["warmup"] = []  # what calls a handler has effects, other than GET / of a web app
    if resolved["concurrency"] is None:
        resolved["concurrency"] = CONCURRENCY[kind]
    hooks = {name: list(noted.hooks.get(name, ())) for name in adapter_hooks.NAMES}
    if is_event and not app.function.get("timeout"):
        app.function["timeout"] = resolved["timeout"]
    return Loaded(app, kind, resolved, hooks, str(target), kind="event" if is_event else "web")

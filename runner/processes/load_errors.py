"""Sentences for what goes wrong while an app is loaded, and tracebacks cut down to the user's part."""

from __future__ import annotations

import importlib
import os
import re
import socket
import sys
import traceback
from collections.abc import Mapping
from difflib import get_close_matches
from types import ModuleType, TracebackType
from typing import Any

import snapfork.adapter
import snapfork.runner
from snapfork.adapter import interface
from snapfork.adapter.settings import SettingError

_OURS = tuple(
    os.path.abspath(place) + os.sep for place in (*snapfork.runner.__path__, *snapfork.adapter.__path__)
)
_MACHINERY = ("<frozen importlib", importlib.__file__)
_APP_FILES = ("wsgi", "asgi", "app", "main", "application", "server", "web")
_MOST_NAMES = 8
REACH = (
    "; start what it connects to, or correct the address (--env), or connect in an after_fork hook, "
    "so that it need not answer when the app starts."
)
_UNREACHABLE_TEXT = re.compile(
    r"ConnectionRefusedError|ConnectionResetError|Connection refused|could not connect|Connect call failed"
    r"|could not translate host name|Name or service not known|gaierror|TimeoutError|timed out"
)
_SPOT = re.compile(r'File "([^"]+)", line (\d+)')


class LoadError(Exception):
    """The app cannot be loaded: one sentence, and the user's traceback where the cause is in user code."""

    def __init__(self, sentence: str, traceback_text: str | None = None) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.traceback_text = traceback_text


INSTALL = "install it there, or choose another interpreter with --python"
NAME_IT = "name it in the package's requirements.txt"


def suit(sentence: str, order: Mapping[str, Any]) -> str:
    """The sentence with the cure that a deployed function has."""
    return sentence.replace(INSTALL, NAME_IT) if order.get("environment") is not None else sentence


def failed(what: str, error: BaseException, app_dir: str) -> LoadError:
    """User code raised `error`; `what` names what failed, such as "shop could not be imported"."""
    spot = _spot(error.__traceback__, app_dir)
    place = f" ({spot})" if spot else ""
    if isinstance(error, SettingError):
        return LoadError(f"{spot}: {error}" if spot else str(error))
    trace = user_traceback(error)
    if isinstance(error, SyntaxError) and error.filename:
        file = _short(error.filename, app_dir)
        return LoadError(f"{what}: {error.msg} ({file}, line {error.lineno}).", trace)
    if isinstance(error, SystemExit):
        return LoadError(
            f"{what}: it ended the process with sys.exit({error.code!r}){place}; "
            "code that may do so belongs under if __name__ == '__main__'.",
            trace,
        )
    if isinstance(error, ModuleNotFoundError) and error.name:
        return LoadError(f"{what}: {_missing_dependency(error.name, app_dir)}{place}.", trace)
    if isinstance(error, ImportError) and str(error).startswith("attempted relative import"):
        return LoadError(f"{what}: {_relative_import(app_dir)}{place}.", trace)
    text = str(error).strip().splitlines()
    said = f": {text[0][:300].rstrip('.')}" if text else ""
    told = f"{what}: {type(error).__name__}{said}{place}"
    if _unreachable(error):
        return LoadError(told + REACH)
    return LoadError(f"{told}.", trace)


def start_up_failed(sentence: str, trace: str | None, app_dir: str) -> LoadError:
    """ASGI start-up code failed; servers' frameworks hand its traceback on as text."""
    if trace is None or not _UNREACHABLE_TEXT.search(trace):
        return LoadError(sentence, trace)
    own = [spot for spot in _SPOT.findall(trace) if _is_own(spot[0], app_dir)]
    place = f" ({_short(own[-1][0], app_dir)}, line {own[-1][1]})" if own else ""
    return LoadError(f"{sentence.rstrip('.')}{place}{REACH}")


def _unreachable(error: BaseException | None) -> bool:
    """Whether this is a service that does not answer: a driver's error hides the socket's."""
    seen = 0
    while error is not None and seen < 20:
        if isinstance(error, ConnectionError | TimeoutError | socket.gaierror):
            return True
        if type(error).__name__ == "OperationalError" and _UNREACHABLE_TEXT.search(str(error)):
            return True
        error = error.__cause__ or error.__context__
        seen += 1
    return False


def user_traceback(error: BaseException) -> str:
    """The traceback of `error` without frames of snapfork and of the import machinery."""
    told = traceback.TracebackException.from_exception(error)
    _trim(told)
    return "".join(told.format())


def _trim(told: traceback.TracebackException) -> None:
    frames = [frame for frame in told.stack if not _is_plumbing(frame.filename)]
    told.stack = traceback.StackSummary.from_list(frames)
    chained = (told.__cause__, told.__context__, *(told.exceptions or ()))
    for other in chained:
        if other is not None:
            _trim(other)


def _is_plumbing(filename: str) -> bool:
    return filename.startswith((*_MACHINERY, *_OURS))


def has_user_frames(trace: TracebackType | None) -> bool:
    """Whether any code but ours and the import machinery was running."""
    return any(not _is_plumbing(frame.f_code.co_filename) for frame, _ in traceback.walk_tb(trace))


def _spot(trace: TracebackType | None, app_dir: str) -> str:
    """The deepest line in the app's own files, else the deepest line at all, as "shop.py, line 3"."""
    lines = [
        (frame.f_code.co_filename, number)
        for frame, number in traceback.walk_tb(trace)
        if not _is_plumbing(frame.f_code.co_filename)
    ]
    own = [line for line in lines if _is_own(line[0], app_dir)]
    if not lines:
        return ""
    file, number = (own or lines)[-1]
    return f"{_short(file, app_dir)}, line {number}"


def _is_own(file: str, app_dir: str) -> bool:
    return file.startswith(app_dir.rstrip(os.sep) + os.sep) and f"{os.sep}site-packages{os.sep}" not in file


def _short(file: str, app_dir: str) -> str:
    return os.path.relpath(file, app_dir) if _is_own(file, app_dir) else file


def _missing_dependency(name: str, app_dir: str) -> str:
    top = name.partition(".")[0]
    if top != name and _exists(app_dir, top):
        return f"it imports '{name}', which does not exist"
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    place = f"neither in {app_dir} nor installed for {sys.executable} ({version})"
    return f"it needs '{top}', which is {place}; {INSTALL}"


def _exists(directory: str, name: str) -> bool:
    path = os.path.join(directory, name)
    return os.path.isdir(path) or os.path.isfile(path + ".py")


def _relative_import(app_dir: str) -> str:
    package = os.path.basename(app_dir)
    return (
        f"its relative imports need the package it is in; type --app-dir {os.path.dirname(app_dir)} and put "
        f"'{package}.' before the module"
    )


# -- modules and names that are not there ----------------------------------------------------------------


def no_module(name: str, app_dir: str) -> LoadError:
    """There is no module `name` to be found from `app_dir`."""
    top = name.partition(".")[0]
    sentence = f"There is no module '{name}' in {app_dir}"
    if top != name and _exists(app_dir, top):
        return LoadError(f"{sentence}.{_offer(_modules_in(os.path.join(app_dir, *name.split('.')[:-1])))}")
    path = name.replace(".", os.sep)
    parent = os.path.dirname(app_dir)
    if _exists(parent, path):
        return LoadError(f"{sentence}, but there is one above it: type --app-dir {parent}.")
    for directory in _directories_in(app_dir):
        if _exists(os.path.join(app_dir, directory), path):
            place = os.path.join(app_dir, directory)
            return LoadError(f"{sentence}, but there is one in {directory}/: type --app-dir {place}.")
    modules = _modules_in(app_dir)
    near = get_close_matches(name, modules, 1)
    if near:
        return LoadError(f"{sentence}: did you mean '{near[0]}'?")
    return LoadError(f"{sentence}.{_offer(modules) or ' Say with --app-dir where the app is.'}")


def _offer(modules: list[str]) -> str:
    return f" There are {_listed(modules)}." if modules else ""


def _listed(names: list[str]) -> str:
    shown = names[:_MOST_NAMES]
    more = f" and {len(names) - len(shown)} more" if len(names) > len(shown) else ""
    return ", ".join(shown) + more


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return sorted((e for e in found if e.name.partition(".")[0].isidentifier()), key=lambda e: e.name)
    except OSError:
        return []


def _modules_in(directory: str) -> list[str]:
    names = []
    for entry in _entries(directory):
        if entry.is_file() and entry.name.endswith(".py") and not entry.name.startswith("__"):
            names.append(entry.name.removesuffix(".py"))
        elif entry.is_dir() and os.path.isfile(os.path.join(entry.path, "__init__.py")):
            names.append(entry.name)
    return names


def _directories_in(directory: str) -> list[str]:
    return [entry.name for entry in _entries(directory) if entry.is_dir()]


def shadowed(name: str, loaded_from: str, app_dir: str) -> LoadError:
    """The app's module has the name of one that was imported before any user code."""
    return LoadError(
        f"'{name}' in {app_dir} has the name of a module that Python or the runner has loaded already "
        f"({loaded_from}): give yours another name."
    )


def no_attribute(module: ModuleType, attr: str, app_dir: str) -> LoadError:
    """`module` does not hold `attr` ("" : none of the names that a bare module is searched for)."""
    name = module.__name__
    held = _callables(module)
    apps = [known for known, kind in held if kind.endswith("app")]
    listed = _listed([f"{known} ({kind})" for known, kind in held])
    holds = f"; it holds {listed}" if held else ""
    near = get_close_matches(attr.rpartition(".")[2], [known for known, _ in held], 1) if attr else []
    choice = near or (apps if len(apps) == 1 else [])
    told = f" Type {name}:{choice[0]}." if choice else ""
    parts = [part for part in _submodules(module) if part in _APP_FILES or part == attr]
    if not choice and attr and attr in parts:
        told = f" Type {name}.{attr}:ATTRIBUTE, since {attr} is a module of the package."
    elif not choice and parts:
        told = f" Did you mean {name}.{parts[0]}?"
    what = f"'{attr}'" if attr else "none of application, app, create_app and make_app"
    lacks = f"has no {what}" if attr else f"has {what}"
    return LoadError(f"{name} ({_place(module, app_dir)}) {lacks}{holds}.{told}")


def _place(module: ModuleType, app_dir: str) -> str:
    file = getattr(module, "__file__", None)
    return _short(file, app_dir) if file else "a directory without __init__.py"


def _submodules(module: ModuleType) -> list[str]:
    return [name for place in getattr(module, "__path__", ()) for name in _modules_in(place)]


def _callables(module: ModuleType) -> list[tuple[str, str]]:
    """Public callables of a module that may be apps or make one, with what they are; apps first."""
    held = []
    for name, thing in vars(module).items():
        kind = None if name.startswith("_") else _kind(thing, module)
        if kind:
            held.append((name, kind))
    return sorted(held, key=lambda entry: not entry[1].endswith("app"))


def _kind(thing: Any, module: ModuleType) -> str | None:
    if isinstance(thing, ModuleType) or not callable(thing):
        return None
    try:
        home = getattr(thing, "__module__", None)
        is_definition = hasattr(thing, "__qualname__")
        if is_definition and home != module.__name__:
            return None  # imported from elsewhere
        if interface.is_handler(thing, getattr(thing, "__name__", "")):
            return "an event handler"
        made = interface.is_factory(thing)
        if isinstance(thing, type):
            return "a class"
        return "a function" if made else f"{_article(interface.detect(thing))} app"
    except Exception:  # proxies that are not bound to anything, odd signatures: not worth a name
        return "a function" if type(thing).__name__ == "function" else None


def _article(kind: str) -> str:
    return {"wsgi": "a WSGI", "asgi": "an ASGI"}[kind]

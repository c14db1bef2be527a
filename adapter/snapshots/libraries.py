"""State that an app leaves in libraries, which travel by reference: hooks, loggers, settings.

Each entry captures what the app has set and sets it again in the process that restores it.
"""

from __future__ import annotations

import logging
import os
import sys
from collections.abc import Callable
from typing import Any, NamedTuple

from snapfork.adapter import hooks
from snapfork.adapter.snapshots import options


class Entry(NamedTuple):
    """`capture(imports)` gives a picklable state, `release` takes it.

    imports: modules of the user's are imported again when it is restored. early: released before they are.
    """

    name: str
    capture: Callable[[bool], Any]
    release: Callable[[Any], None]
    early: bool = False


def capture(*, early: bool, imports: bool) -> dict[str, Any]:
    """The state of the entries of one moment; see Entry."""
    return {entry.name: entry.capture(imports) for entry in ENTRIES if entry.early is early}


def release(states: dict[str, Any]) -> None:
    """Set what was captured. Entries that this version does not know are left out."""
    for entry in ENTRIES:
        if entry.name in states:
            entry.release(states[entry.name])


def settings_module() -> str | None:
    """The module of Django's settings, which Django imports itself and therefore travels by reference."""
    return os.environ.get("DJANGO_SETTINGS_MODULE") if _has_django() else None


def _has_django() -> bool:
    registry = sys.modules.get("django.apps.registry")
    return registry is not None and bool(registry.apps.ready)


def _django(imports: bool) -> dict[str, Any] | None:
    """What was given to settings.configure(), {} for a settings module; None for no Django that is set up."""
    conf = sys.modules.get("django.conf")
    if conf is None or not conf.settings.configured:
        return None
    holder = conf.settings._wrapped
    given = {name: value for name, value in vars(holder).items() if name.isupper()}
    if isinstance(holder, conf.Settings):
        given = {}
    elif imports:
        return None  # who is imported configures it again
    return {"given": given, "is_set_up": _has_django()}


def _set_up_django(state: dict[str, Any] | None) -> None:
    if state is None:
        return
    import django  # type: ignore[import-untyped,unused-ignore]
    from django.conf import settings  # type: ignore[import-untyped,unused-ignore]

    if state["given"] and not settings.configured:
        settings.configure(**state["given"])
    if state["is_set_up"]:
        django.setup()


def _hooks(_: bool) -> dict[str, list[Any]]:
    return {name: hooks.registered(name) for name in hooks.NAMES}


def _set_hooks(state: dict[str, list[Any]]) -> None:
    for name, functions in state.items():
        for function in functions:
            hooks._register(name, function)


def _loggers(_: bool) -> dict[str, dict[str, Any]]:
    known = {"": logging.getLogger()}
    known |= {n: one for n, one in logging.root.manager.loggerDict.items() if isinstance(one, logging.Logger)}
    return {name: state for name, one in known.items() if (state := _logger(one, name))}


def _logger(logger: logging.Logger, name: str) -> dict[str, Any]:
    usual = logging.WARNING if not name else logging.NOTSET
    handlers = [one for one in logger.handlers if type(one) is not logging.NullHandler]
    kind = type(logger) if type(logger) not in (logging.Logger, logging.RootLogger) else None
    is_usual = logger.level == usual and logger.propagate and not logger.disabled and kind is None
    if is_usual and not handlers and not logger.filters:
        return {}
    return {
        "class": kind,
        "level": logger.level,
        "propagate": logger.propagate,
        "disabled": logger.disabled,
        "filters": list(logger.filters),
        "handlers": handlers,
    }


def _set_loggers(state: dict[str, dict[str, Any]]) -> None:
    for name, one in state.items():
        logger = logging.getLogger(name or None)
        if one["class"] is not None:
            logger.__class__ = one["class"]
        logger.setLevel(one["level"])
        logger.propagate, logger.disabled = one["propagate"], one["disabled"]
        logger.filters[:] = one["filters"]
        logger.handlers[:] = one["handlers"]


def _logging(_: bool) -> dict[str, Any]:
    usual = (0, 10, 20, 30, 40, 50)
    levels = {level: name for level, name in logging._levelToName.items() if level not in usual}
    return {"levels": levels, "warnings": logging._warnings_showwarning is not None}  # type: ignore[attr-defined]


def _set_logging(state: dict[str, Any]) -> None:
    for level, name in state["levels"].items():
        logging.addLevelName(level, name)
    if state["warnings"]:
        logging.captureWarnings(True)


def _snapstart(_: bool) -> dict[str, list[Any]]:
    """Registrations of snapshot-restore-py, which keeps them in module globals."""
    module = sys.modules.get("snapshot_restore_py")
    held = vars(module).items() if module is not None else ()
    return {name: list(value) for name, value in held if _is_registry(name, value)}


def _is_registry(name: str, value: Any) -> bool:
    return name.startswith("_") and not name.startswith("__") and isinstance(value, list)


def _set_snapstart(state: dict[str, list[Any]]) -> None:
    if state:
        import snapshot_restore_py  # type: ignore[import-not-found,import-untyped,unused-ignore]

        for name, entries in state.items():
            getattr(snapshot_restore_py, name)[:] = entries


ENTRIES = (
    Entry("django", _django, _set_up_django, early=True),
    Entry("hooks", _hooks, _set_hooks),
    Entry("snapshot-restore-py", _snapstart, _set_snapstart),
    Entry("loggers", _loggers, _set_loggers),
    Entry("logging", _logging, _set_logging),
    Entry("options", options.capture, options.release),
)

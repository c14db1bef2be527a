"""Runs a function's hooks: those of `snapfork.adapter.hooks`, of `serverless`, and of snapshot-restore-py.

Registrations are looked up when a moment comes, not when the app is loaded: modules imported by an
initializer, by start-up code or by a warm-up request may still add theirs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from snapfork.adapter import hooks as adapter_hooks

Hooks = Mapping[str, Sequence[Callable[[], Any]]]
_LIBRARY = "snapshot_restore_py"


class HookError(Exception):
    """A hook that cannot be run as a hook; the message is one sentence for the user."""


def run_initializer(hooks: Hooks) -> None:
    """Run the initializer hooks. Raises what a hook raises."""
    run_all(_own("initializer", hooks))


def uncaptured(hooks: Hooks) -> list[str]:
    """The names of initializer hooks whose results are not to be in a snapshot."""
    own = _own("initializer", hooks)
    return [getattr(hook, "__qualname__", repr(hook)) for hook in own if adapter_hooks.is_uncaptured(hook)]


def has_before_snapshot(hooks: Hooks) -> bool:
    """Whether anything is let go of before the freeze."""
    return bool(_own("before_snapshot", hooks) or _library("get_before_snapshot"))


def run_before_snapshot(hooks: Hooks) -> None:
    """Run before_snapshot hooks, then snapshot-restore-py's in reverse order. Raises what one raises."""
    run_all([*_own("before_snapshot", hooks), *reversed(_library("get_before_snapshot"))])


def after_fork(hooks: Hooks) -> list[Callable[[], Any]]:
    """What an instance runs before its first request: snapshot-restore-py's functions, then our hooks."""
    return [*_library("get_after_restore"), *_own("after_fork", hooks)]


def run_pre_stop(hooks: Hooks) -> None:
    """Run pre_stop hooks; one that fails does not keep the others from running.

    Raises the first failure when all have run; but a TimeoutError, with which the caller limits their time,
    and whatever is no Exception, at once.
    """
    first: Exception | None = None
    for hook in _own("pre_stop", hooks):
        try:
            _call(hook)
        except TimeoutError:
            raise
        except Exception as error:
            first = first or error
    if first is not None:
        raise first


def _own(name: str, hooks: Hooks) -> list[Callable[[], Any]]:
    registered = adapter_hooks.registered(name)
    return registered + [hook for hook in hooks.get(name, ()) if hook not in registered]


def _library(getter: str) -> list[Callable[[], Any]]:
    """snapshot-restore-py's registrations, in order; [] if nothing has imported it."""
    get = getattr(sys.modules.get(_LIBRARY), getter, None)
    if get is None:
        return []
    return [_bound(function, args, kwargs) for function, args, kwargs in get()]


def _bound(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Callable[[], Any]:
    def call() -> Any:
        result = function(*args, **kwargs)
        _check_result(function, result)
        return result

    return call


def run_all(hooks: Sequence[Callable[[], Any]]) -> None:
    """Run `hooks` in order. Raises what one raises."""
    for hook in hooks:
        _call(hook)


def _call(hook: Callable[[], Any]) -> None:
    _check_result(hook, hook())


def _check_result(hook: Callable[..., Any], result: Any) -> None:
    if hasattr(result, "__await__"):
        close = getattr(result, "close", None)
        if close is not None:
            close()
        name = getattr(hook, "__qualname__", repr(hook))
        raise HookError(f"{name} is async, and no event loop runs when hooks do: make it a plain function.")

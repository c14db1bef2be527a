"""Hooks: functions that the runner calls at four moments of a function's life.

    initializer      once, in the template, after the app is loaded and before it is warmed up
    before_snapshot  once, in the template, before it is frozen: let go of what must not be shared
    after_fork       in each instance, before its first request, and after a restore
    pre_stop         in each instance before it leaves; all together have ten seconds

Either `@serverless(after_fork=connect)` with one function or a list, or, in any module, whether or not it
knows the app:

    from snapfork.adapter import hooks

    @hooks.after_fork
    def connect() -> None: ...

Hooks take no arguments, are plain functions, and run in the order in which they were registered, those of
`@serverless` last. Other servers (gunicorn, uvicorn) do not call them.
"""

from __future__ import annotations

from snapfork.adapter.settings import SettingError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, TypeVar

    Hook = Callable[[], Any]
    H = TypeVar("H", bound=Callable[[], Any])
    C = TypeVar("C", bound=Callable[..., Any])

NAMES = ("initializer", "before_snapshot", "after_fork", "pre_stop")
CAPTURED = "__snapfork_captured__"
_registered: dict[str, list[Hook]] = {name: [] for name in NAMES}
_uncaptured: list[Hook] = []


def initializer(hook: H) -> H:
    """Register `hook` to run once in the template before warm-up. Raises SettingError."""
    return _register("initializer", hook)


def before_snapshot(hook: H) -> H:
    """Register `hook` to run once in the template before it is frozen. Raises SettingError."""
    return _register("before_snapshot", hook)


def after_fork(hook: H) -> H:
    """Register `hook` to run in each instance before its first request. Raises SettingError."""
    return _register("after_fork", hook)


def pre_stop(hook: H) -> H:
    """Register `hook` to run in each instance before it leaves. Raises SettingError."""
    return _register("pre_stop", hook)


def uncaptured(hook: H) -> H:
    """Mark an initializer whose results must not be in a snapshot: the app is initialised at each start.

    @hooks.initializer
    @hooks.uncaptured
    def fetch_secrets() -> None: ...
    """
    if hook not in _uncaptured:
        _uncaptured.append(hook)
    return hook


def captured(cache: C) -> C:
    """Mark a functools.lru_cache whose contents are to be in snapshots: others come back empty.

    @hooks.captured
    @functools.lru_cache
    def price(item): ...

    Raises SettingError if it is none.
    """
    if not hasattr(cache, "cache_parameters"):
        raise SettingError(f"hooks.captured is for functools.lru_cache, and this is {cache!r}.")
    cache.__dict__[CAPTURED] = True
    return cache


def is_uncaptured(hook: Hook) -> bool:
    """Whether `hook` was marked by `uncaptured`."""
    return hook in _uncaptured


def registered(name: str) -> list[Hook]:
    """The hooks of one name registered so far by the four decorators."""
    return list(_registered[name])


def check(name: str, hook: Any) -> Hook:
    """`hook` if it can be called as hook `name`. Raises SettingError."""
    import inspect  # late: most processes that import the adapter register no hook

    label = getattr(hook, "__name__", None) or repr(hook)[:60]
    if not callable(hook):
        raise SettingError(f"{name} must be a function or a list of functions, not {repr(hook)[:60]}.")
    call = hook if inspect.isroutine(hook) or inspect.isclass(hook) else hook.__call__
    if inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call):
        raise SettingError(
            f"{name}: {label} is async, and no event loop runs when hooks do: "
            "make it a plain function, or move it to the app's lifespan."
        )
    if inspect.isgeneratorfunction(call):
        raise SettingError(f"{name}: {label} is a generator and would do nothing: take out its yield.")
    try:
        inspect.signature(hook).bind()
    except TypeError as error:
        raise SettingError(f"{name}: {label} would be called without arguments, but: {error}.") from None
    except ValueError:
        pass  # builtins without a signature: the call itself will tell
    return hook  # type: ignore[no-any-return]


def check_all(name: str, value: Any) -> list[Hook]:
    """One hook, a list of hooks or None as a list of hooks. Raises SettingError."""
    if value is None:
        return []
    return [check(name, hook) for hook in (value if isinstance(value, (list, tuple)) else [value])]


def _register(name: str, hook: H) -> H:
    check(name, hook)
    if hook not in _registered[name]:
        _registered[name].append(hook)
    return hook

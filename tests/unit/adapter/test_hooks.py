"""Hooks: registered in two ways, checked at once, run in a stated order."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import pytest
from snapfork.adapter import SettingError, hooks
from snapfork.runner.processes import hooks as running

NONE: dict[str, list[Any]] = {}


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Registrations of one test are its own."""
    monkeypatch.setattr(hooks, "_registered", {name: [] for name in hooks.NAMES})
    monkeypatch.delitem(sys.modules, "snapshot_restore_py", raising=False)


@pytest.mark.parametrize("name", hooks.NAMES)
def test_a_decorator_registers_and_returns_the_function(name: str) -> None:
    ran: list[str] = []

    def hook() -> None:
        ran.append(name)

    assert getattr(hooks, name)(hook) is hook
    assert getattr(hooks, name)(hook) is hook
    assert hooks.registered(name) == [hook]
    if name == "after_fork":
        running.run_all(running.after_fork(NONE))
    else:
        getattr(running, f"run_{name}")(NONE)
    assert ran == [name]


def test_registered_hooks_run_before_those_of_serverless_and_each_once() -> None:
    ran: list[str] = []

    def first() -> None:
        ran.append("first")

    def second() -> None:
        ran.append("second")

    hooks.initializer(first)
    running.run_initializer({"initializer": [second, first]})
    assert ran == ["first", "second"]


def test_a_hook_registered_late_runs_too() -> None:
    ran: list[str] = []

    def load() -> None:
        hooks.after_fork(lambda: ran.append("late"))

    running.run_initializer({"initializer": [load]})
    running.run_all(running.after_fork(NONE))
    assert ran == ["late"]


async def coroutine() -> None: ...


async def async_generator() -> Any:
    yield


def generator() -> Iterator[None]:
    yield


def needs(argument: Any) -> None: ...


class AsyncObject:
    async def __call__(self) -> None: ...


@pytest.mark.parametrize(
    ("hook", "says"),
    [
        (coroutine, "async"),
        (async_generator, "async"),
        (AsyncObject(), "async"),
        (generator, "yield"),
        (needs, "'argument'"),
        ("connect", "must be a function"),
    ],
)
def test_what_cannot_be_a_hook_is_one_sentence(hook: Any, says: str) -> None:
    with pytest.raises(SettingError) as caught:
        hooks.before_snapshot(hook)
    assert says in str(caught.value) and str(caught.value).startswith("before_snapshot")
    assert hooks.registered("before_snapshot") == []


def test_snapshot_restore_py_before_in_reverse_after_in_order() -> None:
    import snapshot_restore_py as library

    ran: list[str] = []
    for name in ("a", "b"):
        library.register_before_snapshot(ran.append, f"before {name}")
        library.register_after_restore(lambda text, end: ran.append(text + end), f"after {name}", end="!")
    hooks.before_snapshot(lambda: ran.append("ours"))
    hooks.after_fork(lambda: ran.append("ours"))
    running.run_before_snapshot(NONE)
    assert ran == ["ours", "before b", "before a"]
    ran.clear()
    running.run_all(running.after_fork(NONE))
    assert ran == ["after a!", "after b!", "ours"]


def test_an_async_function_of_snapshot_restore_py_is_named() -> None:
    import snapshot_restore_py as library

    library.register_after_restore(coroutine)
    with pytest.raises(running.HookError, match="coroutine is async"):
        running.run_all(running.after_fork(NONE))


def test_a_failing_hook_ends_the_start() -> None:
    ran: list[str] = []

    def fail() -> None:
        raise LookupError("no database")

    with pytest.raises(LookupError, match="no database"):
        running.run_all(running.after_fork({"after_fork": [fail, lambda: ran.append("after")]}))
    assert ran == []


def test_a_failing_pre_stop_hook_does_not_stop_the_others() -> None:
    ran: list[str] = []

    def fail() -> None:
        raise LookupError("first")

    def fail_again() -> None:
        raise LookupError("second")

    with pytest.raises(LookupError, match="first"):
        running.run_pre_stop({"pre_stop": [fail, fail_again, lambda: ran.append("ran")]})
    assert ran == ["ran"]


def test_pre_stop_ends_when_its_time_is_over() -> None:
    ran: list[str] = []

    def late() -> None:
        raise TimeoutError("ten seconds")

    with pytest.raises(TimeoutError):
        running.run_pre_stop({"pre_stop": [late, lambda: ran.append("ran")]})
    assert ran == []

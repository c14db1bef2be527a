"""What the tests of triggers share: a registry of triggers and a queue that only remembers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from snapfork.runner.invocations.model import Invocation, Task
from snapfork.runner.registry.errors import NotFound
from snapfork.runner.registry.model import Configuration, Dialect, Function, Resolved, Trigger, Version


class Registry:
    """Functions f (FC) and g (Lambda), and their triggers."""

    def __init__(self, *triggers: Trigger) -> None:
        self.all = list(triggers)
        self.told: list[Callable[[str, str], None]] = []
        self.dialects: dict[str, Dialect] = {"f": "fc", "g": "lambda"}

    def triggers(self, kind: str) -> list[Trigger]:
        return [one for one in self.all if one.kind == kind]

    def resolve(self, name: str, qualifier: str = "", draw: Callable[[], float] | None = None) -> Resolved:
        if name not in self.dialects:
            raise NotFound("gone", "function", name)
        dialect = self.dialects[name]
        configuration = Configuration("a.b", "python3", 3.0, 128, dialect)
        version = Version(name, "LATEST", configuration, "x", 1, "r", 0.0, 0.0)
        return Resolved(Function(name, dialect, 0.0), version, qualifier, f"{name}:LATEST")

    def subscribe(self, told: Callable[[str, str], None]) -> None:
        self.told.append(told)

    def change(self, *triggers: Trigger) -> None:
        self.all = list(triggers)
        for told in self.told:
            told("function", "f")


class Enqueued:
    """A queue as triggers see it: an id that it has is not taken twice. `seen` counts also those."""

    def __init__(self) -> None:
        self.taken: dict[str, Invocation] = {}
        self.seen: list[Invocation] = []
        self.refuse: Exception | None = None

    async def enqueue(self, invocation: Invocation, delay: float = 0.0, task_id: str = "") -> Task:
        self.seen.append(invocation)
        if self.refuse is not None:
            raise self.refuse
        self.taken.setdefault(invocation.id, invocation)
        return Task(invocation.id, invocation.id, invocation.function, invocation.qualifier, "Enqueued", 0.0)


def timer(
    expression: str, *, function: str = "f", id: str = "t1", modified: float = 0.0, **more: Any
) -> Trigger:
    config = {"cronExpression": expression, "payload": more.pop("payload", ""), "enable": True}
    return Trigger(function, "tick", "timer", "", config, id=id, created=modified, modified=modified, **more)

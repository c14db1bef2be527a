"""Puts provisioning policies into force: once a minute, what each config asks for now.

Utilisation is that of the provisioned instances, as a mean over the minute: spares and what was started for
requests that found none of them free are none of theirs.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Protocol

from snapfork.runner.registry import names, provisioning
from snapfork.runner.registry.core import Gateway
from snapfork.runner.registry.image import Image
from snapfork.runner.registry.model import ProvisionConfig

PERIOD = 60.0
LOOKS = 12
"""In a period: requests are shorter than that."""
TICK = os.sysconf("SC_CLK_TCK")


class Registry(Protocol):
    """What this needs of `Operations`."""

    image: Image
    gateway: Gateway
    clock: Callable[[], float]
    _targets: dict[tuple[str, str], int]

    def shares(self, config: ProvisionConfig) -> dict[str, int]: ...
    def provision_target(self, config: ProvisionConfig) -> int: ...
    async def settle(self) -> None: ...


class Provisioner:
    """`run` for ever, or `step` by hand."""

    def __init__(self, registry: Registry, sleep: Callable[[float], Awaitable[None]]) -> None:
        self._registry = registry
        self._sleep = sleep
        self._cpu: dict[int, tuple[float, float]] = {}
        self._seen: dict[tuple[str, str], list[dict[str, float]]] = {}

    async def run(self) -> None:
        while True:
            with contextlib.suppress(Exception):  # the gateway does not answer: what was in force stays
                await self.step()
            for _ in range(LOOKS - 1):
                await self._sleep(PERIOD / LOOKS)
                with contextlib.suppress(Exception):
                    await self.look()
            await self._sleep(PERIOD / LOOKS)

    async def look(self) -> None:
        """See how busy the instances are that have a tracking policy."""
        configs = [one for one in self._registry.image.all(ProvisionConfig) if one.tracking]
        status = await self._registry.gateway.status() if configs else {}
        for config in configs:
            seen = self._seen.setdefault((config.function, config.qualifier), [])
            seen.append(self._measure(config, status))
            del seen[:-LOOKS]

    async def step(self) -> None:
        """Evaluate every config that has policies, and have the gateway follow what has changed."""
        registry = self._registry
        configs = [one for one in registry.image.all(ProvisionConfig) if one.scheduled or one.tracking]
        targets: dict[tuple[str, str], int] = {}
        await self.look()
        seen, self._seen = self._seen, {}
        for config in configs:
            measured = _means(seen.get((config.function, config.qualifier), []))
            current = registry.provision_target(config)
            wanted = provisioning.target(config, registry.clock(), current, measured)
            targets[config.function, config.qualifier] = wanted
        if targets != registry._targets:
            registry._targets.clear()
            registry._targets.update(targets)
            await registry.settle()

    def _measure(self, config: ProvisionConfig, status: dict[str, dict[str, Any]]) -> dict[str, float]:
        """Utilisation of a config's instances, 0 to 1."""
        current = self._registry.provision_target(config)
        instances = [
            instance
            for version in self._registry.shares(config)
            for instance in status.get(names.unit(config.function, version), {}).get("instances", ())
        ]
        if not instances or not current:
            return {}
        busy = sum(1 for one in instances if one.get("state") == "busy")
        found = {"ProvisionedConcurrencyUtilization": min(1.0, busy / current)}
        loads = [load for one in instances if (load := self._load(int(one["pid"]))) is not None]
        if loads:
            found["CPUUtilization"] = min(1.0, sum(loads) / current)
        return found

    def _load(self, pid: int) -> float | None:
        """The share of one core that a process has had since it was last looked at."""
        try:
            with open(f"/proc/{pid}/stat") as file:
                fields = file.read().rpartition(")")[2].split()
        except OSError:
            self._cpu.pop(pid, None)
            return None
        now, used = self._registry.clock(), (int(fields[11]) + int(fields[12])) / TICK
        before = self._cpu.get(pid)
        self._cpu[pid] = (now, used)
        if before is None or now <= before[0] or used < before[1]:
            return None
        return (used - before[1]) / (now - before[0])


def _means(seen: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean of each metric, of those times at which it was known."""
    values: dict[str, list[float]] = {}
    for one in seen:
        for metric, value in one.items():
            values.setdefault(metric, []).append(value)
    return {metric: sum(known) / len(known) for metric, known in values.items()}

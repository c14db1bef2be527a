"""A new template's trial start: what an instance of it takes, before many are started."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from snapfork.runner.gateway.instances import Instance
from snapfork.runner.gateway.pool import Pool
from snapfork.runner.policy.elastic import effective_maximum
from snapfork.runner.wire.frames import START_NAMES

if TYPE_CHECKING:
    from snapfork.runner.gateway.core import Core

TRIAL_DEADLINE_S = 15.0


class Trial:
    """Of one function: `figures` that its last trial instance gave ({} while there are none).

    over: called when a trial has ended, with figures or without.
    """

    def __init__(self, core: Core, pool: Pool, over: Callable[[], None]) -> None:
        self._core = core
        self._pool = pool
        self._over = over
        self._number = 0
        self.figures: dict[str, Any] = {}
        pool.on_trial_over = lambda one: self._end(one.number)

    def start(self) -> None:
        """Spares of a new template begin where its trial instance has been; new code also waits for it."""
        one = self._pool.start(self._pool.mode, trial=True)
        self._number = one.number
        self.figures = {}
        self._core.loop.call_later(TRIAL_DEADLINE_S, self._give_up, one)

    def reported(self, one: Instance, figures: dict[str, Any]) -> None:
        """An instance gives figures."""
        if one.number == self._number:
            self.figures = figures

    def _give_up(self, one: Instance) -> None:
        if one.number == self._number:
            one.kill("trial deadline")
            self._end(one.number)

    def _end(self, number: int) -> None:
        if number != self._number:
            return
        self._number = 0
        pool, console = self._pool, self._core.console
        private = int(self.figures.get("private", 0))
        maximum = effective_maximum(pool.limits.maximum, private, _available_bytes())
        if maximum < pool.limits.maximum:
            console.warn(
                f"{pool.name}: max_instances lowered from {pool.limits.maximum} to {maximum}, because an "
                f"instance needs {private / 1e6:.0f} MB of its own and half of the free memory is for them."
            )
            pool.limits = pool.limits._replace(maximum=maximum)
        pool.ceiling = effective_maximum(pool.ceiling, private, _available_bytes())
        if not self.figures:
            console.warn(f"{pool.name}: the trial start gave no figures.")
        self._over()

    def describe(self) -> tuple[str, float]:
        """(start kind that the next requests get, its measured milliseconds)."""
        pool, figures = self._pool, self.figures
        if not figures:
            return START_NAMES[pool.mode], 0.0
        first = float(figures["request_ms"])
        if pool.settings["spares"] and pool.settings["max_requests"] != 1:
            return "spare", first
        return START_NAMES[pool.mode], float(figures["ready_ms"]) + first


def _available_bytes() -> int:
    with open("/proc/meminfo") as file:
        for line in file:
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return 0

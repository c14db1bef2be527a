"""A constant rate of starts for minutes (BENCH_SOAK_S seconds, BENCH_SOAK_RATE starts/s): what drifts?

Every request is a fork start. Once a second the descriptors and the PSS of gateway and template are read;
drift is the slope of a line through the samples, per minute.
"""

from __future__ import annotations

import os
import statistics
import time
from pathlib import Path

from fleet import OURS, Fleet, described
from snapfork.runner.bench import memory, plot
from snapfork.runner.bench.client import expect_ok, once
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.results import Part
from snapfork.runner.errors import UserError

NAME = "soak"
SUMMARY = "a constant start rate for minutes: start time, descriptors and memory must not drift"
BYTES_PER_MB = 1 << 20
START = "fork start"


def slope_per_minute(seconds: list[float], values: list[float]) -> float:
    """The slope of the line of least squares; 0 where there is none."""
    if len(set(seconds)) < 2:
        return 0.0
    return statistics.linear_regression(seconds, values).slope * 60


def measure(context: Context) -> Part:
    """One run."""
    seconds = float(os.environ.get("BENCH_SOAK_S", context.count(180, 8)))
    rate = float(os.environ.get("BENCH_SOAK_RATE", 50))
    part = Part(NAME)
    settings = {"spares": 0, "max_requests": 1}
    words = f"{described(settings)}; {rate:g} starts/s for {seconds:g} s"
    fleet = Fleet.of(context, "flask_hello:app", "wsgi")
    with fleet.own(**settings) as server:
        pids = {"gateway": server.process.pid, "template": int(server.function()["template"]["pid"])}
        for _ in range(20):
            once(server.address)  # warm-up, not counted
        before = server.function()["starts"]["fork"]
        begun = looked = time.monotonic()
        number = 0
        while (now := time.monotonic()) - begun < seconds:
            due = begun + number / rate
            if now < due:
                time.sleep(due - now)
            _add(part, START, "ms", due - begun, expect_ok(once(server.address), OURS).ms, words)
            number += 1
            if time.monotonic() - looked >= 1:
                looked = time.monotonic()
                context.say(f"{looked - begun:.0f} of {seconds:g} s")
                for name, pid in pids.items():
                    at = looked - begun
                    _add(part, f"{name}: descriptors", "fds", at, len(os.listdir(f"/proc/{pid}/fd")))
                    _add(part, f"{name}: USS", "MB", at, memory.of(pid).uss / BYTES_PER_MB)
                    _add(part, f"{name}: PSS", "MB", at, memory.of(pid).pss / BYTES_PER_MB)
        started = server.function()["starts"]["fork"] - before
    if started != number:
        raise UserError(f"{number} requests were meant to be as many forks; there were {started}.")
    for row in list(part.rows):
        drift = slope_per_minute(row.extra["at_s"], row.samples)
        part.row(f"{row.name}: drift", f"{row.unit}/min").samples.append(drift)
    part.notes.append(f"{number} starts, {number / seconds:.1f}/s reached; none failed.")
    return part


def _add(part: Part, name: str, unit: str, at: float, value: float, words: str = "") -> None:
    row = part.row(name, unit, config=words)
    row.samples.append(value)
    row.extra.setdefault("at_s", []).append(at)


def plots(runs: list[Part], directory: Path) -> list[Path]:
    """Start time over the soak."""
    row = runs[0].find(START)
    if row is None:
        return []
    series = {START: (row.extra["at_s"], row.samples)}
    path = directory / f"{NAME}-starts.png"
    return [plot.lines(path, "fork starts at a constant rate", series, x="s", y="ms", points=True)]

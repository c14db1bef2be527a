"""The gateway's own latency, with nothing else to do and while the control API is hammered, by turns.

A warm hello app behind `runner serve` without a target, on a kept connection and on a new one for each
request, one request every few milliseconds. The hammer is a process of its own (runner/bench/hammer.py) with
a bounded rate of synchronous invocations through the Lambda API, asynchronous ones, which the queue makes
durable and runs, /status and /metrics. Blocks of both kinds take turns. A 99th percentile is noisy by itself:
what two halves of the quiet blocks say of each other is the noise that the hammered ones are judged by.
"""

from __future__ import annotations

import time

from parts.deploy import HANDLER
from snapfork.runner.bench import report, stats
from snapfork.runner.bench.client import expect_ok
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.deployed import Connection, DeployedRunner, plain, zipped
from snapfork.runner.bench.hammer import ENQUEUE, INVOKE, METRICS, STATUS, Hammer
from snapfork.runner.bench.results import Check, Part, at_most, decide
from snapfork.runner.errors import UserError

NAME = "hammered"
SUMMARY = "latency of a warm hello while queue, control API and Lambda API are hammered"
KEPT, NEW = "kept connection", "new connection"
QUIET, HAMMERED = "nothing else", "hammered"
RATES = {INVOKE: 50, ENQUEUE: 50, STATUS: 10, METRICS: 5}
PACE_S = 0.003
ALLOWED = 1.25
"""What the p99 may be at least, where the quiet blocks differ less among themselves."""


def measure(context: Context) -> Part:
    """One run."""
    part = Part(NAME)
    work = context.work / "hammered"
    work.mkdir()
    hello = (context.apps / "flask_hello.py").read_text()
    rates = ", ".join(f"{rate} {what}" for what, rate in RATES.items())
    with DeployedRunner(work / "data", python=context.python) as runner:
        signer = runner.signer()
        runner.ask(signer.deploy("hello", zipped({"flask_hello.py": hello}), "flask_hello:app"))
        runner.ask(signer.create("noop", zipped({"noop.py": HANDLER}), "noop.handler"))
        _block(runner, 200)  # warm-up
        hammer = Hammer(runner.address, runner.key(), "noop", RATES)
        with hammer:
            _block(runner, 50)
        for number in range(context.count(10, 2)):
            context.say(f"round {number + 1}")
            samples = context.count(150, 50)
            for name, times in _block(runner, samples).items():
                part.row(name, group=QUIET).samples.extend(times)
            with hammer:
                for name, times in _block(runner, samples).items():
                    part.row(name, group=HAMMERED, config=f"per second: {rates}").samples.extend(times)
            if hammer.told["failed"]:
                raise UserError(f"{hammer.told['failed']} of the hammer's requests failed.", runner.tail())
            part.row("answers to the hammer", "answers", group=HAMMERED).samples.append(
                hammer.told["answers"]
            )
    return part


def _block(runner: DeployedRunner, count: int) -> dict[str, list[float]]:
    """Milliseconds of `count` requests of each kind, kinds in turn."""
    times: dict[str, list[float]] = {KEPT: [], NEW: []}
    wire = plain("GET", "/", "hello.localhost")
    with Connection(runner.front) as kept:
        for _ in range(count):
            times[KEPT].append(expect_ok(kept.ask(wire)[0], "the hello app").ms)
            time.sleep(PACE_S)
            begun = time.monotonic_ns()
            with Connection(runner.front) as new:
                timing = expect_ok(new.ask(wire)[0], "the hello app")
            times[NEW].append((timing.first - begun) / 1e6)
            time.sleep(PACE_S)
    return times


def noise(samples: list[float]) -> float | None:
    """How far the p99 of one half of the samples is from that of the other: a ratio of at least 1."""
    middle = len(samples) // 2
    one, other = stats.p99(samples[:middle]), stats.p99(samples[middle:])
    if not one or not other:
        return None
    return max(one, other) / min(one, other)


def checks(runs: list[Part]) -> list[Check]:
    """Whether the p99 is what it was, within what quiet blocks differ by."""
    found = []
    for name in (KEPT, NEW):
        ratio = decide(runs, lambda part, n=name: stats.ratio(part.p99(n, HAMMERED), part.p99(n, QUIET)))
        allowed = decide(runs, lambda part, n=name: _noise(part, n))
        limit = max(ALLOWED, allowed or 0.0)
        must = f"5. p99 of a warm hello, {name}: hammered by quiet, at most {limit:.2f} (noise)"
        found.append(at_most(must, ratio, limit))
    return found


def _noise(part: Part, name: str) -> float | None:
    row = part.find(name, QUIET)
    return noise(row.samples) if row is not None else None


def tables(runs: list[Part]) -> str:
    """p50 and p99 of both, and the noise."""
    lines = []
    for name in (KEPT, NEW):
        for group in (QUIET, HAMMERED):
            p50 = decide(runs, lambda part, n=name, g=group: part.median(n, g))
            p99 = decide(runs, lambda part, n=name, g=group: part.p99(n, g))
            lines.append([name, group, report.number(p50), report.number(p99)])
        lines.append([name, "p99 of the halves of the quiet blocks, as a ratio", "-",
                      report.number(decide(runs, lambda part, n=name: _noise(part, n)))])  # fmt: skip
    return report.table(["row", "beside", "p50 ms", "p99 ms"], lines)

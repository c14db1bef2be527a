"""What a kept snapshot saves: from initialising in a fresh process down to a fork of a restored template.

Rows of fresh processes are milliseconds from exec to the first byte of the first 200; those of the base
template from the order to build a template anew to its being ready, as the gateway sees it; forks are
requests on new connections. Each round samples all rows of an app.
"""

from __future__ import annotations

import re
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from snapfork.runner.bench import memory, stats
from snapfork.runner.bench.client import expect_ok, once
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.ours import Runner
from snapfork.runner.bench.results import Check, Part, at_most, decide
from snapfork.runner.errors import UserError

NAME = "restore"
SUMMARY = "fresh process and initialise, fresh process and restore, base template and restore, fork"
INITIALISED = "fresh process, initialised"
RESTORED = "fresh process, restored"
BASE = "base template, restored"
FORK = "fork of the restored template"
CHECKED = "first full check, on entry to the store"
SHARED = "PSS of 20 instances that have read all of the data"
INSTANCES = 20
BYTES_PER_MB = 1 << 20


@dataclass(frozen=True)
class App:
    """One app of benchmarks/apps, and variables that it is given."""

    name: str
    target: str
    env: Mapping[str, str] = field(default_factory=dict)


APPS = (
    App("flask", "flask_hello:app"),
    App("django", "django_hello:application"),
    App("fastapi", "fastapi_hello:app"),
    App("3 seconds", "slow3:app"),
    App("1 GB", "model1g:app"),
    App("1 MB", "model1g:app", {"BENCH_MODEL_MB": "1"}),
)


def measure(context: Context) -> Part:
    """One run: app after app."""
    part = Part(NAME)
    for app in APPS:
        if context.wanted(app.name):
            _measure_app(part, app, context)
    return part


def _measure_app(part: Part, app: App, context: Context) -> None:
    data = context.work / f"data-{app.name.replace(' ', '-')}"

    def runner(data_dir: Path | None = data, target: str = app.target, **settings: object) -> Runner:
        return Runner(
            target, str(context.apps), python=context.python, cwd=str(context.apps), env=app.env,
            data_dir=str(data_dir) if data_dir else None,
            **({"spares": 0, "max_requests": 1, "idle_timeout": 300} | settings),
        )  # fmt: skip

    def add(name: str, samples: list[float], unit: str = "ms", config: str = "") -> None:
        part.row(name, unit, group=app.name, config=config).samples.extend(samples)

    context.say(f"{app.name}, a snapshot is kept")
    with runner() as server:
        server.wait_for_snapshot()
    for number in range(context.count(5, 1)):
        context.say(f"{app.name}, round {number + 1}")
        with runner(None) as server:
            add(INITIALISED, [server.first_ms], config="runner serve --no-snapshot")
        with runner() as server:
            if server.function()["snapshot"]["restored"] is None:
                raise UserError(f"{app.target} was initialised although nothing has changed.", server.tail())
            add(RESTORED, [server.first_ms], config="runner serve, with a snapshot from an earlier start")
            add(BASE, _rebuilds(server, context.count(6, 3)), config="runner reload, nothing changed")
            samples = []
            for _ in range(context.count(30, 10)):
                server.wait_until()
                samples.append(expect_ok(once(server.address, server.path), server.name).ms)
            add(FORK, samples, config="--spares 0 --max-requests 1")
    if app.name == "1 GB":
        add(CHECKED, [_check(app, context, runner)], config="runner serve FILE.snap, for the first time")
        add(SHARED, [_shared(runner)], "MB", f"--min-instances {INSTANCES}, GET /all of each")


def _rebuilds(server: Runner, count: int) -> list[float]:
    samples = []
    for _ in range(count + 1):
        generation = server.function()["generation"]
        server.reload()
        samples.append(float(server.wait_for_template(generation + 1)["template"]["ready_ms"]))
    return samples[1:]  # the first one stocks the base template


def _check(app: App, context: Context, runner: type[Runner]) -> float:
    """Milliseconds, as the runner prints them."""
    file = context.work / "bench.snap"
    command = [context.python, "-P", "-m", "snapfork.runner", "snapshot", app.target, "-o", str(file)]
    subprocess.run(
        [*command, "--app-dir", str(context.apps), "--python", context.python],
        check=True, capture_output=True, cwd=context.apps,
    )  # fmt: skip
    with runner(context.work / "other-data", str(file)) as server:
        said = re.search(r"checked whole in ([\d.]+) (m?s)", server.tail(60))
    if said is None:
        raise UserError("the runner does not say how long the check took.")
    return float(said[1]) * (1 if said[2] == "ms" else 1000)


def _shared(runner: type[Runner]) -> float:
    sizes = {"min_instances": INSTANCES, "max_instances": INSTANCES, "max_requests": 1_000_000}
    with runner(**sizes) as server:
        server.wait_for_snapshot()
    with runner(**sizes) as server:
        asked = [threading.Thread(target=once, args=(server.address, "/all")) for _ in range(INSTANCES)]
        for thread in asked:
            thread.start()
        for thread in asked:
            thread.join()
        return memory.of_all(server.instance_pids()).pss / BYTES_PER_MB


def checks(runs: list[Part]) -> list[Check]:
    """What snapshots must show."""

    def ratio(one: tuple[str, str], other: tuple[str, str]) -> float | None:
        return decide(runs, lambda part: stats.ratio(part.median(*one), part.median(*other)))

    slow = ratio((BASE, "3 seconds"), (INITIALISED, "3 seconds"))
    ready = ratio((BASE, "1 GB"), (BASE, "1 MB"))
    shared = decide(runs, lambda part: part.median(SHARED, "1 GB"))
    return [
        at_most("4. 3-second initialiser: base template and restore, at most 0.05 of fresh", slow, 0.05),
        at_most("4. 1 GB of arrays: ready in at most 1.3 x the same app's with 1 MB", ready, 1.3),
        at_most("4. 1 GB: fork at most 1.1 x with 1 MB", ratio((FORK, "1 GB"), (FORK, "1 MB")), 1.1),
        at_most("4. 1 GB: fork at most 1.1 x the hello app's", ratio((FORK, "1 GB"), (FORK, "flask")), 1.1),
        at_most(f"4. 1 GB: {INSTANCES} instances hold at most 1.5 GB together", shared, 1.5 * 1024),
    ]

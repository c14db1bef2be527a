"""Running processes/examine.py for one function and collecting what it tells."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from dataclasses import dataclass, field
from typing import Any

from snapfork.runner import interpreter
from snapfork.runner.cli import checks, flags, targets
from snapfork.runner.cli.overrides import function_overrides
from snapfork.runner.console import Console
from snapfork.runner.errors import UserError
from snapfork.runner.gateway.bases import (
    THREAD_VARIABLES,
    exec_time_variables,
    inherited_environment,
    soft_file_limit,
)
from snapfork.runner.kept.store import config_home, default_directory
from snapfork.runner.processes import boot
from snapfork.runner.serve_config import FunctionConfig
from snapfork.runner.wire import fds, frames


def config_of(
    target: str | None, app_dir: str, python: str | None, settings: dict[str, Any], console: Console
) -> FunctionConfig:
    """The one function of a command line. Raises UserError."""
    directory = checks.existing_directory("--app-dir", app_dir)
    named = [target] if target else checks.default_target(directory, [], console)
    (chosen,) = targets.resolve(named, [])
    return FunctionConfig(
        name=chosen.name,
        target=chosen.target,
        app_dir=directory,
        overrides=function_overrides(directory, chosen.name, flags.overrides(settings)),
        prefixes=chosen.prefixes,
        interpreter=interpreter.choose(directory, python, console.info),
    )


@dataclass
class Report:
    """What an examination brought to light; JSON-able by as_dict."""

    function: str
    target: str
    python: str
    mode: str = ""
    interface: str = ""
    lifespan: str = ""
    memory_bytes: int = 0
    stages: list[dict[str, Any]] = field(default_factory=list)
    findings: list[dict[str, Any]] = field(default_factory=list)
    skipped_warmup: list[int] = field(default_factory=list)
    warmup: list[dict[str, Any]] = field(default_factory=list)
    imports: list[dict[str, Any]] = field(default_factory=list)
    snapshot: dict[str, Any] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))


class Broken(UserError):
    """The app did not come up; with the traceback of its own code, if that is where it failed."""

    def __init__(self, sentence: str, traceback: str | None) -> None:
        super().__init__(sentence)
        self.traceback = traceback


def examine(config: FunctionConfig) -> Report:
    """Build the function's template as `runner serve` would and report. Raises Broken and UserError."""
    report = Report(config.name, config.target, config.interpreter.path)
    ready = run(config, {}, report)["ready"]
    report.mode, report.interface, report.lifespan = ready["mode"], ready["interface"], ready["lifespan"]
    report.target, report.memory_bytes = ready["target"], ready["rss"]
    report.findings += [*ready["findings"], *ready["noticed"]]
    report.warmup, report.imports = ready["warmup"], ready["imports"]
    report.snapshot = ready["snapshot"]
    return report


def run(config: FunctionConfig, work: dict[str, Any], report: Report, restore: str = "") -> dict[str, Any]:
    """Build the function's template, from the snapshot `restore` if one is named, and do `work` with it.

    Stages go into `report`; returned is the message that ended it, "ready" or "done". Raises Broken.
    """
    while True:
        order = order_of(config, report.skipped_warmup) | {"restore": restore}
        end = in_child(config, {"order": order, **work}, report.stages)
        if "failed" in end:
            raise Broken(end["failed"]["sentence"], end["failed"].get("traceback"))
        if "dirtied" not in end:
            return end
        # As in serving: the template is built again without the warm-up requests that left something.
        found = end["dirtied"].get("findings", [])
        report.findings += [one for one in found if one.get("request") is not None]
        report.skipped_warmup = sorted(end["dirtied"]["skip_warmup"])
        report.stages = []


def in_child(config: FunctionConfig, work: dict[str, Any], stages: list[dict[str, Any]]) -> dict[str, Any]:
    """Have the app's interpreter do `work` (see processes/boot.py); the message that ended it."""
    ours, theirs = fds.pair()
    life_read, life_write = os.pipe2(os.O_CLOEXEC)
    environment = inherited_environment() | exec_time_variables(config.overrides.get("env") or {})
    setup = {
        "control": theirs.fileno(),
        "life": life_read,
        "borrow": config.interpreter.borrow,
        "threads": {name: environment.get(name) for name in THREAD_VARIABLES},
        "nofile": soft_file_limit(),
        "access": 2,
        **work,
    }
    process = subprocess.Popen(
        [config.interpreter.path, "-P", boot.__file__, json.dumps(setup)],
        pass_fds=(theirs.fileno(), life_read),
        env=environment | dict.fromkeys(THREAD_VARIABLES, "1"),
        stdin=subprocess.DEVNULL,
    )
    theirs.close()
    os.close(life_read)
    try:
        return _listen(ours, stages)
    finally:
        ours.close()
        os.close(life_write)  # whatever the app left running ends here
        process.wait()


def _listen(sock: socket.socket, stages: list[dict[str, Any]]) -> dict[str, Any]:
    buffer = bytearray(fds.MAX_MESSAGE)
    view = memoryview(buffer)
    while True:
        size, received = fds.receive(sock, buffer)
        fds.close_all(received)
        if size == 0:
            last = stages[-1]["name"] if stages else "start"
            return {"failed": {"sentence": f"The process ended by itself after the stage '{last}'."}}
        message: dict[str, Any] = frames.unpack_json(view[:size])
        if "stage" in message:
            stages.append(message["stage"])
        elif message.keys() & {"ready", "failed", "dirtied", "done"}:
            return message


def order_of(config: FunctionConfig, skip: list[int]) -> dict[str, Any]:
    """An order as a template gets it, for a process that serves nobody."""
    routes = [{"host": host, "prefix": prefix, "function": config.name} for host, prefix in config.prefixes]
    return {
        "function": config.name,
        "target": config.target,
        "app_dir": config.app_dir,
        "overrides": config.overrides,
        "routes": routes,
        "skip_warmup": skip,
        "generation": 1,
        "trusted_proxies": ["127.0.0.1", "::1", "unix"],
        "access_log": "off",
        "boot_id": "doctor00",
        "keep": False,
        "forget": "",
        "elsewhere": False,
        "data_dir": default_directory(),
        "config_home": config_home(),
    }

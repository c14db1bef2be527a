"""The gateway's state as plain data, for the control API and the CLI."""

from __future__ import annotations

import os
import time
from collections import Counter
from typing import Any

from snapfork.runner.gateway import connection as states
from snapfork.runner.gateway.core import Core
from snapfork.runner.gateway.door import FrontDoor
from snapfork.runner.gateway.function import Function
from snapfork.runner.gateway.instances import LEAVING, STARTING, Instance
from snapfork.runner.processes.memory import rss_bytes
from snapfork.runner.wire.frames import SPAWN, START_NAMES


def status(core: Core, door: FrontDoor, functions: list[Function], control: dict[str, Any]) -> dict[str, Any]:
    """Everything `/status` shows; times in seconds, sizes in bytes."""
    count = Counter(conn.state for conn in door.connections)
    uptime = (core.clock() - core.started_ns) / 1e9
    return {
        "pid": os.getpid(),
        "version": core.config.version,
        "started_at": round(time.time() - uptime, 3),
        "uptime_s": round(uptime, 3),
        "listeners": core.config.urls,
        "cores": core.cores,
        "control": control,
        "connections": {
            "total": len(door.connections),
            "idle": count[states.IDLE] + count[states.NEW],
            "waiting": count[states.WAITING],
            "lent": count[states.LENT],
        },
        "errors": {str(code): number for code, number in sorted(door.answers.counts.items())},
        "functions": [_function(core, one) for one in functions],
    }


def _function(core: Core, function: Function) -> dict[str, Any]:
    pool, tally, config = function.pool, function.pool.tally, function.config
    meters = tally.gone.plus(pool.pages())
    return {
        "name": function.name,
        "deployed": config.unit is not None,
        "target": config.target,
        "interface": pool.interface,
        "generation": function.version,
        "mode": "spawn" if pool.mode == SPAWN else "fork",
        "python": config.interpreter.path,
        "app_dir": config.app_dir,
        "routes": [{"host": host, "prefix": prefix} for host, prefix in config.prefixes],
        "settings": {name: value for name, value in pool.settings.items() if name != "env"},
        "max_instances_effective": max(pool.limits.maximum, pool.ceiling),
        "template": _template(function),
        "snapshot": _snapshot(function),
        "instances": [_instance(core, one) for one in list(pool.instances.values())],
        "starts": {name: tally.starts[name] for name in START_NAMES},
        "start_seconds": {name: times.as_dict() for name, times in tally.start_times.items()},
        "requests": meters.requests,
        "responses": {f"{index + 1}xx": number for index, number in enumerate(meters.statuses)},
        "duration_seconds": meters.durations.as_dict(),
        "gateway_errors": {str(code): number for code, number in sorted(tally.errors.items())},
        "deaths": dict(tally.deaths),
        "queue": {"length": len(pool.queue), "wait_seconds": tally.queue_waits.as_dict()},
        "streams_cut": meters.cut,
        "log_lines_dropped": meters.log_drops,
        "trial": function.trial.figures,
        "provisioned": pool.wanted()._asdict(),
    }


def _template(function: Function) -> dict[str, Any]:
    template = function.template
    state = template.state if template is not None else "building"
    if function.resting or (function.config.unit is not None and function.building is template is None):
        return {"pid": None, "state": "retired", "error": function.last_error, "rss_bytes": 0, "stages": [],
                "ready_ms": round(function.ready_ms, 3), "findings": []}  # fmt: skip
    if function.building is not None:
        state = "building" if template is None else "rebuilding"
    elif function.last_error is not None:
        state = "failed"
    elif template is not None and function.pool.mode == SPAWN:
        state = "ready"  # it has told what it found and left: spawned instances come from the base
    alive = template is not None and template.alive
    return {
        "pid": template.pid if template is not None and alive else None,
        "state": state,
        "error": function.last_error,
        "rss_bytes": _resident(template.pid) if template is not None and alive else 0,
        "stages": template.stages if template is not None else [],
        "ready_ms": round(function.ready_ms, 3),
        "findings": template.report.get("findings", []) if template is not None else [],
    }


def _snapshot(function: Function) -> dict[str, Any]:
    """restored: of when, and what initialising had taken, or None. kept: None where that is not known yet."""
    found, kept = function.found, function.kept
    return {
        "restored": {"created": found["created"], "init_ms": found["init_ms"]} if found else None,
        "kept": bool(found) or (None if kept is None else not kept.refused),
        "refused": kept.refused if kept is not None else "",
    }


def _resident(pid: int) -> int:
    try:
        return rss_bytes(pid)
    except OSError:
        return 0  # it has just died


def _instance(core: Core, one: Instance) -> dict[str, Any]:
    if one.state == STARTING:
        state = "starting"
    elif one.state == LEAVING:
        state = "leaving"
    elif one.running:
        state = "busy"
    else:
        state = "spare" if one.fresh else "idle"
    return {
        "id": str(one.number),
        "pid": one.pid,
        "state": state,
        "start": START_NAMES[one.start],
        "generation": one.generation,
        "requests": one.requests,
        "busy": one.running,
        "loans": one.lent,
        "age_s": round((core.clock() - one.born_ns) / 1e9, 3),
    }

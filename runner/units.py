"""What the services tell the gateway of deployed functions: plain data that travels as JSON.

A unit is one version of a function as the gateway serves it; its name is "FUNCTION:VERSION". Putting a unit
again with another `revision` is a reload: the new template swaps in when it is ready, the old one's
instances drain. A unit that nobody has called has no template; the first request builds it and waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

UNIT_HEADER = b"x-snapfork-unit"
"""On the gateway's direct listener: the unit that a request is for. Nowhere else does it mean anything."""
INVOCATION_HEADER = b"x-snapfork-invocation"
"""On the direct listener: the invocation's context, JSON in ASCII (see invocations/model.py)."""
ERROR_HEADER = b"x-snapfork-error"
"""On answers of direct requests. By the gateway in the app's place: timeout, instance_died, out_of_memory,
too_many_requests, unavailable, start_failed, ... By an event handler's instance: "handled" or "unhandled";
the body is then the dialect's JSON of the error."""

OPT_VARIABLE = "SNAPFORK_OPT"
"""A function's layers, the one on top first, joined by ":": of its own environment and of its base's."""
RUN_HEADER = b"x-snapfork-run"
"""On answers of instances to direct requests, optional: JSON of how it was run, {"instance", "start",
"run_ms", "init_ms", "memory_mb"}, each optional; it spares the caller a question to the log process. Of an
instance that has died under its request the gateway tells it: also "began_ns", when the run began
(CLOCK_MONOTONIC), and "exit", how the process ended by itself ("exit status 3", "signal: aborted", or "")."""


@dataclass(frozen=True)
class Unit:
    """One version to serve.

    kind: "auto" (the attribute tells: a web app, or a function of (event, context)), "web", "event", or
    "handler": as "auto", but what does not show to be a web app is a handler, whatever its arguments' names.
    target: "module:attr". app_dir: the unpacked package. paths: directories of layers, behind app_dir on
    sys.path, the first wins. opt: what lies in /opt where the runner may mount: directories over one another,
    the first on top. overrides: settings, parsed, `env` among them. python, borrow: the interpreter
    (serve_config.Interpreter). environment: the whole environment of its processes before `env`; None: the
    runner's own. initializer, pre_stop: {"handler", "timeout"} or None. context: what a handler's context
    says of the function: {"dialect", "name", "version", "memory", "region", "account", "arn", "handler", ..}.
    minimum: provisioned instances. signer: the public key (hex) that a snapshot as `target` is signed
    with, the runner's own; its processes may be of a user who cannot read whom the runner trusts.
    """

    name: str
    revision: str
    target: str
    app_dir: str
    python: str
    python_version: str
    kind: str = "auto"
    borrow: tuple[str, ...] = ()
    paths: tuple[str, ...] = ()
    opt: tuple[str, ...] = ()
    overrides: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] | None = None
    initializer: dict[str, Any] | None = None
    pre_stop: dict[str, Any] | None = None
    context: dict[str, Any] = field(default_factory=dict)
    minimum: int = 0
    signer: str = ""

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))  # for JSON; `asdict` would copy all that is in it, for 0.3 ms

    @classmethod
    def of(cls, data: dict[str, Any]) -> Unit:
        """Inverse of `as_dict`, after JSON."""
        lists = {name: tuple(data[name]) for name in ("borrow", "paths", "opt")}
        return cls(**{**data, **lists})


@dataclass(frozen=True)
class UnitRoute:
    """Which units own what is below `prefix` of `host` (None: every host) on the serving port.

    choices: (unit, weight) pairs, weights sum to 1; drawn for every request, on kept connections too. None
    where nothing can be called, which is then said.
    auth: "none" or "signed"; a signed one goes to the services process for judgement. function: whose
    reserved concurrency it counts against, with `reserved` requests at a time (None: no limit).
    strip: whether the prefix is the app's SCRIPT_NAME/root_path (a mount) or stays part of its path (a route
    of a custom domain). methods: () for all. exact: only the path `prefix` itself is meant, nothing below it.
    cors: which pages of other origins may call it (policy/cors.py), "" where the function alone says that.
    """

    host: str | None
    prefix: str
    choices: tuple[tuple[str, float], ...]
    function: str
    auth: str = "none"
    reserved: int | None = None
    strip: bool = True
    methods: tuple[str, ...] = ()
    exact: bool = False
    cors: str = ""

    def as_dict(self) -> dict[str, Any]:
        return dict(vars(self))  # for JSON; `asdict` would copy all that is in it, for 0.3 ms

    @classmethod
    def of(cls, data: dict[str, Any]) -> UnitRoute:
        """Inverse of `as_dict`, after JSON."""
        choices = tuple((str(unit), float(weight)) for unit, weight in data["choices"])
        return cls(**{**data, "choices": choices, "methods": tuple(data["methods"])})

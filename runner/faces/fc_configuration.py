"""FC's function members <-> the runner's Configuration."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

from snapfork.runner.faces.fc_errors import invalid
from snapfork.runner.registry.defaults import DEFAULTS
from snapfork.runner.registry.model import Configuration, Hook

Members = Mapping[str, Any]

TIMEOUT = DEFAULTS["fc"].timeout
MEMORY = DEFAULTS["fc"].memory or 512
DISK = 512
CONCURRENCY = 1
HOOK_TIMEOUT = 3.0
PRE_STOP_LONGEST = 90

# Given back as they came, or with these values where nothing was said; the runner has no use for them.
KEPT: dict[str, Any] = {
    "cpu": None,
    "customRuntimeConfig": None,
    "diskSize": DISK,
    "disableInjectCredentials": None,
    "idleTimeout": None,
    "instanceIsolationMode": "SHARE",
    "internetAccess": True,
    "logConfig": None,
    "resourceGroupId": None,
    "role": "",
    "tracingConfig": None,
}
# What would change what the code sees, and is not there: refused rather than ignored.
ABSENT = {
    "customContainerConfig": "a container image",
    "customDNS": "a name server of one's own",
    "disableOndemand": "provisioned instances alone",
    "enableLongLiving": "long-living GPU instances",
    "gpuConfig": "a GPU",
    "juiceFsConfig": "a JuiceFS mount",
    "microSandboxConfig": "a micro sandbox",
    "nasConfig": "a NAS mount",
    "ossMountConfig": "an OSS mount",
    "polarFsConfig": "a PolarFS mount",
    "sessionAffinity": "session affinity",
    "vpcConfig": "a VPC",
}
NOTHING = {"sessionAffinity": "NONE"}

_PYTHON = re.compile(r"python3(?:\.\d{1,2})?")
_CUSTOM = re.compile(r"custom(?:\.debian1[0-9])?")
_TARGET = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*(?:\(\))?")


def created(members: Members) -> Configuration:
    """The Configuration of a CreateFunctionInput, every default filled in. Raises FcError."""
    empty = Configuration("", "", TIMEOUT, MEMORY, "fc", concurrency=CONCURRENCY)
    values = changes(members, empty)
    extra = {name: value for name, value in KEPT.items() if value is not None} | values["extra"]
    extra.setdefault("cpu", usual_cpu(int(values.get("memory", MEMORY))))
    return Configuration(
        **{
            "timeout": TIMEOUT,
            "memory": MEMORY,
            "concurrency": CONCURRENCY,
            "dialect": "fc",
            **values,
            "extra": extra,
        }
    )


def changes(members: Members, now: Configuration) -> dict[str, Any]:
    """The fields of `now` that an UpdateFunctionInput changes, `extra` always among them. Raises FcError."""
    for name, what in ABSENT.items():
        if _says_something(members.get(name), NOTHING.get(name)):
            raise invalid(f"{name} is not supported: this runner has not {what}.")
    extra = {**now.extra, **{name: members[name] for name in KEPT if members.get(name) is not None}}
    fields: dict[str, Any] = {"extra": extra}
    for name, field in (("description", "description"), ("environmentVariables", "env")):
        if members.get(name) is not None:
            fields[field] = members[name]
    for name, field in (("memorySize", "memory"), ("instanceConcurrency", "concurrency")):
        if members.get(name) is not None:
            fields[field] = int(members[name])
    if members.get("timeout") is not None:
        fields["timeout"] = float(members["timeout"])
    if members.get("layers") is not None:
        fields["layers"] = tuple(members["layers"])
    if members.get("runtime") is not None:
        fields["runtime"] = _runtime(members["runtime"])
    _place_cpu(members, int(fields.get("memory", now.memory or MEMORY)), extra)
    custom = is_custom(fields.get("runtime", now.runtime))
    fields |= _handler(members, extra, custom)
    if members.get("instanceLifecycleConfig") is not None:
        fields |= _hooks(members["instanceLifecycleConfig"], custom)
    return fields


def is_custom(runtime: str) -> bool:
    """Whether a runtime is one of FC's custom ones: a web app, not a handler."""
    return _CUSTOM.fullmatch(runtime) is not None


def usual_cpu(memory: int) -> float:
    """vCPUs for this much memory (MB) where none were asked for: 0.35 for 512 MB, as FC's own tool has it,
    and in that ratio for the rest, in steps of 0.05."""
    return min(16.0, max(0.05, math.ceil(memory / 512 * 7 - 1e-9) * 0.05))


def members_of(configuration: Configuration) -> dict[str, Any]:
    """A Configuration in FC's members; one that another dialect wrote shows what FC has words for."""
    extra = {name: configuration.extra.get(name, default) for name, default in KEPT.items()}
    members = {
        "runtime": configuration.runtime,
        "handler": configuration.extra.get("handler", configuration.handler),
        "description": configuration.description,
        "timeout": math.ceil(configuration.timeout),
        "memorySize": configuration.memory,
        "instanceConcurrency": configuration.concurrency,
        "environmentVariables": dict(configuration.env),
        "disableOndemand": False,
        "sessionAffinity": "NONE",
        "instanceLifecycleConfig": _lifecycle(configuration),
        **extra,
    }
    return {name: value for name, value in members.items() if value is not None}


def _runtime(name: str) -> str:
    if not _PYTHON.fullmatch(name) and not is_custom(name):
        raise invalid(f"Runtime '{name}' is not supported: this runner serves python3.* and custom runtimes.")
    return name


def _handler(members: Members, extra: dict[str, Any], custom: bool) -> dict[str, Any]:
    """For a custom runtime the app is what the start command names; FC's handler means nothing there."""
    handler = members.get("handler")
    config = members.get("customRuntimeConfig")
    if config is not None and not custom and config.get("command"):
        raise invalid("customRuntimeConfig.command is for custom runtimes.")
    words = [*(config or {}).get("command", ()), *(config or {}).get("args", ())]
    if words and custom:
        app = next((word for word in words if _TARGET.fullmatch(word)), None)
        if app is None:
            raise invalid(
                "customRuntimeConfig.command must name the app as module:attribute, as for gunicorn or"
                " uvicorn: this runner imports the app and needs no server started."
            )
        if handler is not None:
            extra["handler"] = handler
        return {"handler": app}
    if handler is None:
        return {}
    if not handler:
        raise invalid("handler must not be empty.")
    extra.pop("handler", None)
    return {"handler": handler}


def _place_cpu(members: Members, memory: int, extra: dict[str, Any]) -> None:
    """Between 1 and 4 GB of memory per vCPU; a memory that was changed alone brings its usual vCPUs."""
    cpu = extra.get("cpu")
    if cpu is None or 1 <= memory / 1024 / cpu <= 4:
        return
    if members.get("cpu") is None:
        extra["cpu"] = usual_cpu(memory)
        return
    raise invalid(
        f"The ratio of cpu ({cpu:g}) to memorySize ({memory} MB) must be between 1:1 and 1:4 in GB."
    )


def _hooks(config: Members, custom: bool) -> dict[str, Any]:
    return {
        "initializer": _hook(config, "initializer", custom, 300),
        "pre_stop": _hook(config, "preStop", custom, PRE_STOP_LONGEST),
    }


def _hook(config: Members, name: str, custom: bool, longest: int) -> Hook | None:
    hook = config.get(name)
    if hook is None:
        return None
    where = f"instanceLifecycleConfig.{name}"
    if hook.get("command"):
        if hook.get("handler"):
            raise invalid(f"{where} has both handler and command; only one of them can be.")
        raise invalid(f"{where}.command is not supported: name a handler.")
    timeout = hook.get("timeout")
    if timeout is not None and timeout > longest:
        raise invalid(f"{where}.timeout must be between 1 and {longest}, not {timeout}.")
    if custom:
        return Hook("", float(timeout or HOOK_TIMEOUT))
    return Hook(hook["handler"], float(timeout or HOOK_TIMEOUT)) if hook.get("handler") else None


def _lifecycle(configuration: Configuration) -> dict[str, Any] | None:
    hooks = {"initializer": configuration.initializer, "preStop": configuration.pre_stop}
    said = {
        name: {"handler": hook.handler, "timeout": math.ceil(hook.timeout)}
        for name, hook in hooks.items()
        if hook
    }
    return said or None


def _says_something(value: Any, nothing: Any = None) -> bool:
    """Whether a member asks for anything: tools send empty objects and lists for what is not wanted."""
    if isinstance(value, Mapping):
        return any(_says_something(item) for item in value.values())
    if isinstance(value, list):
        return any(_says_something(item) for item in value)
    return bool(value) and value != nothing

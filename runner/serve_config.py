"""What `runner serve` hands to the gateway: every choice made, every socket bound, nothing left to parse."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from typing import Any

from snapfork.runner.units import Unit


@dataclass
class Interpreter:
    """The Python that runs a function.

    path: absolute path of the executable. version: "3.11". reason: why it was chosen, for people.
    borrow: directories whose packages are lent to the app from behind its own path ([] when the app runs on
    the runner's own interpreter).
    """

    path: str
    version: str
    reason: str
    borrow: list[str] = field(default_factory=list)


@dataclass
class FunctionConfig:
    """One function to serve.

    target: "module:attr" as given. app_dir: absolute. overrides: settings of pyproject.toml and the command
    line, already validated. prefixes: (host or None, prefix) pairs; [(None, "")] is the whole listener.
    unit: what it was made from, where it is deployed.
    """

    name: str
    target: str
    app_dir: str
    overrides: dict[str, Any]
    prefixes: list[tuple[str | None, str]]
    interpreter: Interpreter
    unit: Unit | None = None

    @classmethod
    def of_unit(cls, unit: Unit) -> FunctionConfig:
        """A deployed one; its routes are the gateway's business."""
        python = Interpreter(unit.python, unit.python_version, "deployed", list(unit.borrow))
        return cls(unit.name, unit.target, unit.app_dir, unit.overrides, [], python, unit)


@dataclass
class ServeConfig:
    """One run of the gateway.

    listeners: bound, non-blocking, not yet listening unless inherited. urls: one per listener, for people.
    access_log: "text", "json" or "off". control: TCP address of the
    control API, or None for the Unix socket alone.
    runtime_dir: this runner's own directory, mode 0700. data_dir: where snapshots are kept; keeps_snapshots:
    whether it makes and uses its own.
    deployed: whether it serves deployed functions, too. user: (uid, gid, name) that these run as, None for
    the runner's own. template_memory: bytes that their templates may take, 0 for a quarter of the machine's.
    control_auth: "keys", or "none" where nobody must sign. region, account: as functions and ARNs show them.
    lesson: lines for people, told once it is known where "{control}" in them is.
    """

    functions: list[FunctionConfig]
    listeners: list[socket.socket]
    urls: list[str]
    reload: bool
    reload_dirs: list[str]
    trusted_proxies: list[str]
    access_log: str
    control: tuple[str, int] | None
    runtime_dir: str
    version: str
    data_dir: str
    keeps_snapshots: bool = True
    deployed: bool = False
    user: tuple[int, int, str] | None = None
    template_memory: int = 0
    control_auth: str = "keys"
    region: str = "us-east-1"
    account: str = "000000000000"
    lesson: list[str] = field(default_factory=list)

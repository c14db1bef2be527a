"""What the parts of one gateway share."""

from __future__ import annotations

import asyncio
import itertools
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from snapfork.runner.console import Console
from snapfork.runner.gateway.children import Watch
from snapfork.runner.gateway.instances import Instance
from snapfork.runner.policy.elastic import account_instances
from snapfork.runner.serve_config import ServeConfig
from snapfork.runner.wire import frames

if TYPE_CHECKING:
    from snapfork.runner.gateway.bases import Base
    from snapfork.runner.gateway.connection import Connection
    from snapfork.runner.gateway.templates import Template


class Child(Protocol):
    """A process that a base or a template forks, as the gateway hears of it."""

    def forked(self, pid: int, pidfd: int) -> None:
        """It exists now."""

    def died(self, frame: frames.DiedFrame) -> None:
        """Who forked it has reaped it."""


class Door(Protocol):
    """The side that faces the clients, as the pools see it."""

    def given_back(self, conn: Connection, how: int, clean: bool, leftover: bytes) -> None:
        """A connection came back from an instance."""

    def adopt(self, conn: Connection) -> None:
        """A connection is between requests and the gateway's again."""

    def answer(
        self,
        conn: Connection,
        status: int,
        message: str,
        request_id: str = "",
        code: str = "",
        extra: tuple[tuple[bytes, bytes], ...] = (),
    ) -> None:
        """Answer with an error of the gateway's own and end the connection."""

    def end(self, conn: Connection, clean: bool = False) -> None:
        """End a connection without a word."""

    def close(self, conn: Connection) -> None:
        """Forget a connection whose client has gone."""


@dataclass
class Core:
    """Shared by listener, pools and services: the loop, the clock (monotonic ns), counters and registries.

    epoch: counts the states of the table of routes. most: instances that all deployed functions may have.
    """

    loop: asyncio.AbstractEventLoop
    config: ServeConfig
    console: Console
    boot_id: str
    cores: int
    life_fd: int
    soft_files: int
    access_fd: int
    clock: Callable[[], int] = time.monotonic_ns
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    loan_ids: itertools.count[int] = field(default_factory=lambda: itertools.count(1))
    instances: dict[int, Instance] = field(default_factory=dict)
    templates: dict[int, Template] = field(default_factory=dict)
    others: dict[int, Child] = field(default_factory=dict)
    stocked: dict[tuple[Any, ...], Base] = field(default_factory=dict)
    bases: dict[tuple[Any, ...], Base] = field(default_factory=dict)
    watches: dict[int, Watch] = field(default_factory=dict)
    attach_log: Callable[[int, str, str, int], None] = lambda fd, function, instance, pid: None
    epoch: int = 0
    most: int = account_instances(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    stopping: bool = False
    started_ns: int = field(default_factory=time.monotonic_ns)

    def wall(self, moment_ns: int) -> float:
        """A moment of the clock as seconds since the epoch."""
        return round(time.time() - (self.clock() - moment_ns) / 1e9, 3)

"""Which base a template is forked from: one for each interpreter and environment, plain or stocked."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from snapfork.runner.gateway.bases import Base, OnFrame, deployed_variables, exec_time_variables
from snapfork.runner.serve_config import FunctionConfig
from snapfork.runner.units import Unit

if TYPE_CHECKING:
    from snapfork.runner.gateway.core import Core

FRAMEWORKS = (
    *("flask", "flask.json", "jinja2", "jinja2.ext", "werkzeug.debug", "werkzeug.wrappers"),
    *("django.core.wsgi", "django.core.asgi", "django.urls", "django.shortcuts", "django.middleware.common"),
    *("starlette.applications", "starlette.routing", "starlette.responses", "starlette.middleware.errors"),
    *("fastapi", "fastapi.responses", "pydantic", "pydantic_core"),
    *(
        "asyncio",
        "json",
        "logging",
        "datetime",
        "decimal",
        "uuid",
        "urllib.request",
        "http.client",
        "hashlib",
    ),
)
"""What deployed functions of the runner's own environment find imported, as far as it is installed."""

NO_ACCESS = -1
"""Deployed functions get no way to our own output: their access lines go through their log pipes."""
Key = tuple[Any, ...]


class Bases:
    """All bases of one gateway."""

    def __init__(self, core: Core, on_frame: OnFrame, on_death: Callable[[Base], None]) -> None:
        self._core = core
        self._on_frame = on_frame
        self._on_death = on_death

    def plain(self, config: FunctionConfig) -> Base:
        """A base with nothing of the user's in it."""
        return self._plain(self._key(config), config)

    def stocked(self, config: FunctionConfig, modules: list[str]) -> Base:
        """One that has `modules`, which a snapshot refers to."""
        stocked = self._stocked(("modules", *self._key(config)), config)
        stocked.take(modules)
        return stocked

    def with_frameworks(self, config: FunctionConfig) -> Base:
        """One for deployed functions that run on the runner's own packages."""
        stocked = self._stocked(("frameworks", *self._key(config)), config)
        stocked.take(list(FRAMEWORKS), freeze=True)
        return stocked

    def stock_ahead(self) -> None:
        """Have that base ready before the first function comes."""
        self.with_frameworks(_USUAL)

    def is_own(self, config: FunctionConfig) -> bool:
        """Whether a function runs on the runner's own interpreter and packages, with the machine's /opt."""
        own = config.interpreter.path == sys.executable and not config.interpreter.borrow
        return own and not self._opt(config)

    def tidy(self, configs: Iterable[FunctionConfig]) -> None:
        """Let go of bases of deployed functions' own environments and layers that none of `configs` needs."""
        core = self._core
        wanted = {self._key(one) for one in configs}
        tables: tuple[tuple[dict[Key, Base], int], ...] = ((core.stocked, 1), (core.bases, 0))
        for table, first in tables:
            for key, base in list(table.items()):
                special = sys.executable not in key or key[-1]
                if "deployed" in key and special and key[first:] not in wanted:
                    del table[key]
                    core.others = {number: one for number, one in core.others.items() if one is not base}
                    base.leave()

    def _key(self, config: FunctionConfig) -> Key:
        env = config.overrides.get("env") or {}
        unit = config.unit
        if unit is None or unit.environment is None:
            return (config.interpreter.path, tuple(sorted(exec_time_variables(env).items())))
        variables = deployed_variables({**unit.environment, **env})
        return (config.interpreter.path, tuple(sorted(variables.items())), "deployed", self._opt(config))

    def _opt(self, config: FunctionConfig) -> tuple[str, ...]:
        """What is mounted in /opt, which only a base that is root before it is a user can do."""
        return config.unit.opt if config.unit is not None and self._core.config.user else ()

    def _plain(self, key: Key, config: FunctionConfig) -> Base:
        core = self._core
        base = core.bases.get(key)
        if base is None or not base.alive:
            deployed = "deployed" in key
            base = core.bases[key] = Base.execute(
                core.loop,
                config.interpreter,
                dict(key[1]),
                core.life_fd,
                core.soft_files,
                NO_ACCESS if deployed else core.access_fd,
                self._on_frame,
                self._on_death,
                deployed,
                core.config.user if deployed else None,
                self._opt(config) if deployed else (),
            )
        return base

    def _stocked(self, key: Key, config: FunctionConfig) -> Base:
        core = self._core
        stocked = core.stocked.get(key)
        if stocked is None or not stocked.alive:
            number = next(core.numbers)
            plain = self._plain(key[1:], config)
            stocked = core.others[number] = core.stocked[key] = plain.fork_stocked(number)
        return stocked


_USUAL = FunctionConfig.of_unit(Unit("", "", "", "/", sys.executable, "", environment={}))

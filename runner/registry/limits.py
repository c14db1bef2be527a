"""Operations on what bounds and keeps ready: concurrency, invocation switch, async and provision configs."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from dataclasses import replace
from typing import Any

from snapfork.runner.policy.elastic import account_instances
from snapfork.runner.registry import names, provisioning
from snapfork.runner.registry.core import Core, Gateway, page
from snapfork.runner.registry.defaults import async_defaults
from snapfork.runner.registry.errors import Invalid, LimitExceeded, NotFound
from snapfork.runner.registry.model import AsyncConfig, Function, ProvisionConfig

LONGEST_AGE = 2_592_000.0
MOST_RETRIES = 8
MOST_INSTANCES = 10_000
CONCURRENCY = account_instances(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
"""Of the account, as both services have it; reservations may not take the last UNRESERVED of it."""
UNRESERVED = 100


class LimitOperations(Core, ABC):
    """See `Operations`."""

    gateway: Gateway
    _targets: dict[tuple[str, str], int]

    # -- concurrency ------------------------------------------------------------------------------------

    async def set_reserved(self, name: str, reserved: int | None) -> Function:
        """Cap a function's concurrency, its units together; 0 stops it, None takes the cap away."""
        async with self._changing:
            function = self.function(name)
            if reserved is not None:
                if reserved < 0:
                    raise Invalid("Reserved concurrency is at least 0.", "reserved")
                others = sum(one.reserved or 0 for one in self.image.functions() if one.name != name)
                if others + reserved > CONCURRENCY - UNRESERVED:
                    raise LimitExceeded(
                        f"Reservations may not leave less than {UNRESERVED} of {CONCURRENCY}.", "concurrency"
                    )
            changed = replace(function, reserved=reserved)
            await self.commit([changed], about=[("function", name)])
        await self.settle()
        return changed

    def get_reserved(self, name: str) -> int | None:
        return self.function(name).reserved

    def list_reserved(self, name: str = "", start: str = "", limit: int = 50) -> tuple[list[Function], str]:
        """Functions that have a reservation."""
        found = [one for one in self.image.functions() if one.reserved is not None and name in ("", one.name)]
        return page(found, lambda one: one.name, start, limit)

    async def set_disabled(self, name: str, reason: str | None) -> Function:
        """Switch a function's invocation off, with a reason ("" is one), or with None on again."""
        async with self._changing:
            changed = replace(self.function(name), disabled=reason)
            await self.commit([changed], about=[("function", name)])
        await self.settle()
        return changed

    # -- asynchronous invocation ------------------------------------------------------------------------

    async def set_async(self, config: AsyncConfig) -> AsyncConfig:
        """Put a qualifier's config in the place of what it had; `created` and `modified` are filled in."""
        if not 0 <= config.retries <= MOST_RETRIES:
            raise Invalid(f"Retries are from 0 to {MOST_RETRIES}.", "retries")
        if config.max_age is not None and not 1 <= config.max_age <= LONGEST_AGE:
            raise Invalid(f"The maximum age is from 1 to {LONGEST_AGE:.0f} seconds.", "max_age")
        async with self._changing:
            kept = self.check_qualifier(config.function, config.qualifier)
            before = self.image.get(AsyncConfig, config.function, kept)
            now = self.clock()
            config = replace(config, qualifier=kept, created=before.created if before else now, modified=now)
            await self.commit([config], about=[("function", config.function)])
        return config

    def get_async(self, name: str, qualifier: str = "") -> AsyncConfig:
        """What was set. Raises NotFound (kind "async_config") where nothing was."""
        kept = self.check_qualifier(name, qualifier)
        found = self.image.get(AsyncConfig, name, kept)
        if found is None:
            raise NotFound(
                f"Function {name} has no async config for {kept or 'LATEST'}.", "async_config", name
            )
        return found

    def list_async(self, name: str = "", start: str = "", limit: int = 50) -> tuple[list[AsyncConfig], str]:
        """Of a function, or of all."""
        if name:
            self.function(name)
        found = self.image.of(AsyncConfig, name) if name else self.image.all(AsyncConfig)
        return page(found, lambda one: f"{one.function}:{one.qualifier}", start, limit)

    async def delete_async(self, name: str, qualifier: str = "") -> None:
        """Raises NotFound."""
        async with self._changing:
            await self.commit([], [self.get_async(name, qualifier)], [("function", name)])

    def async_policy(self, name: str, qualifier: str = "") -> AsyncConfig:
        """How asynchronous invocations go: as set, or as where the function was created. From memory."""
        kept = names.qualifier(qualifier)
        found = self.image.get(AsyncConfig, name, kept)
        return found or async_defaults(self.function(name).dialect, name, kept)

    # -- provisioned instances --------------------------------------------------------------------------

    async def set_provision(self, config: ProvisionConfig) -> ProvisionConfig:
        """Keep instances of a version or alias ready. Raises Invalid for policies that cannot be."""
        if not 0 <= config.target <= MOST_INSTANCES:
            raise Invalid(f"Provisioned instances are from 0 to {MOST_INSTANCES}.", "target")
        provisioning.check(config)
        async with self._changing:
            kept = self.check_qualifier(config.function, config.qualifier)
            config = replace(config, qualifier=kept, modified=self.clock())
            await self.commit([config], about=[("function", config.function)])
            self._targets.pop((config.function, kept), None)
        await self.reprovision()
        await self.settle()
        return config

    async def get_provision(self, name: str, qualifier: str) -> tuple[ProvisionConfig, int, str, str]:
        """(config, instances that are ready, "IN_PROGRESS" | "READY" | "FAILED", why it failed).

        Raises NotFound (kind "provision_config").
        """
        config = self._provision(name, qualifier)
        return (config, *self._provision_state(config, await self.gateway.status()))

    async def list_provision(
        self, name: str = "", start: str = "", limit: int = 50
    ) -> tuple[list[tuple[ProvisionConfig, int, str, str]], str]:
        """As `get_provision`, of a function or of all."""
        if name:
            self.function(name)
        found = self.image.of(ProvisionConfig, name) if name else self.image.all(ProvisionConfig)
        chosen, after = page(found, lambda one: f"{one.function}:{one.qualifier}", start, limit)
        status = await self.gateway.status() if chosen else {}
        return [(one, *self._provision_state(one, status)) for one in chosen], after

    async def delete_provision(self, name: str, qualifier: str) -> None:
        """Raises NotFound."""
        async with self._changing:
            gone = self._provision(name, qualifier)
            await self.commit([], [gone], [("function", name)])
            self._targets.pop((name, gone.qualifier), None)
        await self.settle()

    def provision_target(self, config: ProvisionConfig) -> int:
        """What its policies ask for now; without any in force, its default."""
        return self._targets.get((config.function, config.qualifier), config.target)

    def shares(self, config: ProvisionConfig) -> dict[str, int]:
        """How many instances each version is to have for a config: an alias's by their weights."""
        target = self.provision_target(config)
        return provisioning.shares(target, self.choices(config.function, config.qualifier))

    @abstractmethod
    async def reprovision(self) -> None:
        """Have policies evaluated now."""

    @abstractmethod
    def choices(self, name: str, qualifier: str) -> list[tuple[str, float]]:
        """The versions that a qualifier means, with their shares of requests."""

    def _provision(self, name: str, qualifier: str) -> ProvisionConfig:
        kept = self.check_qualifier(name, qualifier)
        found = self.image.get(ProvisionConfig, name, kept)
        if found is None:
            raise NotFound(
                f"Function {name} has no provisioned instances for {kept or 'LATEST'}.",
                "provision_config",
                name,
            )
        return found

    def _provision_state(
        self, config: ProvisionConfig, status: dict[str, dict[str, Any]]
    ) -> tuple[int, str, str]:
        ready, wanted, reason = 0, 0, ""
        for version, share in self.shares(config).items():
            about = status.get(names.unit(config.function, version), {})
            wanted += share
            ready += min(share, int(about.get("ready") or 0))
            if about.get("state") == "failed":
                reason = str(about.get("error") or "The function does not start.")
        state = "READY" if ready >= wanted else "FAILED" if reason else "IN_PROGRESS"
        return ready, state, reason if state == "FAILED" else ""

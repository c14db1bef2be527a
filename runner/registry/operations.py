"""Everything that can be done with functions: one set of operations, over which both API dialects are faces.

    functions.py  create, update, get, list, delete, publish, versions, code
    aliases.py    alias_*
    limits.py     set_reserved, set_disabled, *_async, *_provision
    addresses.py  *_url, trigger_*, domain_*
    layers.py     layer_*
    labels.py     tag, untag, tags, statement_*

A change is checked against the registry in memory, written, shown in memory, told to subscribers, and then
followed by the gateway (reconciler.py). All methods belong to one event loop; those that are not `async`
answer from memory. Errors are those of errors.py.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from typing import Any

from snapfork.runner.registry import names
from snapfork.runner.registry.addresses import AddressOperations
from snapfork.runner.registry.aliases import AliasOperations
from snapfork.runner.registry.core import Core, Gateway, Site
from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.functions import FunctionOperations
from snapfork.runner.registry.http_addresses import Addresses, HttpOwner
from snapfork.runner.registry.labels import LabelOperations
from snapfork.runner.registry.layers import LayerOperations
from snapfork.runner.registry.limits import LimitOperations
from snapfork.runner.registry.model import LATEST, Resolved
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.provisioner import Provisioner
from snapfork.runner.registry.reconciler import Reconciler
from snapfork.runner.registry.starts import Starts
from snapfork.runner.registry.store import Store
from snapfork.runner.registry.sweeping import Sweeping
from snapfork.runner.registry.units import Deduction

__all__ = ["Gateway", "Operations", "Site"]


class Operations(
    FunctionOperations,
    AliasOperations,
    LimitOperations,
    AddressOperations,
    LayerOperations,
    LabelOperations,
    Sweeping,
):
    """See the module. `start` before use, `close` at the end.

    `clock`: seconds since the epoch. `sleep`: as asyncio's; what the provisioning policy waits with.
    `starts` tries new code; without it a version is active as soon as its packages are there.
    """

    def __init__(
        self,
        store: Store,
        packages: Packages,
        environments: Environments,
        gateway: Gateway,
        site: Site | None = None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        starts: Starts | None = None,
    ) -> None:
        Core.__init__(self, store, clock)
        self.packages = packages
        self.environments = environments
        self.gateway = gateway
        self.site = site or Site()
        self._starts = starts
        self._builds = {}
        self._progress = {}
        self._targets = {}
        self._unused = set()
        self.deduction = Deduction(self, self.site)
        self.addresses = Addresses(self, self.site.region)
        self.reconciler = Reconciler(self.deduction, self.addresses, gateway, self.site)
        self._sleep = sleep
        self._provisioner = Provisioner(self, sleep)
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Let go of what nothing refers to, tell the gateway everything, take up what was pending."""
        await self.sweep()
        self.reconciler.start()
        lasting = (self._provisioner.run(), self.sweep_for_ever(self._sleep))
        self._tasks = [asyncio.create_task(one) for one in lasting]
        for function in self.image.functions():
            self._continue(function.name)
            self._restore(function.name)
        await self.settle()

    async def close(self) -> None:
        """Stop following; the gateway keeps what it has."""
        tasks = [*self._tasks, *self._builds.values()]
        for task in tasks:
            task.cancel()
        for task in tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self.reconciler.close()

    async def settle(self) -> None:
        await self.reconciler.follow()

    async def reprovision(self) -> None:
        with contextlib.suppress(Exception):  # the gateway does not answer; there is another time in a minute
            await self._provisioner.step()

    async def resync(self) -> None:
        """The gateway has forgotten what it was told (it was restarted): tell it everything again."""
        self.reconciler.forget()
        await self.settle()

    # -- the request path: from memory, microseconds ----------------------------------------------------

    def resolve(self, name: str, qualifier: str = "", draw: Callable[[], float] | None = None) -> Resolved:
        """What a request of NAME:QUALIFIER is to run. Raises NotFound of function, version or alias.

        `draw` gives a number from 0 to below 1, by which an alias's weights decide. A version whose `serving`
        is "" (state "pending" or "failed") is known and cannot be run; `function.disabled` and `reserved` are
        for the caller to heed.
        """
        function = self.function(name)
        kept = names.qualifier(qualifier)
        if not kept or kept.isdigit():
            version = self.version(name, kept or LATEST)
            return Resolved(function, version, kept, names.unit(name, version.version))
        alias = self.alias(name, kept)
        number = alias.version
        if alias.weights and draw is not None:
            point = draw()
            for other, weight in alias.weights.items():
                if point < weight:
                    number = other
                    break
                point -= weight
        return Resolved(function, self.version(name, number), kept, names.unit(name, number), alias)

    def unit_names(self, name: str) -> list[str]:
        """The gateway's names of a function's versions."""
        return [names.unit(name, one.version) for one in self.versions(name, limit=1 << 30)[0]]

    def choices(self, name: str, qualifier: str) -> list[tuple[str, float]]:
        """The versions that a qualifier means, with their shares of requests, which sum to 1."""
        kept = names.qualifier(qualifier)
        if not kept or kept.isdigit():
            return [(kept or LATEST, 1.0)]
        alias = self.alias(name, kept)
        others = [(number, float(weight)) for number, weight in alias.weights.items() if weight > 0]
        rest = 1.0 - sum(weight for _, weight in others)
        return [(alias.version, rest), *others] if rest > 0 else others

    def http_owner(self, host: str, path: str, method: str = "GET") -> HttpOwner | None:
        """Whose a request to the serving port is, for those who judge it; None if no deployed function's."""
        return self.addresses.owner(host, path, method)

    async def instances(self, name: str, qualifier: str = "") -> list[dict[str, Any]]:
        """Live instances of a function, or of what a qualifier means: the gateway's {number, pid, state,
        started, requests} with "version"."""
        if qualifier:
            versions = [version for version, _ in self.choices(name, self.check_qualifier(name, qualifier))]
        else:
            versions = [one.version for one in self.versions(name, limit=1 << 30)[0]]
        status = await self.gateway.status()
        return [
            {**instance, "version": version}
            for version in versions
            for instance in status.get(names.unit(name, version), {}).get("instances", ())
        ]

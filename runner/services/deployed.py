"""The parts that serve deployed functions, put together: registry, queue, triggers, faces, telemetry."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from snapfork.runner.faces import app as faces
from snapfork.runner.faces.auth import Auth
from snapfork.runner.faces.native import NativeFace
from snapfork.runner.faces.native_calls import CallEndpoints
from snapfork.runner.faces.native_functions import FunctionEndpoints
from snapfork.runner.invocations.dispatcher import Place
from snapfork.runner.invocations.service import Invocations
from snapfork.runner.registry.core import Site
from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.keys import Keys
from snapfork.runner.registry.operations import Operations
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.places import User, places
from snapfork.runner.registry.starts import Starts
from snapfork.runner.registry.store import Store
from snapfork.runner.services.addresses import Places
from snapfork.runner.services.judge import Judge
from snapfork.runner.services.link import GatewayLink
from snapfork.runner.services.units import GatewayUnits
from snapfork.runner.telemetry import desk
from snapfork.runner.telemetry.service import Telemetry
from snapfork.runner.telemetry.store import FILE
from snapfork.runner.triggers import events
from snapfork.runner.triggers.service import Triggers
from starlette.types import ASGIApp


@dataclass
class DeployedServices:
    """What runs beside the control API where functions are deployed."""

    operations: Operations
    invocations: Invocations
    triggers: Triggers
    telemetry: Telemetry
    keys: Keys
    auth: Auth
    where: Places
    site: Site
    store: Store

    @classmethod
    async def start(cls, setup: dict[str, Any], link: GatewayLink) -> DeployedServices:
        """Open what is in the data directory and have the gateway follow it.

        Raises UserError in one sentence where the data directory cannot be used.
        """
        data_dir, runtime_dir = Path(setup["data_dir"]), Path(setup["runtime_dir"])
        user = setup.get("user")
        site = Site(setup["region"], setup["account"])
        place = places(data_dir, User(user[0], user[1]) if user else None)
        store = Store(data_dir)
        keys = Keys(data_dir)
        auth = Auth(None if setup["control_auth"] == "none" else keys)
        gateway = GatewayUnits(link)
        operations = Operations(
            store, Packages(place), Environments(place), gateway, site, starts=Starts(gateway)
        )
        telemetry = Telemetry(desk.LogDesk(str(runtime_dir / desk.SOCKET)), str(data_dir / FILE))
        invocations = await Invocations.open(
            data_dir, runtime_dir, operations, gateway, telemetry, place=Place(site.region, site.account)
        )
        link.subscribe("unit", invocations.unit_event)
        link.subscribe("unit", operations.unit_event)
        Judge(link, operations, auth)
        await operations.start()
        await invocations.begin()
        triggers = await Triggers.start(
            data_dir, operations, invocations.queue, site=events.Site(site.region, site.account)
        )
        where = Places(operations, site, setup["urls"])
        return cls(operations, invocations, triggers, telemetry, keys, auth, where, site, store)

    def face(self, control: ASGIApp) -> ASGIApp:
        """All APIs on one listener; `control` answers what is none of theirs."""
        native = NativeFace(
            self.auth,
            [
                *FunctionEndpoints(self.operations, self.where.of).endpoints(),
                *CallEndpoints(
                    self.operations,
                    self.invocations.invoker,
                    self.invocations.queue,
                    self.keys,
                    self.telemetry,
                ).endpoints(),
            ],
        )
        return faces.build(
            self.operations,
            self.invocations.invoker,
            self.invocations.queue,
            self.auth,
            faces.Addresses(self.where.lambda_url, self.where.fc_url),
            control,
            site=self.site,
            more={b"v1": native},
        )

    async def stop(self) -> None:
        """End in order; what still runs is taken up after the next start."""
        await self.triggers.stop()
        await self.invocations.end()
        await self.operations.close()
        await self.invocations.close()
        self.telemetry.close()
        await asyncio.to_thread(self.store.close)

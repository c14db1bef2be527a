"""A gateway in miniature with an ASGI instance."""

from __future__ import annotations

import asyncio
from typing import Any

from asgiserved import make_served
from minigateway import Client, MiniGateway
from snapfork.runner.processes import asgi_loop
from snapfork.runner.processes.lifespan import Lifespan
from snapfork.runner.processes.link import Link

__all__ = ["Client", "Lender"]


class Lender(MiniGateway):
    """`options` are settings, and what else `make_served` takes."""

    def __init__(
        self, app: Any, *, unix: bool = False, lifespan: bool = False, uvloop: bool = True, **options: Any
    ) -> None:
        def serve(link: Link) -> None:
            served = make_served(app, link.page, **options)
            loop = None if uvloop else asyncio.new_event_loop()
            asgi_loop.run(served, link, None, Lifespan(app, served.state) if lifespan else None, loop)

        super().__init__(serve, unix=unix)

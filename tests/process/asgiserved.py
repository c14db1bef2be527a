"""What an instance knows, for tests of the ASGI loop."""

from __future__ import annotations

from typing import Any

from snapfork.runner.http.forwarded import Trusted
from snapfork.runner.http.routes import Routes
from snapfork.runner.processes.access import AccessLog
from snapfork.runner.processes.ledger import Ledger
from snapfork.runner.processes.serving import Served
from snapfork.runner.wire.page import Page

WHOLE = [{"host": None, "prefix": "", "function": "app"}]


def make_served(
    app: Any,
    page: Page,
    *,
    routes: list[dict[str, Any]] = WHOLE,
    ledger: Ledger | None = None,
    **settings: Any,
) -> Served:
    """`settings` are merged into the defaults."""
    merged = {
        "concurrency": 32,
        "timeout": 60.0,
        "head_size": 65536,
        "max_body": None,
        "max_requests": None,
        "drain_timeout": 30.0,
    } | settings
    return Served(
        app=app,
        interface="asgi",
        settings=merged,
        function="app",
        routes=Routes(routes),
        trusted=Trusted(["127.0.0.1", "::1", "unix"]),
        access=AccessLog(),
        boot_id="0123abcd",
        page=page,
        state={"kept": 1},
        ledger=ledger,
    )

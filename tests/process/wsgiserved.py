"""A gateway in miniature with a WSGI instance, for tests of the WSGI loops."""

from __future__ import annotations

import os
from typing import Any

from minigateway import MiniGateway
from snapfork.runner.http.forwarded import Trusted
from snapfork.runner.http.routes import Routes
from snapfork.runner.processes import wsgi_loop, wsgi_threads
from snapfork.runner.processes.access import AccessLog
from snapfork.runner.processes.ledger import Ledger
from snapfork.runner.processes.link import Link
from snapfork.runner.processes.serving import Served

WHOLE = [{"host": None, "prefix": "", "function": "app"}]
SETTINGS = {
    "concurrency": 1,
    "timeout": 60.0,
    "head_size": 65536,
    "max_body": None,
    "max_requests": None,
    "drain_timeout": 30.0,
}


def make_served(
    app: Any,
    *,
    routes: list[dict[str, Any]] = WHOLE,
    access: AccessLog | None = None,
    trusted: tuple[str, ...] = ("127.0.0.1", "unix"),
    ledger: Ledger | None = None,
    **settings: Any,
) -> Served:
    """`settings` are merged into the defaults."""
    return Served(
        app=app,
        interface="wsgi",
        settings=SETTINGS | settings,
        function="app",
        routes=Routes(routes),
        trusted=Trusted(trusted),
        access=access or AccessLog(),
        boot_id="0123abcd",
        ledger=ledger,
    )


class WsgiGateway(MiniGateway):
    """`options` as `make_served` takes them. `log` says what the instance wrote to its access log."""

    def __init__(self, app: Any, *, unix: bool = False, mode: str = "text", **options: Any) -> None:
        self._log = os.memfd_create("access", os.MFD_CLOEXEC)
        served = make_served(app, access=AccessLog(self._log, mode, "app"), **options)
        loop = wsgi_loop if served.settings["concurrency"] == 1 else wsgi_threads

        def serve(link: Link) -> None:
            loop.run(served, link, None)

        super().__init__(serve, unix=unix)

    def log(self) -> str:
        """All access lines so far."""
        return os.pread(self._log, 1 << 20, 0).decode()

"""What a process that serves requests knows about its function."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from snapfork.adapter import calls
from snapfork.runner.http.answers import request_id_for
from snapfork.runner.http.forwarded import Trusted
from snapfork.runner.http.routes import Routes
from snapfork.runner.processes.access import AccessLog
from snapfork.runner.units import UNIT_HEADER

if TYPE_CHECKING:
    from snapfork.runner.http.head import Head
    from snapfork.runner.processes.ledger import Ledger
    from snapfork.runner.processes.link import Loan
    from snapfork.runner.processes.load import Loaded
    from snapfork.runner.wire.page import Page

current_request_id: ContextVar[str] = ContextVar("snapfork_request_id", default="-")
"""The id of the request whose code is running; "-" outside of any."""


class Served:
    """One function as its instances serve it.

    interface: "wsgi" or "asgi". settings: all resolved settings. routes: the listener's whole table; `sole`
    says that this function has every host and path of it. state: what an ASGI lifespan filled. ledger: where
    requests are written down, None where nobody wants it.
    """

    __slots__ = (
        "access",
        "app",
        "boot_id",
        "function",
        "interface",
        "ledger",
        "page",
        "routes",
        "settings",
        "sole",
        "state",
        "trusted",
    )

    def __init__(
        self,
        app: Any,
        interface: str,
        settings: dict[str, Any],
        function: str,
        routes: Routes,
        trusted: Trusted,
        access: AccessLog,
        boot_id: str,
        page: Page | None = None,
        state: dict[str, Any] | None = None,
        ledger: Ledger | None = None,
    ) -> None:
        self.app = app
        self.interface = interface
        self.settings = settings
        self.function = function
        self.routes = routes
        self.sole = routes.sole
        self.trusted = trusted
        self.access = access
        self.boot_id = boot_id
        self.page = page
        self.state = {} if state is None else state
        self.ledger = ledger


def mount(served: Served, loan: Loan, head: Head) -> str | None:
    """Where the app is mounted for this request, None if the request is not for it: the loan goes back."""
    if loan.direct:
        return "" if head.find(UNIT_HEADER) == served.function.encode() else None
    if loan.place is not None:
        return loan.place.mount(head.host, head.path)
    route = served.routes.match(head.host, head.path)
    return route.prefix if route is not None and route.function == served.function else None


def request_id(served: Served, loan: Loan) -> str:
    """The id of the request that `loan` is about to serve (`loan.requests` have been served before it)."""
    return request_id_for(served.boot_id, loan.id, loan.seq + loan.requests)


def make_served(loaded: Loaded, order: dict[str, Any]) -> Served:
    """What an order says about the app that was loaded for it; requests of the runner's own are not logged,
    so the access log is "off" until an instance serves clients."""
    name = order["function"]
    return Served(
        app=calls.plain(loaded.app),
        interface=loaded.interface,
        settings=loaded.settings,
        function=name,
        routes=Routes(order["routes"]),
        trusted=Trusted(order["trusted_proxies"]),
        access=AccessLog(order["setup"]["access"], "off", name),
        boot_id=order["boot_id"],
    )

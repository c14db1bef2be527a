"""Requests of ASGI apps that are written down: those of deployed functions, and direct ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snapfork.runner.policy.cors import PREFIX
from snapfork.runner.processes.asgi_exchange import Exchange
from snapfork.runner.processes.asgi_host import Host
from snapfork.runner.processes.ledger import Account, Ledger, error_of
from snapfork.runner.units import RUN_HEADER

_CORS = PREFIX.encode()
if TYPE_CHECKING:
    from snapfork.runner.processes.asgi_host import Open


class NotedExchange(Exchange):
    """A request and its response; see `Exchange`."""

    __slots__ = ()

    def _announce(self, size: int) -> None:
        super()._announce(size)
        assert isinstance(self.host, NotedHost)
        self.host.ledger.bracket(self.host.accounts[self])

    def _send_start(self, status: int, headers: Any) -> None:
        place = self.conn.loan.place
        if place is not None and place.fields:  # the address says it, not the app
            headers = [one for one in headers if not one[0].lower().startswith(_CORS)]
        super()._send_start(status, headers)

    def _own_fields(self, replaced: int) -> bytes:
        fields, place = super()._own_fields(replaced), self.conn.loan.place
        if place is not None:
            fields += place.fields.encode("latin-1")
        if not self.conn.loan.direct:
            return fields
        assert isinstance(self.host, NotedHost)
        told = self.host.ledger.run_header(self.host.accounts[self])
        return fields + b"%b: %b\r\n" % (RUN_HEADER, told.encode())


class NotedHost(Host):
    """What the connections of an instance share; each request or WebSocket has an account while it runs."""

    exchange_class = NotedExchange

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        ledger = self.served.ledger
        assert ledger is not None
        self.ledger: Ledger = ledger
        self.accounts: dict[Any, Account] = {}

    def begin(self, entry: Open) -> None:
        entry.asked_ns = entry.started_ns  # of deployed functions the timeout counts the run alone
        invocation = entry.scope.get("snapfork.invocation") if isinstance(entry, Exchange) else None
        self.accounts[entry] = self.ledger.begin(entry.request_id, invocation, entry.loan, entry.started_ns)
        super().begin(entry)

    def finished(self, entry: Open, status: int, duration_ns: int) -> None:
        super().finished(entry, status, duration_ns)
        account = self.accounts.pop(entry, None)
        if account is not None:
            self.ledger.end(account, status, _error(entry, account, status))


def _error(entry: Open, account: Account, status: int) -> str:
    if isinstance(entry, Exchange) and entry.cancelled and status == 504:
        return "timeout"
    return "" if account.invocation is None else error_of(account.invocation, status)

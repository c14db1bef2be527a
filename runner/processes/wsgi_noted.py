"""WSGI conversations whose requests are written down: those of deployed functions, and direct ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snapfork.runner.policy.cors import PREFIX
from snapfork.runner.processes.ledger import Ledger, error_of, invocation_of, is_name
from snapfork.runner.processes.life import end_users_fork
from snapfork.runner.processes.wsgi_conversation import Conversation
from snapfork.runner.processes.wsgi_response import Response
from snapfork.runner.units import RUN_HEADER

if TYPE_CHECKING:
    from snapfork.runner.http.head import Head

_RUN = RUN_HEADER.decode()


class NotedResponse(Response):
    """A response that tells the services process how it was run. ruled: the address says what pages of other
    origins may do, and what the app says of it counts no more."""

    __slots__ = ("ruled", "teller")

    ruled: bool
    teller: Noted | None

    def start_response(self, status: str, headers: Any, exc_info: Any = None) -> Any:
        if self.ruled:
            headers = [one for one in headers if not str(one[0]).lower().startswith(PREFIX)]
        if self.teller is not None:
            headers = [*headers, (_RUN, self.teller.ledger.run_header(self.teller.account))]
        return super().start_response(status, headers, exc_info)


class Noted(Conversation):
    """Serves a loan; see `Conversation`."""

    __slots__ = ()
    response_class = NotedResponse
    own_time = True

    @property
    def ledger(self) -> Ledger:
        """There is one, else this class would not be in use."""
        ledger = self.served.ledger
        assert ledger is not None
        return ledger

    def _start(self, head: Head) -> None:
        self.invocation = invocation_of(head) if self.loan.direct else None
        self.response = self.environ = None
        super()._start(head)
        self.account = self.ledger.begin(self.request_id, self.invocation, self.loan, self.started_ns)

    def _own_headers(self, start: str) -> bytes:
        own, place = super()._own_headers(start), self.loan.place
        return own + place.fields.encode("latin-1") if place is not None else own

    def _name(self, head: Head) -> str:
        name = self.invocation.get("id") if self.invocation is not None else None
        return name if isinstance(name, str) and is_name(name) else super()._name(head)

    def _call(self, environ: dict[str, Any], response: Response) -> bool:
        assert isinstance(response, NotedResponse)
        self.environ, self.response = environ, response
        response.teller = None
        response.ruled = self.loan.place is not None and bool(self.loan.place.fields)
        if self.invocation is not None:
            environ["snapfork.invocation"] = self.invocation
            response.teller = self
        return super()._call(environ, response)

    def _announce(self, size: int) -> None:
        end_users_fork()
        super()._announce(size)
        if self.ledger.is_event:  # it has nothing more to do
            self._note()
        else:
            self.ledger.bracket(self.account)

    def _settle(self) -> bool:
        goes_on = super()._settle()
        if goes_on:
            self._note()
        return goes_on

    def _note(self) -> None:
        response = self.response
        status = response.status if response is not None and response.begun else 0
        error = (self.environ or {}).get("snapfork.error", "")
        if not error and self.invocation is not None:
            error = error_of(self.invocation, status)
        self.ledger.end(self.account, status, error)

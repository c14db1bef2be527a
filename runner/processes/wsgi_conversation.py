"""One lent connection under a WSGI app: message after message, in order, until the loan goes back."""

from __future__ import annotations

import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Protocol

from snapfork.runner.http.answers import error_response
from snapfork.runner.http.head import BadHead, Head, find_end, parse_head
from snapfork.runner.processes import serving
from snapfork.runner.processes.link import CLEAN, END, KEEP, RETRY, START_NAMES, WARM, Link, Loan
from snapfork.runner.processes.wsgi_body import BodyRefused, RawBody, open_body
from snapfork.runner.processes.wsgi_environ import base_environ, make_environ
from snapfork.runner.processes.wsgi_response import FileWrapper, Response
from snapfork.runner.processes.wsgi_wire import Abandoned, ClientGone, Cut, Wire

if TYPE_CHECKING:
    from collections.abc import Callable

    from snapfork.runner.processes.serving import Served

LEFTOVER = 131072
"""Bytes that a message to the gateway may carry back."""
_CODES = {400: "bad_request", 413: "body_too_large"}
_GONE = 499  # only in access lines: the client went before it was answered


class Host(Protocol):
    """What a conversation needs of the loop that runs it."""

    def begins(self) -> None:
        """A request begins: count it, before anybody is told that it is over."""

    def linger(self, conversation: Conversation) -> bool:
        """Wait a moment for a further request; True when bytes are there."""


class Conversation:
    """Serves one loan. `abandoned` is set by another thread that has answered in the app's place."""

    __slots__ = (
        "_bases",
        "_closed",
        "_host",
        "_served",
        "abandoned",
        "answering",
        "begun",
        "link",
        "loan",
        "page",
        "request_id",
        "started_ns",
        "wire",
    )

    def __init__(
        self,
        served: Served,
        link: Link,
        loan: Loan,
        host: Host,
        wire: Wire | None = None,
    ) -> None:
        self._served = served
        self._host = host
        self._closed = False
        self.link = link
        self.page = link.page
        self.loan = loan
        self.wire = wire or Wire(link, loan)
        self.abandoned = False
        self.answering = False
        self.begun = False
        self.started_ns = 0
        self.request_id = "-"

    def run(self) -> None:
        """Serve until the loan is given back."""
        data, self.loan.prefix = self.loan.prefix, b""
        while not self._closed:
            end = find_end(data)
            if end >= 0:
                data = self._message(data, end)
            elif data:
                self.give_back(RETRY if len(data) > self._served.settings["head_size"] else KEEP, data)
            else:
                data = self._more()

    def give_back(self, how: int, leftover: bytes = b"", flags: int = 0) -> None:
        """Close this process's descriptor and return the loan; only the first call counts."""
        if not self._closed:
            self._closed = True
            self.wire.close()
            self.link.give_back(self.loan, how, leftover[:LEFTOVER], flags)

    def _more(self) -> bytes:
        """Between two messages: the next bytes, or b"" after the loan has been given back."""
        link, loan = self.link, self.loan
        if link.must_return(loan) or not self._host.linger(self):
            self.give_back(KEEP)
            return b""
        data = self.wire.receive()
        if data is None:
            return b""
        if not data:
            self.give_back(END, b"", CLEAN)
        return data

    # -- one message -----------------------------------------------------------------------------------

    def _message(self, data: bytes, end: int) -> bytes:
        """Serve the message at the start of `data`; return what follows it."""
        served, settings = self._served, self._served.settings
        if self.loan.requests and self.link.must_return(self.loan):
            self.give_back(KEEP, data)
            return b""
        try:
            head = parse_head(data if end == len(data) else data[:end])
        except BadHead:
            self.give_back(RETRY, data)
            return b""
        prefix = ""
        if not served.sole:
            route = served.routes.match(head.host, head.path)
            if route is None or route.function != served.function:
                self.give_back(RETRY, data)
                return b""
            prefix = route.prefix
        too_big = settings["max_body"] is not None and (head.content_length or 0) > settings["max_body"]
        if end > settings["head_size"] or too_big:
            self.give_back(RETRY, data)
            return b""
        return self._serve(head, data[end:], prefix)

    def _serve(self, head: Head, rest: bytes, prefix: str) -> bytes:
        served, loan, page = self._served, self.loan, self.page
        self.started_ns = time.monotonic_ns()
        self.begun = False
        self.answering = True
        page.begin(loan.slot, self.started_ns)
        self._host.begins()
        self.request_id = self._name(head)
        token = serving.current_request_id.set(self.request_id)
        raw = None
        if head.chunked or head.content_length:
            raw = RawBody(self.wire, head, rest, served.settings["max_body"], lambda: not self.begun)
        read = self._answered_if_read(raw, rest)
        response = Response(self.wire, head, self._own_headers(), head.keep_alive, self._claim, read)
        start = START_NAMES[loan.start] if loan.start != WARM and not loan.requests else ""
        goes_on = False
        try:
            environ = make_environ(
                base_environ(served, FileWrapper, prefix), served, loan, head, open_body(raw), self.request_id
            )
            goes_on = self._call(environ, response, raw)
        finally:
            self.answering = False
            serving.current_request_id.reset(token)
            duration = time.monotonic_ns() - self.started_ns
            loan.requests += 1
            page.finish(loan.slot, response.status if response.begun else 0, duration)
        if self.abandoned:
            return b""
        status = response.status if response.begun else _GONE
        served.access.line(loan.client, head, status, response.body_bytes, duration, self.request_id, start)
        return self._boundary(goes_on, raw, rest)

    def _boundary(self, goes_on: bool, raw: RawBody | None, rest: bytes) -> bytes:
        complete = raw is None or raw.finish()
        leftover = rest if raw is None else raw.leftover
        if not (goes_on and complete):
            self.give_back(END, b"", CLEAN if complete and not leftover else 0)
            return b""
        if not leftover:
            self.page.boundary(self.loan.slot, self.loan.consumed, self.loan.written)
        return leftover

    def _answered_if_read(self, raw: RawBody | None, rest: bytes) -> Callable[[int], None]:
        def last(size: int) -> None:
            loan = self.loan
            if not rest if raw is None else raw.complete and not raw.leftover:
                self.page.answered(loan.slot, loan.consumed, loan.written + size)

        return last

    def _claim(self) -> None:
        """Before the first byte; forbids it when the request has been answered already."""
        if self.abandoned:
            raise Abandoned
        self.begun = True
        self.page.first_byte(self.loan.slot)

    def _call(self, environ: dict[str, Any], response: Response, raw: RawBody | None) -> bool:
        """Run the app; True when the connection can go on."""
        result: Any = None
        try:
            try:
                result = self._served.app(environ, response.start_response)
                response.send_body(result)
                self._check_refused(raw, response)
                return response.finish()
            finally:
                close = getattr(result, "close", None)
                if close is not None:
                    close()
        except (ClientGone, Abandoned):
            return False
        except Cut:
            self.page.cut()
            return False
        except BaseException:  # whatever the app raises is its client's 500, SystemExit included
            return self._failed(response, raw)

    def _check_refused(self, raw: RawBody | None, response: Response) -> None:
        if raw is not None and raw.refused is not None and not response.begun:
            raise raw.refused

    def _failed(self, response: Response, raw: RawBody | None) -> bool:
        refused = raw.refused if raw is not None else None
        if refused is None:
            sys.stderr.write(f"Exception in WSGI application\n{traceback.format_exc()}")
        if response.begun or self.abandoned:
            return False
        try:
            if refused is not None:
                self._refuse(response, refused)
            else:
                _server_error(response)
        except (ClientGone, Abandoned, Cut):
            pass  # there is nobody to tell
        return False

    def _refuse(self, response: Response, refused: BodyRefused) -> None:
        self._claim()
        response.begun = True
        response.status = refused.status
        head_only = response.head.method == "HEAD"
        answer = error_response(
            refused.status, _CODES[refused.status], refused.sentence, self.request_id, head=head_only
        )
        self.wire.send([answer])

    # -- names -----------------------------------------------------------------------------------------

    def _name(self, head: Head) -> str:
        client = self.loan.client
        for name, value in head.headers:
            if name == b"x-request-id" and value and len(value) <= 200:
                if self._served.trusted.peer(client[0] if client else None):
                    return value.decode("latin-1")
                break
        return serving.request_id(self._served, self.loan)

    def _own_headers(self) -> bytes:
        loan = self.loan
        own = b"X-Request-Id: " + self.request_id.encode("latin-1") + b"\r\n"
        if loan.start != WARM and not loan.requests:
            ms = (self.started_ns - loan.t0_ns) / 1e6
            own += f'Server-Timing: start;desc="{START_NAMES[loan.start]}";dur={ms:.2f}\r\n'.encode()
        return own


def _server_error(response: Response) -> None:
    body = b"Internal Server Error"
    response.started = False
    response.keep_alive = False
    response.start_response("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")])
    response.declared_by_us(len(body))
    response.write(body)
    response.finish()

"""One lent connection under a WSGI app: message after message, in order, until the loan goes back."""

from __future__ import annotations

import sys
import time
import traceback
from typing import TYPE_CHECKING, Any, Protocol

from snapfork.runner.http.answers import error_response
from snapfork.runner.http.head import BadHead, Head, find_end, parse_head
from snapfork.runner.processes import serving
from snapfork.runner.processes.life import end_users_fork
from snapfork.runner.processes.link import CLEAN, END, KEEP, RETRY, START_NAMES, WARM, Link, Loan
from snapfork.runner.processes.wsgi_body import CONTINUE, BodyRefused, RawBody, open_body
from snapfork.runner.processes.wsgi_environ import base_environ, make_environ
from snapfork.runner.processes.wsgi_response import FileWrapper, Response
from snapfork.runner.processes.wsgi_wire import Abandoned, ClientGone, Cut, Wire

if TYPE_CHECKING:
    from snapfork.runner.processes.ledger import Account
    from snapfork.runner.processes.serving import Served

_CODES = {400: "bad_request", 413: "body_too_large"}
_GONE = 499  # only in access lines: the client went before it was answered
_MAX_REQUEST_ID = 200
TURN_NS = 2_000_000
"""How much work a connection has done, request after request, while others wait: to give it back and lend
another costs the gateway as much as a small request does. Processor time: where more instances than cores are
busy, a turn by the clock would be over after a request or two."""
LONGEST_TURN_NS = 20_000_000
"""How long a turn may take by the clock, for apps that wait for others."""


class Host(Protocol):
    """What a conversation needs of the loop that runs it."""

    def begins(self) -> None:
        """A request begins: count it, before anybody is told that it is over."""

    def linger(self, conversation: Conversation) -> bool:
        """Wait a moment for a further request; True when bytes are there."""

    def glance(self, conversation: Conversation) -> bool:
        """The same while other connections wait: as short as a busy client takes."""

    def has_others(self) -> bool:
        """Whether this process has other connections to look after: this one is held meanwhile."""


class Conversation:
    """Serves one loan. `abandoned` is set by another thread that has answered in the app's place."""

    __slots__ = (
        # Of requests that are written down; see wsgi_noted.
        "account",
        "environ",
        "invocation",
        "response",
        "_bases",
        "_closed",
        "_host",
        "_own_id",
        "_private",
        "_raw",
        "_rest",
        "_turn_ends",
        "_work_ends",
        "abandoned",
        "answering",
        "asked_ns",
        "begun",
        "client",
        "head",
        "link",
        "loan",
        "page",
        "request_id",
        "served",
        "started_ns",
        "watched",
        "wire",
    )

    response_class: type[Response] = Response
    own_time = False
    """Whether a request's timeout begins with its run, and not with its arrival."""
    account: Account
    environ: dict[str, Any] | None
    invocation: dict[str, Any] | None
    response: Response | None

    def __init__(self, served: Served, link: Link, loan: Loan, host: Host, wire: Wire | None = None) -> None:
        self.served = served
        self.link = link
        self.page = link.page
        self.loan = loan
        self.client = loan.client
        self.wire = wire or Wire(link, loan)
        self.head: Head | None = None
        self.abandoned = False
        self.answering = False
        self.begun = False
        self.started_ns = 0
        self.asked_ns = 0
        self.request_id = "-"
        self._host = host
        self._bases: dict[str, dict[str, Any]] = {}
        self._closed = False
        self._own_id = not served.trusted.peer(self.client[0] if self.client else None)
        self._private = link.relief is not None
        self._raw: RawBody | None = None
        self._rest = b""
        self._turn_ends = 0
        self._work_ends = 0
        self.watched = False

    @property
    def is_over(self) -> bool:
        """Whether the loan has been given back."""
        return self._closed

    def run(self, readable: bool = False) -> None:
        """Serve until the loan is given back, or is between two messages while others are to be looked after.

        readable: there are bytes on the connection.
        """
        data, self.loan.prefix = self.loan.prefix, b""
        read = True
        since_ns = 0
        while not (self._closed or self.abandoned):
            end = find_end(data) if data else -1
            if end >= 0:
                if not read:
                    since_ns = since_ns or self.started_ns
                    if self._is_wanted() or self._keeps_others(since_ns):
                        self.give_back(KEEP, data)
                        return
                data = self._message(data, end)
                read = False
            elif data:
                self.give_back(RETRY if len(data) > self.served.settings["head_size"] else KEEP, data)
            elif readable or self._stays():
                readable = False
                data = self._receive()
                read = True
            else:
                return

    def give_back(self, how: int, leftover: bytes = b"", flags: int = 0) -> None:
        """Close this process's descriptor and return the loan; only the first call counts."""
        if not self._closed:
            self._closed = True
            self.wire.close()
            self.link.give_back(self.loan, how, leftover, flags)

    def forget(self) -> None:
        """The gateway has taken the connection back."""
        self._closed = True
        self.wire.close()

    def _stays(self) -> bool:
        """Between two messages: whether bytes have come. If not, it was given back, or others are there."""
        link, host = self.link, self._host
        if link.must_return_now(self.loan):
            stay = False
        elif self.page.demand:
            stay = self._in_turn() and host.glance(self)
        elif host.has_others():
            return False
        else:
            stay = host.linger(self)
            if not stay and host.has_others() and not link.must_return(self.loan):
                return False
        if not stay:
            self.give_back(KEEP)
        return stay

    def _receive(self) -> bytes:
        """The next bytes, or b"" when there are none (yet). Nothing is read that is to go back first."""
        loan = self.loan
        if self._is_wanted():
            self.give_back(KEEP)
            return b""
        if self.wire.is_unix:
            self.page.reading(loan.slot)
        data = self.wire.receive()
        if data == b"":
            self.give_back(END, b"", CLEAN)
            return b""
        return self._without_blank_lines(data or b"")

    def _is_wanted(self) -> bool:
        """Whether this connection is to go back before a further request is served on it."""
        return self.link.must_return_now(self.loan) or (bool(self.page.demand) and not self._in_turn())

    def _keeps_others(self, since_ns: int) -> bool:
        """Whether others have waited for long while requests were served that came in one piece."""
        if time.monotonic_ns() - since_ns < LONGEST_TURN_NS:
            return False
        return self._host.has_others() or self.link.has_news()

    def _in_turn(self) -> bool:
        """Whether this connection may go on although others wait; a turn begins when that is first asked."""
        if not self._turn_ends:
            self._turn_ends = time.monotonic_ns() + LONGEST_TURN_NS
            self._work_ends = time.thread_time_ns() + TURN_NS
        return time.monotonic_ns() < self._turn_ends and time.thread_time_ns() < self._work_ends

    def _without_blank_lines(self, data: bytes) -> bytes:
        """RFC 9112, 2.2: empty lines before a request are passed over."""
        if data[:1] in (b"\r", b"\n"):
            data = data.lstrip(b"\r\n")
        if not data:
            self.page.boundary(self.loan.slot, self.loan.consumed, self.loan.written)
        return data

    # -- one message -----------------------------------------------------------------------------------

    def _message(self, data: bytes, end: int) -> bytes:
        """Serve the message at the start of `data`; return what follows it."""
        served, settings = self.served, self.served.settings
        loan = self.loan
        try:
            head = parse_head(data if end == len(data) else data[:end])
        except BadHead:
            self.give_back(RETRY, data)
            return b""
        prefix = ""
        if loan.direct or loan.place is not None or not served.sole:
            mount = serving.mount(served, loan, head)
            if mount is None:
                self.give_back(RETRY, data)
                return b""
            prefix = mount
        too_big = settings["max_body"] is not None and (head.content_length or 0) > settings["max_body"]
        if end > settings["head_size"] or too_big:
            self.give_back(RETRY, data)
            return b""
        return self._serve(head, data[end:], prefix)

    def _serve(self, head: Head, rest: bytes, prefix: str) -> bytes:
        self._start(head)
        loan = self.loan
        token = serving.current_request_id.set(self.request_id)
        try:
            self._rest = rest
            self._raw = raw = self._body(head, rest)
            start = START_NAMES[loan.start] if loan.start != WARM and not loan.requests else ""
            own = self._own_headers(start)
            response = self.response_class(self.wire, head, own, self._is_last, self._claim, self._announce)
            environ = make_environ(self._base(prefix), self.served, head, open_body(raw), self.request_id)
            goes_on = self._call(environ, response)
        finally:
            serving.current_request_id.reset(token)
        if not self._settle():
            return b""
        duration = time.monotonic_ns() - self.started_ns
        loan.requests += 1
        self.page.finish(loan.slot, response.status if response.begun else 0, duration)
        status = response.status if response.begun else _GONE
        if self.served.access.mode != "off":
            self.served.access.line(
                self.client, head, status, response.body_bytes, duration, self.request_id, start
            )
        return self._boundary(goes_on)

    def _start(self, head: Head) -> None:
        self.head = head
        self.started_ns = time.monotonic_ns()
        counts_run = self.own_time or self.loan.requests
        self.asked_ns = self.started_ns if counts_run else self.loan.t0_ns
        self.begun = False
        self.request_id = self._name(head)
        self.page.wrote(self.loan.slot, self.loan.written)
        self.page.begin(self.loan.slot, self.started_ns)
        self._host.begins()
        self.answering = True

    def _settle(self) -> bool:
        """The app's call is over; False when its request has been answered in its place."""
        self.answering = False
        return True

    def _boundary(self, goes_on: bool) -> bytes:
        raw = self._raw
        complete = raw is None or raw.finish()
        leftover = self._rest if raw is None else raw.leftover
        self._raw = None
        if not (goes_on and complete):
            self.give_back(END, b"", CLEAN if complete and not leftover else 0)
            return b""
        return self._without_blank_lines(leftover)

    def _body(self, head: Head, rest: bytes) -> RawBody | None:
        if head.chunked or head.content_length:
            return RawBody(self.wire, head, rest, self.served.settings["max_body"], self.invite)
        return None

    def _base(self, prefix: str) -> dict[str, Any]:
        base = self._bases.get(prefix)
        if base is None:
            base = base_environ(self.served, FileWrapper, prefix, self.client, self.loan.server)
            if self._private:
                base["snapfork.warm_up"] = True
            self._bases[prefix] = base
        return base

    # -- what the response and the body ask for --------------------------------------------------------

    def _claim(self) -> None:
        """Before the first byte; raises Abandoned when the request has been answered already."""
        if self.abandoned:
            raise Abandoned
        self.begun = True
        self.page.first_byte(self.loan.slot)

    def _is_last(self) -> bool:
        """True when the client may never send its body, or the runner stops and nothing more was read."""
        raw = self._raw
        if raw is not None and raw.unasked:
            return True
        return self.page.stopping and not (self._rest if raw is None else raw.leftover)

    def _announce(self, size: int) -> None:
        """Before the last send of a message: where the connection will then be, if nothing else was read."""
        raw, loan = self._raw, self.loan
        if not self._rest if raw is None else raw.complete and not raw.leftover:
            self.page.answered(loan.slot, loan.consumed, loan.written + size)

    def invite(self) -> None:
        """Send 100 Continue, unless an answer is on its way."""
        if not self.begun and not self.abandoned:
            self.wire.send([CONTINUE])

    # -- the app ---------------------------------------------------------------------------------------

    def _call(self, environ: dict[str, Any], response: Response) -> bool:
        """Run the app; True when the connection can go on."""
        result: Any = None
        try:
            try:
                result = self.served.app(environ, response.start_response)
                self._check_refused(response)
                response.send_body(result)
                self._check_refused(response)
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
        except BaseException as error:  # whatever the app raises is its client's 500, SystemExit included
            end_users_fork(error)
            if self._private and not isinstance(error, Exception | SystemExit | KeyboardInterrupt):
                raise  # the template's own alarm
            return self._failed(response)

    def _check_refused(self, response: Response) -> None:
        # Most frameworks turn an error of wsgi.input into an answer of their own; the limit's answer is ours.
        raw = self._raw
        if raw is not None and raw.refused is not None and not response.begun:
            raise raw.refused

    def _failed(self, response: Response) -> bool:
        refused = self._raw.refused if self._raw is not None else None
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
        response.body_bytes = len(answer) - find_end(answer)
        self.wire.send([answer])

    # -- names -----------------------------------------------------------------------------------------

    def _name(self, head: Head) -> str:
        if not self._own_id:
            for name, value in head.headers:
                if name == b"x-request-id" and 0 < len(value) <= _MAX_REQUEST_ID:
                    return value.decode("latin-1")
        return serving.request_id(self.served, self.loan)

    def _own_headers(self, start: str) -> bytes:
        own = b"X-Request-Id: %s\r\n" % self.request_id.encode("latin-1")
        if start:
            ms = (time.monotonic_ns() - self.loan.t0_ns) / 1e6
            own += f'Server-Timing: start;desc="{start}";dur={ms:.2f}\r\n'.encode()
        return own


def _server_error(response: Response) -> None:
    body = b"Internal Server Error"
    response.started = False
    response.keep_alive = False
    response.start_response("500 Internal Server Error", [("Content-Type", "text/plain; charset=utf-8")])
    response.length_known(len(body))
    response.write(body)
    response.finish()

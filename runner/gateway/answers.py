"""Answers that the gateway gives in the app's place, counted and in the access log like the app's."""

from __future__ import annotations

from http import HTTPStatus

from snapfork.runner.gateway.connection import Connection
from snapfork.runner.gateway.core import Core
from snapfork.runner.http.answers import bare_response, error_response, request_id_for
from snapfork.runner.http.head import find_end
from snapfork.runner.processes.access import AccessLog
from snapfork.runner.units import ERROR_HEADER

Extra = tuple[tuple[bytes, bytes], ...]
_CODES = {
    400: "bad_request",
    404: "no_such_route",
    405: "method_not_allowed",
    408: "request_timeout",
    413: "body_too_large",
    429: "too_many_requests",
    431: "head_too_large",
    501: "not_implemented",
    502: "instance_died",
    503: "unavailable",
    504: "timeout",
    505: "version_not_supported",
    507: "out_of_memory",
}


class Answers:
    """`counts`: how often each status was given."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._access: dict[str, AccessLog] = {}
        self.counts: dict[int, int] = {}

    def put(
        self, conn: Connection, status: int, message: str, request_id: str, code: str, extra: Extra
    ) -> None:
        """Have `conn.out` be an error in JSON, or nothing but `extra` for a status that is none.

        "" for a request id or code stands for the usual one.
        """
        core = self._core
        if not request_id:
            request_id = request_id_for(core.boot_id, next(core.loan_ids), 0)
        head = conn.head
        code = code or _CODES.get(status) or HTTPStatus(status).phrase.lower().replace(" ", "_")
        if status in (429, 503):
            extra += ((b"retry-after", b"1"),)
        if conn.direct:
            extra += ((ERROR_HEADER, code.encode()),)
        if status < 400:
            conn.out = bare_response(status, request_id, extra)
        else:
            is_head = head is not None and head.method == "HEAD"
            conn.out = error_response(status, code, message, request_id, head=is_head, extra=extra)
            self.counts[status] = self.counts.get(status, 0) + 1
        body = len(conn.out) - find_end(conn.out)
        took = core.clock() - conn.t0_ns if conn.t0_ns else 0
        self._log(conn.function).line(conn.client, head, status, body, took, request_id)

    def forget(self, function: str) -> None:
        """It is not served any more."""
        self._access.pop(function, None)

    def _log(self, function: str) -> AccessLog:
        log = self._access.get(function)
        if log is None:
            core = self._core
            log = self._access[function] = AccessLog(core.access_fd, core.config.access_log, function)
        return log

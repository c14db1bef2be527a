"""Signed routes: each request waits until the services process has judged its signature."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from snapfork.runner.gateway.traffic import Refusal

if TYPE_CHECKING:
    from snapfork.runner.gateway.connection import Connection
    from snapfork.runner.gateway.core import Core
    from snapfork.runner.http.head import Head

PATIENCE_S = 10.0
NOBODY = Refusal(503, "nobody is there to check the signature of this request; try again later")


class Judges:
    """Questions to the services process, by number. `on_verdict(connection, why not or None)` goes on.

    `tell` sends a message; False when there is nobody to get it.
    """

    def __init__(self, core: Core, on_verdict: Callable[[Connection, Refusal | None], None]) -> None:
        self._core = core
        self._on_verdict = on_verdict
        self._numbers = itertools.count(1)
        self._open: dict[int, Connection] = {}
        self.tell: Callable[[dict[str, Any]], bool] = lambda message: False

    def ask(self, conn: Connection, head: Head) -> None:
        """Have the request at the start of the connection's buffer judged."""
        number = next(self._numbers)
        self._open[number] = conn
        if self.tell({"event": "authorize", "id": number, **_question(conn, head)}):
            self._core.loop.call_later(PATIENCE_S, self._too_late, number)
        else:
            self._too_late(number)

    def answered(self, message: dict[str, Any]) -> None:
        """{"id", "ok"}, or besides "status", "code" and "message" of the refusal."""
        conn = self._open.pop(int(message["id"]), None)
        if conn is None:
            return
        refusal = None
        if not message.get("ok"):
            sentence = str(message.get("message") or "the signature of this request is not good")
            refusal = Refusal(
                int(message.get("status") or 403), sentence, str(message.get("code") or "forbidden")
            )
        self._on_verdict(conn, refusal)

    def hung_up(self) -> None:
        """The services process is gone, and its verdicts with it."""
        for number in list(self._open):
            self._too_late(number)

    def _too_late(self, number: int) -> None:
        conn = self._open.pop(number, None)
        if conn is not None:
            self._on_verdict(conn, NOBODY)


def _question(conn: Connection, head: Head) -> dict[str, Any]:
    """The request as text (latin-1). body_sha256: None for a body that is not here as a whole."""
    body = bytes(conn.buffer[head.size :])
    length = head.content_length or 0
    whole = not head.chunked and len(body) >= length
    return {
        "unit": conn.function,
        "function": conn.judge.function if conn.judge is not None else "",
        "client": conn.client[0] if conn.client else "",
        "host": head.host,
        "method": head.method,
        "path": head.raw_path.decode("latin-1"),
        "query": head.query.decode("latin-1"),
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in head.headers],
        "body_sha256": hashlib.sha256(body[:length]).hexdigest() if whole else None,
        "body_bytes": None if head.chunked else length,
    }

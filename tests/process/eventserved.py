"""Instances of deployed functions in miniature: what they print and write down is read from a log pipe."""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any

from asgiserved import make_served as make_asgi
from minigateway import PATIENCE, Client, MiniGateway
from snapfork.adapter.events import EventApp
from snapfork.runner.processes import asgi_loop, stdio, wsgi_loop, wsgi_threads
from snapfork.runner.processes.ledger import Ledger
from snapfork.runner.processes.link import Link
from snapfork.runner.services.frames import FrameParser, Unit
from wsgiserved import make_served as make_wsgi

FUNCTION = {"name": "shop", "version": "3", "memory": 256, "region": "here", "account": "42"}
FUNCTION |= {"arn": "arn:aws:lambda:here:42:function:shop:3", "handler": "index.handler", "timeout": 30.0}


class EventGateway(MiniGateway):
    """An instance of the unit "app" (function shop, version 3); `interface` "event", "wsgi" or "asgi".

    `app` is the handler, or the web app. dialect: of the function. record: whether it is deployed.
    """

    unit = "app"

    def __init__(
        self,
        app: Any,
        interface: str = "event",
        dialect: str = "lambda",
        *,
        record: bool = True,
        **settings: Any,
    ) -> None:
        about = FUNCTION | {"dialect": dialect}
        is_event = interface == "event"
        if is_event:
            app = EventApp(app, about, is_open=not record)
        self.pipe, write = os.pipe2(os.O_CLOEXEC)
        self.parser = FrameParser()
        self.units: list[Unit] = []
        ledger = Ledger(about, "shop:3", "7", records=record, is_event=is_event)

        def serve(link: Link) -> None:
            # However long a busy machine takes over a client's next request, its connection is still here.
            wsgi_loop.LINGER_MS = wsgi_threads.LINGER_MS = int(PATIENCE * 1000)
            stdio.prepare()  # does nothing where an earlier test has done so in our parent
            sys.stdout, sys.stderr = stdio._streams  # type: ignore[assignment]
            stdio.install(write)
            if interface == "asgi":
                asgi_loop.run(make_asgi(app, link.page, ledger=ledger, **settings), link, None, None)
                stdio.drain()
                return
            served = make_wsgi(app, ledger=ledger, **settings)
            loop = wsgi_loop if served.settings["concurrency"] == 1 else wsgi_threads
            loop.run(served, link, None)
            stdio.drain()

        super().__init__(serve)
        os.close(write)

    # -- calls -------------------------------------------------------------------------------------------

    def invoke(self, payload: bytes | Any, client: Client | None = None, **invocation: Any) -> Client:
        """Send an invocation of kind "event" on a new direct connection, or on that of `client`."""
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        return self.request("POST", "/invoke", body, client=client, invocation=invocation)

    def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        headers: tuple[str, ...] = (),
        *,
        client: Client | None = None,
        invocation: dict[str, Any] | None = None,
        **loan: Any,
    ) -> Client:
        """Send a request; a direct one if there is an invocation."""
        lines = [f"{method} {target} HTTP/1.1", "Host: shop.localhost", f"Content-Length: {len(body)}"]
        if invocation is not None:
            told = {"id": "r-1", "kind": "event", "trigger": "api", "attempt": 1} | invocation
            lines += [f"X-Snapfork-Unit: {self.unit}", f"X-Snapfork-Invocation: {json.dumps(told)}"]
        raw = "\r\n".join([*lines, *headers]).encode("latin-1") + b"\r\n\r\n" + body
        if client is None:
            return self.lend(raw, **{"direct": invocation is not None, **loan})
        client.send(raw)
        return client

    # -- the log -----------------------------------------------------------------------------------------

    def said(self) -> list[Unit]:
        """What is in the pipe now, and was before."""
        while select.select([self.pipe], [], [], 0)[0] and (data := os.read(self.pipe, 1 << 20)):
            self.units += self.parser.feed(data)
        return self.units

    def records(self, count: int = 1) -> list[dict[str, Any]]:
        """Wait for that many records; they, in order."""
        deadline = time.monotonic() + PATIENCE
        while True:
            found = [json.loads(unit.text) for unit in self.said() if unit.stream == "record"]
            if len(found) >= count:
                return found
            left = deadline - time.monotonic()
            if left <= 0:
                raise TimeoutError(f"{len(found)} of {count} records: {self.units} {self.errors()}")
            select.select([self.pipe], [], [], left)

    def lines(self, request_id: str) -> list[str]:
        """The lines of a request so far."""
        told = [unit for unit in self.said() if unit.stream != "record" and unit.request_id == request_id]
        return [line for unit in told for line in unit.text.split("\n")]

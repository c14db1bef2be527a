"""`runner serve` without a target as a server to measure, and a client that signs as boto3 and the FC SDK do.

The client is raw like `client.py`, so that what is measured is the runner: requests are signed before their
time begins.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import socket
import sys
import time
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from snapfork.runner.bench.client import TIMEOUT_S, Address, BadAnswer, Timing, exchange
from snapfork.runner.bench.servers import Server, free_port
from snapfork.runner.errors import UserError
from snapfork.runner.faces.native import pack_deploy
from snapfork.runner.faces.signing import sign_acs3, sign_sigv4
from snapfork.runner.registry import keys
from snapfork.runner.registry.model import Key

Headers = Iterable[tuple[str, str]]
LAMBDA = "/2015-03-31/functions"
FC = "/2023-03-30/functions"
NATIVE = "/v1/functions"
RUNTIME = "python{}.{}".format(*sys.version_info)
"""The runner's own, which needs no environment of its own."""
ROLE = "arn:aws:iam::000000000000:role/bench"
JSON = ("content-type", "application/json")
STATE_S = 60.0


class Connection:
    """A connection that is kept, for any requests. Raises OSError and BadAnswer."""

    def __init__(self, address: Address) -> None:
        self._sock = socket.create_connection(address, timeout=TIMEOUT_S)
        self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(self, wire: bytes) -> tuple[Timing, bytes]:
        """One request: its times, and the body of the answer, which must have a length."""
        timing, received, size = exchange(self._sock, wire)
        if size < 0:
            raise BadAnswer(f"the server answered {bytes(received[:200])!r}")
        return timing, bytes(received[received.find(b"\r\n\r\n") + 4 :])

    def close(self) -> None:
        self._sock.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def plain(method: str, target: str, host: str = "localhost", body: bytes = b"") -> bytes:
    """An unsigned request."""
    length = f"content-length: {len(body)}\r\n" if body or method == "POST" else ""
    return f"{method} {target} HTTP/1.1\r\nhost: {host}\r\n{length}\r\n".encode() + body


class Signer:
    """Requests of the control API, signed with a key; each is good for one use, within 15 minutes."""

    def __init__(self, key: Key, host: str) -> None:
        self._key = key
        self._host = host

    def sigv4(self, method: str, target: str, body: bytes = b"", headers: Headers = ()) -> bytes:
        """As boto3 sends it."""
        return self._signed("lambda", method, target, body, headers)

    def native(self, method: str, target: str, body: bytes = b"", headers: Headers = ()) -> bytes:
        """As `runner deploy` and `runner invoke` send it."""
        return self._signed("snapfork", method, target, body, headers)

    def acs3(self, method: str, target: str, body: bytes = b"", headers: Headers = ()) -> bytes:
        """As the FC SDK sends it."""
        lines = [(name.encode(), value.encode()) for name, value in (("host", self._host), *headers)]
        path, _, query = target.partition("?")
        digest = hashlib.sha256(body).hexdigest()
        lines += sign_acs3(method, path.encode(), query.encode(), lines, digest, self._key, time.time())
        return _wire(method, target, lines, body)

    def _signed(self, service: str, method: str, target: str, body: bytes, headers: Headers) -> bytes:
        lines = [(name.encode(), value.encode()) for name, value in (("host", self._host), *headers)]
        path, _, query = target.partition("?")
        lines += sign_sigv4(
            method, path.encode(), query.encode(), lines, hashlib.sha256(body).hexdigest(), self._key,
            time.time(), "us-east-1", service,
        )  # fmt: skip
        return _wire(method, target, lines, body)

    # -- what the parts ask for ------------------------------------------------------------------------

    def deploy(self, name: str, package: bytes, handler: str) -> bytes:
        """A new function by the native face."""
        body = pack_deploy({"configuration": {"handler": handler}}, package)
        return self.native("POST", f"{NATIVE}/{name}", body, [("content-type", "application/octet-stream")])

    def create(self, name: str, package: bytes, handler: str) -> bytes:
        """A new function by boto3's create_function."""
        about = {
            "FunctionName": name, "Runtime": RUNTIME, "Role": ROLE, "Handler": handler,
            "Code": {"ZipFile": base64.b64encode(package).decode()},
        }  # fmt: skip
        return self.sigv4("POST", LAMBDA, json.dumps(about).encode(), [JSON])

    def delete(self, name: str) -> bytes:
        """The function goes."""
        return self.native("DELETE", f"{NATIVE}/{name}")

    def invoke(self, face: str, name: str, payload: bytes = b"{}", asynchronous: bool = False) -> bytes:
        """An invocation by a face: LAMBDA, FC or NATIVE."""
        if face == LAMBDA:
            kind = ("x-amz-invocation-type", "Event" if asynchronous else "RequestResponse")
            return self.sigv4("POST", f"{LAMBDA}/{name}/invocations", payload, [kind, JSON])
        if face == FC:
            kind = ("x-fc-invocation-type", "Async" if asynchronous else "Sync")
            return self.acs3("POST", f"{FC}/{name}/invocations", payload, [kind, JSON])
        mode = "?mode=async" if asynchronous else ""
        return self.native("POST", f"{NATIVE}/{name}/invocations{mode}", payload, [JSON])


class DeployedRunner(Server):
    """`runner serve` over a data directory. `address`: its control API. `front`: where functions answer."""

    def __init__(
        self, data_dir: Path, *words: str, python: str = sys.executable, env: Mapping[str, str] | None = None
    ) -> None:
        control, port = free_port(), free_port()
        command = [
            *(python, "-P", "-m", "snapfork.runner", "serve", "--no-access-log", "--port", str(port)),
            *("--control", f"127.0.0.1:{control}", "--data-dir", str(data_dir), *words),
        ]
        # Two runners of one user have directories of their own; this one is gone with the part's files.
        own = {"XDG_RUNTIME_DIR": str(data_dir.parent)}
        super().__init__(
            "runner serve", command, control, cwd=data_dir.parent, env=own | dict(env or {}), path="/healthz"
        )
        self.front: Address = ("127.0.0.1", port)
        self.data_dir = data_dir

    def key(self) -> Key:
        """The one that the first start has made. Raises UserError."""
        found = keys.first(str(self.data_dir))
        if found is None:
            raise UserError("the runner has made no key.", self.tail())
        return found

    def signer(self) -> Signer:
        """One with that key."""
        return Signer(self.key(), f"127.0.0.1:{self.address[1]}")

    def connect(self) -> Connection:
        """To the control API."""
        return Connection(self.address)

    def ask(self, wire: bytes, good: Iterable[int] = (200, 201, 202, 204)) -> bytes:
        """The answer's body on a connection of its own. Raises UserError for another status."""
        with self.connect() as connection:
            timing, body = connection.ask(wire)
        if timing.status not in good:
            raise UserError(f"the runner answered {timing.status}: {body[:300]!r}.", self.tail())
        return body

    def function(self, name: str) -> dict[str, Any] | None:
        """What /status says of NAME:LATEST; None of one that was never called."""
        status = json.loads(self.ask(plain("GET", "/status")))
        return next((one for one in status["functions"] if one["name"] == f"{name}:LATEST"), None)

    def wait_for(self, name: str, state: str) -> dict[str, Any]:
        """Its status once its template is "ready" and tried, or "retired". Raises UserError."""
        deadline = time.monotonic() + STATE_S
        while True:
            found = self.function(name)
            if found and found["template"]["state"] == state and (state != "ready" or found["trial"]):
                return found
            if time.monotonic() > deadline:
                raise UserError(f"{name} is not {state} after {STATE_S:g} s.", self.tail())
            time.sleep(0.02)


def zipped(files: Mapping[str, str]) -> bytes:
    """A package of these files."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in files.items():
            archive.writestr(name, text)
    return made.getvalue()


def _wire(method: str, target: str, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bytes:
    lines = [f"{method} {target} HTTP/1.1".encode(), *(b"%b: %b" % one for one in headers)]
    return b"\r\n".join([*lines, b"content-length: %d" % len(body), b"", body])

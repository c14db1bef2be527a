"""The native face: what is refused, and what goes wrong in the data directory, is told in JSON."""

from __future__ import annotations

import asyncio
import json
import shutil
from hashlib import sha256
from pathlib import Path
from typing import Any

from snapfork.runner.faces.auth import Auth
from snapfork.runner.faces.exchange import Head
from snapfork.runner.faces.native import NativeFace
from snapfork.runner.faces.native_calls import CallEndpoints
from snapfork.runner.faces.native_functions import FunctionEndpoints
from snapfork.runner.faces.signing import sign_sigv4
from snapfork.runner.registry.keys import Keys
from snapfork.runner.registry.model import Key

UNUSED: Any = None
"""What the endpoints that are asked here do not need."""


def ask(keys: Keys, key: Key, method: str, path: str, about: object) -> tuple[int, dict[str, Any]]:
    """Status and JSON that a signed request is answered with."""
    calls = CallEndpoints(UNUSED, UNUSED, UNUSED, keys, UNUSED)
    face = NativeFace(Auth(keys), [*FunctionEndpoints(UNUSED, UNUSED).endpoints(), *calls.endpoints()])
    body = json.dumps(about).encode()
    host = [(b"host", b"localhost")]
    now = face._auth.now()
    headers = host + sign_sigv4(
        method, path.encode(), b"", host, sha256(body).hexdigest(), key, now, service="snapfork"
    )
    headers.append((b"content-length", b"%d" % len(body)))
    head = Head(method, path.encode(), b"", headers)
    scope = {"type": "http", "method": method, "raw_path": head.path, "query_string": b"", "headers": headers}
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    asyncio.run(face(scope, receive, send))
    return sent[0]["status"], json.loads(b"".join(one.get("body", b"") for one in sent[1:]))


def test_a_key_that_cannot_be_written_is_told_in_json(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "data")
    (manager,) = keys.list()
    shutil.rmtree(tmp_path / "data")
    status, said = ask(keys, manager, "POST", "/v1/keys", {"role": "invoke"})
    assert (status, said["error"]["code"]) == (500, "failed")
    assert said["error"]["message"].startswith(f"{tmp_path}/data/keys cannot be written")
    assert keys.list() == [manager]


def test_a_key_of_some_functions_has_no_directories_watched(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "data")
    limited = keys.create("manage", ["only"])
    about = {"kind": "oss", "config": {"directory": "/data/inbox"}}
    status, said = ask(keys, limited, "PUT", "/v1/functions/only/triggers/drop", about)
    assert (status, said["error"]["code"]) == (403, "denied")
    assert limited.id in said["error"]["message"]

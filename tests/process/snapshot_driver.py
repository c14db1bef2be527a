"""Run as a program: captures an app, or restores one, and prints what it answers.

snapshot_driver.py make|back DIRECTORY FILE MODULE:ATTRIBUTE REQUESTS

REQUESTS is JSON: (method, url, body to be sent as JSON or null). DIRECTORY, if it is not "", comes first on
sys.path. Prints {"answers": [[status, body, x-own header]], "needs": [...], "warnings": [...]} last.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from collections.abc import Callable
from typing import Any

from snapfork.adapter import interface, restore, snapshot


def ask_wsgi(app: Any) -> Callable[..., Any]:
    from werkzeug.test import Client
    from werkzeug.wrappers import Response

    client = Client(app, Response)
    return lambda method, url, **more: client.open(url, method=method, **more)


def ask_asgi(app: Any) -> Callable[..., Any]:
    from starlette.testclient import TestClient

    client = TestClient(app)
    client.__enter__()  # its lifespan goes on
    return client.request


def main(mode: str, directory: str, path: str, target: str, requests: str) -> None:
    name, _, attribute = target.partition(":")
    if directory:
        sys.path.insert(0, directory)
    app = getattr(importlib.import_module(name), attribute) if mode == "make" else restore(path)
    ask = ask_wsgi(app) if interface.detect(app) == "wsgi" else ask_asgi(app)
    said: dict[str, Any] = {"answers": []}
    if mode == "make":
        made = snapshot(app)
        made.write(path)
        said |= {"needs": made.header.needs, "warnings": made.header.warnings, "sizes": made.header.sizes}
    for method, url, body in json.loads(requests):
        answer = ask(method, url, **({"json": body} if body is not None else {}))
        text = answer.get_data(as_text=True) if hasattr(answer, "get_data") else answer.text
        said["answers"].append([answer.status_code, text, answer.headers.get("x-own")])
    print(json.dumps(said), flush=True)
    os._exit(0)  # a client's thread may go on


main(*sys.argv[1:])

"""Its twin: each instance connects."""

from __future__ import annotations

import os
import socket
from functools import cache
from typing import Any

from flask import Flask
from snapfork.adapter import serverless

app = Flask(__name__)


@cache
def link() -> socket.socket:
    return socket.create_connection(("127.0.0.1", int(os.environ["ECHO_PORT"])))


@app.get("/")
def page() -> dict[str, Any]:
    link().sendall(b"ping")
    return {"works": link().recv(4) == b"ping"}


serverless(app, after_fork=lambda: link() and None, warmup=[])

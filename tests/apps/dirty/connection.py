"""A connection made at import, with a protocol of its own: every instance would talk over the same one."""

from __future__ import annotations

import os
import socket
from typing import Any

from flask import Flask

app = Flask(__name__)
link = socket.create_connection(("127.0.0.1", int(os.environ["ECHO_PORT"])))


@app.get("/")
def page() -> dict[str, Any]:
    link.sendall(b"ping")
    return {"works": link.recv(4) == b"ping"}

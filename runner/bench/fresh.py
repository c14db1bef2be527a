"""What a fresh interpreter needs to import an app and to answer with it, with nothing around it.

The listening socket is there before the process: the client connects and sends its request while the
interpreter starts, so that no time passes between the import and the request, and none in retries.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping

from snapfork.runner.bench.client import TIMEOUT_S, request, status_of
from snapfork.runner.errors import UserError

PROCESS = r"""
import importlib, json, os, socket, sys
sys.path.insert(0, sys.argv[1])
kind, (module, _, attribute) = sys.argv[2], sys.argv[3].partition(":")
application = getattr(importlib.import_module(module), attribute)
sock = socket.socket(fileno=int(sys.argv[4])).accept()[0]
sock.recv(65536)
if kind == "wsgi":
    import io
    environ = {"REQUEST_METHOD": "GET", "SCRIPT_NAME": "", "PATH_INFO": "/", "QUERY_STRING": "",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "HTTP_HOST": "localhost",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.input": io.BytesIO(),
        "wsgi.errors": sys.stderr, "wsgi.multithread": False, "wsgi.multiprocess": False,
        "wsgi.run_once": False}
    body = b"".join(application(environ, lambda status, headers, error=None: None))
elif kind == "asgi":
    import asyncio
    pieces = []
    async def receive():
        return {"type": "http.request", "body": b"", "more_body": False}
    async def send(message):
        pieces.append(message.get("body", b""))
    scope = {"type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": "GET", "scheme": "http", "path": "/", "raw_path": b"/", "query_string": b"",
        "root_path": "", "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1),
        "server": ("127.0.0.1", 80), "state": {}}
    asyncio.run(application(scope, receive, send))
    body = b"".join(pieces)
else:
    body = json.dumps(application({}, None)).encode()
sock.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
os._exit(0)
"""


def first_answer(
    target: str,
    app_dir: str,
    kind: str,
    *,
    python: str = sys.executable,
    env: Mapping[str, str] | None = None,
) -> float:
    """Milliseconds from before the start of the process to the first byte of its answer.

    `target` is module:attribute; kind: "wsgi", "asgi" or "event". Raises UserError.
    """
    with socket.socket() as listener, socket.socket() as client:
        listener.bind(("127.0.0.1", 0))
        listener.listen(1)
        client.settimeout(TIMEOUT_S)
        command = [python, "-c", PROCESS, app_dir, kind, target, str(listener.fileno())]
        begun = time.monotonic_ns()
        process = subprocess.Popen(
            command, pass_fds=(listener.fileno(),), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
        try:
            client.connect(listener.getsockname())
            client.sendall(request("/"))
            listener.close()  # a process that ends is an end for the client, too
            data = client.recv(65536)
            first = time.monotonic_ns()
        except OSError as error:
            data = b""
            why = str(error)
        else:
            why = "it closed the connection"
        finally:
            if process.poll() is None and not data:
                process.send_signal(signal.SIGKILL)
            said = process.communicate()[1]
    if status_of(data) != 200:
        raise UserError(f"a fresh interpreter with {target} did not answer: {why}.", said.decode()[-1500:])
    return (first - begun) / 1e6

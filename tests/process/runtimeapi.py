"""Lambda's Runtime API in small, and AWS's own runtime (awslambdaric) that runs a handler against it."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

PREFIX = "/2018-06-01/runtime"
ARN = "arn:aws:lambda:eu-central-1:000000000000:function:shop"
PATIENCE = 150.0


class RuntimeApi:
    """Serves `invoke`d events to a runtime for handler `target` ("module.name") in `directory`."""

    def __init__(self, directory: Path, target: str, **environment: str) -> None:
        self.events: queue.Queue[tuple[str, bytes, dict[str, str]]] = queue.Queue()
        self.answers: queue.Queue[tuple[str, bytes, dict[str, str]]] = queue.Queue()
        self.stopped = threading.Event()
        api = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:  # noqa: N802
                api._next(self)

            def do_POST(self) -> None:  # noqa: N802
                body = self.rfile.read(int(self.headers["Content-Length"]))
                api.answers.put((self.path.removeprefix(PREFIX), body, dict(self.headers)))
                _reply(self, 202, b"", {})

            def log_message(self, format: str, *args: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        variables = {
            "AWS_LAMBDA_RUNTIME_API": f"127.0.0.1:{self.server.server_port}",
            "AWS_LAMBDA_FUNCTION_NAME": "shop",
            "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128",
            "AWS_REGION": "eu-central-1",
            "PYTHONPATH": os.pathsep.join([str(directory), os.environ.get("PYTHONPATH", "")]).rstrip(":"),
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "awslambdaric", target],
            env={**os.environ, **variables, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self.process.kill()
        output = self.process.communicate()[0]
        if kind is not None:
            sys.__stdout__.write(output.decode())  # type: ignore[union-attr]
        self.server.shutdown()
        self.server.server_close()

    def invoke(self, event: Any, number: int = 1) -> tuple[str, Any]:
        """("response" or "error", the answer's JSON) of an invocation."""
        name = f"request-{number}"
        payload = event if isinstance(event, bytes) else json.dumps(event).encode()
        self.events.put((name, payload, {}))
        path, body, _ = self.answers.get(timeout=PATIENCE)
        if path == "/init/error":
            return "init", json.loads(body)
        assert path.startswith(f"/invocation/{name}/"), path
        return path.rpartition("/")[2], json.loads(body)

    def _next(self, handler: BaseHTTPRequestHandler) -> None:
        assert handler.path == f"{PREFIX}/invocation/next"
        while not self.stopped.is_set():
            try:
                name, payload, headers = self.events.get(timeout=0.1)
            except queue.Empty:
                continue
            told = {
                "Content-Type": "application/json",
                "Lambda-Runtime-Aws-Request-Id": name,
                "Lambda-Runtime-Deadline-Ms": str(int(time.time() * 1000) + 30_000),
                "Lambda-Runtime-Invoked-Function-Arn": ARN,
                "Lambda-Runtime-Trace-Id": "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700",
            }
            _reply(handler, 200, payload, told | headers)
            return


def _reply(handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)

"""The floor under every fork start: a bare fork of a process with the very app, to the child's first byte.

The app is imported, asked once as the runner's warm-up does, collected and frozen. The parent measures from
before fork() until a byte of the child has come through a pipe: no socket, no request, no server.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from snapfork.runner.errors import UserError

LIMIT_S = 120.0
PROCESS = r"""
import gc, json, os, sys, time
sys.path.insert(0, sys.argv[1])
kind, path, count = sys.argv[2], sys.argv[3], int(sys.argv[4])
from snapfork_bench_app import application

def ask_wsgi():
    from wsgiref.util import setup_testing_defaults
    environ = {"PATH_INFO": path}
    setup_testing_defaults(environ)
    answer = application(environ, lambda status, headers, error=None: None)
    for _ in answer:
        pass
    getattr(answer, "close", lambda: None)()

def ask_asgi():
    # Start-up has run and is held, as in a template; shutdown never runs: forks and this process just end.
    import asyncio
    loop = asyncio.new_event_loop()
    state = {}
    async def ask():
        started, first = asyncio.Event(), {"lifespan": True, "http": True}
        def receive_for(kind, message):
            async def receive():
                if first.pop(kind, False):
                    return message
                await asyncio.Event().wait()
            return receive
        async def lifespan_send(message):
            started.set()
        async def send(message):
            pass
        version = {"version": "3.0", "spec_version": "2.3"}
        begin = receive_for("lifespan", {"type": "lifespan.startup"})
        about = {"type": "lifespan", "asgi": version, "state": state}
        lifespan = loop.create_task(application(about, begin, lifespan_send))
        lifespan.add_done_callback(lambda task: (task.exception(), started.set()))  # an app without lifespan
        await started.wait()
        scope = {"type": "http", "asgi": version, "http_version": "1.1", "method": "GET", "scheme": "http",
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "",
            "headers": [(b"host", b"localhost")], "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
            "state": dict(state)}
        message = {"type": "http.request", "body": b"", "more_body": False}
        await application(scope, receive_for("http", message), send)
        return lifespan
    return loop, loop.run_until_complete(ask())

held = (ask_wsgi if kind == "wsgi" else ask_asgi)()
gc.collect(); gc.disable(); gc.freeze()
samples = []
for _ in range(count + 3):
    read, write = os.pipe()
    begun = time.monotonic_ns()
    pid = os.fork()
    if pid == 0:
        os.write(write, b"x")
        os._exit(0)
    os.read(read, 1)
    samples.append((time.monotonic_ns() - begun) / 1e6)
    os.waitpid(pid, 0); os.close(read); os.close(write)
print(json.dumps({"ms": samples[3:]}), flush=True)
os._exit(0)
"""


def bare_fork(
    wrappers: Path,
    kind: str,
    count: int,
    *,
    path: str = "/",
    python: str = sys.executable,
    cwd: str = ".",
    env: Mapping[str, str] | None = None,
) -> list[float]:
    """Milliseconds of `count` forks; `wrappers` holds snapfork_bench_app.py (target.write_wrappers)."""
    command = [python, "-c", PROCESS, str(wrappers), kind, path, str(count)]
    # As in a template: a BLAS library makes its team of threads before the fork otherwise.
    threads = {f"{name}_NUM_THREADS": "1" for name in ("OMP", "OPENBLAS", "MKL")}
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
        env={**os.environ, **threads, **(env or {})},
    )
    if done.returncode != 0:
        raise UserError("the process for the bare fork failed.", done.stderr[-1500:])
    return [float(ms) for ms in json.loads(done.stdout.splitlines()[-1])["ms"]]

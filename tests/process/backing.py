"""Real servers for tests: PostgreSQL, Redis and HTTP, each on a free port or a socket of its own."""

from __future__ import annotations

import glob
import http.server
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 150
    while time.monotonic() < deadline:
        with socket.socket() as sock:
            if sock.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert process.poll() is None, "the server ended"
        time.sleep(0.02)
    raise AssertionError("the server does not listen")


@pytest.fixture(scope="session")
def redis_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """A Redis server's port on 127.0.0.1."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server here")
    port = _free_port()
    directory = tmp_path_factory.mktemp("redis")
    command = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        yield port
    finally:
        process.terminate()
        process.wait(150)


def _as_postgres(command: list[str]) -> list[str]:
    # PostgreSQL refuses to run as root.
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else command


@pytest.fixture(scope="session")
def postgres_port() -> Iterator[int]:
    """A PostgreSQL server's port on 127.0.0.1; user and database `postgres`, no password."""
    found = sorted(glob.glob("/usr/lib/postgresql/*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL here")
    programs = Path(found[-1]).parent
    port = _free_port()
    made = subprocess.run(
        _as_postgres(["mktemp", "-d"]), cwd="/", capture_output=True, text=True, check=True
    ).stdout.strip()
    data = f"{made}/data"
    initialise = [str(programs / "initdb"), "-D", data, "-U", "postgres", "-A", "trust", "--no-sync"]
    subprocess.run(_as_postgres(initialise), cwd="/", check=True, stdout=subprocess.DEVNULL)
    serve = [str(programs / "postgres"), "-D", data, "-p", str(port), "-k", made, "-c", "fsync=off"]
    process = subprocess.Popen(_as_postgres(serve), cwd="/", stderr=subprocess.DEVNULL)
    try:
        _wait_for(port, process)
        ready = [str(programs / "pg_isready"), "-q", "-h", "127.0.0.1", "-p", str(port)]
        while subprocess.run(ready).returncode != 0:
            time.sleep(0.02)
        yield port
    finally:
        stop = [str(programs / "pg_ctl"), "-D", data, "-m", "immediate", "stop"]
        subprocess.run(_as_postgres(stop), cwd="/", check=True, stdout=subprocess.DEVNULL)
        process.wait(150)
        shutil.rmtree(made, ignore_errors=True)


class _Hello(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        body = f"{self.client_address[1]}".encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Asked", self.path)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        return None


@pytest.fixture(scope="session")
def http_url() -> Iterator[str]:
    """A keep-alive HTTP/1.1 server that answers the client's own port: equal answers, one connection."""
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Hello) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://localhost:{server.server_address[1]}/"
        server.shutdown()

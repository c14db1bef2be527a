"""One runner from `serve` to `stop`, seen through its own commands."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from server import Serve

APP = """
import sys
def app(environ, start_response):
    print("serving", environ["PATH_INFO"])
    sys.stderr.write("on stderr\\n")
    start_response("200 OK", [("Content-Length", "2")])
    return [b"%s"]
"""


class Runner:
    """A `runner serve` process and what it has said so far."""

    def __init__(self, directory: Path, *words: str) -> None:
        self.environment = {**os.environ, "XDG_RUNTIME_DIR": str(directory / "run"), "COLUMNS": "200"}
        self.environment.pop("VIRTUAL_ENV", None)
        # Cached bytecode tells versions by size and whole second, and these tests write faster than that.
        self.environment["PYTHONDONTWRITEBYTECODE"] = "1"
        (directory / "run").mkdir(exist_ok=True)
        self.directory = directory
        self.lines: list[str] = []
        self.process = subprocess.Popen(
            [sys.executable, "-m", "snapfork.runner", "serve", *words], cwd=directory, env=self.environment,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip

    def wait_for(self, pattern: str) -> re.Match[str]:
        """The first line, already said or still to come, that matches."""
        for line in self.lines:
            if found := re.search(pattern, line):
                return found
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.lines.append(line.rstrip("\n"))
            if found := re.search(pattern, line):
                return found
        raise AssertionError(f"{pattern!r} was never said:\n" + "\n".join(self.lines))

    def command(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snapfork.runner", *words], cwd=self.directory, env=self.environment,
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip

    def get(self, path: str) -> tuple[bytes, str]:
        url = urlsplit(self.wait_for(r"serving on (\S+)")[1])
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=150)
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
        connection.close()
        return body, response.headers["X-Request-Id"]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def runner(tmp_path: Path) -> Iterator[Runner]:
    (tmp_path / "hello.py").write_text(APP % "v1")
    running = Runner(tmp_path, "hello:app", "--port", "0")
    yield running
    running.close()


def test_from_serve_to_stop(runner: Runner) -> None:
    body, request_id = runner.get("/first")
    assert body == b"v1"
    runner.wait_for(rf"hello/\S+ {request_id} \| serving /first")
    runner.wait_for(rf"hello/\S+ {request_id} \| on stderr")
    for stage in ("import", "initialise", "warm up", "audit", "freeze"):
        runner.wait_for(rf"^hello +{stage} +[\d.]+ ms")
    runner.wait_for(r"requests start by \w+ \([\d.]+ ms measured\)")
    runner.wait_for(r"curl -i http://127.0.0.1:\d+/")

    pid = str(runner.process.pid)  # named, because another runner of this user may run
    (entry,) = [one for one in json.loads(runner.command("ps", "--json").stdout) if str(one["pid"]) == pid]
    assert entry["functions"][0]["name"] == "hello"
    assert "hello" in runner.command("ps").stdout
    assert "warm up" in runner.command("status", pid).stdout

    (runner.directory / "hello.py").write_text(APP % "v2")
    done = runner.command("reload", pid)
    assert done.returncode == 0, done.stderr
    assert runner.get("/")[0] == b"v2"

    (runner.directory / "hello.py").write_text("import nothing_like_it\n")
    done = runner.command("reload", pid)
    assert done.returncode == 2
    assert "the old version goes on" in done.stderr
    assert runner.get("/")[0] == b"v2"

    assert runner.command("stop", pid).returncode == 0
    assert runner.process.wait(40) == 0
    assert list((runner.directory / "run" / "snapfork").iterdir()) == []


def test_reload_by_a_changed_file(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(APP % "v1")
    runner = Runner(tmp_path, "hello:app", "--port", "0", "--reload")
    try:
        assert runner.get("/")[0] == b"v1"
        (tmp_path / "hello.py").write_text(APP % "v2")
        runner.wait_for(r"hello +starting a template \(generation 2\)")
        while runner.get("/")[0] != b"v2":
            pass
        runner.process.send_signal(signal.SIGTERM)
        assert runner.process.wait(40) == 0
    finally:
        runner.close()


def test_everything_as_json(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(APP % "v1")
    runner = Runner(tmp_path, "hello:app", "--port", "0", "--json-log")
    try:
        runner.wait_for(r'"event": "ready"')
        url = urlsplit(json.loads(next(line for line in runner.lines if '"serving"' in line))["url"])
        connection = http.client.HTTPConnection(str(url.hostname), url.port, timeout=150)
        connection.request("GET", "/json")
        assert connection.getresponse().read() == b"v1"
        connection.close()
        runner.wait_for("serving /json")
        runner.process.send_signal(signal.SIGTERM)
        rest, _ = runner.process.communicate(timeout=150)
        for line in [*runner.lines, *rest.splitlines()]:
            json.loads(line)
    finally:
        runner.close()


def test_an_app_on_a_unix_socket_that_is_removed_at_the_end(tmp_path: Path) -> None:
    from snapfork.runner.cli.control_client import UnixConnection

    (tmp_path / "hello.py").write_text(APP % "v1")
    runner = Runner(tmp_path, "hello:app", "--uds", "hello.sock")
    try:
        runner.wait_for("serving on unix:")
        connection = UnixConnection(str(tmp_path / "hello.sock"), 30)
        connection.request("GET", "/")
        assert connection.getresponse().read() == b"v1"
        connection.close()
        runner.process.send_signal(signal.SIGINT)
        assert runner.process.wait(40) == 0
        assert not (tmp_path / "hello.sock").exists()
    finally:
        runner.close()


def test_of_two_runners_that_bind_one_port_the_slower_gives_up_with_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "hello.py").write_text(APP % "v1")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(("127.0.0.1", 0))  # bound and not yet listening, as a runner that is still starting
        port = probe.getsockname()[1]
        runner = Runner(tmp_path, "hello:app", "--port", str(port))
        try:
            runner.wait_for("starting a template")
            probe.listen()
            runner.wait_for("error: .*another program was faster")
            assert runner.process.wait(40) == 1
        finally:
            runner.close()


TALKING = """
import os, subprocess


def app(environ, start_response):
    print("said", environ["PATH_INFO"], flush=True)
    os.write(1, b"written\\n")
    child = subprocess.run(["sh", "-c", "echo child; exit 3"])
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [str(child.returncode).encode()]
"""


def test_the_log_process_may_die(tmp_path: Path) -> None:
    """Its pipes have another reader: no app is hit by SIGPIPE, and its successor goes on with them."""
    (tmp_path / "talking.py").write_text(TALKING)
    with Serve("talking:app", "--no-access-log", app_dir=tmp_path) as server:
        assert server.get("/before").text == "3"
        server.wait_for("said /before")
        (logs,) = [pid for pid in server.processes() if b"services.logs" in command_line(pid)]
        os.kill(logs, signal.SIGKILL)
        assert server.get("/meanwhile").text == "3"
        server.wait_for(f"the log process \\(pid {logs}\\) died")
        server.wait_for("said /meanwhile")
        assert server.get("/after").text == "3"
        server.wait_for("said /after")


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


DEAD = "import socket\nsocket.create_connection(('127.0.0.1', 1))\n"
DEAD_LATER = """
import socket
from contextlib import asynccontextmanager
from starlette.applications import Starlette

@asynccontextmanager
async def lifespan(app):
    socket.create_connection(("127.0.0.1", 1))
    yield

app = Starlette(lifespan=lifespan)
"""
EXITS = "import os\nos._exit(7)\n"
CRASHES = "import os\nos.kill(os.getpid(), 11)\n"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (DEAD, r"shop could not be imported: ConnectionRefusedError: .* \(shop.py, line 2\); start what it"),
        (DEAD_LATER, r"start-up code failed: ConnectionRefusedError: .* \(shop.py, line 8\); start what it"),
        (EXITS, r"the template died while it was starting \(exit 7\)"),
        (CRASHES, r"the template died while it was starting \(signal 11\)"),
    ],
)
def test_an_app_that_cannot_start_is_one_sentence(code: str, says: str, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(code)
    done = Runner(tmp_path, "shop:app", "--port", "0")
    try:
        done.wait_for("failed: .*" + says)
        assert done.process.wait(150) == 1
        assert done.process.stdout is not None
        assert not any("Traceback" in line for line in [*done.lines, *done.process.stdout])
    finally:
        done.close()


def test_settings_of_a_function_that_is_not_served_are_named(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(APP % "hi")
    (tmp_path / "pyproject.toml").write_text("[tool.snapfork.functions.shoop]\ntimeout = 3\n")
    runner = Runner(tmp_path, "shop:app", "--port", "0")
    try:
        runner.wait_for(r"functions\.shoop\] of pyproject.toml is not used: .* only shop")
    finally:
        runner.close()

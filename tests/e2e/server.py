"""Servers as real processes for tests: `runner serve`, and gunicorn and uvicorn beside it."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

HANG_S = 150.0  # only stops what hangs
MARK = "TEST_RUN_OF_SNAPFORK"  # the runner keeps SNAPFORK_* from its functions


@dataclass
class Answer:
    """A response; `headers` as sent, names in lower case, repeated ones joined by a newline."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def start(self) -> str | None:
        """What started for this request: "spare", "fork", "spawn", or None for a warm instance."""
        found = re.match(r'start;desc="(\w+)";dur=[\d.]+$', self.headers.get("server-timing", ""))
        return found[1] if found else None


class Client(http.client.HTTPConnection):
    """One connection, kept alive."""

    def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """One request and its whole answer. A dict as `body` is sent as JSON."""
        sent = dict(headers or {})
        if isinstance(body, dict):
            body = json.dumps(body).encode()
            sent["Content-Type"] = "application/json"
        self.request(method, path, body, sent)
        response = self.getresponse()
        seen: dict[str, str] = {}
        for name, value in response.getheaders():
            name = name.lower()
            seen[name] = f"{seen[name]}\n{value}" if name in seen else value
        return Answer(response.status, seen, response.read())


class Server:
    """A server process: started, waited for until `url_pattern` is in its output, stopped at the end.

    At the end none of its processes may be left; a test that fails shows the end of its output.
    """

    def __init__(
        self,
        command: Sequence[str],
        url_pattern: str,
        *,
        cwd: str | os.PathLike[str] = ".",
        env: Mapping[str, str] | None = None,
        preexec: Callable[[], None] | None = None,
    ) -> None:
        self.command = list(command)
        self.url_pattern = url_pattern
        self.cwd = cwd
        self.mark = uuid.uuid4().hex
        # Short: it holds a Unix socket, whose path has at most 107 bytes.
        self.run_dir = tempfile.mkdtemp(prefix="run-")
        environment = {
            **os.environ,
            MARK: self.mark,
            "XDG_RUNTIME_DIR": self.run_dir,
            "XDG_DATA_HOME": f"{self.run_dir}/data",
            "PYTHONUNBUFFERED": "1",
        }
        environment.pop("VIRTUAL_ENV", None)
        self.environment = {**environment, **(env or {})}
        self.preexec = preexec
        self.output: list[str] = []
        self.ended = False
        self.news = threading.Condition()
        self.host, self.port = "127.0.0.1", 0
        self.url = ""

    def __enter__(self) -> Self:
        self.process = subprocess.Popen(
            self.command, cwd=self.cwd, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True, preexec_fn=self.preexec,
        )  # fmt: skip
        self.reader = threading.Thread(target=self._read, daemon=True)
        self.reader.start()
        try:
            found = self.wait_for(self.url_pattern)
        except BaseException:
            self._kill_all()
            self._clean()
            raise
        self.url = found[1].rstrip("/")
        if self.url.startswith("http"):
            self.host, port = self.url.removeprefix("http://").rsplit(":", 1)
            self.port = int(port)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                error.add_note(self.tail())
                self._kill_all()
                return
            self.stop()
            self.wait_until_nothing_is_left()
        finally:
            self._kill_all()
            self._clean()

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            with self.news:
                self.output.append(line.decode(errors="replace").rstrip("\n"))
                self.news.notify_all()
        with self.news:
            self.ended = True
            self.news.notify_all()

    def tail(self) -> str:
        return "\n".join([f"--- {' '.join(self.command)}", *self.output[-60:], "---"])

    def wait_for(self, pattern: str, start: int = 0) -> re.Match[str]:
        """The first line of output from number `start` on, said or to come, that `pattern` is found in."""
        deadline = time.monotonic() + HANG_S
        position = start
        with self.news:
            while True:
                while position < len(self.output):
                    if found := re.search(pattern, self.output[position]):
                        return found
                    position += 1
                left = deadline - time.monotonic()
                if self.ended or left < 0:
                    what = "ended" if self.ended else "went on"
                    raise AssertionError(f"the server {what} without saying {pattern!r}\n{self.tail()}")
                self.news.wait(left)

    def client(self) -> Client:
        """A new connection, made with the first request."""
        return Client(self.host, self.port, timeout=HANG_S)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        """One request on a connection of its own."""
        client = self.client()
        try:
            return client.ask(method, path, body, {"Connection": "close", **(headers or {})})
        finally:
            client.close()

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> Answer:
        return self.ask("GET", path, None, headers)

    def raw(self) -> socket.socket:
        """A connected socket."""
        if self.url.startswith("unix:"):
            unix = socket.socket(socket.AF_UNIX)
            unix.settimeout(HANG_S)
            unix.connect(self.url.removeprefix("unix:"))
            return unix
        return socket.create_connection((self.host, self.port), timeout=HANG_S)

    def stop(self) -> int:
        """End it as a service manager does and wait; the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(HANG_S)

    def kill(self) -> None:
        """kill -9 of the main process alone."""
        self.process.kill()
        self.process.wait(HANG_S)

    def processes(self) -> list[int]:
        """Every living process that was started by this one or by a descendant of it, itself included."""
        found = []
        needle = f"{MARK}={self.mark}".encode()
        for entry in os.listdir("/proc"):
            if entry.isdigit() and int(entry) != os.getpid():
                try:
                    if needle in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                        found.append(int(entry))
                except OSError:
                    continue  # it ended meanwhile
        return found

    def wait_until_nothing_is_left(self, within: float = 30.0) -> None:
        """Raises AssertionError with what is still running after `within` seconds."""
        deadline = time.monotonic() + within
        while left := self.processes():
            if time.monotonic() > deadline:
                raise AssertionError(f"still running: {[_describe(pid) for pid in left]}\n{self.tail()}")
            time.sleep(0.02)

    def _kill_all(self) -> None:
        for pid in self.processes():
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue

    def _clean(self) -> None:
        self.process.wait(HANG_S)
        self.reader.join(HANG_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        shutil.rmtree(self.run_dir, ignore_errors=True)


class Serve(Server):
    """`runner serve WORDS --port 0`; python=None lets the runner find the app's interpreter.

    Snapshots are kept where a `data_dir` is given.
    """

    def __init__(
        self,
        *words: str,
        app_dir: str | os.PathLike[str] = ".",
        cwd: str | os.PathLike[str] = ".",
        env: Mapping[str, str] | None = None,
        preexec: Callable[[], None] | None = None,
        python: str | None = sys.executable,
        data_dir: str | os.PathLike[str] | None = None,
    ) -> None:
        options = ["--data-dir", str(data_dir)] if data_dir else ["--no-snapshot"]
        if not any(word.startswith("--uds") for word in words):
            options += ["--port", "0"]
        if "--app-dir" not in words:
            options += ["--app-dir", str(app_dir)]
        # Named, because a .venv of the checkout would be taken for the apps in it.
        options += ["--python", python] if python else []
        super().__init__(
            [sys.executable, "-m", "snapfork.runner", "serve", *words, *options],
            r"serving on (\S+)", cwd=cwd, env=env, preexec=preexec,
        )  # fmt: skip

    def status(self) -> dict[str, Any]:
        """GET /status over the control socket, which may come up a little after the first URL."""
        path = f"{self.run_dir}/snapfork/{self.process.pid}/control.sock"
        deadline = time.monotonic() + HANG_S
        while True:
            client = Client("localhost", timeout=HANG_S)
            client.sock = socket.socket(socket.AF_UNIX)
            client.sock.settimeout(HANG_S)
            try:
                client.sock.connect(path)
                answer = client.ask("GET", "/status")
            except (FileNotFoundError, ConnectionRefusedError):
                assert time.monotonic() < deadline, f"no control socket\n{self.tail()}"
                time.sleep(0.01)
                continue
            finally:
                client.close()
            assert answer.status == 200, answer
            return dict(answer.json())

    def function(self, name: str | None = None) -> dict[str, Any]:
        """The status of one function, the first by default."""
        functions = self.status()["functions"]
        return next(dict(one) for one in functions if name is None or one["name"] == name)

    def wait_until(self, true: Callable[[dict[str, Any]], bool], name: str | None = None) -> dict[str, Any]:
        """The function's status, as soon as `true` of it."""
        deadline = time.monotonic() + HANG_S
        while not true(function := self.function(name)):
            assert time.monotonic() < deadline, f"never came true; at last {function}"
            time.sleep(0.01)
        return function

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        """Another command of `runner`, seeing this runner and no other."""
        return subprocess.run(
            [sys.executable, "-m", "snapfork.runner", *words], cwd=self.cwd, env=self.environment,
            capture_output=True, text=True, timeout=HANG_S, check=False,
        )  # fmt: skip


def gunicorn(
    target: str, app_dir: str | os.PathLike[str], *words: str, env: Mapping[str, str] | None = None
) -> Server:
    """gunicorn with one worker."""
    command = [sys.executable, "-m", "gunicorn", "-b", "127.0.0.1:0", "--chdir", str(app_dir), *words, target]
    return Server(command, r"Listening at: (http://\S+)", env=env)


def uvicorn(
    target: str, app_dir: str | os.PathLike[str], *words: str, env: Mapping[str, str] | None = None
) -> Server:
    """uvicorn with one process."""
    command = [sys.executable, "-m", "uvicorn", "--port", "0", "--app-dir", str(app_dir), *words, target]
    return Server(command, r"Uvicorn running on (http://\S+)", env=env)


def _describe(pid: int) -> str:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        command = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()[:120]
    except OSError:
        return f"{pid} (gone)"
    return f"{pid} ({state}) {command}"

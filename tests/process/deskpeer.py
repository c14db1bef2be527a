"""A real gateway whose services process is the test itself: it speaks on the desk and connects directly.

with Deployment(tmp_path) as gateway:
    gateway.put(gateway.unit("shop:1", "def app(environ, start_response): ..."))
"""

from __future__ import annotations

import array
import itertools
import json
import os
import queue
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Self

from server import HANG_S, MARK, Answer, Client
from snapfork.runner.units import Unit, UnitRoute

LENGTH = struct.Struct("!I")
GATEWAY = """
import json, os, socket, subprocess, sys
from snapfork.runner.console import Console
from snapfork.runner.gateway import listening, main
from snapfork.runner.serve_config import FunctionConfig, Interpreter, ServeConfig
from snapfork.runner.services import launch

setup = json.loads(sys.argv[1])
line = socket.socket(fileno=setup["line"])

# A process that can be killed stands in for the services; who speaks and connects is the test.
class Services(subprocess.Popen):
    def wait(self, timeout=None):
        self.kill()
        return super().wait(timeout)

services = []
peer = listening._peer

def start(config, control_fd, life_fd):
    services[:] = [Services(["sleep", "1000000"])]
    socket.send_fds(line, [b"%d" % services[0].pid], [control_fd])
    return services[0]

launch.start = start
listening._peer = lambda sock: services[0].pid if peer(sock) == setup["pid"] else peer(sock)
listener = socket.create_server(("127.0.0.1", 0))
listener.setblocking(False)
url = "http://127.0.0.1:%d" % listener.getsockname()[1]
python = Interpreter(sys.executable, "3", "the test's")
functions = [FunctionConfig(*one, python) for one in setup.pop("functions")]
config = ServeConfig(
    functions=functions, listeners=[listener], urls=[url], reload=False, reload_dirs=[],
    trusted_proxies=["127.0.0.1"], access_log="text", control=None, runtime_dir=setup["runtime_dir"],
    version="0", data_dir=setup["data_dir"], deployed=True, **setup["config"],
)
sys.exit(main.run(config, Console()))
"""


class Refused(Exception):
    """The gateway refused an operation; `reply` is all that it said."""

    def __init__(self, reply: dict[str, Any]) -> None:
        super().__init__(reply["error"])
        self.reply = reply


class Deployment:
    """Started, spoken to, and looked after: at the end none of its processes is left.

    functions: (name, target, app_dir, overrides, prefixes) of `runner serve TARGET`. config: more members of
    ServeConfig. wrap: words before the command, such as of another namespace.
    """

    def __init__(
        self,
        directory: Path,
        *,
        functions: tuple[Any, ...] = (),
        wrap: tuple[str, ...] = (),
        python: str = sys.executable,
        **config: Any,
    ) -> None:
        self.directory = directory
        self.python = python
        self.wrap = wrap
        self.functions = functions
        self.config = {"keeps_snapshots": False, **config}
        self.mark = uuid.uuid4().hex
        self.events: queue.Queue[dict[str, Any]] = queue.Queue()
        self.seen: list[dict[str, Any]] = []
        self._numbers = itertools.count(1)
        self._replies: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._sending = threading.Lock()
        self.verdicts: Any = None
        """Called with each "authorize"; returns the members of the answer. None: nobody answers."""

    def __enter__(self) -> Self:
        self.runtime = tempfile.mkdtemp(prefix="run-")
        self.line, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        setup = {
            "line": theirs.fileno(), "pid": os.getpid(), "runtime_dir": self.runtime,
            "data_dir": str(self.directory / "data"), "functions": self.functions, "config": self.config,
        }  # fmt: skip
        self.output = open(self.directory / "output", "w+")  # noqa: SIM115
        self.process = subprocess.Popen(
            [*self.wrap, self.python, "-c", GATEWAY, json.dumps(setup)], pass_fds=[theirs.fileno()],
            stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT,
            env={**os.environ, MARK: self.mark, "RUNNER_SECRET": "of the runner"}, start_new_session=True,
        )  # fmt: skip
        theirs.close()
        try:
            self._take_desk()
            url = self.wait_for("serving on ").rpartition(" ")[2].strip()
        except BaseException:
            self._clean()
            raise
        self.port = int(url.rpartition(":")[2])
        return self

    def _take_desk(self) -> None:
        pid, fds, _, _ = socket.recv_fds(self.line, 16, 1)
        if not fds:
            raise AssertionError(f"the gateway ended\n{self.tail()}")
        self.services = int(pid)
        self.desk = socket.socket(fileno=fds[0])
        threading.Thread(target=self._read, args=[self.desk], daemon=True).start()
        self.send({"ready": {"control_uds": "", "control_tcp": None}})

    def kill_services(self) -> None:
        """kill -9 of the services process, as the gateway sees it."""
        self.desk.shutdown(socket.SHUT_RDWR)
        self.desk.close()
        os.kill(self.services, 9)

    def take_new_desk(self) -> None:
        """The line of a services process that was started again."""
        self._take_desk()

    def settled(self, look: Callable[[], Any], for_s: float = 1.5) -> Any:
        """What `look` sees once it has been the same for a while."""
        seen, since, deadline = look(), time.monotonic(), time.monotonic() + HANG_S
        while time.monotonic() - since < for_s:
            assert time.monotonic() < deadline, f"it never came to rest; at last {seen}"
            time.sleep(0.1)
            if (now := look()) != seen:
                seen, since = now, time.monotonic()
        return seen

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if error is not None:
                error.add_note(self.tail())
                return
            self.stop()
            deadline = time.monotonic() + 30
            while left := self.processes():
                assert time.monotonic() < deadline, f"still running: {left}\n{self.tail()}"
                time.sleep(0.02)
        finally:
            self._clean()

    def _clean(self) -> None:
        for pid in self.processes():
            os.kill(pid, 9)
        self.process.kill()
        self.process.wait(HANG_S)
        self.output.close()
        shutil.rmtree(self.runtime, ignore_errors=True)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(HANG_S)

    def processes(self) -> list[int]:
        """Everything that the gateway started, itself included; bases have no mark in their environment."""
        parents: dict[int, int] = {}
        marked = set()
        needle = f"{MARK}={self.mark}".encode()
        for entry in os.listdir("/proc"):
            if not entry.isdigit():
                continue
            try:
                parents[int(entry)] = int(
                    Path("/proc", entry, "stat").read_text().rpartition(")")[2].split()[1]
                )
                if needle in Path("/proc", entry, "environ").read_bytes().split(b"\0"):
                    marked.add(int(entry))
            except (OSError, IndexError):
                continue
        marked |= getattr(self, "_known", set()) & parents.keys()
        grown = True
        while grown:
            below = {pid for pid, parent in parents.items() if parent in marked} - marked
            grown = bool(below)
            marked |= below
        self._known = marked
        return sorted(marked)

    def tail(self) -> str:
        return (self.directory / "output").read_text()[-6000:]

    def wait_for(self, text: str, within: float = HANG_S) -> str:
        """The first line of output with `text` in it."""
        deadline = time.monotonic() + within
        while True:
            for line in (self.directory / "output").read_text().splitlines():
                if text in line:
                    return line
            assert self.process.poll() is None and time.monotonic() < deadline, f"no {text!r}\n{self.tail()}"
            time.sleep(0.01)

    # -- the desk ----------------------------------------------------------------------------------------

    def _read(self, desk: socket.socket) -> None:
        stream = desk.makefile("rb")
        while len(head := stream.read(LENGTH.size)) == LENGTH.size:
            message = json.loads(stream.read(LENGTH.unpack(head)[0]))
            if message.get("event") == "authorize":
                if self.verdicts is not None:
                    self.send({"op": "authorized", "id": message["id"], **self.verdicts(message)})
            elif "event" in message:
                self.seen.append(message)
                self.events.put(message)
            else:
                self._replies[message["id"]].put(message)

    def send(self, message: dict[str, Any]) -> None:
        data = json.dumps(message).encode()
        with self._sending:
            self.desk.sendall(LENGTH.pack(len(data)) + data)

    def ask(self, operation: str, **arguments: Any) -> Any:
        """The result of an operation. Raises Refused."""
        reply = self.ask_later(operation, **arguments).get(timeout=HANG_S)
        if not reply["ok"]:
            raise Refused(reply)
        return reply["result"]

    def ask_later(self, operation: str, **arguments: Any) -> queue.Queue[dict[str, Any]]:
        number = next(self._numbers)
        answer: queue.Queue[dict[str, Any]] = queue.Queue()
        self._replies[number] = answer
        self.send({"id": number, "op": operation, **arguments})
        return answer

    def event(self, state: str, name: str = "", revision: str = "") -> dict[str, Any]:
        """The next event of this kind; others before it are passed over."""
        while True:
            event = self.events.get(timeout=HANG_S)
            if (
                event["state"] == state
                and name in ("", event["name"])
                and revision in ("", event["revision"])
            ):
                return event

    # -- units -------------------------------------------------------------------------------------------

    def unit(self, name: str, code: str, revision: str = "1", **members: Any) -> Unit:
        """A unit with `code` as its module app.py."""
        package = self.directory / "code" / uuid.uuid4().hex
        package.mkdir(parents=True)
        (package / "app.py").write_text(code)
        environment = {"PATH": os.defpath, "HOME": str(package), "LANG": "C.UTF-8", "TZ": "UTC"}
        members.setdefault("overrides", {"warmup": [], "spares": 0})
        members.setdefault("environment", environment)
        members.setdefault("target", "app:app")
        return Unit(name, revision, app_dir=str(package), python=self.python, python_version="3", **members)

    def put(self, *units: Unit, drop: tuple[str, ...] = ()) -> None:
        self.ask("units", put=[one.as_dict() for one in units], drop=list(drop))

    def route(self, *routes: UnitRoute, **more: Any) -> None:
        self.ask("routes", routes=[one.as_dict() for one in routes], **more)

    def serve(self, *units: Unit) -> None:
        """Put units and give each /FUNCTION and FUNCTION.localhost."""
        self.put(*units)
        routes = []
        for one in units:
            function = one.name.partition(":")[0]
            for host, prefix in ((None, f"/{function}"), (f"{function}.localhost", "")):
                routes.append(UnitRoute(host, prefix, ((one.name, 1.0),), function))
        self.route(*routes)

    def status(self, name: str) -> dict[str, Any]:
        return dict(self.ask("unit_status")[name])

    def wait_until(self, name: str, true: Any) -> dict[str, Any]:
        deadline = time.monotonic() + HANG_S
        while not true(status := self.status(name)):
            assert time.monotonic() < deadline, f"never came true; at last {status}"
            time.sleep(0.01)
        return status

    # -- clients -----------------------------------------------------------------------------------------

    def client(self) -> Client:
        return Client("127.0.0.1", self.port, timeout=HANG_S)

    def get(self, path: str, **headers: str) -> Answer:
        client = self.client()
        try:
            return client.ask("GET", path, None, {"Connection": "close", **headers})
        finally:
            client.close()

    def direct(self) -> Client:
        """A connection to the direct listener, as the services process."""
        client = Client("localhost", timeout=HANG_S)
        client.sock = socket.socket(socket.AF_UNIX)
        client.sock.settimeout(HANG_S)
        client.sock.connect(os.path.join(self.runtime, "invoke.sock"))
        return client


def read_descriptor(line: socket.socket) -> int:
    """A descriptor that was sent over `line`."""
    fds = array.array("i")
    _, ancillary, _, _ = line.recvmsg(1, socket.CMSG_LEN(fds.itemsize))
    fds.frombytes(ancillary[0][2])
    return fds[0]

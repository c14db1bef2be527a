"""Who is refused: requests that were changed, stale, replayed or unsigned, pages of other origins in a real
browser, and deployed functions that want more than they were given. Nothing of it changes anything."""

from __future__ import annotations

import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config
from deployed import serve
from fc_served import zipped
from prying import PRYING
from server import HANG_S, Answer, Client, Serve
from snapfork.runner.faces.exchange import Headers
from snapfork.runner.faces.signing import sign_sigv4
from snapfork.runner.registry.model import Key

ROLE = "arn:aws:iam::000000000000:role/any"
# Each call leaves a line in the function's HOME, which all of its instances share.
COUNTING = """
import json, os

def handler(event, context):
    path = os.path.join(os.environ["HOME"], "calls")
    if event == "count":
        return sum(1 for _ in open(path)) if os.path.exists(path) else 0
    with open(path, "a") as file:
        file.write(json.dumps(event) + "\\n")
"""
Sent = tuple[str, str, Headers, bytes]
"""Path, query, header fields and body of a request that has been signed."""


class Target:
    """A runner, what its control API is asked, and the function that must not be called."""

    def __init__(self, server: Serve, data: Path, key: Key | None = None) -> None:
        self.server = server
        self.url = server.wait_for(r"control: (http://\S+)/status")[1]
        self.netloc = urlsplit(self.url).netloc
        told = json.loads((data / "keys").read_text())["keys"][0]
        self.key = key or Key(told["id"], told["secret"])
        self.boto = boto3.client(
            "lambda",
            endpoint_url=self.url,
            region_name="us-east-1",
            aws_access_key_id=self.key.id,
            aws_secret_access_key=self.key.secret,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=HANG_S),
        )

    def create(self, name: str, source: str, handler: str = "main.handler", **more: Any) -> None:
        self.boto.create_function(
            FunctionName=name, Code={"ZipFile": zipped({"main.py": source})}, Handler=handler,
            Runtime=f"python3.{sys.version_info[1]}", Role=ROLE, **{"Timeout": 30, **more},
        )  # fmt: skip
        pace = {"Delay": 0.1, "MaxAttempts": 600}
        self.boto.get_waiter("function_active_v2").wait(FunctionName=name, WaiterConfig=pace)

    def invoke(self, name: str, payload: Any) -> Any:
        answer = self.boto.invoke(FunctionName=name, Payload=json.dumps(payload).encode())
        said = json.loads(answer["Payload"].read())
        assert "FunctionError" not in answer, said
        return said

    def state(self) -> Any:
        """All that a request could have changed."""
        listed = self.boto.list_functions()["Functions"]
        return [(one["FunctionName"], one["RevisionId"]) for one in listed], self.invoke("victim", "count")

    def sign(self, method: str, path: str, query: str, body: bytes, now: float | None = None) -> Sent:
        headers: Headers = [(b"host", self.netloc.encode()), (b"x-amz-invocation-type", b"RequestResponse")]
        added = sign_sigv4(
            method, path.encode(), query.encode(), headers, sha256(body).hexdigest(), self.key,
            time.time() if now is None else now,
        )  # fmt: skip
        return path, query, [*headers, *added], body

    def send(self, method: str, sent: Sent) -> Answer:
        path, query, headers, body = sent
        client = Client(*self.netloc.rsplit(":", 1), timeout=HANG_S)  # type: ignore[arg-type]
        try:
            fields = {name.decode(): value.decode("latin-1") for name, value in headers}
            return client.ask(method, f"{path}?{query}" if query else path, body, fields)
        finally:
            client.close()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    data = tmp_path_factory.mktemp("runner") / "data"
    with serve(data) as server:
        one = Target(server, data)
        one.create("victim", COUNTING)
        yield one


# -- signatures --------------------------------------------------------------------------------------------

INVOKE = "/2015-03-31/functions/victim/invocations"


def flipped(text: bytes, at: int = -1) -> bytes:
    """With one byte changed for another that may stand there."""
    at %= len(text)
    return text[:at] + (b"0" if text[at : at + 1] != b"0" else b"1") + text[at + 1 :]


def header(name: bytes) -> Callable[[Sent], Sent]:
    """Changes the last byte of a header."""

    def change(sent: Sent) -> Sent:
        path, query, headers, body = sent
        assert any(one == name for one, _ in headers)
        return path, query, [(one, flipped(value) if one == name else value) for one, value in headers], body

    return change


CHANGES: dict[str, Callable[[Sent], Sent]] = {
    "path": lambda sent: (sent[0].replace("victim", "victin"), *sent[1:]),
    "path, encoded otherwise": lambda sent: (sent[0].replace("victim", "victi%6d"), *sent[1:]),
    "query": lambda sent: (sent[0], flipped(sent[1].encode()).decode(), *sent[2:]),
    "query, one more": lambda sent: (sent[0], f"{sent[1]}&x=1", *sent[2:]),
    "host": lambda sent: (
        *sent[:2], [(n, b"localhost" if n == b"host" else v) for n, v in sent[2]], sent[3],
    ),
    "signed header": header(b"x-amz-invocation-type"),
    "date": header(b"x-amz-date"),
    "nonce": header(b"amz-sdk-invocation-id"),
    "signature": header(b"authorization"),
    "body": lambda sent: (*sent[:3], flipped(sent[3], 6)),
    "body, longer": lambda sent: (*sent[:3], sent[3] + b" "),
    "unsigned": lambda sent: (*sent[:2], [one for one in sent[2] if one[0] != b"authorization"], sent[3]),
}  # fmt: skip


@pytest.mark.parametrize("what", CHANGES)
def test_one_byte_changed(target: Target, what: str) -> None:
    before = target.state()
    sent = target.sign("POST", INVOKE, "Qualifier=LATEST0", b'{"by": "somebody"}')
    assert target.send("POST", CHANGES[what](sent)).status == 403
    sent = target.sign("DELETE", "/2015-03-31/functions/victim", "Qualifier=0", b'{"by": "nobody"}')
    changed = CHANGES[what](sent)
    assert target.send("DELETE", changed).status == 403
    assert target.state() == before


@pytest.mark.parametrize("off", [-1000.0, 1000.0])
def test_a_stale_request(target: Target, off: float) -> None:
    before = target.state()
    sent = target.sign("POST", INVOKE, "", b"{}", now=time.time() + off)
    assert target.send("POST", sent).status == 403
    assert target.state() == before


def test_a_replayed_request(target: Target) -> None:
    sent = target.sign("POST", INVOKE, "", b'{"once": 1}')
    assert target.send("POST", sent).status == 200
    before = target.state()
    assert target.send("POST", sent).status == 403
    assert target.state() == before


@pytest.mark.parametrize(
    "method, path",
    [
        ("POST", INVOKE),
        ("DELETE", "/2015-03-31/functions/victim"),
        ("GET", "/2015-03-31/functions/"),
        ("POST", "/2023-03-30/functions/victim/invocations"),
        ("DELETE", "/2023-03-30/functions/victim"),
        ("POST", "/v1/functions/victim/invocations"),
        ("DELETE", "/v1/functions/victim"),
        ("GET", "/v1/functions/victim/logs"),
        ("GET", "/v1/keys"),
        ("POST", "/v1/keys"),
        ("POST", "/stop"),
        ("POST", "/reload"),
    ],
)
def test_an_unsigned_request(target: Target, method: str, path: str) -> None:
    before = target.state()
    answer = target.send(method, (path, "", [(b"host", target.netloc.encode())], b"{}"))
    assert answer.status in (400, 401, 403), answer
    assert target.key.secret not in answer.text
    assert target.state() == before


# -- a page of another origin in a real browser ------------------------------------------------------------

PAGE = """<!doctype html><title>a page</title>
<iframe name="sink"></iframe>
<form id="form" target="sink" method="post" enctype="text/plain"><input name='{"a' value='": 1}'></form>
<script>
const control = "%(control)s";
const say = (what, value) => fetch("/told/" + what + "/" + encodeURIComponent(value), {method: "POST"});
async function attempt(what, path, options) {
    let result;
    try {
        const answer = await fetch(control + path, options);
        result = answer.type == "opaque" ? "opaque" : answer.status + " " + await answer.text();
    } catch (error) {
        result = "refused";
    }
    await say(what, result);
}
(async () => {
    const paths = %(paths)s;
    for (const path of paths) {
        await attempt("simple", path, {method: "POST", mode: "no-cors", body: '{"by": "page"}'});
        await attempt("json", path, {
            method: "POST", body: '{"by": "page"}', headers: {"Content-Type": "application/json"}});
        await attempt("delete", path.replace("/invocations", ""), {method: "DELETE"});
        await attempt("read", path.replace("/invocations", ""), {});
        const form = document.getElementById("form");
        form.action = control + path;
        const sent = new Promise(done => document.querySelector("iframe").onload = done);
        form.submit();
        await sent;
        await say("form", "sent");
    }
    await say("done", "");
})();
</script>
"""


@contextmanager
def page_server(page: bytes) -> Iterator[tuple[str, queue.Queue[tuple[str, str]]]]:
    """A page of an origin of its own, and what it reports."""
    told: queue.Queue[tuple[str, str]] = queue.Queue()

    class Page(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._answer(page if self.path == "/" else b"")

        def do_POST(self) -> None:
            _, _, what, value = self.path.split("/", 3)
            told.put((what, value))
            self._answer(b"")

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/html; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/", told
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def browser() -> str:
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("there is no browser: sudo apt-get install -y chromium")
    return found


def test_a_page_of_another_origin(tmp_path: Path) -> None:
    """The runner asks for no signatures at all: only the browser's Origin is between page and function."""
    program = browser()
    data = tmp_path / "data"
    with Serve("--control", "127.0.0.1:0", "--control-auth", "none", data_dir=data) as server:
        target = Target(server, data)
        target.create("victim", COUNTING)
        assert target.send("POST", (INVOKE, "", [(b"host", target.netloc.encode())], b"{}")).status == 200
        before = target.state()
        paths = [INVOKE, "/2023-03-30/functions/victim/invocations", "/v1/functions/victim/invocations"]
        page = PAGE % {"control": target.url, "paths": json.dumps(paths)}
        profile = tempfile.mkdtemp(prefix="browser-")
        with page_server(page.encode()) as (url, told):
            process = subprocess.Popen(
                [program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
                 "--no-first-run", f"--user-data-dir={profile}", "--remote-debugging-port=0", url],
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
            try:
                said: list[tuple[str, str]] = []
                while not said or said[-1][0] != "done":
                    said.append(told.get(timeout=HANG_S * 2))
            finally:
                os.killpg(process.pid, 9)
                process.wait()
        shutil.rmtree(profile, ignore_errors=True)
        assert len(said) == 5 * len(paths) + 1
        assert {value for what, value in said if what in ("json", "delete", "read")} == {"refused"}
        assert {value for what, value in said if what == "simple"} == {"opaque"}  # there was an answer
        assert target.state() == before
        assert target.send("POST", (INVOKE, "", [(b"host", target.netloc.encode())], b"{}")).status == 200


# -- a deployed function that wants more -------------------------------------------------------------------

PROBE = PRYING + """
import http.client, json, os, socket, subprocess

def memory(pid):
    with open("/proc/%d/maps" % pid) as maps:
        start = int(maps.readline().split("-")[0], 16)
    with open("/proc/%d/mem" % pid, "rb") as file:
        file.seek(start)
        file.read(16)

def call(host, port, method, path):
    connection = http.client.HTTPConnection(host, port, timeout=150)
    connection.request(method, path, b"{}", {"Content-Type": "application/json"})
    return connection.getresponse().status

def reach(path):
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(path)

def handler(event, context):
    with open(os.path.join(os.environ["HOME"], "secret"), "w") as file:
        file.write("mine")
    host, port = event["control"].split(":")
    return {
        "uid": os.getuid(),
        "home": os.environ["HOME"],
        "environ": dict(os.environ),
        "descriptors": [os.readlink("/proc/self/fd/" + fd) for fd in os.listdir("/proc/self/fd")
                        if os.path.lexists("/proc/self/fd/" + fd)],
        "heirs": subprocess.run("ls /proc/self/fd", shell=True, close_fds=False, capture_output=True,
                                text=True).stdout.split(),
        "calls": [call(host, int(port), method, path) for method, path in event["calls"]],
        "processes": {
            str(pid): [
                outcome(lambda: memory(pid)),
                outcome(lambda: open("/proc/%d/environ" % pid, "rb").read().decode()[:1]),
                outcome(lambda: os.listdir("/proc/%d/fd" % pid) and "done"),
                outcome(lambda: trace(pid)),
                outcome(lambda: take(pid)),
            ]
            for pid in event["pids"]
        },
        "files": {path: outcome(lambda: open(path, "rb").read(1) and "done") for path in event["files"]},
        "directories": {path: outcome(lambda: os.listdir(path) and "done") for path in event["directories"]},
        "sockets": {path: outcome(lambda: reach(path)) for path in event["sockets"]},
    }
"""


def of_the_runner(server: Serve) -> list[int]:
    """Gateway, services and log process."""
    helpers = (b"snapfork.runner.services.main", b"snapfork.runner.services.logs")
    found = [server.process.pid]
    for pid in server.processes():
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        if any(helper in command for helper in helpers):
            found.append(pid)
    assert len(found) == 3
    return found


@pytest.mark.skipif(os.geteuid() != 0, reason="only a runner of root runs functions as somebody else")
def test_a_function_of_a_runner_of_root_gets_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    base = Path(tempfile.mkdtemp(prefix="snapfork-"))
    base.chmod(0o755)  # others may enter it, as /srv: what is refused is not for want of a way
    data = base / "data"
    try:
        with serve(data) as server:
            target = Target(server, data)
            target.create("victim", COUNTING)
            target.create("other", PROBE)
            target.create("probe", PROBE)
            target.invoke("victim", {"a": 1})
            runtime = Path(server.run_dir) / "snapfork" / str(server.process.pid)
            wish: dict[str, Any] = {
                "control": target.netloc,
                "calls": [
                    ("POST", INVOKE), ("GET", "/2015-03-31/functions/"), ("DELETE", "/v1/functions/victim"),
                    ("GET", "/v1/keys"), ("POST", "/stop"), ("DELETE", "/2023-03-30/functions/victim"),
                ],
                "pids": of_the_runner(server),
                "files": [
                    str(data / name)
                    for name in (
                        "keys", "registry.sqlite3", "queue.sqlite3", "telemetry.sqlite3", "homes.secret"
                    )
                ] + [str(runtime / "token"), str(runtime / "runner.json")],
                "directories": [str(data), str(data / "packages"), str(runtime), f"{data}.public/homes"],
                "sockets": [str(runtime / name) for name in ("control.sock", "invoke.sock", "logs.sock")],
            }  # fmt: skip
            before = target.state()
            other = target.invoke("other", wish)
            wish["files"].append(f"{other['home']}/secret")
            said = target.invoke("probe", wish)
            public = Path(f"{data}.public")
            # What it would have to guess: by its own name's pattern the other's is not found.
            assert Path(said["home"]).parent == Path(other["home"]).parent == public / "homes"
            assert Path(said["home"]).name.partition(".")[2] != Path(other["home"]).name.partition(".")[2]
            assert said["uid"] not in (0, os.geteuid())
            assert all(status in (400, 401, 403) for status in said["calls"]), said["calls"]
            refused = {"PermissionError", "FileNotFoundError", "ProcessLookupError"}
            assert set(said["processes"]) == {str(pid) for pid in wish["pids"]}
            for outcomes in said["processes"].values():
                assert set(outcomes) <= refused, said["processes"]
            del said["files"][f"{other['home']}/secret"]  # told, it could: functions of one user
            for what in ("files", "directories", "sockets"):
                assert set(said[what].values()) <= refused, said[what]
            known = ("socket:", "pipe:", "/dev/null", "/proc/", "/memfd:snapfork-page", "anon_inode:")
            assert all(one.startswith(known) for one in said["descriptors"]), said["descriptors"]
            assert set(said["heirs"]) <= {"0", "1", "2", "3"}
            assert not [name for name in said["environ"] if "SNAPFORK" in name or "SECRET" in name]
            assert "TEST_RUN_OF_SNAPFORK" not in said["environ"]
            assert target.state() == before
            assert not any(target.key.secret in line for line in server.output)
    finally:
        shutil.rmtree(base, ignore_errors=True)
        shutil.rmtree(f"{data}.public", ignore_errors=True)

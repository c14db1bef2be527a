"""The control API over real sockets, with a stand-in for the gateway at the other end of the line."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from snapfork.runner.cli.control_client import UnixConnection
from snapfork.runner.serve_config import ServeConfig
from snapfork.runner.services import launch
from snapfork.runner.services.link import LENGTH

HISTOGRAM = {"count": 3, "sum": 0.5, "buckets": [[0.001, 1], [0.1, 2]]}
STATUS: dict[str, Any] = {
    "pid": 1, "version": "1.0", "started_at": 1.5, "uptime_s": 2, "listeners": ["http://127.0.0.1:8000"],
    "connections": {"total": 3, "idle": 1, "waiting": 0, "lent": 2},
    "functions": [{
        "name": "shop", "generation": 2, "mode": "fork", "requests": 9, "streams_cut": 1,
        "template": {"state": "ready", "pid": 5, "rss_bytes": 1000, "stages": [], "findings": []},
        "instances": [{"id": 1, "pid": 6, "state": "busy"}, {"id": 2, "pid": 7, "state": "spare"}],
        "starts": {"fork": 4}, "start_seconds": {"fork": HISTOGRAM}, "duration_seconds": HISTOGRAM,
        "responses": {"2xx": 8, "5xx": 1}, "deaths": {"signal 9": 2}, "gateway_errors": {"502": 1},
        "queue": {"length": 5, "wait_seconds": HISTOGRAM},
    }],
}  # fmt: skip


class Gateway:
    """Answers as told, and keeps what it was asked."""

    def __init__(self, directory: Path, control: tuple[str, int] | None) -> None:
        self.ours, theirs = socket.socketpair()
        life, self.life = os.pipe()
        config = ServeConfig([], [], [], False, [], [], "off", control, str(directory), "1.0", "")
        self.process = launch.start(config, theirs.fileno(), life)
        theirs.close()
        os.close(life)
        self.asked: list[dict[str, Any]] = []
        self.answers: dict[str, dict[str, Any]] = {
            "status": {"ok": True, "result": STATUS},
            "reload": {"ok": True, "result": {"reloading": ["shop"]}},
            "stop": {"ok": True, "result": None},
        }
        self.file = self.ours.makefile("rb")
        self.ready = self.read()["ready"]
        threading.Thread(target=self.serve, daemon=True).start()

    def read(self) -> dict[str, Any]:
        head = self.file.read(4)
        if len(head) < 4:
            raise EOFError
        return dict(json.loads(self.file.read(LENGTH.unpack(head)[0])))

    def serve(self) -> None:
        try:
            while True:
                message = self.read()
                self.asked.append(message)
                answer = self.answers[message["op"]]
                if answer:
                    data = json.dumps({"id": message["id"], **answer}).encode()
                    self.ours.sendall(LENGTH.pack(len(data)) + data)
        except (EOFError, OSError):
            return

    def call(
        self, method: str, path: str, headers: dict[str, str] | None = None, unix: bool = False
    ) -> tuple[int, Any]:
        connection: http.client.HTTPConnection
        if unix:
            connection = UnixConnection(self.ready["control_uds"], 20)
        else:
            host, port = self.ready["control_tcp"]
            connection = http.client.HTTPConnection(host, port, timeout=150)
        try:
            connection.request(method, path, headers=headers or {})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        kind = response.headers["content-type"]
        return response.status, json.loads(body) if kind == "application/json" else body.decode()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        self.ours.close()
        if self.life >= 0:
            os.close(self.life)


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Gateway]:
    gateway = Gateway(tmp_path_factory.mktemp("run"), ("127.0.0.1", 0))
    yield gateway
    gateway.close()


@pytest.fixture
def gateway(shared: Gateway) -> Gateway:
    shared.asked.clear()
    shared.answers["status"] = {"ok": True, "result": STATUS}
    shared.answers["reload"] = {"ok": True, "result": {"reloading": ["shop"]}}
    return shared


@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_status_is_what_the_gateway_says(gateway: Gateway, unix: bool) -> None:
    assert gateway.call("GET", "/status", unix=unix) == (200, STATUS)


def test_only_the_owner_is_told_where_deployed_code_lies_and_why_it_fails(gateway: Gateway) -> None:
    told = {
        **STATUS["functions"][0], "name": "shop:1", "deployed": True, "target": "main:app",
        "app_dir": "/srv/code/abc", "python": "/srv/environments/def/bin/python",
        "template": {"state": "retired", "error": "no login with s3cret", "findings": [{"where": "main.py"}]},
        "snapshot": {"restored": None, "kept": False, "refused": "s3cret"},
    }  # fmt: skip
    gateway.answers["status"] = {
        "ok": True,
        "result": {**STATUS, "functions": [told, STATUS["functions"][0]]},
    }
    shown, static = gateway.call("GET", "/status")[1]["functions"]
    assert static == STATUS["functions"][0]
    assert shown["name"] == "shop:1" and shown["template"]["error"].startswith("it does not start")
    assert not any(word in json.dumps(shown) for word in ("/srv", "main", "s3cret"))
    token = (Path(gateway.ready["control_uds"]).parent / "token").read_text()
    for headers, unix in (({"Authorization": f"Bearer {token}"}, False), ({}, True)):
        assert gateway.call("GET", "/status", headers, unix)[1]["functions"][0] == told
    assert gateway.call("GET", "/status", {"Authorization": "Bearer x"})[1]["functions"][0] == shown


def test_the_unix_socket_is_the_owners_alone(gateway: Gateway) -> None:
    assert stat.S_IMODE(os.stat(gateway.ready["control_uds"]).st_mode) == 0o600


def test_metrics_for_prometheus(gateway: Gateway) -> None:
    from prometheus_client.parser import text_string_to_metric_families

    status, page = gateway.call("GET", "/metrics")
    assert status == 200
    samples = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
    }
    assert samples["snapfork_requests_total", "shop"] == 9
    assert samples["snapfork_starts_total", "fork", "shop"] == 4
    assert samples["snapfork_instances", "busy", "shop"] == 1
    assert samples["snapfork_instances", "idle", "shop"] == 0
    assert samples["snapfork_deaths_total", "shop", "signal 9"] == 2
    assert samples["snapfork_queue_length", "shop"] == 5
    assert samples["snapfork_start_duration_seconds_bucket", "+Inf", "fork", "shop"] == 3
    assert samples["snapfork_request_duration_seconds_bucket", "0.1", "shop"] == 2
    assert samples["snapfork_queue_wait_seconds_sum", "shop"] == 0.5


def test_health_follows_the_templates(gateway: Gateway) -> None:
    assert gateway.call("GET", "/healthz") == (200, {"status": "ok"})
    broken = {**STATUS["functions"][0], "template": {"state": "failed", "error": "no module"}}
    gateway.answers["status"] = {"ok": True, "result": {**STATUS, "functions": [broken]}}
    assert gateway.call("GET", "/healthz")[0] == 200  # instances go on
    gateway.answers["status"] = {"ok": True, "result": {**STATUS, "functions": [{**broken, "instances": []}]}}
    assert gateway.call("GET", "/healthz") == (503, {"status": "failing", "functions": {"shop": "no module"}})


@pytest.mark.parametrize(
    "headers",
    [
        {"Host": "evil.example"},
        {"Host": "127.0.0.1.evil.example"},
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
    ],
)
def test_foreign_pages_are_refused(gateway: Gateway, headers: dict[str, str]) -> None:
    for method, path in (("GET", "/status"), ("POST", "/reload"), ("GET", "/nowhere")):
        status, body = gateway.call(method, path, headers)
        assert status == 403
        assert body["error"]["code"].endswith("_refused")
    assert gateway.asked == []


def test_the_own_origin_is_fine(gateway: Gateway) -> None:
    host, port = gateway.ready["control_tcp"]
    assert gateway.call("GET", "/status", {"Origin": f"http://{host}:{port}"})[0] == 200


def test_unknown_paths_and_methods_are_json(gateway: Gateway) -> None:
    assert gateway.call("GET", "/nowhere") == (404, {"error": {"code": "not_found", "message": "Not Found"}})
    status, body = gateway.call("POST", "/status")
    assert (status, body["error"]["code"]) == (405, "method_not_allowed")


def test_orders_need_the_unix_socket_or_the_token(gateway: Gateway) -> None:
    assert gateway.call("POST", "/reload")[0] == 401
    assert gateway.call("POST", "/reload", {"Authorization": "Bearer wrong"})[0] == 401
    assert gateway.call("POST", "/stop", {"Authorization": "Basic x"})[0] == 401
    assert gateway.asked == []
    token_file = Path(gateway.ready["control_uds"]).parent / "token"
    assert stat.S_IMODE(token_file.stat().st_mode) == 0o600
    allowed = {"Authorization": f"Bearer {token_file.read_text()}"}
    assert gateway.call("POST", "/reload?function=shop", allowed) == (202, {"reloading": ["shop"]})
    assert gateway.call("POST", "/stop", unix=True) == (202, {"stopping": True})
    assert [(m["op"], m.get("function")) for m in gateway.asked] == [("reload", "shop"), ("stop", None)]


def test_the_gateways_refusal_is_a_sentence(gateway: Gateway) -> None:
    gateway.answers["reload"] = {"ok": False, "error": "No function is called 'x'."}
    status, body = gateway.call("POST", "/reload?function=x", unix=True)
    assert (status, body["error"]["message"]) == (409, "No function is called 'x'.")


def test_a_silent_gateway_is_a_timeout(gateway: Gateway) -> None:
    gateway.answers["status"] = {}
    status, body = gateway.call("GET", "/healthz")
    assert (status, body["error"]["code"]) == (504, "gateway_timeout")


def test_it_leaves_when_the_gateway_closes_the_line(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, None)
    try:
        assert gateway.ready["control_tcp"] is None
        gateway.ours.shutdown(socket.SHUT_RDWR)
        assert gateway.process.wait(150) == 0
    finally:
        gateway.close()


def test_it_is_killed_with_the_gateway(tmp_path: Path) -> None:
    gateway = Gateway(tmp_path, None)
    try:
        os.close(gateway.life)
        gateway.life = -1
        assert gateway.process.wait(150) == -9
    finally:
        gateway.close()


def test_a_taken_control_address_leaves_the_unix_socket(tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        gateway = Gateway(tmp_path, sock.getsockname()[:2])
        try:
            assert "in use" in gateway.ready["error"]
            assert gateway.call("GET", "/status", unix=True)[0] == 200
        finally:
            gateway.close()


def test_signals_to_the_group_are_not_for_it(shared: Gateway) -> None:
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(shared.process.pid, name)
    assert shared.call("GET", "/nowhere")[0] == 404

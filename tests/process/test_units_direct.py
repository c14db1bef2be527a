"""The direct listener: requests name their unit, and what the gateway answers in the app's place is named."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator

import pytest
from deskpeer import Deployment
from snapfork.runner.units import UnitRoute
from unitapps import hello, hello_asgi

UNIT = "x-snapfork-unit"


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("direct")) as one:
        yield one


@pytest.mark.parametrize("code", [hello, hello_asgi])
def test_a_warm_connection_stays_with_its_instance(gateway: Deployment, code: object) -> None:
    name = f"warm-{code.__name__}:3"  # type: ignore[attr-defined]
    gateway.put(gateway.unit(name, code("v")))  # type: ignore[operator]
    direct = gateway.direct()
    pids = set()
    for _ in range(5):
        answer = direct.ask("GET", "/any/path", None, {UNIT: name})
        assert answer.status == 200, answer
        pids.add(answer.text.split("|")[1])
        assert answer.text.endswith("||/any/path")
    assert len(pids) == 1
    # One loan for all of them.
    (instance,) = gateway.status(name)["instances"]
    assert instance["requests"] == 5


def test_one_connection_names_several_units_in_turn(gateway: Deployment) -> None:
    gateway.put(gateway.unit("a:1", hello("a")), gateway.unit("b:1", hello_asgi("b")))
    direct = gateway.direct()
    for _ in range(6):
        for name in ("a", "b"):
            assert direct.ask("GET", "/", None, {UNIT: f"{name}:1"}).text.startswith(f"{name}|")


def test_a_unit_that_is_not_there(gateway: Deployment) -> None:
    for headers in ({UNIT: "nobody:1"}, {}):
        answer = gateway.direct().ask("GET", "/", None, headers)
        assert (answer.status, answer.headers["x-snapfork-error"]) == (404, "no_such_route")


def test_an_instance_that_dies(gateway: Deployment) -> None:
    gateway.put(gateway.unit("dies:1", hello()))
    answer = gateway.direct().ask("GET", "/?die", None, {UNIT: "dies:1"})
    assert (answer.status, answer.headers["x-snapfork-error"]) == (502, "instance_died")
    assert answer.json()["error"]["code"] == "instance_died"


def test_a_request_that_takes_too_long(gateway: Deployment) -> None:
    settings = {"warmup": [], "spares": 0, "timeout": 0.3}
    gateway.put(gateway.unit("slow:1", hello(), overrides=settings))
    answer = gateway.direct().ask("GET", "/?sleep=20", None, {UNIT: "slow:1"})
    assert (answer.status, answer.headers["x-snapfork-error"]) == (504, "timeout")


def test_the_time_of_a_start_is_not_the_requests_time(gateway: Deployment) -> None:
    settings = {"warmup": [], "spares": 0, "timeout": 0.5}
    code = "import time; time.sleep(1.0)\n" + hello()
    gateway.put(gateway.unit("heavy:1", code, overrides=settings))
    answer = gateway.direct().ask("GET", "/?sleep=0.1", None, {UNIT: "heavy:1"})
    assert answer.status == 200


def test_a_dropped_unit_is_not_found_on_a_kept_connection(gateway: Deployment) -> None:
    gateway.put(gateway.unit("brief:1", hello()))
    direct = gateway.direct()
    assert direct.ask("GET", "/", None, {UNIT: "brief:1"}).status == 200
    gateway.put(drop=("brief:1",))
    assert direct.ask("GET", "/", None, {UNIT: "brief:1"}).status == 404


def test_nobody_else_is_let_in(gateway: Deployment) -> None:
    path = os.path.join(gateway.runtime, "invoke.sock")
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o600
    code = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]);"
        "s.sendall(b'GET / HTTP/1.1\\r\\nhost: x\\r\\nx-snapfork-unit: a:1\\r\\n\\r\\n'); print(s.recv(100))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False, timeout=50
    )
    assert "200" not in said.stdout and ("b''" in said.stdout or "Error" in said.stderr)


def test_public_connections_are_not_direct_ones(gateway: Deployment) -> None:
    gateway.put(gateway.unit("a:1", hello("a")))
    gateway.route(UnitRoute(None, "/a", (("a:1", 1.0),), "a"))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=50) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nx-snapfork-unit: a:1\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 404")

"""The direct listener: requests name their unit, and what the gateway answers in the app's place is named."""

from __future__ import annotations

import os
import socket
import stat
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from deskpeer import Deployment
from server import HANG_S, Client
from snapfork.runner.units import Unit, UnitRoute
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
        [sys.executable, "-c", code, path], capture_output=True, text=True, check=False, timeout=150
    )
    assert "200" not in said.stdout and ("b''" in said.stdout or "Error" in said.stderr)


def test_public_connections_are_not_direct_ones(gateway: Deployment) -> None:
    gateway.put(gateway.unit("a:1", hello("a")))
    gateway.route(UnitRoute(None, "/a", (("a:1", 1.0),), "a"))
    with socket.create_connection(("127.0.0.1", gateway.port), timeout=150) as sock:
        sock.sendall(b"GET / HTTP/1.1\r\nHost: x\r\nx-snapfork-unit: a:1\r\n\r\n")
        assert sock.recv(100).startswith(b"HTTP/1.1 404")


ENDLESS = """
import os, time
HERE = os.path.dirname(__file__)
def app(environ, start_response):
    if environ["QUERY_STRING"] == "wait":
        open(os.path.join(HERE, "begun"), "w").close()
        while not os.path.exists(os.path.join(HERE, "go")):
            time.sleep(0.01)
        open(os.path.join(HERE, "done"), "w").close()
    text = str(os.getpid()).encode()
    start_response("200 OK", [("Content-Length", str(len(text)))])
    return [text]
"""


def begin(gateway: Deployment, unit: Unit) -> Client:
    """A direct request that runs until the file `go` is there."""
    direct = gateway.direct()
    direct.request("GET", "/?wait", headers={UNIT: unit.name})
    await_file(Path(unit.app_dir, "begun"))
    return direct


def await_file(path: Path) -> None:
    deadline = time.monotonic() + HANG_S
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} never came"
        time.sleep(0.005)


def deaths(gateway: Deployment, name: str) -> dict[str, int]:
    (function,) = [one for one in gateway.ask("status")["functions"] if one["name"] == name]
    return dict(function["deaths"])


def test_a_request_that_the_services_give_up_is_ended(gateway: Deployment) -> None:
    unit = gateway.unit("given-up:1", ENDLESS)
    gateway.put(unit)
    direct = begin(gateway, unit)
    (instance,) = [one for one in gateway.status(unit.name)["instances"] if one["state"] == "busy"]
    direct.close()
    gateway.wait_until(unit.name, lambda now: instance["pid"] not in [one["pid"] for one in now["instances"]])
    Path(unit.app_dir, "go").touch()
    assert not Path(unit.app_dir, "done").exists()
    assert deaths(gateway, unit.name) == {"stopped": 1}
    # It is no failure of the unit's: the next is served at once.
    assert gateway.direct().ask("GET", "/", None, {UNIT: unit.name}).status == 200


def test_a_request_beside_one_that_is_given_up_goes_on(gateway: Deployment) -> None:
    overrides = {"warmup": [], "spares": 0, "concurrency": 2, "max_instances": 1}
    unit = gateway.unit("shared:1", ENDLESS, overrides=overrides)
    gateway.put(unit)
    stays = begin(gateway, unit)
    Path(unit.app_dir, "begun").unlink()
    goes = begin(gateway, unit)
    (instance,) = gateway.status(unit.name)["instances"]
    goes.close()
    time.sleep(0.3)  # the gateway looks ten times a second, and is to find no reason
    Path(unit.app_dir, "go").touch()
    assert int(stays.getresponse().read()) == instance["pid"]
    assert deaths(gateway, unit.name) == {}


def test_an_http_client_that_goes_ends_nothing(gateway: Deployment) -> None:
    unit = gateway.unit("for-its-effect:1", ENDLESS)
    gateway.serve(unit)
    client = gateway.client()
    client.request("GET", "/for-its-effect/?wait")
    await_file(Path(unit.app_dir, "begun"))
    assert client.sock is not None
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    time.sleep(0.3)  # as above
    Path(unit.app_dir, "go").touch()
    await_file(Path(unit.app_dir, "done"))


def test_a_task_that_waits_for_an_instance_is_given_up_too(gateway: Deployment) -> None:
    overrides = {"warmup": [], "spares": 0, "max_instances": 1}
    unit = gateway.unit("waits:1", ENDLESS, overrides=overrides)
    gateway.put(unit)
    first = begin(gateway, unit)
    second = gateway.direct()
    second.request("GET", "/?wait", headers={UNIT: unit.name})
    second.close()
    Path(unit.app_dir, "begun").unlink()
    first.close()
    gateway.settled(lambda: deaths(gateway, unit.name))
    assert int(gateway.direct().ask("GET", "/", None, {UNIT: unit.name}).text)
    assert not Path(unit.app_dir, "done").exists()

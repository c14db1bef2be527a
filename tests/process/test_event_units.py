"""Event handlers deployed in a real gateway: invoked by its direct listener, reached over HTTP."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

import pytest
from deskpeer import Deployment
from snapfork.runner.units import UnitRoute

CODE = """
import os

ran = []

def handler(event, context):
    if event == {"fail": 1}:
        raise ValueError("no stock")
    if event == {"die": 1}:
        os._exit(3)
    return {"got": event, "id": context.aws_request_id, "name": context.function_name, "ran": ran}

def initialize(context):
    ran.append(os.getpid())

def broken(context):
    raise ValueError("no database")
"""
ABOUT = {"dialect": "lambda", "name": "shop", "version": "3", "memory": 256}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployment]:
    with Deployment(tmp_path_factory.mktemp("events")) as one:
        yield one


def invoke(gateway: Deployment, unit: str, payload: Any, **invocation: Any) -> Any:
    told = {"id": "r-1", "kind": "event", "deadline_ms": int(time.time() * 1000) + 5000} | invocation
    headers = {"x-snapfork-unit": unit, "x-snapfork-invocation": json.dumps(told)}
    return gateway.direct().ask("POST", "/invoke", json.dumps(payload).encode(), headers)


def test_an_invocation_runs_in_a_fork_and_names_itself(gateway: Deployment) -> None:
    gateway.put(gateway.unit("shop:3", CODE, target="app:handler", context=ABOUT))
    first = invoke(gateway, "shop:3", {"n": 1}, id="mine")
    assert first.status == 200 and "x-snapfork-error" not in first.headers
    assert first.json() == {"got": {"n": 1}, "id": "mine", "name": "shop", "ran": []}
    run = json.loads(first.headers["x-snapfork-run"])
    assert run["start"] == "fork" and run["init_ms"] > 0 and run["memory_mb"] > 1
    assert first.headers["x-request-id"] == "mine"
    assert gateway.status("shop:3")["interface"] == "event"
    failed = invoke(gateway, "shop:3", {"fail": 1})
    assert (failed.status, failed.headers["x-snapfork-error"]) == (200, "unhandled")
    assert failed.json()["errorType"] == "ValueError"
    died = invoke(gateway, "shop:3", {"die": 1})
    assert (died.status, died.headers["x-snapfork-error"]) == (502, "instance_died")


def test_over_http_it_gets_the_events_of_a_function_url(gateway: Deployment) -> None:
    gateway.put(gateway.unit("web:1", CODE, target="app:handler", context=ABOUT))
    gateway.route(UnitRoute(None, "/web", (("web:1", 1.0),), "web"))
    answer = _get(gateway)
    event = answer.json()["got"]
    assert (event["rawPath"], event["rawQueryString"]) == ("/a%20b", "x=1")
    assert "x-snapfork-run" not in answer.headers


def _get(gateway: Deployment) -> Any:
    from server import Client

    client = Client("127.0.0.1", gateway.port, timeout=150)
    return client.ask("GET", "/web/a%20b?x=1", None, {"x-snapfork-invocation": '{"id": "theirs"}'})


def test_its_initializer_ran_in_the_template_or_fails_the_start(gateway: Deployment) -> None:
    wish = {"handler": "app.initialize", "timeout": 5}
    gateway.put(gateway.unit("init:1", CODE, target="app:handler", context=ABOUT, initializer=wish))
    (pid,) = invoke(gateway, "init:1", {}).json()["ran"]
    assert pid != os.getpid() and invoke(gateway, "init:1", {}).json()["ran"] == [pid]
    wish = {"handler": "app.broken", "timeout": 5}
    gateway.put(gateway.unit("bad:1", CODE, target="app:handler", context=ABOUT, initializer=wish))
    answer = invoke(gateway, "bad:1", {})
    assert answer.headers["x-snapfork-error"] == "start_failed"
    assert "The initializer app.broken failed: ValueError: no database" in answer.text

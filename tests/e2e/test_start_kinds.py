"""Every start kind is real and can be seen."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
from server import Serve

APPS = Path(__file__).resolve().parents[1] / "apps"
INTERFACES = ["wsgi_app:app", "asgi_app:app"]


def idle(function: dict[str, Any]) -> bool:
    """Some instance has nothing to do: the answer's end is known to the gateway, too."""
    return any(one["state"] == "idle" and not one["loans"] for one in function["instances"])


@pytest.mark.parametrize("target", INTERFACES)
def test_each_request_is_forked(target: str) -> None:
    with Serve(target, "--spares=0", "--max-requests=1", app_dir=APPS) as server:
        answers = [server.get("/pid") for _ in range(10)]
        assert [answer.start for answer in answers] == ["fork"] * 10
        assert len({answer.text for answer in answers}) == 10
        assert server.function()["starts"]["fork"] == 10


@pytest.mark.parametrize("target", INTERFACES)
def test_a_spare_takes_the_first_request_and_keeps_the_next(target: str) -> None:
    with Serve(target, "--spares=1", app_dir=APPS) as server:
        spare = server.wait_until(lambda one: [i["state"] for i in one["instances"]] == ["spare"])
        client = server.client()
        first, second = client.ask("GET", "/pid"), client.ask("GET", "/pid")
        client.close()
        server.wait_until(idle)
        third = server.get("/pid")
        assert [first.start, second.start, third.start] == ["spare", None, None]
        assert {first.text, second.text, third.text} == {str(spare["instances"][0]["pid"])}


@pytest.mark.parametrize("target", INTERFACES)
def test_an_idle_instance_is_asked_again(target: str) -> None:
    with Serve(target, "--spares=0", app_dir=APPS) as server:
        answers = []
        for _ in range(5):
            answers.append(server.get("/pid"))
            server.wait_until(idle)
        assert [answer.start for answer in answers] == ["fork", None, None, None, None]
        assert len({answer.text for answer in answers}) == 1


def test_spawned_requests_say_so() -> None:
    words = ("thread:app", "--spares=0", "--max-requests=1")
    with Serve(*words, app_dir=APPS / "dirty") as server:
        answers = [server.get("/") for _ in range(3)]
        assert [answer.start for answer in answers] == ["spawn"] * 3
        assert server.function()["starts"]["spawn"] == 3


def test_a_template_that_hangs_costs_a_504_and_is_built_again() -> None:
    with Serve("wsgi_app:app", "--spares=0", "--max-requests=1", "--timeout=1", app_dir=APPS) as server:
        assert server.get("/pid").status == 200
        template = server.function()["template"]["pid"]
        os.kill(template, signal.SIGSTOP)
        answer = server.get("/pid")
        assert answer.status == 504
        assert "did not answer within 1 s" in answer.text
        server.wait_for("the template has not forked for 1 s")
        server.wait_until(lambda one: one["template"]["pid"] not in (None, template))
        assert server.get("/pid").status == 200


TALKATIVE = """
import logging, sys
logging.basicConfig(level=logging.INFO, stream=sys.stderr)
print("printed at import")
logging.info("logged at import")

def wsgi(environ, start_response):
    print("printed in a view")
    logging.info("logged in a view")
    start_response("200 OK", [])
    return [b"hello"]

async def asgi(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        print("printed at start-up")
        await send({"type": "lifespan.startup.complete"})
        await receive()
        return
    print("printed in a view")
    logging.info("logged in a view")
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"hello"})
"""


@pytest.mark.parametrize("name", ["wsgi", "asgi"])
def test_output_at_import_and_in_the_warm_up_is_no_reason_to_spawn(name: str, tmp_path: Path) -> None:
    (tmp_path / "talk.py").write_text(TALKATIVE)
    with Serve(f"talk:{name}", "--spares=0", app_dir=tmp_path) as server:
        function = server.function()
        assert function["mode"] == "fork"
        assert function["template"]["findings"] == []
        assert not any("building again" in line for line in server.output)
        server.wait_for("warm up .* GET / -> 200")
        assert server.get("/").start == "fork"
        for said in ("printed at import", "logged at import", "printed in a view", "logged in a view"):
            server.wait_for(said)

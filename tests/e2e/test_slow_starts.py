"""Instances whose own start-up code is slow, hangs or fails: no request is tied to them."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server import Serve

APP = """
import os, time
from pathlib import Path
from snapfork.adapter import serverless

HERE = Path(__file__).parent

def start_up():
    while (HERE / "hang").exists():
        time.sleep(0.01)
    if (HERE / "fail").exists():
        raise RuntimeError("the database is down")

def hold(path):
    while path == "/hold" and not (HERE / "go").exists():
        time.sleep(0.01)

def wsgi(environ, start_response):
    hold(environ["PATH_INFO"])
    start_response("200 OK", [])
    return [b"%d" % os.getpid()]

async def asgi(scope, receive, send):
    import asyncio
    await asyncio.to_thread(hold, scope["path"])
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"%d" % os.getpid()})

async def own_lifespan(scope, receive, send):
    if scope["type"] == "lifespan":
        await receive()
        start_up()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
    else:
        await asgi(scope, receive, send)

wsgi = serverless(wsgi, after_fork=start_up)
asgi = serverless(asgi, after_fork=start_up, concurrency=1, lifespan="off")
own_lifespan = serverless(own_lifespan, lifespan="instance", concurrency=1)
"""
ALL = pytest.mark.parametrize("name", ["wsgi", "asgi", "own_lifespan"])


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "slow.py").write_text(APP)
    return tmp_path


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(16) as pool:
        yield pool


@ALL
def test_a_request_goes_to_whichever_instance_is_free_first(
    name: str, here: Path, threads: ThreadPoolExecutor
) -> None:
    with Serve(f"slow:{name}", "--spares=0", "--max-instances=2", app_dir=here) as server:
        warm = server.get("/")
        assert warm.start == "fork"
        (here / "hang").touch()
        holding = threads.submit(server.get, "/hold")
        server.wait_until(lambda one: any(i["state"] == "busy" for i in one["instances"]))
        waiting = threads.submit(server.get, "/")
        server.wait_until(lambda one: any(i["state"] == "starting" for i in one["instances"]))
        (here / "go").touch()
        answers = [holding.result(), waiting.result()]
        assert [(one.status, one.text, one.start) for one in answers] == [(200, warm.text, None)] * 2
        (here / "hang").unlink()
        # Nobody waits for the other any more, and no spares are wanted: it goes when it is ready.
        server.wait_until(lambda one: one["deaths"] == {"left": 1})
        assert [one["state"] for one in server.function()["instances"]] == ["idle"]
        assert server.function()["starts"]["fork"] == 1


@ALL
def test_every_waiting_request_has_its_start(name: str, here: Path, threads: ThreadPoolExecutor) -> None:
    with Serve(f"slow:{name}", "--spares=0", "--max-instances=4", app_dir=here) as server:
        (here / "hang").touch()
        asked = [threads.submit(server.get, "/hold") for _ in range(6)]
        server.wait_until(lambda one: one["queue"]["length"] == 6)
        assert len(server.function()["instances"]) == 4
        (here / "hang").unlink()
        server.wait_until(lambda one: one["queue"]["length"] == 2)
        (here / "go").touch()
        answers = [one.result() for one in asked]
        assert [one.status for one in answers] == [200] * 6
        assert sorted(one.start or "" for one in answers) == ["", "", *["fork"] * 4]


@ALL
def test_a_start_that_hangs_is_a_504_and_is_ended(name: str, here: Path) -> None:
    with Serve(f"slow:{name}", "--spares=0", "--max-instances=1", "--timeout=1", app_dir=here) as server:
        (here / "hang").touch()
        answer = server.get("/")
        assert answer.status == 504
        assert "did not answer within 1 s" in answer.text
        server.wait_until(lambda one: one["deaths"].get("start timeout"))
        (here / "hang").unlink()
        assert server.get("/").status == 200


@ALL
def test_starts_that_fail_are_502s_and_a_cure_is_soon_noticed(name: str, here: Path) -> None:
    with Serve(f"slow:{name}", "--spares=1", "--max-instances=2", "--max-requests=1", app_dir=here) as server:
        (here / "fail").touch()
        spare = server.get("/")
        assert spare.status in (200, 502)  # the spare was there before
        for _ in range(2):
            answer = server.get("/")
            assert answer.status == 502
            assert "die at their start" in answer.text
        server.wait_for("instances in a row died before they were ready")
        server.wait_until(lambda one: one["deaths"].get("exit 70", 0) > 4)  # the back-off is at its longest
        (here / "fail").unlink()
        begun = time.monotonic()
        assert server.get("/").status == 200
        assert time.monotonic() - begun < 10  # ten times what a waiting request's next try may take


def test_a_template_that_hangs_is_built_again_though_no_request_rides_on_it(here: Path) -> None:
    with Serve("slow:wsgi", "--spares=0", "--max-instances=1", "--timeout=1", app_dir=here) as server:
        template = server.function()["template"]["pid"]
        os.kill(template, signal.SIGSTOP)
        assert server.get("/").status == 504
        server.wait_for("the template has not forked for 1 s")
        server.wait_until(lambda one: one["template"]["pid"] not in (None, template))
        assert server.get("/").status == 200

"""`runner serve` and `runner doctor` of a plain event handler."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from server import Serve

RUNNER = str(Path(sys.executable).parent / "runner")
SOURCE = """
import os

def handler(event, context):
    if event.get("fail"):
        raise ValueError("no stock")
    if "rawPath" in event:
        return {"statusCode": 201, "headers": {"X-Path": event["rawPath"]}, "body": event.get("body", "")}
    return {"got": event, "pid": os.getpid(), "left": context.get_remaining_time_in_millis()}
"""


@pytest.fixture
def place(tmp_path: Path) -> Path:
    (tmp_path / "index.py").write_text(SOURCE)
    return tmp_path


@pytest.mark.parametrize("target", ["index:handler", "index.handler", "index"])
def test_a_handler_answers_events_and_requests(place: Path, target: str) -> None:
    with Serve(target, "--spares=0", "--timeout=7", app_dir=place) as server:
        first = server.ask("POST", "/invoke", {"n": 1})
        assert first.start == "fork" and first.json()["got"] == {"n": 1}
        assert 0 < first.json()["left"] <= 7000
        answer = server.ask("PUT", "/shop/a%20b?x=1", b"text")
        assert (answer.status, answer.headers["x-path"]) == (201, "/shop/a%20b")
        failed = server.ask("POST", "/invoke", {"fail": True})
        assert (failed.status, failed.json()["errorType"]) == (502, "ValueError")
        assert server.function()["interface"] == "event"
        server.wait_for("ValueError: no stock")


def test_an_edit_is_taken_up(place: Path) -> None:
    with Serve("index:handler", "--reload", app_dir=place) as server:
        assert server.ask("POST", "/invoke", {"n": 1}).json()["got"] == {"n": 1}
        (place / "index.py").write_text("def handler(event, context):\n    return 'new'\n")
        server.wait_until(lambda one: one["generation"] > 1)
        assert server.ask("POST", "/invoke", {"n": 1}).json() == "new"


def test_doctor_knows_a_handler(place: Path) -> None:
    command = [RUNNER, "doctor", "index:handler"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, check=True)
    assert "index:handler can be forked" in done.stdout and "Handler of events" in done.stdout
    done = subprocess.run([*command, "--json"], cwd=place, capture_output=True, text=True, check=True)
    report = json.loads(done.stdout)
    assert (report["interface"], report["warmup"]) == ("event", [])
    bench = subprocess.run([RUNNER, "bench", "index:handler"], cwd=place, capture_output=True, text=True)
    assert bench.returncode != 0 and "is a handler of events" in bench.stderr

"""The first response of a deployed function, new or retired, beside what a fresh interpreter takes."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from deskpeer import Deployment
from snapfork.runner.units import UnitRoute

FLASK = """
from flask import Flask
app = Flask(__name__)

@app.get("/")
def hello():
    return "hello"
"""
FRESH = "from app import app; assert app.test_client().get('/').status_code == 200"


def took_ms(action: Callable[[], object]) -> float:
    begun = time.perf_counter()
    action()
    return (time.perf_counter() - begun) * 1000


def test_a_flask_function_answers_sooner_than_python_imports_it(
    tmp_path: Path, soak: Callable[[int, int], int], record: Callable[[str, object], None]
) -> None:
    rounds = soak(5, 20)
    (tmp_path / "app.py").write_text(FLASK)
    new: list[float] = []
    retired: list[float] = []
    fresh: list[float] = []
    with Deployment(tmp_path) as gateway:

        def call(name: str) -> None:
            assert gateway.get(f"/{name}/").text == "hello"

        def deploy(name: str) -> None:
            gateway.put(gateway.unit(f"{name}:1", FLASK, overrides={}))
            gateway.route(UnitRoute(None, f"/{name}", ((f"{name}:1", 1.0),), name))

        deploy("first")
        call("first")  # what it starts from is there now
        for number in range(rounds):
            name = f"f{number}"
            deploy(name)
            new.append(took_ms(lambda: call(name)))  # noqa: B023
            gateway.wait_until(f"{name}:1", lambda now: now["state"] == "ready")
            gateway.ask("retire", unit=f"{name}:1")
            gateway.wait_until(f"{name}:1", lambda now: not now["instances"])
            retired.append(took_ms(lambda: call(name)))  # noqa: B023
            gateway.put(drop=(f"{name}:1",))
            fresh.append(
                took_ms(lambda: subprocess.run([sys.executable, "-c", FRESH], cwd=tmp_path, check=True))
            )
    usual = statistics.median(fresh)
    for what, times in (("new", new), ("retired", retired)):
        share = statistics.median(times) / usual
        record(
            f"first response of a {what} Flask function", f"{statistics.median(times):.0f} ms, {share:.2f}"
        )
        assert share <= 0.5, (times, fresh)
    record("a fresh interpreter's", f"{usual:.0f} ms")

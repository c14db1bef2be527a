"""What `Snapshot.save` writes has come back in another process, and answered as the live app does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

APP = """
import requests.adapters
from flask import Flask
app = Flask(__name__)
CALLS = []

@app.get("/")
def index():
    CALLS.append(1)
    return said()

def said():
    return "tea"
"""
SCRIPT = """
from shop import CALLS, app
from snapfork.adapter import serverless, snapshot
from snapfork.adapter.snapshots.errors import SnapshotError
try:
    snapshot(app).save("shop.snap")
except SnapshotError as error:
    print(error)
print("calls", len(CALLS))
"""
ASGI = """
import contextlib
from fastapi import FastAPI, Request
from snapfork.adapter import serverless
CALLS = []

@contextlib.asynccontextmanager
async def lifespan(app):
    yield {"goods": ["tea"]}

POST = {"path": "/goods", "method": "POST", "body": "2"}
app = serverless(FastAPI(lifespan=lifespan), warmup=["/goods?n=1", POST])

@app.api_route("/goods", methods=["GET", "POST"])
async def goods(request: Request, n: int = 0):
    CALLS.append(1)
    return [request.state.goods, n, (await request.body()).decode()]
"""


def save(place: Path, app: str, script: str = SCRIPT) -> list[str]:
    """What the script printed."""
    (place / "shop.py").write_text(app)
    (place / "script.py").write_text(script)
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "script.py"],
        cwd=place, capture_output=True, text=True, timeout=150, check=False,
        env={**os.environ, "XDG_CONFIG_HOME": str(place / "config"), "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


@pytest.mark.parametrize("app", [APP, ASGI], ids=["wsgi", "asgi"])
def test_a_file_that_comes_back_is_kept_and_the_live_app_left_alone(app: str, tmp_path: Path) -> None:
    assert save(tmp_path, app) == ["calls 0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "script.py", "shop.py", "shop.snap"]


@pytest.mark.parametrize(
    ("more", "says"),
    [
        (
            "requests.adapters.DEFAULT_RETRIES = 5\n"
            "def said(): return str(requests.adapters.DEFAULT_RETRIES)\n",
            "The restored app does not answer as the live one does, so no snapshot is kept: "
            "/ has another body.",
        ),
        (
            "class Odd:\n    def __getstate__(self): return 1\n"
            "    def __setstate__(self, state): 1 / 0\nODD = Odd()\n",
            "The restored app did not answer its warm-up requests: shop.snap does not come back: "
            "ZeroDivisionError: division by zero.",
        ),
    ],
    ids=["another answer", "does not come back"],
)
def test_one_that_does_not_is_not_written(more: str, says: str, tmp_path: Path) -> None:
    assert save(tmp_path, APP + more) == [says, "calls 0"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["config", "script.py", "shop.py"]


def test_an_app_of_main_and_an_endless_answer(tmp_path: Path) -> None:
    script = APP + SCRIPT.replace("from shop import CALLS, app\n", "")
    assert save(tmp_path, "", script) == ["calls 0"]
    endless = script.replace('return "tea"', "return iter(lambda: b'x', b'')")
    limited = "from snapfork.adapter.snapshots import trial\ntrial.LIMIT = 0.5\n" + endless
    assert save(tmp_path, "", limited) == [
        "The live app did not answer its warm-up requests within 0.5 s.", "calls 0",
    ]  # fmt: skip

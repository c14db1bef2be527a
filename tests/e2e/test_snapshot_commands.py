"""Snapshots from the command line: made, looked into, served where the source is not, and refused."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from server import Serve

SHOP = """
import time
from flask import Flask
from stock import STOCK, load
app = Flask(__name__)
load()

@app.route("/")
def index():
    return f"{STOCK['loaded']} {len(STOCK['items'])}"
"""
STOCK = """
import os, time
STOCK = {"loaded": 0, "items": []}
def load():
    with open(os.environ["RUNS"], "a") as runs:
        runs.write("x")
    STOCK["loaded"] += 1
    STOCK["items"] = list(range(1000))
"""
HOLDS = """
import socket
SOCK = socket.socket()
def app(environ, start_response):
    start_response("204 No Content", [])
    return []
"""
DIFFERS = """
import os
HERE = os.getpid()
def app(environ, start_response):
    start_response("200 OK" if os.getpid() == HERE else "404 Not Found", [])
    return [b"x"]
"""


class Place:
    """A directory with an app and a configuration directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.source = directory / "source"
        self.source.mkdir()
        (self.source / "shop.py").write_text(SHOP)
        (self.source / "stock.py").write_text(STOCK)
        self.runs = directory / "runs"
        self.environment = {
            **os.environ,
            "XDG_CONFIG_HOME": str(directory / "config"),
            "RUNS": str(self.runs),
        }
        self.environment.pop("VIRTUAL_ENV", None)

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "snapfork.runner", *words], cwd=self.directory, env=self.environment,
            capture_output=True, text=True, timeout=150, check=False,
        )  # fmt: skip

    def make(self, target: str = "shop:app") -> subprocess.CompletedProcess[str]:
        words = ("--app-dir", str(self.source), "--python", sys.executable)
        return self.run("snapshot", target, "-o", "shop.snap", *words)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_an_app_goes_on_without_its_source_and_its_initialisation(place: Place) -> None:
    made = place.make()
    assert made.returncode == 0, made.stderr
    assert "serve it: runner serve" in made.stdout
    assert "one request compared" in made.stderr
    assert os.listdir(place.directory / "config" / "snapfork") == ["key.pem"]
    assert sorted(path.name for path in place.directory.glob("*.snap")) == ["shop.snap"]
    runs = place.runs.read_text()
    place.source.rename(place.directory / "gone")
    with Serve(
        str(place.directory / "shop.snap"), "--spares=0", cwd=place.directory, env=place.environment
    ) as server:
        answer = server.get("/")
        assert (answer.status, answer.text, answer.start) == (200, "1 1000", "fork")
        assert any("restore" in line for line in server.output)
        assert not any("import " in line for line in server.output)
    assert place.runs.read_text() == runs, "it has not been initialised again"


def test_what_is_inside(place: Place) -> None:
    assert place.make().returncode == 0
    shown = place.run("inspect", "shop.snap", "--verify")
    assert shown.returncode == 0, shown.stderr
    for said in ("WSGI app shop:app", "trusted here; buffers compared", "inside: shop, stock", "Flask 3"):
        assert said in shown.stdout
    for said in ("modules by reference: ", "the live and the restored app: /", "KB  stock.STOCK"):
        assert said in shown.stdout
    assert "captured:" not in shown.stdout
    header = json.loads(place.run("inspect", "shop.snap", "--json").stdout)
    assert header["interface"] == "wsgi"
    assert ["stock", False] in header["modules"]


DRAWS = """
import os, time, uuid
from secrets import token_hex
from flask import Flask
app = Flask(__name__)
app.secret_key = token_hex(8)
KEY = os.environ["DB_PASSWORD"]
BEGUN = time.time()
ID = uuid.uuid4()
app.add_url_rule("/", view_func=lambda: "x")
"""


def test_what_should_not_stay_the_same_is_named(place: Place) -> None:
    (place.source / "shop.py").write_text(DRAWS)
    place.environment["DB_PASSWORD"] = "a password"
    made = place.make()
    assert made.returncode == 0, made.stderr
    examined = place.run("doctor", "shop:app", "--app-dir", str(place.source), "--python", sys.executable)
    for shown in (made.stderr, place.run("inspect", "shop.snap").stdout, examined.stdout):
        for said in (
            r'app.config\["SECRET_KEY"\] was drawn at random \(secrets.token_hex, \S*shop.py:6\)',
            "shop.KEY was read from the variable DB_PASSWORD",
            "shop.BEGUN is a time of this initialisation",
            r"shop.ID was drawn at random \(uuid.uuid4, \S*shop.py:9\)",
        ):
            assert re.search(f"captured: {said}", " ".join(shown.split())), shown


def test_a_stranger_and_a_damaged_file_are_refused(place: Place) -> None:
    assert place.make().returncode == 0
    key = place.run("key").stdout
    place.environment["XDG_CONFIG_HOME"] = str(place.directory / "other")
    for words in (("inspect", "shop.snap"), ("serve", "shop.snap", "--port=0", "--python", sys.executable)):
        refused = place.run(*words)
        assert refused.returncode != 0
        assert "is not trusted here" in refused.stdout + refused.stderr
        assert "Traceback" not in refused.stdout + refused.stderr
    (place.directory / "maker.pub").write_text(key)
    trusted = place.run("key", "trust", "maker.pub")
    assert trusted.returncode == 0, trusted.stderr
    assert place.run("inspect", "shop.snap").returncode == 0
    whole = bytearray((place.directory / "shop.snap").read_bytes())
    whole[len(whole) // 2] ^= 1
    (place.directory / "shop.snap").write_bytes(whole)
    damaged = place.run("inspect", "shop.snap")
    assert damaged.returncode == 2
    assert "is damaged: its signature does not hold" in damaged.stderr


@pytest.mark.parametrize(
    ("code", "says"),
    [
        (HOLDS, "shop.SOCK: socket; close it in a before_snapshot hook"),
        (DIFFERS, "/ has status 404 instead of 200"),
        ("import nothing_of_that_name\n", "it needs 'nothing_of_that_name'"),
    ],
)
def test_what_cannot_be_offered_is_not(code: str, says: str, place: Place) -> None:
    (place.source / "shop.py").write_text(code)
    made = place.make()
    assert made.returncode == 2
    assert says in made.stderr
    assert list(place.directory.glob("*.snap")) == []
    assert not any("File" in line and "snapfork" in line for line in made.stderr.splitlines())


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("serve", "missing.snap"), "There is no snapshot missing.snap"),
        (("inspect", "missing.snap"), "cannot be read"),
        (("snapshot", "shop:app", "-o", "shop.pickle"), "a snapshot's name ends in .snap"),
        (("key", "trust", "missing.pub"), "cannot be read"),
        (("key", "revoke"), "runner key has no 'revoke'"),
    ],
)
def test_mistakes_are_a_sentence(words: tuple[str, ...], says: str, place: Place) -> None:
    done = place.run(*words)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr

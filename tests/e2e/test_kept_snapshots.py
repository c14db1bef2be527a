"""Snapshots that `runner serve` keeps by itself: used while nothing has changed; else it says what has."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from server import Serve

SHOP = """
import json, os
from flask import Flask, jsonify
from prices import TABLE
app = Flask(__name__)
STARTED = {"stage": os.environ.get("STAGE", "none"), "pid": os.getpid()}
def load():
    with open("starts", "a") as file:
        file.write("x")
    with open("goods.json") as file:
        return json.load(file)

GOODS = load()
PLUGINS = os.listdir("plugins")

@app.get("/")
def index():
    return jsonify(goods=GOODS, prices=TABLE, started=STARTED)

@app.get("/live")
def live():
    return os.environ.get("STAGE", "none")
"""
KEPT = r"a snapshot is kept \("
RESTORED = r"restored from the snapshot of \d\d:\d\d in \d+\.\d+ s; initialising took \d"


@pytest.fixture
def shop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An app that counts how often it is initialised, and a configuration directory of its own."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    home = tmp_path / "app"
    home.mkdir()
    (home / "shop.py").write_text(SHOP)
    (home / "prices.py").write_text("TABLE = {'tea': 3}\n")
    (home / "goods.json").write_text('["tea"]')
    (home / "plugins").mkdir()
    yield home


def serve(shop: Path, *words: str, **env: str) -> Serve:
    return Serve("shop:app", *words, app_dir=shop, cwd=shop, env=env, data_dir=shop.parent / "data")


def starts(shop: Path) -> int:
    return len((shop / "starts").read_text())


def keep(shop: Path, **env: str) -> dict[str, object]:
    """Serve until a snapshot is kept; what the app said."""
    with serve(shop, **env) as server:
        server.wait_for(KEPT)
        answer: dict[str, object] = server.get("/").json()
    return answer


def test_the_next_start_restores_what_the_first_initialised(shop: Path) -> None:
    first = keep(shop)
    with serve(shop) as server:
        server.wait_for(RESTORED)
        assert server.get("/").json() == first
        function = server.function()
        assert [one["name"] for one in function["template"]["stages"]][0] == "restore"
        assert function["snapshot"]["restored"]["init_ms"] > 0
        control = server.wait_for(r"control: (http://\S+)/status")[1]
        with urllib.request.urlopen(f"{control}/metrics") as page:
            metrics = page.read().decode()
        stage = 'snapfork_template_stage_seconds{function="shop",stage="%s"}'
        assert stage % "restore" in metrics and stage % "import" not in metrics
    assert starts(shop) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda shop: (shop / "prices.py").write_text("TABLE = {'tea': 4}\n"), "prices.py has changed"),
        (lambda shop: (shop / "goods.json").write_text('["cup"]'), "goods.json has changed"),
        (lambda shop: (shop / "more.py").write_text(""), "more.py is new"),
        (lambda shop: (shop / ".env").write_text("A=1"), ".env is new"),
        (lambda shop: (shop / "plugins" / "more.txt").touch(), "plugins has changed"),
    ],
    ids=["source", "data file", "new module", "dotenv", "directory"],
)
def test_a_changed_file_is_named_and_the_app_initialised_anew(shop: Path, change: object, said: str) -> None:
    keep(shop)
    change(shop)  # type: ignore[operator]
    with serve(shop) as server:
        server.wait_for(f"look up .*{said}")
        answer = server.get("/").json()
        server.wait_for(KEPT)
    assert starts(shop) == 2
    with serve(shop) as server:
        server.wait_for(RESTORED)
        assert server.get("/").json() == answer
    assert starts(shop) == 2


def test_variables_count_if_they_were_read(shop: Path) -> None:
    keep(shop, STAGE="test", UNREAD="1")
    with serve(shop, STAGE="test", UNREAD="2") as server:
        server.wait_for(RESTORED)
        assert server.get("/").json()["started"]["stage"] == "test"
        assert server.get("/live").text == "test"
    with serve(shop, STAGE="production") as server:
        server.wait_for("the environment variable STAGE has another value")
        assert server.get("/").json()["started"]["stage"] == "production"
    with serve(shop) as server:
        server.wait_for("the environment variable STAGE is not set")
        assert server.get("/").json()["started"]["stage"] == "none"
    with serve(shop, "--env", "STAGE=declared") as server:
        server.wait_for("the declared variable STAGE is set")
        assert server.get("/").json()["started"]["stage"] == "declared"
    assert starts(shop) == 4
    kept = b"".join(path.read_bytes() for path in (shop.parent / "data").rglob("*.json"))
    assert b"production" not in kept and b'"test"' not in kept


def test_settings_and_packages_count(shop: Path, tmp_path: Path) -> None:
    keep(shop)
    with serve(shop, "--concurrency", "2") as server:
        server.wait_for("the setting concurrency is another")
    about = tmp_path / "path" / "added-1.0.dist-info"
    about.mkdir(parents=True)
    with serve(shop, PYTHONPATH=str(about.parent)) as server:
        server.wait_for("the package added has been installed")
    assert starts(shop) == 3


def test_no_snapshot_initialises_and_says_so(shop: Path) -> None:
    keep(shop)
    with Serve("shop:app", app_dir=shop, cwd=shop) as server:
        server.wait_for(r"from code \(--no-snapshot\)")
        assert server.get("/").status == 200
    assert starts(shop) == 2


def test_reload_back_to_a_known_state_and_a_killed_template_restore(shop: Path) -> None:
    before = (shop / "prices.py").read_text()
    with serve(shop, "--reload") as server:
        server.wait_for(KEPT)
        seen = len(server.output)
        (shop / "prices.py").write_text("TABLE = {'tea': 5}\n")
        server.wait_until(lambda one: one["generation"] == 2)
        server.wait_for(KEPT, seen)
        assert server.get("/").json()["prices"] == {"tea": 5}
        seen = len(server.output)
        (shop / "prices.py").write_text(before)
        server.wait_for(RESTORED, seen)
        function = server.wait_until(lambda one: one["generation"] == 3)
        assert server.get("/").json()["prices"] == {"tea": 3}
        assert starts(shop) == 2

        seen = len(server.output)
        killed = function["template"]["pid"]
        os.kill(killed, signal.SIGKILL)
        server.wait_for(RESTORED, seen)
        server.wait_until(lambda one: one["template"]["pid"] not in (None, killed))
        assert server.get("/").json()["prices"] == {"tea": 3}
    assert starts(shop) == 2


def test_what_cannot_be_captured_is_said_once_and_remembered(shop: Path) -> None:
    (shop / "shop.py").write_text(SHOP + "\nLINES = (line for line in 'abc')\n")
    with serve(shop) as server:
        server.wait_for("no snapshot is kept, and the next start initialises again:")
        server.wait_for(r"shop\.LINES: generator")
        assert server.get("/").status == 200
        assert server.function()["snapshot"]["kept"] is False
    with serve(shop) as server:
        server.wait_for("look up .*no snapshot can be kept: .*cannot be captured")
        assert server.function()["template"]["state"] == "ready"
    assert starts(shop) == 2


def test_an_initializer_marked_as_uncaptured(shop: Path) -> None:
    marked = "from snapfork.adapter import hooks\n@hooks.initializer\n@hooks.uncaptured\ndef secrets(): ...\n"
    (shop / "shop.py").write_text(SHOP + marked)
    with serve(shop) as server:
        server.wait_for("no snapshot is kept.*the initializer secrets is marked as not to be captured")
    with serve(shop) as server:
        server.wait_for("look up .*the initializer secrets is marked as not to be captured")


def test_an_app_that_does_not_come_back_the_same_is_not_kept(shop: Path) -> None:
    patched = "import colorsys\ncolorsys.PATCHED = True\n"  # a library's state is not captured
    same = "\n@app.get('/same')\ndef same():\n    return str(hasattr(colorsys, 'PATCHED'))\n"
    (shop / "shop.py").write_text(patched + SHOP + same)
    (shop / "pyproject.toml").write_text("[tool.snapfork]\nwarmup = ['/same']\n")
    with serve(shop) as server:
        server.wait_for("no snapshot is kept.*the app does not answer as it did: .*/same has another body")
    with serve(shop) as server:
        server.wait_for("look up .*no snapshot can be kept")
        assert server.get("/same").text == "True"


def test_a_damaged_object_is_forgotten_and_the_app_initialised(shop: Path) -> None:
    keep(shop)
    (path,) = (shop.parent / "data").rglob("*.snap")
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    with serve(shop) as server:
        server.wait_for("look up .*is damaged")
        assert server.get("/").status == 200
        server.wait_for(KEPT)
    assert starts(shop) == 2


def test_a_file_written_while_the_app_starts_is_no_key(shop: Path) -> None:
    late = "import prices, pathlib\npathlib.Path(prices.__file__).write_text(\"TABLE = {'tea': 9}\\n\")\n"
    (shop / "shop.py").write_text(SHOP + late)
    with serve(shop) as server:
        server.wait_for("no snapshot is kept.*prices.py was written to while the app started")
    with serve(shop) as server:
        assert server.get("/").json()["prices"] == {"tea": 9}


def test_a_database_file_that_start_up_reads_counts(shop: Path) -> None:
    with sqlite3.connect(shop / "shop.db") as database:
        database.execute("create table goods (name text)")
    reads = "import sqlite3\nROWS = sqlite3.connect('shop.db').execute('select * from goods').fetchall()\n"
    (shop / "shop.py").write_text(SHOP + reads)
    keep(shop)
    with serve(shop) as server:
        server.wait_for(RESTORED)
    with sqlite3.connect(shop / "shop.db") as database:
        database.execute("insert into goods values ('tea')")
    with serve(shop) as server:
        server.wait_for("shop.db has changed")


def test_a_data_directory_that_cannot_be_used_is_said_and_serving_goes_on(shop: Path) -> None:
    (shop.parent / "data").write_text("a file")
    with serve(shop) as server:
        server.wait_for("look up .*data/snapshots cannot be used: Not a directory")
        assert server.get("/").status == 200


def test_at_most_three_snapshots_of_an_app_are_kept(shop: Path) -> None:
    for price in range(4):
        (shop / "prices.py").write_text(f"TABLE = {{'tea': {price}}}\n")
        keep(shop)
    store = shop.parent / "data" / "snapshots"
    assert len(list((store / "objects").iterdir())) == 3
    assert not list((store / "drafts").iterdir())


ASGI = """
import contextlib
from fastapi import FastAPI, Request

@contextlib.asynccontextmanager
async def lifespan(app):
    with open("starts", "a") as file:
        file.write("x")
    app.state.model = {"weights": [1, 2, 3]}
    yield {"tables": ["a", "b"]}

app = FastAPI(lifespan=lifespan)

@app.get("/")
async def index(request: Request):
    return [request.app.state.model, request.state.tables]
"""


def test_what_a_lifespan_has_made_is_captured_and_start_up_not_run_again(shop: Path) -> None:
    (shop / "shop.py").write_text(ASGI)
    first = keep(shop)
    with serve(shop) as server:
        server.wait_for(RESTORED)
        assert server.get("/").json() == first == [{"weights": [1, 2, 3]}, ["a", "b"]]
        assert server.function()["template"]["stages"][0]["name"] == "restore"
    assert starts(shop) == 1


ARRAYS = """
import numpy
from flask import Flask
app = Flask(__name__)
with open("starts", "a") as file:
    file.write("x")
WEIGHTS = numpy.arange(100_000.0)

@app.get("/")
def index():
    return str(WEIGHTS.sum())
"""


def damage_a_buffer(path: Path) -> None:
    """Change a byte that is mapped at a restore, and not looked at then."""
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) - 8192] ^= 1
    path.write_bytes(data)
    path.chmod(0o400)


def test_damaged_buffers_are_found_while_it_serves_and_the_app_is_initialised(shop: Path) -> None:
    (shop / "shop.py").write_text(ARRAYS)
    with serve(shop) as server:
        server.wait_for(KEPT)
        said = server.get("/").text
    (path,) = (shop.parent / "data").rglob("*.snap")
    damage_a_buffer(path)
    with serve(shop) as server:
        server.wait_for(RESTORED)
        server.wait_for("is damaged: its buffer 0 is not what was signed. It was restored from it")
        server.wait_until(
            lambda one: one["snapshot"]["restored"] is None and one["template"]["state"] == "ready"
        )
        assert server.get("/").text == said
        server.wait_for(KEPT)
    assert starts(shop) == 2


def test_a_snapshot_file_whose_copy_is_damaged_is_taken_in_again(shop: Path) -> None:
    (shop / "shop.py").write_text(ARRAYS)
    command = [sys.executable, "-m", "snapfork.runner", "snapshot", "shop:app", "--python", sys.executable]
    subprocess.run(command, cwd=shop, check=True, capture_output=True, timeout=150)
    data = shop.parent / "data"
    with Serve("shop.snap", cwd=shop, data_dir=data) as server:
        server.wait_for("checked whole in")
        said = server.get("/").text
    (path,) = data.rglob("objects/*.snap")
    damage_a_buffer(path)
    with Serve("shop.snap", cwd=shop, data_dir=data) as server:
        server.wait_for("is damaged: its buffer 0")
        server.wait_for("checked whole in")
        server.wait_until(lambda one: one["template"]["state"] == "ready")
        assert server.get("/").text == said
    assert starts(shop) == 1

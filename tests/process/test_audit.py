"""What the audit finds in real apps: the thing, its severity, the line that made it and the cure."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest
from snapfork.runner.processes import descriptors
from snapfork.runner.processes.audit import Finding, must_spawn, requests_to_skip
from stages import kinds, take_through


def only(said: dict[str, Any]) -> dict[str, Any]:
    """The single final finding."""
    assert len(said["findings"]) == 1, said["findings"]
    finding: dict[str, Any] = said["findings"][0]
    return finding


def test_an_empty_app_has_no_findings(tmp_path: Path) -> None:
    said = take_through(tmp_path, "def use(): return 1")
    assert said["findings"] == [] and not said["spawn"] and said["skip"] == []


def test_a_thread_started_at_import(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        import threading

        def poll():
            threading.Event().wait()

        threading.Thread(target=poll, name="poller", daemon=True).start()
        """,
        children=0,
    )
    finding = only(said)
    assert (finding["severity"], finding["kind"]) == ("spawn", "thread")
    assert finding["object"] == "'poller' (shop.poll)"
    assert finding["origin"] == "shop.py:7"
    assert finding["cure"] == "Start the thread in an after_fork hook."
    assert said["spawn"] and finding["stage"] == "import"


def test_a_thread_that_has_ended_is_nothing(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        import threading
        thread = threading.Thread(target=len, args=("",))
        thread.start()
        thread.join()
        """,
        children=0,
    )
    assert said["findings"] == []


def test_an_open_connection_that_nothing_can_cure(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        import socket
        server = socket.create_server(("127.0.0.1", 0))
        client = socket.create_connection(server.getsockname())
        """,
        children=0,
    )
    spawn = [finding for finding in said["findings"] if finding["severity"] == "spawn"]
    notes = [finding for finding in said["findings"] if finding["severity"] == "note"]
    assert [finding["kind"] for finding in spawn] == ["connection"] and spawn[0]["origin"] == "shop.py:4"
    assert [finding["kind"] for finding in notes] == ["listening socket"]


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("from concurrent.futures import ThreadPoolExecutor\npool = ThreadPoolExecutor(2)", "executor"),
        (
            "import multiprocessing.pool\npool = multiprocessing.pool.ThreadPool(1)",
            "executor",
        ),
        ("import asyncio\nloop = asyncio.new_event_loop()", "event loop"),
        ("import uvloop\nloop = uvloop.new_event_loop()", "event loop"),
        ("import sqlite3\ndb = sqlite3.connect('x.db')\ndb.execute('create table t(x)')", "SQLite file"),
        ("file = open('counter', 'w+')", "file open for reading and writing"),
        ("import os\nends = os.pipe()", "pipe"),
        ("import select\npoller = select.epoll()", "poller"),
        ("import socket\nends = socket.socketpair()", "socket"),
    ],
)
def test_what_must_be_spawned(tmp_path: Path, source: str, kind: str) -> None:
    said = take_through(tmp_path, source, children=0)
    assert said["spawn"] and kind in kinds(said), said["findings"]
    assert all(finding["cure"] and finding["object"] for finding in said["findings"])


@pytest.mark.parametrize(
    ("source", "kind"),
    [
        ("log = open('app.log', 'a')", "file open for appending"),
        ("words = open(__file__)", "file open for reading"),
        ("import socket\ns = socket.socket(type=socket.SOCK_DGRAM)\ns.connect(('127.0.0.1', 8125))",
         "datagram socket"),
        ("import socket\ns = socket.create_server(('127.0.0.1', 0))", "listening socket"),
    ],
)  # fmt: skip
def test_what_is_only_told(tmp_path: Path, source: str, kind: str) -> None:
    said = take_through(tmp_path, source, children=0)
    assert not said["spawn"] and kinds(said, "note") == [kind], said["findings"]


def test_an_executor_is_found_by_name_and_line(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        from concurrent.futures import ThreadPoolExecutor
        pool = ThreadPoolExecutor(2)
        pool.submit(len, "").result()
        """,
        children=0,
    )
    executor = next(finding for finding in said["findings"] if finding["kind"] == "executor")
    assert executor["object"] == "shop.pool (concurrent.futures.thread.ThreadPoolExecutor)"
    assert executor["origin"] == "shop.py:3"


def test_what_only_a_warm_up_request_left_names_that_request(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        import socket
        server = socket.create_server(("127.0.0.1", 0))
        kept = []

        def request():
            kept.append(socket.create_connection(server.getsockname()))
        """,
        children=0,
    )
    assert not said["spawn"] and said["skip"] == [0]


def test_a_background_task_of_the_lifespan_forbids_the_template_to_keep_it(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        import asyncio, contextlib
        from starlette.applications import Starlette

        async def poll():
            await asyncio.Event().wait()

        @contextlib.asynccontextmanager
        async def lifespan(app):
            task = asyncio.create_task(poll())
            yield

        app = Starlette(lifespan=lifespan)
        """,
        children=0,
    )
    assert [(finding["kind"], finding["object"]) for finding in said["open"]] == [("task", "poll")]
    assert said["open"][0]["stage"] == "lifespan" and said["open"][0]["origin"] == "shop.py:5"


def test_a_client_bound_to_the_loop_of_its_lifespan(tmp_path: Path) -> None:
    pytest.importorskip("aiohttp")
    said = take_through(
        tmp_path,
        """
        import contextlib
        import aiohttp
        from starlette.applications import Starlette
        kept = {}

        @contextlib.asynccontextmanager
        async def lifespan(app):
            async with aiohttp.ClientSession() as kept["session"]:
                yield

        app = Starlette(lifespan=lifespan)
        """,
        children=0,
    )
    assert [finding["kind"] for finding in said["open"]] == ["loop-bound client"]
    assert "lifespan='instance'" in said["open"][0]["cure"]


def test_recorders_leave_classes_and_pickles_as_they_are(tmp_path: Path) -> None:
    said = take_through(
        tmp_path,
        """
        import pickle, random, socket, threading
        from concurrent.futures import ThreadPoolExecutor

        class Mine(threading.Thread):
            def start(self):
                self.marked = True
                super().start()

        thread = Mine(target=len, args=("",))
        thread.start()
        thread.join()
        assert thread.marked and isinstance(thread, threading.Thread)
        assert type(socket.socket()) is socket.socket
        assert pickle.loads(pickle.dumps(random.Random(1))).random() == random.Random(1).random()
        assert pickle.loads(pickle.dumps(threading.Thread)) is threading.Thread
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(len, "ab").result() == 2

        def use():
            return [vars(threading.Thread)["start"].__code__.co_filename, "start" in vars(threading.Thread)]
        """,
        children=1,
    )
    filename, present = said["children"][0]["result"]
    assert filename == threading.__file__ and present


def test_files_are_told_apart(tmp_path: Path) -> None:
    database = tmp_path / "x.db"
    connection = sqlite3.connect(database)
    connection.execute("create table t(x)")
    with open(database, "rb") as file:
        seen = descriptors.describe(file.fileno(), str(database))
    assert seen is not None and (seen.severity, seen.kind) == ("spawn", "SQLite file")
    connection.close()
    with open(os.devnull, "r+b") as file:
        assert descriptors.describe(file.fileno(), "/dev/null") is None


def test_verdicts() -> None:
    note = Finding("note", "", "", "", "")
    by_request = Finding("spawn", "", "", "", "", request=2)
    by_import = Finding("spawn", "", "", "", "")
    assert not must_spawn([note, by_request]) and requests_to_skip([note, by_request]) == [2]
    assert must_spawn([by_import, by_request])


def test_the_audit_of_a_wsgi_app_imports_no_event_loop() -> None:
    code = (
        "import sys\n"
        "from snapfork.runner.processes import afterfork, audit, freeze, origins, quiesce, warmup\n"
        "base = audit.baseline()\n"
        "quiesce.quiesce(None); audit.audit(base); afterfork.prepare({})\n"
        "print([name for name in ('asyncio', 'uvloop', 'ctypes', 'numpy') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""The client and the servers of the benchmarks, and `runner bench` of a tiny app."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from snapfork.runner.bench import burst, client, ladder, memory, own, responder
from snapfork.runner.bench.ours import Runner
from snapfork.runner.bench.results import Results
from snapfork.runner.bench.servers import Server, free_port
from snapfork.runner.errors import UserError

pytestmark = pytest.mark.once

APP = """
def app(environ, start_response):
    start_response("200 OK", [("Content-Length", "2")])
    return [b"ok"]
"""


@pytest.fixture
def app_dir(tmp_path: Path) -> Path:
    (tmp_path / "tiny.py").write_text(APP)
    return tmp_path


def test_every_request_has_its_times_in_order() -> None:
    with responder.responder() as address:
        timings = [client.once(address), *burst.burst(address, 20)]
        with client.Kept(address) as kept:
            timings += [kept.ask(), kept.ask()]
    for one in timings:
        assert one.ok, one
        assert one.begun <= one.connected <= one.sent <= one.first <= one.last


def test_a_load_counts_answers() -> None:
    with responder.responder() as address:
        new = burst.load(address, 3, 0.5, keep=False)
        kept = burst.load(address, 1, 0.5)
    for one in (new, kept):
        assert one.done == len(one.latencies_ms) > 0
        assert one.failed == 0


def test_a_burst_on_nobody_fails_with_a_reason() -> None:
    timings = burst.burst(("127.0.0.1", free_port()), 3)
    assert [one.ok for one in timings] == [False] * 3
    assert all(one.error for one in timings)


def test_a_server_that_does_not_start_says_why() -> None:
    command = [sys.executable, "-c", "raise SystemExit('no such colour')"]
    with pytest.raises(UserError, match="painter ended with 1") as raised, Server("painter", command, 1):
        pass
    assert "no such colour" in str(raised.value)


def test_a_runner_is_waited_for_and_leaves_nothing(app_dir: Path) -> None:
    with Runner("tiny:app", str(app_dir), min_instances=2, max_instances=2, spares=0) as server:
        workers = server.workers()
        pids = server.pids()
        assert len(workers) == 2
        assert set(workers) < set(pids)
        held = memory.of_all(workers)
        assert 0 < held.uss <= held.pss <= held.rss
        assert server.first_ms > 0
    assert server.pids() == []
    assert not any(os.path.exists(f"/proc/{pid}") for pid in workers)


def test_runner_bench_measures_an_app(app_dir: Path) -> None:
    kept = app_dir / "figures.json"
    (app_dir / "needy.py").write_text("import os\nos.environ['NEEDED']\n" + APP)
    (app_dir / "pyproject.toml").write_text("[tool.snapfork]\nenv = { NEEDED = 'by every server' }\n")
    words = ["bench", "needy:app", "--quick", "--peers", "gunicorn", "--json", str(kept)]
    environment = {key: value for key, value in os.environ.items() if key != "VIRTUAL_ENV"}
    done = subprocess.run(
        [sys.executable, "-m", "snapfork.runner", *words, "--python", sys.executable],
        cwd=app_dir, env=environment, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "gunicorn, fresh process" in done.stdout
    assert "requests/s" in done.stdout
    assert "single-threaded client" in done.stdout  # too short for wrk
    results = Results.load(kept)
    (starts,), (load,) = results.parts("ladder"), results.parts("load")
    for row in (ladder.FLOOR, ladder.SPAWN, ladder.UNWARMED, ladder.FORK, ladder.SPARE, ladder.WARM):
        assert starts.find(row), row
    assert load.groups() == [own.OWN, "gunicorn"]
    assert results.machine["versions"]["snapfork"]


def test_runner_bench_refuses_what_is_not_forked(app_dir: Path) -> None:
    text = "from concurrent.futures import ThreadPoolExecutor\nPOOL = ThreadPoolExecutor(1)\n" + APP
    (app_dir / "pooled.py").write_text(text)
    command = [sys.executable, "-m", "snapfork.runner", "bench", "pooled:app", "--python", sys.executable]
    done = subprocess.run(command, cwd=app_dir, capture_output=True, text=True, timeout=150, check=False)
    assert done.returncode == 2
    assert "runner doctor pooled:app" in done.stderr


def test_runner_bench_that_is_ended_leaves_nothing(app_dir: Path) -> None:
    command = [sys.executable, "-m", "snapfork.runner", "bench", "tiny:app", "--peers", "none"]
    environment = {**os.environ, "TMPDIR": str(app_dir)}
    process = subprocess.Popen(
        [*command, "--python", sys.executable], cwd=app_dir, env=environment, stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert process.stderr is not None
    try:
        assert any("round 1" in line for line in process.stderr)  # all its servers run
        assert named(str(app_dir)) - {process.pid}
    finally:
        process.terminate()
        process.communicate(timeout=150)
    assert process.returncode == 143
    assert named(str(app_dir)) == set()


def named(text: str) -> set[int]:
    """The processes with `text` in their command line."""
    found = set()
    for entry in os.listdir("/proc"):
        try:
            if entry.isdigit() and text.encode() in Path("/proc", entry, "cmdline").read_bytes():
                found.add(int(entry))
        except OSError:
            continue  # it ended meanwhile
    return found

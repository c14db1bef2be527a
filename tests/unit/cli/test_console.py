"""The console: readable for people, one object per line for machines, and never stuck."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator

import pytest
from snapfork.runner.console import Console, curl_command, ms_text, size_text
from snapfork.runner.outlet import Outlet
from snapfork.runner.serve_config import Interpreter

FINDING = {
    "severity": "spawn",
    "kind": "thread",
    "object": "'beat'",
    "origin": "shop.py:3",
    "cure": "Start it later.",
}
ENTRY = {
    "name": "shop",
    "mode": "fork",
    "start": "spare",
    "start_ms": 0.42,
    "url": "http://h:1",
    "memory_bytes": 2411724,
    "max_instances": 8,
    "reason": None,
}


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for fd in ends:
        os.close(fd)


def everything(console: Console) -> None:
    console.info("hello")
    console.warn("careful")
    console.building("shop", 2, Interpreter("/usr/bin/python3", "3.11", "--python"))
    console.stage("shop", "import", 182.4)
    console.stage("shop", "warm up", 3.21, "GET / -> 200")
    console.findings("shop", "spawn", [FINDING])
    console.failed("blog", "no module named 'x'", "Traceback\n  line")
    console.serving(["http://h:1"], [ENTRY])
    console.stopping("bye")
    console.error("it broke")
    console.flush()


def test_people_get_lines(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    everything(Console(colour=False, fd=writer))
    lines = os.read(reader, 65536).decode().splitlines()
    assert lines[:2] == ["hello", "warning: careful"]
    assert lines[2] == "shop  starting a template (generation 2) with /usr/bin/python3 (3.11, --python)"
    assert lines[3].split() == ["shop", "import", "182", "ms"]
    assert lines[4].endswith("3.2 ms  GET / -> 200")
    assert "thread: 'beat' (from shop.py:3); Start it later." in lines[6]
    assert lines[7:10] == ["blog  failed: no module named 'x'", "Traceback", "  line"]
    assert lines[10] == "serving on http://h:1"
    assert "spare (0.42 ms measured) · 2.3 MB per instance · at most 8 instances" in lines[11]
    assert lines[12] == "try it: curl -i http://h:1/"


def test_machines_get_one_object_per_line(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    everything(Console(json=True, fd=writer))
    entries = [json.loads(line) for line in os.read(reader, 65536).splitlines()]
    assert {"info", "warning", "building", "stage", "finding", "failed", "serving", "ready", "error"} <= {
        entry["event"] for entry in entries
    }
    assert all(isinstance(entry["time"], float) for entry in entries)


def test_colours_only_for_terminals(pipe: tuple[int, int], monkeypatch: pytest.MonkeyPatch) -> None:
    assert not Console(fd=pipe[1]).colour
    ours, theirs = os.openpty()
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    assert Console(fd=theirs).colour
    monkeypatch.setenv("NO_COLOR", "1")
    assert not Console(fd=theirs).colour
    os.close(ours)
    os.close(theirs)


def test_a_stuck_reader_loses_the_oldest_lines_and_is_told(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    outlet = Outlet(writer, limit=10_000)
    for number in range(20_000):
        outlet.write(b"line %d\n" % number)
    assert outlet.size <= 10_100
    seen = b""
    while not outlet.flush():
        seen += os.read(reader, 65536)
    seen += os.read(reader, 65536)
    lines = seen.decode().splitlines()
    (gap,) = [index for index, line in enumerate(lines) if line.startswith("[")]
    lost = int(lines[gap][1:].split()[0])
    assert lines[-1] == "line 19999"
    assert int(lines[gap + 1].split()[1]) == int(lines[gap - 1].split()[1]) + lost + 1


def test_a_reader_that_left_is_no_error() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    outlet = Outlet(writer)
    outlet.write(b"nobody listens\n")
    assert outlet.flush()
    os.close(writer)


@pytest.mark.parametrize(("ms", "text"), [(0.4249, "0.42 ms"), (3.21, "3.2 ms"), (182.6, "183 ms")])
def test_milliseconds(ms: float, text: str) -> None:
    assert ms_text(ms) == text


@pytest.mark.parametrize(
    ("size", "text"), [(12, "12 B"), (2048, "2.0 KB"), (2411724, "2.3 MB"), (5 << 30, "5.0 GB")]
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_a_command_for_a_unix_socket() -> None:
    assert curl_command(["unix:/a/b"], []) == "curl -i --unix-socket /a/b http://localhost/"
    assert curl_command([], []) is None

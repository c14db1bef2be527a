"""The log process: many pipes in, attributed lines out."""

from __future__ import annotations

import json
import os
import re
import select
import socket
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest
from snapfork.runner.processes import stdio
from snapfork.runner.services import launch
from snapfork.runner.wire import fds


class Logs:
    """A running log process with its control socket and the end of its output."""

    def __init__(self, as_json: bool) -> None:
        self.control, theirs = fds.pair()
        life, self.life = os.pipe()
        self.out, out = os.pipe()
        self.process = launch.start_logs(theirs.fileno(), life, as_json=as_json, out_fd=out)
        for fd in (life, out):
            os.close(fd)
        theirs.close()

    def add(self, function: str, instance: str) -> int:
        """Register a pipe; its write end."""
        reader, writer = os.pipe()
        message: dict[str, Any] = {"pipe": writer, "function": function, "instance": instance, "pid": 42}
        fds.send(self.control, json.dumps(message).encode(), (reader,))
        os.close(reader)
        return writer

    def finish(self) -> list[str]:
        """Close the gateway's side and return all lines."""
        self.control.close()
        with open(self.out, closefd=False) as file:
            text = file.read()
        assert self.process.wait(150) == 0
        return text.splitlines()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.life)
        os.close(self.out)
        if self.control.fileno() >= 0:
            self.control.close()


@pytest.fixture(params=[False, True], ids=["text", "json"])
def logs(request: pytest.FixtureRequest) -> Iterator[Logs]:
    running = Logs(request.param)
    yield running
    running.close()


def say(writer: int, text: str, request_id: str = "-") -> None:
    for frame in stdio.frames("O", request_id, text.encode()):
        os.write(writer, frame)


def test_lines_have_time_function_instance_and_request(logs: Logs) -> None:
    writer = logs.add("shop", "7")
    say(writer, "hello\n", "req-1")
    os.write(writer, b"raw line\n")
    os.close(writer)
    first, second = logs.finish()
    if first.startswith("{"):
        entry = json.loads(first)
        assert (entry["function"], entry["instance"], entry["request_id"]) == ("shop", "7", "req-1")
        assert (entry["text"], entry["stream"]) == ("hello", "stdout")
        assert json.loads(second)["stream"] == "raw"
    else:
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z shop/7 req-1 \| hello", first)
        assert second.endswith("shop/7 - | raw line")


def test_units_of_two_instances_do_not_mix(logs: Logs) -> None:
    writers = [logs.add("shop", name) for name in ("a", "b")]
    for number in range(50):
        for writer in writers:
            say(writer, f"Traceback {number}\n  middle\nEnd\n")
    for writer in writers:
        os.close(writer)
    lines = logs.finish()
    if lines[0].startswith("{"):
        assert len(lines) == 100
        return
    for start in range(0, len(lines), 3):
        who = {line.split()[1] for line in lines[start : start + 3]}
        assert len(who) == 1
        assert lines[start].split("| ")[1].startswith("Traceback")
        assert lines[start + 2].endswith("| End")


def test_the_last_words_of_a_dead_instance_are_kept() -> None:
    logs = Logs(as_json=False)
    try:
        writer = logs.add("shop", "1")
        subprocess.run(["printf", "partial"], stdout=writer, check=True)
        os.close(writer)
        (line,) = logs.finish()
        assert line.endswith("shop/1 - | partial")
    finally:
        logs.close()


def test_a_stuck_output_stops_the_reading_and_not_the_process() -> None:
    logs = Logs(as_json=False)
    try:
        writer = logs.add("shop", "1")
        os.set_blocking(writer, False)
        sent = 0
        poll = select.poll()
        poll.register(writer, select.POLLOUT)
        while poll.poll(1500):  # until nothing is taken any more
            try:
                say(writer, f"{sent:07d}" + "x" * 1000 + "\n")
            except BlockingIOError:
                continue
            sent += 1
            assert sent < 20000
        os.close(writer)
        assert logs.process.poll() is None
        lines = logs.finish()
        assert [int(line.split("| ")[1][:7]) for line in lines] == list(range(sent))
    finally:
        logs.close()


def test_it_dies_with_the_gateway(logs: Logs) -> None:
    writer = logs.add("shop", "1")
    fds.send(logs.control, json.dumps({"function": "x", "instance": "y", "pid": 1}).encode())
    say(writer, "up\n")
    assert os.read(logs.out, 1000)  # it is armed before it reads
    os.close(logs.life)
    assert logs.process.wait(150) == -9
    os.close(writer)
    logs.life = socket.socket().detach()

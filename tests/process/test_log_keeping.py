"""The log process keeps lines and records of deployed functions, and catches up when it is asked to."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import pytest
from snapfork.runner.processes import stdio
from snapfork.runner.services import launch
from snapfork.runner.telemetry.desk import LogDesk
from snapfork.runner.telemetry.history import History, Wanted
from snapfork.runner.wire import fds


class Logs(NamedTuple):
    process: subprocess.Popen[bytes]
    gateway: socket.socket
    store: str
    desk: str
    out: Path


@pytest.fixture
def logs(tmp_path: Path) -> Iterator[Logs]:
    with log_process(tmp_path, tmp_path / "t.sqlite3") as logs:
        yield logs


@contextmanager
def log_process(tmp_path: Path, kept: Path) -> Iterator[Logs]:
    ours, theirs = fds.pair()
    life_read, life_write = os.pipe2(os.O_CLOEXEC)
    store, path, out = str(kept), str(tmp_path / "logs.sock"), tmp_path / "out"
    with open(out, "wb") as file:
        process = launch.start_logs(
            theirs.fileno(),
            life_read,
            as_json=False,
            out_fd=file.fileno(),
            telemetry={"store": store, "socket": path},
        )
    theirs.close()
    yield Logs(process, ours, store, path, out)
    ours.close()
    process.wait(150)
    os.close(life_read)
    os.close(life_write)


def attach(logs: Logs, unit: str) -> int:
    """A pipe of one instance, as the gateway hands it over; its write end."""
    read, write = os.pipe2(os.O_CLOEXEC)
    about = {"function": unit, "instance": "7", "pid": 0}
    fds.send(logs.gateway, json.dumps(about).encode(), (read,))
    os.close(read)
    return write


def say(pipe: int, letter: str, request_id: str, text: str) -> None:
    for frame in stdio.frames(letter, request_id, text.encode()):
        os.write(pipe, frame)


def wait_for(path: str) -> None:
    """Until the log process listens."""

    async def connect() -> None:
        desk = LogDesk(path)
        while not await desk.sync():
            await asyncio.sleep(0.01)
        desk.close()

    asyncio.run(asyncio.wait_for(connect(), 150))


def test_what_was_printed_before_the_question_is_in_the_store(logs: Logs) -> None:
    wait_for(logs.desk)

    async def run() -> None:
        desk, history = LogDesk(logs.desk), History(logs.store)
        for number in range(200):
            # A new pipe each time: its registration must be read before its bytes.
            pipe = attach(logs, "shop:3")
            say(pipe, "O", f"r{number}", f"said {number}")
            assert await desk.sync()
            assert history.tail(f"r{number}") == f"said {number}\n".encode()
            os.close(pipe)
        desk.close()

    asyncio.run(run())
    line = History(logs.store).lines(Wanted(request_id="r9"))[0]
    assert (line.function, line.version, line.instance, line.stream) == ("shop", "3", "7", "stdout")


def test_records_are_kept_under_their_own_function_and_not_printed(logs: Logs) -> None:
    wait_for(logs.desk)
    pipe = attach(logs, "shop:LATEST")
    record = {"id": "r1", "function": "other", "status": 200, "billed": 3, "stages": {"run": 2.5}}
    say(pipe, "I", "r1", json.dumps(record))
    say(pipe, "I", "r2", "no json")
    say(pipe, "I", "r3", json.dumps({"status": "no id"}))

    async def run() -> None:
        desk = LogDesk(logs.desk)
        desk.record({"id": "r1", "trigger": "async", "stages": {"schedule": 1}})
        assert await desk.sync()
        desk.close()

    asyncio.run(run())
    os.close(pipe)
    (found,) = History(logs.store).records(Wanted())
    assert (found.id, found.function, found.version, found.trigger) == ("r1", "shop", "LATEST", "async")
    assert found.stages == {"run": 2.5, "schedule": 1.0}
    assert logs.out.read_bytes() == b""


def test_without_a_log_process_nobody_waits(tmp_path: Path) -> None:
    async def run() -> None:
        desk = LogDesk(str(tmp_path / "nobody.sock"))
        desk.record({"id": "x"})
        assert not await desk.sync()

    asyncio.run(run())


def test_a_desk_finds_the_next_log_process(logs: Logs, tmp_path: Path) -> None:
    wait_for(logs.desk)

    async def run() -> None:
        desk = LogDesk(logs.desk)
        assert await desk.sync()
        logs.process.kill()
        logs.process.wait()
        assert not await desk.sync()
        ours, theirs = fds.pair()
        life_read, life_write = os.pipe2(os.O_CLOEXEC)
        successor = launch.start_logs(
            theirs.fileno(),
            life_read,
            as_json=False,
            telemetry={"store": logs.store, "socket": logs.desk},
        )
        theirs.close()
        while not await desk.sync():
            await asyncio.sleep(0.01)
        desk.close()
        ours.close()
        assert successor.wait(150) == 0
        os.close(life_read)
        os.close(life_write)

    asyncio.run(asyncio.wait_for(run(), 150))


def test_a_store_that_cannot_be_opened_at_the_start_is_opened_later(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "later" / "t.sqlite3"
    with log_process(tmp_path, store) as logs:
        said = ""
        while "are not kept" not in said:
            said += capfd.readouterr().err
        assert str(store) in said
        pipe = attach(logs, "shop:1")
        say(pipe, "O", "r1", "too early\n")
        while b"too early" not in logs.out.read_bytes():
            assert logs.process.poll() is None
        store.parent.mkdir()
        wait_for(logs.desk)
        say(pipe, "O", "r2", "in time\n")

        async def sync() -> None:
            desk = LogDesk(logs.desk)
            assert await desk.sync()
            desk.close()

        asyncio.run(sync())
        history = History(str(store))
        assert [line.text for line in history.lines(Wanted(function="shop"))] == ["in time"]
        history.close()
        os.close(pipe)

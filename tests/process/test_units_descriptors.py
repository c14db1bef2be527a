"""Few descriptors: functions take turns, and nobody waits for ever."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from deskpeer import LENGTH, Deployment
from server import Answer
from snapfork.runner.gateway.desk import Desk
from unitapps import hello

FUNCTIONS = 20
FEW = ("sh", "-c", 'ulimit -n 140; exec "$@"', "sh")


@pytest.mark.parametrize("error", [OSError(24, "Too many open files"), AssertionError("no"), TypeError("x")])
def test_whatever_a_handler_raises_is_answered(error: Exception) -> None:
    def fail(_message: object) -> None:
        raise error

    async def ask() -> dict[str, object]:
        ours, theirs = socket.socketpair()
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda *_: None)
        desk = Desk(loop, theirs, {"fail": fail}, lambda _: None, {"note": fail})
        for message in ({"op": "note"}, {"id": 7, "op": "fail"}):
            data = json.dumps(message).encode()
            ours.sendall(LENGTH.pack(len(data)) + data)
        ours.setblocking(False)
        answer = await asyncio.wait_for(loop.sock_recv(ours, 65536), 150)
        desk.close()
        ours.close()
        return dict(json.loads(answer[LENGTH.size :]))

    answer = asyncio.run(ask())
    assert (answer["id"], answer["ok"], answer["kind"]) == (7, False, "unavailable")


@pytest.mark.parametrize("at_once", [1, 6])
def test_more_functions_than_descriptors_are_served_in_turn(tmp_path: Path, at_once: int) -> None:
    with Deployment(tmp_path, wrap=FEW) as gateway:
        units = [gateway.unit(f"f{number}:1", hello(str(number))) for number in range(FUNCTIONS)]
        gateway.serve(*units)

        def get(number: int) -> Answer:
            for _ in range(50):
                # A gateway that is out of descriptors may turn a new connection away, so that it can go on.
                with contextlib.suppress(ConnectionResetError):
                    return gateway.get(f"/f{number}/")
            raise AssertionError("turned away again and again")

        with ThreadPoolExecutor(at_once) as pool:
            for _ in range(2):
                answers = list(pool.map(get, range(FUNCTIONS)))
                assert [one.status for one in answers] == [200] * FUNCTIONS, [one.text for one in answers]
                assert [one.text.split("|")[0] for one in answers] == [str(n) for n in range(FUNCTIONS)]
        assert "Traceback" not in (tmp_path / "output").read_text()

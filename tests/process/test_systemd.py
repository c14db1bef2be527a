"""Sockets handed down by a service manager, and the news it gets back."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from snapfork.runner import systemd

CHILD = """
import json, os, sys
os.environ["LISTEN_PID"] = str(os.getpid() if sys.argv[1] == "mine" else 1)
from snapfork.runner.cli.listeners import open_listeners
sockets, urls = open_listeners("127.0.0.1", 0, None)
print(json.dumps([urls, [s.get_inheritable() for s in sockets], "LISTEN_FDS" in os.environ,
    [s.getsockopt(1, 30) for s in sockets]]))
"""


def child(who: str, handed: list[socket.socket]) -> list[object]:
    """Run CHILD with `handed` as descriptors 3, 4, ... and LISTEN_FDS set."""
    import json

    numbers = [sock.fileno() for sock in handed]
    moves = " ".join(f"{3 + index}<&{number}" for index, number in enumerate(numbers))
    done = subprocess.run(
        ["bash", "-c", f'exec "$0" "$@" {moves}', sys.executable, "-c", CHILD, who],
        pass_fds=numbers, env={**os.environ, "LISTEN_FDS": str(len(handed))},
        capture_output=True, text=True, check=True, timeout=150,
    )  # fmt: skip
    return list(json.loads(done.stdout))


@pytest.fixture
def listening(tmp_path: Path) -> list[socket.socket]:
    tcp = socket.create_server(("127.0.0.1", 0))
    unix = socket.socket(socket.AF_UNIX)
    unix.bind(str(tmp_path / "s"))
    unix.listen()
    return [tcp, unix]


def test_inherited_sockets_are_used_instead_of_a_port(listening: list[socket.socket], tmp_path: Path) -> None:
    urls, inheritable, left, accepting = child("mine", listening)
    port = listening[0].getsockname()[1]
    assert urls == [f"http://127.0.0.1:{port}", f"unix:{tmp_path}/s"]
    assert inheritable == [False, False]
    assert accepting == [1, 1]
    assert left is False


def test_sockets_for_another_process_are_left_alone(listening: list[socket.socket]) -> None:
    urls, _, left, accepting = child("another's", listening)
    assert len(urls) == 1  # type: ignore[arg-type]
    assert accepting == [0]
    assert left is False


@pytest.mark.parametrize("abstract", [False, True])
def test_news_reach_the_manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, abstract: bool) -> None:
    name = f"@snapfork-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(name.replace("@", "\0", 1) if abstract else name)
        monkeypatch.setenv("NOTIFY_SOCKET", name)
        assert systemd.ready()
        assert systemd.reloading()
        assert systemd.stopping()
        assert manager.recv(100) == b"READY=1"
        assert manager.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
        assert manager.recv(100) == b"STOPPING=1"


def test_without_a_manager_nothing_happens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not systemd.ready()
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    assert not systemd.ready()

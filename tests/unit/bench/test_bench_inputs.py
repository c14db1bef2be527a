"""Answers, wrk's output, flags and command lines, as text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from snapfork.runner.bench import client, machine, ours, peers, throughput
from snapfork.runner.bench.target import Target
from snapfork.runner.cli.bench import wanted_peers
from snapfork.runner.errors import UserError

ROOT = Path(__file__).resolve().parents[3]
HEAD = b"HTTP/1.1 200 OK\r\n"
WRK = """Running 2s test @ http://127.0.0.1:8000/
  2 threads and 16 connections
  Socket errors: connect 0, read 3, write 0, timeout 2
  Non-2xx or 3xx responses: 7
Requests/sec:   4707.25
Transfer/sec:    712.34KB
"""


@pytest.mark.parametrize(
    "data, size",
    [
        (HEAD + b"Content-Length: 3\r\n\r\nabc", 41),
        (HEAD + b"Content-Length: 3\r\n\r\nab", None),
        (HEAD + b"content-length: 0\r\n\r\n", 38),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n", None),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\na\r\n0\r\n\r\n", 58),
        (HEAD + b"\r\nuntil the end", -1),
        (HEAD, None),
        (b"", None),
    ],
)
def test_a_response_is_whole_when_all_of_it_is_there(data: bytes, size: int | None) -> None:
    assert client.whole(data) == size


@pytest.mark.parametrize("head, status", [(HEAD, 200), (b"HTTP/1.0 503 X", 503), (b"", 0), (b"SSH-2.0 x", 0)])
def test_status(head: bytes, status: int) -> None:
    assert client.status_of(head) == status


def test_wrk_is_understood_with_its_errors() -> None:
    assert throughput.parse(WRK) == throughput.Rate(4707.25, 12, "wrk")
    with pytest.raises(UserError, match="unable to connect"):
        throughput.parse("unable to connect to 127.0.0.1:1 Connection refused")


def test_settings_become_flags() -> None:
    assert ours.flags({"max_requests": 1, "warmup": []}) == ["--max-requests", "1", "--warmup", "none"]
    assert ours.flags({"warmup": ["/a", "/b"]}) == ["--warmup", "/a", "--warmup", "/b"]


@pytest.mark.parametrize("peer", peers.PEERS, ids=lambda peer: f"{peer.name}-{peer.kinds[0]}")
def test_every_peer_gets_port_and_workers(peer: peers.Peer) -> None:
    command = peer.command("python9", 4711, 3, "/wrappers")
    assert command[0] == "python9"
    assert any("4711" in word for word in command)
    assert ("3" in command) == peer.scales
    assert peer.words


def test_names_of_peers_are_their_own() -> None:
    for kind in ("wsgi", "asgi"):
        names = [peer.name for peer in peers.for_kind(kind)]
        assert len(names) == len(set(names))


def test_peers_are_chosen_by_name() -> None:
    there = peers.for_kind("wsgi")
    assert wanted_peers(there, None) == there
    assert wanted_peers(there, "none") == []
    assert [peer.name for peer in wanted_peers(there, "uWSGI, gunicorn")] == ["gunicorn", "uWSGI"]
    with pytest.raises(UserError, match="hypercorn is not installed"):
        wanted_peers(there, "hypercorn")


SHOP = """
from snapfork.adapter import serverless
class Shop:
    def __call__(self, environ, start_response): ...
    def __repr__(self): return "a shop"
def make(name="a shop"): return name
@serverless(timeout=3)
def create(): return "a shop"
def app(environ, start_response): ...
shop = Shop()
"""


@pytest.mark.parametrize(
    "expression, made",
    [('make("x")', "x"), ("make", "a shop"), ("create", "a shop"), ("shop", "a shop"), ("app", "<function")],
)
def test_wrappers_hold_any_expression(tmp_path: Path, expression: str, made: str) -> None:
    (tmp_path / "shop.py").write_text(SHOP)
    out = tmp_path / "out"
    out.mkdir()
    Target(f"shop:{expression}", str(tmp_path), "wsgi").write_wrappers(out)
    code = "import snapfork_bench_app; print(snapfork_bench_app.application)"
    done = subprocess.run([sys.executable, "-c", code], cwd=out, capture_output=True, text=True, check=True)
    assert done.stdout.startswith(made)


def test_a_machine_tells_what_it_is() -> None:
    found = machine.describe()
    assert found.cores > 0
    assert found.memory_mb > 0
    assert found.versions["snapfork"]
    with machine.Watch() as watch:
        pass
    assert watch.conditions.steal >= 0


def test_the_suite_helps_before_any_environment_is_made(tmp_path: Path) -> None:
    script = ROOT / "benchmarks" / "run"
    if not script.exists():
        pytest.skip("not a checkout")
    environment = {"PATH": "/usr/bin:/bin", "VENV": str(tmp_path / "never"), "PYTHON": sys.executable}
    done = subprocess.run(
        ["sh", str(script), "--help"], capture_output=True, text=True, check=True, env=environment
    )
    for word in ("--quick", "--runs", "--out", "ladder", "breakdown"):
        assert word in done.stdout
    assert not (tmp_path / "never").exists()

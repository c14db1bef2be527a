"""The README's nginx block, with a real nginx in front of a real runner."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from server import HANG_S, Answer, Client, Serve, Server
from websockets.sync.client import connect

ROOT = Path(__file__).resolve().parents[2]
APPS = ROOT / "tests" / "apps"
FRAME = """
daemon off; master_process off; worker_processes 1; pid {directory}/pid; error_log stderr warn;
events {{ }}
http {{
    access_log off;
    client_body_temp_path {directory}/body; proxy_temp_path {directory}/proxy;
    fastcgi_temp_path {directory}/f; uwsgi_temp_path {directory}/u; scgi_temp_path {directory}/s;
{block}
}}
"""


def configuration(directory: Path, listen: int, upstream: int) -> str:
    """The README's block with a free port and no certificate."""
    block = (ROOT / "README.md").read_text().split("```nginx\n")[1].split("```")[0]
    block = block.replace("listen 443 ssl http2;", f"listen 127.0.0.1:{listen};")
    block = block.replace("127.0.0.1:8000", f"127.0.0.1:{upstream}")
    block = re.sub(r"\n\s*ssl_certificate.*", "", block)
    return FRAME.format(directory=directory, block=block)


@contextlib.contextmanager
def nginx_before(runner: Serve, directory: Path) -> Iterator[int]:
    """nginx's port."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin")
    if program is None:
        pytest.skip("no nginx here")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    file = directory / "nginx.conf"
    file.write_text(configuration(directory, port, runner.port))
    # `-t` first, so that the line to wait for exists: nginx itself says nothing when it is up.
    command = ["sh", "-c", f"{program} -t -c {file} && exec {program} -c {file}"]
    with Server(command, r"(test is successful)"):
        wait_for(directory / "pid")
        yield port


@pytest.fixture(params=["wsgi_app:app", "asgi_app:app"])
def behind_nginx(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, int, Serve]]:
    """(target, nginx's port, the runner behind it)."""
    with Serve(request.param, app_dir=APPS) as runner, nginx_before(runner, tmp_path) as port:
        yield request.param, port, runner


def wait_for(pid_file: Path) -> None:
    """nginx fills it when it listens (`-t` makes it, empty)."""
    while not pid_file.exists() or not pid_file.stat().st_size:
        time.sleep(0.01)


def test_the_block_in_the_readme(behind_nginx: tuple[str, int, Serve]) -> None:
    target, port, runner = behind_nginx

    def ask(method: str, path: str, body: bytes | None = None, **headers: str) -> Answer:
        with contextlib.closing(Client("127.0.0.1", port, timeout=HANG_S)) as client:
            return client.ask(method, path, body, {name.replace("_", "-"): headers[name] for name in headers})

    seen = ask("GET", "/echo?x=1", X_Forwarded_For="203.0.113.9", X_Request_Id="forged")
    shown = seen.json()
    assert shown["client"] == "203.0.113.9"
    assert shown["scheme"] == "http"
    assert shown["headers"]["host"] == f"127.0.0.1:{port}"
    assert len(seen.headers["x-request-id"]) == 32  # nginx's own, kept
    assert seen.headers["x-request-id"] == shown["headers"]["x-request-id"]
    body = b"x" * 3_000_000
    assert ask("POST", "/upload", body).json()["bytes"] == len(body)
    assert ask("GET", "/stream?count=5").text == "".join(f"chunk {n}\n" for n in range(5))
    before = runner.status()["connections"]["total"]
    for _ in range(20):
        assert ask("GET", "/").text == "hello"
    # nginx kept its connections: 20 clients' requests came over those that were there.
    assert runner.status()["connections"]["total"] <= before + 1
    if target.startswith("asgi"):
        with connect(f"ws://127.0.0.1:{port}/socket") as socket:
            socket.send("through nginx")
            assert socket.recv(20) == "through nginx"


def test_two_functions_behind_one_pool_of_connections(tmp_path: Path) -> None:
    """nginx mixes everybody's requests on its connections: each is answered by its own function."""
    mounts = ("--mount=/shop=shop", "--mount=/blog=blog")
    with (
        Serve("shop=wsgi_app:app", "blog=asgi_app:app", *mounts, app_dir=APPS) as runner,
        nginx_before(runner, tmp_path) as port,
        ThreadPoolExecutor(8) as pool,
    ):

        def one_client(number: int) -> None:
            with contextlib.closing(Client("127.0.0.1", port, timeout=HANG_S)) as client:
                for turn in range(30):
                    prefix = ("/shop", "/blog")[(number + turn) % 2]
                    body = f"{number} {turn}" if turn % 3 else None
                    method = "POST" if body else "GET"
                    shown = client.ask(method, f"{prefix}/echo?{number}-{turn}", body).json()
                    assert (shown["script_name"], shown["query"]) == (prefix, f"{number}-{turn}")
                    assert shown["body"] == (body or "")

        list(pool.map(one_client, range(8)))
        for name in ("shop", "blog"):
            runner.wait_until(lambda one: one["requests"] == 120, name)
        assert runner.status()["connections"]["total"] <= 32

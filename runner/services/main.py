"""The services process: the control API on a Unix socket and on loopback TCP, beside the gateway.

It ends when the gateway closes the line between them.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import secrets
import socket
import sqlite3
import sys
from collections.abc import Iterator
from typing import Any

import uvicorn
import uvloop
from snapfork.runner.errors import UserError
from snapfork.runner.processes import life, privileges
from snapfork.runner.runtime_dir import SOCKET, TOKEN
from snapfork.runner.services import control, heads
from snapfork.runner.services.link import GatewayLink


class Server(uvicorn.Server):
    """A server that leaves signals alone: they are the gateway's business."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def unix_listener(path: str) -> socket.socket:
    """A Unix socket that only its owner may connect to."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # no moment in which others could connect
    try:
        with contextlib.suppress(FileNotFoundError):  # left by a services process that was killed
            os.unlink(path)
        sock.bind(path)
    finally:
        os.umask(before)
    return sock


def tcp_listener(host: str, port: int) -> socket.socket:
    """A loopback socket. Raises OSError when the address is taken."""
    sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
    except OSError:
        sock.close()
        raise
    return sock


def write_token(directory: str) -> str:
    """A fresh secret for orders over TCP, readable by the owner only."""
    token = secrets.token_urlsafe(24)
    fd = os.open(os.path.join(directory, TOKEN), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(token)
    return token


async def serve(setup: dict[str, Any]) -> None:
    """Open both faces, tell the gateway where they are, and serve until it is gone."""
    ended = asyncio.Event()
    link = GatewayLink(socket.socket(fileno=setup["control_fd"]), ended.set)
    await link.start()
    directory: str = setup["runtime_dir"]
    path = os.path.join(directory, SOCKET)
    ready: dict[str, Any] = {"control_uds": path, "control_tcp": None}
    deployed = None
    if setup["deployed"]:
        from snapfork.runner.services.deployed import DeployedServices  # late: others need none of it

        try:
            deployed = await DeployedServices.start(setup, link)
        except (UserError, sqlite3.Error, OSError) as error:
            link.send({"ready": ready | {"fatal": _sentence(error, setup["data_dir"])}})
            await ended.wait()
            return

    def face(token: str | None) -> Any:
        plain = control.build(link, token)
        return deployed.face(plain) if deployed is not None else plain

    faces = [(unix_listener(path), face(None))]
    if setup["tcp"]:
        try:
            tcp = tcp_listener(*setup["tcp"])
        except OSError as error:
            ready["error"] = f"The control address {setup['tcp'][0]}:{setup['tcp'][1]}: {error.strerror}."
        else:
            ready["control_tcp"] = list(tcp.getsockname()[:2])
            faces.append((tcp, face(write_token(directory))))
    servers = [(Server(_config(app)), sock) for sock, app in faces]
    tasks = [asyncio.create_task(server.serve([sock])) for server, sock in servers]
    while not all(server.started for server, _ in servers):
        await asyncio.sleep(0.005)
    link.send({"ready": ready})
    await ended.wait()
    for server, _ in servers:
        server.should_exit = True
    await asyncio.wait(tasks, timeout=1.0)
    if deployed is not None:
        await deployed.stop()


def _sentence(error: Exception, data_dir: str) -> str:
    """Why nothing can be served from `data_dir`."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return f"The data directory {data_dir} cannot be used: {error.strerror or error}{where}."
    return f"A file of the data directory {data_dir} cannot be used: {error}."


def _config(app: Any) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=heads.Protocol,
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        ws="none",
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=1,
        # boto3 keeps connections for longer than uvicorn's 5 s, and finds out only when it sends.
        timeout_keep_alive=75,
    )


def main() -> None:
    """Argument: JSON, see launch.start."""
    setup = json.loads(sys.argv[1])
    privileges.hide()
    life.arm(setup["life_fd"])
    life.shield()
    uvloop.run(serve(setup))


if __name__ == "__main__":
    main()

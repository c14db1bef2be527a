"""The faces over real operations, registry files and queue, served by uvicorn to the real clients.

Only what would run user code is a double: a gateway that says yes, an invoker that a test tells what
functions do.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import io
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import uvicorn
from alibabacloud_fc20230330 import models
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.utils_models import Config
from snapfork.runner.faces import app
from snapfork.runner.faces.auth import Auth
from snapfork.runner.invocations.model import Invocation, Result
from snapfork.runner.invocations.queue import Queue
from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.errors import Disabled, Throttled
from snapfork.runner.registry.model import Key
from snapfork.runner.registry.operations import Operations, Site
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.places import places
from snapfork.runner.registry.store import Store
from snapfork.runner.units import Unit, UnitRoute
from starlette.responses import PlainTextResponse

REGION, ACCOUNT = "cn-hangzhou", "123456"
MANAGER = Key("LTAIManager", "manager-secret")
INVOKER = Key("LTAIInvoker", "invoker-secret", "invoke")
LIMITED = Key("LTAILimited", "limited-secret", "manage", ("only",))


@dataclass
class QuietGateway:
    """Does what it is told at once; `units` and `table` are what it was told last."""

    units: dict[str, Unit] = field(default_factory=dict)
    table: list[UnitRoute] = field(default_factory=list)

    async def put(self, units: list[Unit], drop: list[str]) -> None:
        self.units |= {unit.name: unit for unit in units}
        for name in drop:
            self.units.pop(name, None)

    async def routes(self, routes: list[UnitRoute]) -> None:
        self.table = routes

    async def wait(self, unit: str, timeout: float) -> dict[str, Any]:
        return {"interface": "event", "mode": "fork", "init_ms": 1.0, "restored": False}

    async def status(self) -> dict[str, dict[str, Any]]:
        return {
            name: {
                "state": "ready",
                "ready": unit.minimum,
                "instances": [
                    {"number": number, "pid": 100 + number, "state": "idle", "started": 1.7e9, "requests": 3}
                    for number in range(unit.minimum)
                ],
            }
            for name, unit in self.units.items()
        }

    async def provision(self, unit: str, minimum: int) -> None:
        if unit in self.units:
            self.units[unit] = replace(self.units[unit], minimum=minimum)


@dataclass
class ToldInvoker:
    """Runs `what[function](invocation)`; without one the payload is the result."""

    operations: Operations
    what: dict[str, Callable[[Invocation], Result]] = field(default_factory=dict)
    ran: list[Invocation] = field(default_factory=list)
    tails: list[bool] = field(default_factory=list)
    point: float = 0.99

    async def invoke(self, invocation: Invocation, tail: bool = False) -> Result:
        resolved = self.operations.resolve(invocation.function, invocation.qualifier, lambda: self.point)
        if resolved.function.disabled is not None:
            raise Disabled(f"Function {invocation.function} is disabled.", "function", invocation.function)
        if resolved.function.reserved == 0:
            raise Throttled(f"Function {invocation.function} is stopped.", "function", invocation.function)
        self.ran.append(invocation)
        self.tails.append(tail)
        run = self.what.get(invocation.function)
        result = run(invocation) if run is not None else Result(invocation.payload)
        return replace(result, version=resolved.version.version, log=b"a line\n" if tail else b"")


class KeyRing(dict[str, Key]):
    """What Auth asks: `get`."""


@dataclass
class Served:
    """A served face. `call(coroutine function, ...)` runs something on its loop."""

    port: int
    loop: asyncio.AbstractEventLoop
    operations: Operations
    gateway: QuietGateway
    invoker: ToldInvoker
    queue: Queue

    def client(self, key: Key = MANAGER) -> Client:
        """The real SDK's client."""
        return Client(
            Config(
                access_key_id=key.id,
                access_key_secret=key.secret,
                region_id=REGION,
                endpoint=f"127.0.0.1:{self.port}",
                protocol="http",
            )
        )


def zipped(files: Mapping[str, str | bytes]) -> bytes:
    """A zip of these files."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


CODE = zipped({"index.py": "def handler(event, context):\n    return event\n"})


def code(data: bytes = CODE, **more: Any) -> models.InputCodeLocation:
    return models.InputCodeLocation(zip_file=base64.b64encode(data).decode(), **more)


def create(client: Client, name: str, **more: Any) -> models.Function:
    """A function with the least that it needs."""
    members = {"runtime": "python3", "handler": "index.handler", "code": code(), **more}
    body = models.CreateFunctionInput(function_name=name, **members)
    made: models.Function = client.create_function(models.CreateFunctionRequest(body=body)).body
    return made


Build = Callable[[Operations, ToldInvoker, Queue, Auth], Any]
"""Makes the ASGI app that is served."""


def all_faces(operations: Operations, invoker: ToldInvoker, queue: Queue, auth: Auth) -> Any:
    """Every face, as the services process puts them together."""
    addresses = app.Addresses(
        lambda url: f"http://{url.id}.localhost:8000/", lambda name, _: f"http://{name}.localhost:8000/"
    )
    nobody = PlainTextResponse("nobody's", 404)
    return app.build(
        operations,
        invoker,  # type: ignore[arg-type]
        queue,
        auth,
        addresses,
        nobody,
        site=Site(REGION, ACCOUNT),
    )


@contextlib.contextmanager
def served(directory: Path, signed: bool = True, build: Build | None = None) -> Iterator[Served]:
    """Serve a face with its data in `directory`; signed False is --control-auth none. `build`: of another."""
    started: threading.Event = threading.Event()
    holder: dict[str, Any] = {}

    async def run() -> None:
        gateway = QuietGateway()
        store = Store(directory)
        where = places(directory)
        operations = Operations(store, Packages(where), Environments(where), gateway)
        await operations.start()
        queue = Queue(directory / "queue.sqlite3")
        await queue.start()
        invoker = ToldInvoker(operations)
        keys = KeyRing({key.id: key for key in (MANAGER, INVOKER, LIMITED)})
        auth = Auth(keys if signed else None, time.time)
        face = (build or all_faces)(operations, invoker, queue, auth)
        server = uvicorn.Server(
            uvicorn.Config(face, port=0, log_config=None, lifespan="off", ws="none", loop="asyncio")
        )
        serving = asyncio.create_task(server.serve())
        while not server.started:
            await asyncio.sleep(0.005)
        port = server.servers[0].sockets[0].getsockname()[1]
        loop = asyncio.get_running_loop()
        holder["served"] = Served(port, loop, operations, gateway, invoker, queue)
        holder["server"] = server
        started.set()
        await serving
        await operations.close()
        await queue.close()
        store.close()

    def main() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            holder["error"] = error
            raise
        finally:
            started.set()

    thread = threading.Thread(target=main, daemon=True)
    thread.start()
    started.wait(150)
    if "error" in holder:
        raise holder["error"]
    try:
        yield holder["served"]
    finally:
        holder["server"].should_exit = True
        thread.join(150)

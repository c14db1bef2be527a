"""A process that changes a registry until it is killed, and says of each change when it is acknowledged.

Arguments: the data directory, the run's number. Lines: "did NAME VERSION".
"""

from __future__ import annotations

import asyncio
import io
import sys
import zipfile
from pathlib import Path

from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.model import Configuration
from snapfork.runner.registry.operations import Operations
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.places import places
from snapfork.runner.registry.store import Store

CONFIGURATION = Configuration("index.handler", "python3", 3.0, 128, "lambda")


class Nowhere:
    """A gateway that takes everything."""

    async def put(self, units: object, drop: object) -> None: ...
    async def routes(self, routes: object) -> None: ...
    async def provision(self, unit: str, minimum: int) -> None: ...

    async def wait(self, unit: str, timeout: float) -> dict[str, object]:
        return {}

    async def status(self) -> dict[str, dict[str, object]]:
        return {}


def code(text: str) -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("index.py", text)
        archive.writestr("data", text * 1000)
    return raw.getvalue()


def opened(data_dir: str) -> Operations:
    where = places(data_dir)
    return Operations(Store(where.data), Packages(where), Environments(where), Nowhere())


async def work(operations: Operations, lane: str) -> None:
    number = 0
    while True:
        name = f"{lane}-{number}"
        await operations.create(name, CONFIGURATION, code(name))
        print(f"did {name} LATEST", flush=True)
        await operations.update_code(name, code(f"{name} again"), publish=True)
        print(f"did {name} 1", flush=True)
        if number:
            await operations.delete(f"{lane}-{number - 1}")
            print(f"gone {lane}-{number - 1} LATEST", flush=True)
        number += 1


async def main() -> None:
    operations = opened(sys.argv[1])
    await operations.start()
    print("ready", flush=True)
    await asyncio.gather(*(work(operations, f"run{sys.argv[2]}-{lane}") for lane in "abc"))


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    asyncio.run(main())

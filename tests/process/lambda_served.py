"""The faces as they are mounted, over real operations, registry and queue, served by uvicorn to real boto3.

What would run user code is a double: see fc_served.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError
from fc_served import MANAGER, Served, ToldInvoker, zipped
from fc_served import served as serve
from snapfork.runner.faces.app import Addresses, build
from snapfork.runner.faces.auth import Auth
from snapfork.runner.invocations.invoker import Streaming
from snapfork.runner.invocations.model import Invocation
from snapfork.runner.invocations.queue import Queue
from snapfork.runner.registry.core import Site
from snapfork.runner.registry.model import Key
from snapfork.runner.registry.operations import Operations
from starlette.responses import PlainTextResponse

ACCOUNT, REGION = "123456789012", "eu-west-1"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/any"
ARN = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:"
CODE = zipped({"main.py": "def handler(event, context):\n    return event\n"})
OTHER = zipped({"main.py": "def handler(event, context):\n    return 2\n"})


@dataclass
class Streamer(ToldInvoker):
    """Also answers in pieces: those of `pieces`, then the result's error."""

    pieces: dict[str, list[bytes]] = field(default_factory=dict)

    async def log(self, request_id: str) -> bytes:
        return b"a line\n"

    async def stream(self, invocation: Invocation) -> Streaming:
        result = await self.invoke(invocation)

        async def chunks() -> AsyncIterator[bytes]:
            for piece in self.pieces.get(invocation.function, [invocation.payload]):
                yield piece
            answer.result = result

        answer = Streaming(200, (), chunks())
        return answer


def client(port: int, key: Key = MANAGER, retries: int = 1, **more: Any) -> Any:
    """boto3's client of a served face. retries: attempts in all."""
    return boto3.client(
        "lambda",
        endpoint_url=f"http://127.0.0.1:{port}",
        region_name=REGION,
        aws_access_key_id=key.id,
        aws_secret_access_key=key.secret,
        config=Config(retries={"total_max_attempts": retries, "mode": "standard"}, **more),
    )


def create(boto: Any, name: str, **more: Any) -> Any:
    """A function with the least that it needs."""
    members = {
        "Runtime": "python3.12",
        "Handler": "main.handler",
        "Code": {"ZipFile": CODE},
        "Role": ROLE,
        **more,
    }
    made = boto.create_function(FunctionName=name, **members)
    for qualifier in {"$LATEST", made["Version"]}:
        boto.get_waiter("published_version_active").wait(
            FunctionName=name, Qualifier=qualifier, WaiterConfig={"Delay": 0.02, "MaxAttempts": 3000}
        )
    return made


def error_of(call: Callable[..., Any], *arguments: Any, **members: Any) -> tuple[int, str, str]:
    """(HTTP status, code, message) of a call that must fail."""
    try:
        call(*arguments, **members)
    except ClientError as error:
        answer = error.response
        status: int = answer["ResponseMetadata"]["HTTPStatusCode"]
        return status, answer["Error"]["Code"], answer["Error"]["Message"]
    raise AssertionError("the call went through")


def faces(operations: Operations, invoker: ToldInvoker, queue: Queue, auth: Auth) -> Any:
    addresses = Addresses(
        lambda url: f"http://{url.id}.lambda-url.{REGION}.localhost:8000/",
        lambda name, qualifier: f"http://{name}.localhost:8000/",
    )
    streamer = Streamer(invoker.operations, invoker.what, invoker.ran, invoker.tails)
    others = PlainTextResponse("others")
    return build(operations, streamer, queue, auth, addresses, others, site=Site(REGION, ACCOUNT))  # type: ignore[arg-type]


@contextlib.contextmanager
def served(directory: Path, signed: bool = True) -> Iterator[Served]:
    """All faces, with their data in `directory`."""
    with serve(directory, signed, faces) as running:
        yield running

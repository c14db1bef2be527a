"""A warm synchronous invocation of a no-op handler through each face, as its own client puts it on the wire.

Server side: from the moment the services process has read the request's bytes, before they are parsed, until
the answer's bytes are with the kernel (stamps of tracing/deployed around uvicorn's protocol and the app):
signature, look-up, the way to the instance and back, and what waits for the event loop. Client side: from
before the request is sent until the first byte of the answer, on a kept connection; requests are signed
before their time begins. Rows take turns, some requests each.
"""

from __future__ import annotations

import importlib.util
import time
from typing import Any

from parts.deploy import HANDLER, TRACING
from snapfork.runner.bench import report
from snapfork.runner.bench.context import Context
from snapfork.runner.bench.deployed import FC, LAMBDA, NATIVE, DeployedRunner, plain, zipped
from snapfork.runner.bench.results import Check, Part, at_most, decide
from snapfork.runner.errors import UserError

NAME = "invoke"
SUMMARY = "a warm synchronous no-op through the Lambda, FC and native API: server side and client side"
FACES = {"Lambda": LAMBDA, "FC": FC, "native": NATIVE}
SERVER, CLIENT = "server side", "client side"
BOTO3 = "boto3's invoke(), the whole call"
FUNCTION = "noop"


def measure(context: Context) -> Part:
    """One run."""
    part = Part(NAME)
    work = context.work / "invoke"
    work.mkdir()
    env = {"PYTHONPATH": str(TRACING), "BENCH_SERVED": "1"}
    with DeployedRunner(work / "data", python=context.python, env=env) as runner:
        runner.ask(runner.signer().create(FUNCTION, zipped({"noop.py": HANDLER}), "noop.handler"))
        boto3 = _boto3(runner)
        if boto3 is None:
            part.notes.append("boto3 is not installed: its own calls were not measured.")
        for number in range(context.count(10, 2) + 1):
            context.say(f"round {number}")
            for name, face in FACES.items():
                server, client = _some(runner, face, 50)
                if number:  # the first round warms up
                    part.row(SERVER, group=name).samples.extend(server)
                    part.row(CLIENT, group=name).samples.extend(client)
            if boto3 is not None:
                calls = [_called(boto3) for _ in range(50)]
                if number:
                    part.row(BOTO3, group="Lambda").samples.extend(calls)
    return part


def _some(runner: DeployedRunner, face: str, count: int) -> tuple[list[float], list[float]]:
    """Milliseconds of `count` invocations on one connection: on the server's side, and on the client's."""
    signer, client = runner.signer(), []
    wires = [signer.invoke(face, FUNCTION) for _ in range(count)]
    runner.ask(plain("GET", "/bench/served"))  # forget what was before
    with runner.connect() as connection:
        for wire in wires:
            timing, body = connection.ask(wire)
            if timing.status != 200 or b"world" not in body:
                raise UserError(f"an invocation was answered with {timing.status}: {body[:300]!r}.")
            client.append(timing.ms)
    server = served(runner.ask(plain("GET", "/bench/served")).decode(), f"{face}/{FUNCTION}/")
    if len(server) != count:
        raise UserError(f"{len(server)} of {count} invocations left stamps: tracing/deployed is out of date.")
    return server, client


def served(text: str, prefix: str) -> list[float]:
    """Milliseconds of the requests whose paths begin so."""
    lines = [line.rsplit(" ", 2) for line in text.splitlines()]
    return [(int(ended) - int(begun)) / 1e6 for path, begun, ended in lines if path.startswith(prefix)]


def _boto3(runner: DeployedRunner) -> Any:
    """boto3's client, or None where it is not installed."""
    if importlib.util.find_spec("boto3") is None:
        return None
    import boto3

    key = runner.key()
    return boto3.client(
        "lambda", endpoint_url=f"http://127.0.0.1:{runner.address[1]}", region_name="us-east-1",
        aws_access_key_id=key.id, aws_secret_access_key=key.secret,
    )  # fmt: skip


def _called(client: Any) -> float:
    begun = time.monotonic_ns()
    client.invoke(FunctionName=FUNCTION, Payload=b"{}")["Payload"].read()
    return (time.monotonic_ns() - begun) / 1e6


def checks(runs: list[Part]) -> list[Check]:
    """What an invocation must show."""
    return [
        at_most(
            f"5. warm sync no-op, {name}: server side p50 under 1 ms",
            decide(runs, lambda part, n=name: part.median(SERVER, n)),
            1.0,
            "{:.3f}",
        )  # fmt: skip
        for name in FACES
    ]


def tables(runs: list[Part]) -> str:
    """p50 and p99 of each row."""
    lines = []
    for name, row in dict.fromkeys((row.group, row.name) for part in runs for row in part.rows):
        p50 = decide(runs, lambda part, r=row, n=name: part.median(r, n))
        p99 = decide(runs, lambda part, r=row, n=name: part.p99(r, n))
        lines.append([name, row, report.number(p50), report.number(p99)])
    return f"{report.table(['API', 'row', 'p50 ms', 'p99 ms'], lines)}\n\n{report.remarks(runs)}".rstrip()

"""How runs of deployed functions end that do not end well: what the caller is told, and what is recorded."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from server import Serve
from snapfork.runner.invocations.model import Record
from snapfork.runner.invocations.service import OUTBOX
from snapfork.runner.telemetry.history import History, Wanted
from snapfork.runner.telemetry.store import FILE
from test_deployed_lambda import Lambda, serve, until

HANDLER = """
import asyncio, ctypes, os, signal, sys, time

def handler(event, context):
    print("begun", context.aws_request_id)
    match event["how"]:
        case "interrupt":
            raise KeyboardInterrupt
        case "cancelled":
            raise asyncio.CancelledError
        case "generator":
            raise GeneratorExit("gone")
        case "own":
            raise type("Own", (BaseException,), {})("mine")
        case "sys":
            sys.exit(4)
        case "exit":
            os._exit(3)
        case "quiet":
            os._exit(0)
        case "segv":
            ctypes.string_at(0)
        case "child":
            if (pid := os.fork()) == 0:
                sys.exit(5)
            return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        case "sleep":
            time.sleep(60)
        case "hungry":
            held = b"x" * (300 << 20)
            time.sleep(60)
        case "closefds":
            os.closerange(3, 4096)
            return 1
    return event
"""


class Recorded(Lambda):
    """With the directory of its records."""

    def __init__(self, server: Serve, data: Path) -> None:
        super().__init__(server, data)
        self.data = data


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    data = tmp_path_factory.mktemp("runner") / "data"
    with serve(data) as server:
        made = Recorded(server, data)
        made.create("ends", {"main.py": HANDLER}, Timeout=1, MemorySize=256)
        yield made


def ends(aws: Recorded, how: str) -> tuple[dict[str, Any], list[str], str]:
    """The error that the caller gets, the last lines of its log, and its request id."""
    said, answer = aws.invoke("ends", {"how": how}, LogType="Tail")
    assert (answer["StatusCode"], answer.get("FunctionError")) == (200, "Unhandled"), said
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    return said, lines, answer["ResponseMetadata"]["RequestId"]


@pytest.mark.parametrize(
    ("how", "kind"),
    [
        ("interrupt", "Runtime.ExitError"),
        ("cancelled", "CancelledError"),
        ("generator", "GeneratorExit"),
        ("own", "Own"),
        ("sys", "Runtime.ExitError"),
    ],
)
def test_whatever_a_handler_raises_is_a_failure(aws: Recorded, how: str, kind: str) -> None:
    said, lines, request = ends(aws, how)
    assert said["errorType"] == kind and f"END RequestId: {request}" in lines


def test_an_event_whose_handler_was_interrupted_is_not_lost(aws: Recorded) -> None:
    told = aws.data / OUTBOX / "told.jsonl"
    aws.boto.put_function_event_invoke_config(
        FunctionName="ends",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": "file:///told.jsonl"}},
    )
    aws.boto.invoke(FunctionName="ends", InvocationType="Event", Payload=b'{"how": "interrupt"}')
    (line,) = until(lambda: told.read_text().splitlines() if told.exists() else [])
    record = json.loads(line)
    assert record["requestContext"]["condition"] == "RetriesExhausted"
    assert record["responseContext"]["functionError"] == "Unhandled"


def test_a_process_that_a_handler_forked_ends_as_it_says(aws: Recorded) -> None:
    assert aws.invoke("ends", {"how": "child"})[0] == 5


@pytest.mark.parametrize(
    ("how", "kind", "why"),
    [
        ("exit", "Runtime.ExitError", "Runtime exited with error: exit status 3"),
        ("segv", "Runtime.ExitError", "Runtime exited with error: signal: segmentation fault"),
        ("quiet", "Runtime.ExitError", "Runtime exited without providing a reason"),
        ("sleep", "Sandbox.Timedout", "Task timed out after 1.00 seconds"),
        ("hungry", "Runtime.OutOfMemory", "Runtime exited with error: signal: killed"),
    ],
)
def test_a_run_that_its_process_did_not_survive_is_written_down(
    aws: Recorded, how: str, kind: str, why: str
) -> None:
    said, lines, request = ends(aws, how)
    assert said["errorType"] == kind and said["errorMessage"].endswith(why)
    assert f"begun {request}" in lines and any(why in line for line in lines)
    order = [f"START RequestId: {request} Version: $LATEST", f"END RequestId: {request}"]
    assert [line for line in lines if line in order] == order
    (report,) = [line for line in lines if line.startswith("REPORT")]
    assert f"RequestId: {request}\t" in report
    record = recorded(aws, request)
    assert record.instance.isdigit() and record.start in ("fork", "spare", "warm")
    assert record.memory > 5 and record.billed >= 1
    assert record.stages["run"] >= (1000 if how == "sleep" else 0.01)
    if how == "sleep":
        assert 1000 <= record.billed <= record.stages["run"] + 1
    assert record.error


def recorded(aws: Recorded, request: str) -> Record:
    """The record of an invocation."""
    wanted = Wanted(request_id=request)
    history = History(str(aws.data / FILE))
    try:
        return until(lambda: history.records(wanted))[0]
    finally:
        history.close()


def test_a_handler_that_closes_its_descriptors_has_failed(aws: Recorded) -> None:
    said, answer = aws.invoke("ends", {"how": "closefds"})
    assert (answer["FunctionError"], said["errorType"]) == ("Unhandled", "Runtime.ExitError")
    assert aws.invoke("ends", {"how": "well"})[0] == {"how": "well"}

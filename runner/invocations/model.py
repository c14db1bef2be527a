"""Invocations, their results and records, as plain data.

What is made for each asynchronous call is not frozen, though nobody changes it: making a frozen one takes
three times as long.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

ErrorKind = Literal[
    "",
    "unhandled",
    "handled",
    "timeout",
    "process_exited",
    "out_of_memory",
    "init_failed",
    "throttled",
    "unavailable",
    "response_too_large",
]
"""What became of a run. Function errors are retried, in asynchronous invocations, by `retries`; throttled and
unavailable are the system's, and backed off until the maximum age."""
FUNCTION_ERRORS = frozenset(
    {"unhandled", "handled", "timeout", "process_exited", "out_of_memory", "init_failed"}
)
SYSTEM_ERRORS = frozenset({"throttled", "unavailable"})


@dataclass(slots=True)
class Invocation:
    """One call that is to be run now.

    id: request id. trigger: "api", "http", "async", "timer", "oss", "s3", "destination". client_context:
    Lambda's, as it came (base64). attempt: 1 for the first run. dialect: of the caller. headers: extra
    request headers for a web function. chain: of what a destination brings, see policy.chains.
    """

    id: str
    function: str
    qualifier: str
    payload: bytes
    trigger: str = "api"
    dialect: str = "runner"
    client_context: str = ""
    attempt: int = 1
    content_type: str = "application/octet-stream"
    headers: tuple[tuple[str, str], ...] = ()
    chain: str = ""


@dataclass(frozen=True)
class Result:
    """What a run gave. payload: the result, or the error as JSON {"errorMessage", "errorType", ...}.

    error: see ErrorKind, "" for success. version: that was executed. duration, initialise: milliseconds.
    memory: peak of the instance in MB. log: the last 4 KB of its log lines where they were asked for.
    instance, start: who ran it and how it was started ("warm", "spare", "fork", "spawn", "").
    """

    payload: bytes
    error: ErrorKind = ""
    version: str = ""
    duration: float = 0.0
    initialise: float = 0.0
    memory: float = 0.0
    log: bytes = b""
    instance: str = ""
    start: str = ""
    content_type: str = "application/octet-stream"


@dataclass(frozen=True)
class Record:
    """What is kept of one run of an invocation.

    Times in `stages` are milliseconds: schedule, fetch, unpack, start, initialise, run. begun: seconds since
    the epoch. billed: whole milliseconds. status: HTTP status of the run.
    """

    id: str
    function: str
    version: str
    instance: str
    trigger: str
    start: str
    begun: float
    stages: dict[str, float] = field(default_factory=dict)
    billed: int = 0
    memory: float = 0.0
    status: int = 0
    error: str = ""
    attempt: int = 1
    qualifier: str = ""


QueueState = Literal[
    "Enqueued",
    "Dequeued",
    "Running",
    "Retrying",
    "Succeeded",
    "Failed",
    "Expired",
    "Stopping",
    "Stopped",
    "Invalid",
]


@dataclass(slots=True)
class Task:
    """One asynchronous invocation as it can be looked up: FC's AsyncTask and the dead-letter list.

    task_id: the client's (or the request id). Times in seconds since the epoch. attempts: runs so far.
    events: [{"eventId", "status", "timestamp" (ms), "eventDetail"}].
    """

    task_id: str
    request_id: str
    function: str
    qualifier: str
    state: QueueState
    enqueued: float
    started: float = 0.0
    ended: float = 0.0
    attempts: int = 0
    payload: bytes = b""
    result: bytes = b""
    error: str = ""
    instance: str = ""
    destination_status: str = ""
    events: tuple[dict[str, Any], ...] = ()

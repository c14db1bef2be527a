"""Running one invocation now, through the gateway's direct listener, and saying what became of it."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from snapfork.runner.invocations import failures, requests
from snapfork.runner.invocations.direct import DirectClient, Stream
from snapfork.runner.invocations.failures import Failure
from snapfork.runner.invocations.model import ErrorKind, Invocation, Result
from snapfork.runner.invocations.requests import Call, Run
from snapfork.runner.invocations.wire import Headers, TooMuch, Unreachable
from snapfork.runner.registry.errors import Conflict, Disabled, Throttled, TooLarge
from snapfork.runner.registry.model import Resolved, Version
from snapfork.runner.services.link import GatewayError
from snapfork.runner.units import ERROR_HEADER

START_S = 600.0
"""How long a unit may take until its template is up: the app is imported, initialised and warmed."""
PENDING_S = 50.0
"""How long a call waits for packages that are being installed: boto3 gives up reading after 60 s."""
START_FAILED = "start_failed"
STREAM_LIMIT = 200 << 20
"""Bytes of a streamed answer; Lambda's quota."""


class Resolver(Protocol):
    """What the invoker needs of registry.operations."""

    def resolve(
        self, name: str, qualifier: str = "", draw: Callable[[], float] | None = None
    ) -> Resolved: ...

    async def wait_runnable(self, name: str, number: str, limit: float, done: bool = False) -> None: ...


class Units(Protocol):
    """What the invoker needs of the gateway: `unit_wait`."""

    async def wait(self, unit: str, timeout: float) -> Mapping[str, Any]: ...


class Logs(Protocol):
    """What the invoker needs of telemetry."""

    async def tail(self, request_id: str) -> bytes:
        """The last 4 KB of an invocation's log lines."""
        ...

    def record(self, fields: Mapping[str, Any]) -> None:
        """Say of a run what its instance could not say."""
        ...


@dataclass
class Streaming:
    """A result that comes in pieces. Iterate `chunks` to the end (or aclose it), then `result` says how it
    went; its payload is empty, or the error's JSON. status and headers are the answer's."""

    status: int
    headers: tuple[tuple[str, str], ...]
    chunks: AsyncIterator[bytes]
    result: Result | None = None


class Invoker:
    """See the module. `clock` gives seconds since the epoch. `arn`: a function's as it was asked
    for, by which qualifier."""

    def __init__(
        self,
        operations: Resolver,
        gateway: Units,
        direct: DirectClient,
        clock: Callable[[], float] = time.time,
        telemetry: Logs | None = None,
        arn: Callable[[Resolved, str], str] = lambda *_: "",
    ) -> None:
        self._operations = operations
        self._gateway = gateway
        self._direct = direct
        self._clock = clock
        self._telemetry = telemetry
        self._arn = arn
        self._interfaces: dict[str, str] = {}
        self._asking: dict[str, asyncio.Task[Mapping[str, Any]]] = {}

    async def invoke(self, invocation: Invocation, tail: bool = False) -> Result:
        """Run it and wait for its end. tail: with the last 4 KB of its log.

        Never raises for what the function did. Raises registry.errors: Throttled (concurrency is used up),
        Disabled, NotFound (kind "function", "version" or "alias"), Conflict (its packages are still being
        installed, also after PENDING_S), TooLarge (kind "payload": more than the function takes).
        """
        result = await self._invoke(invocation)
        if tail and self._telemetry is not None:
            result = replace(result, log=await self._telemetry.tail(invocation.id))
        return result

    async def log(self, request_id: str) -> bytes:
        """The last 4 KB of what a run has printed; for one that was streamed, after its end."""
        return b"" if self._telemetry is None else await self._telemetry.tail(request_id)

    async def stream(self, invocation: Invocation) -> Streaming:
        """Run it; the answer comes as it is written. Raises as `invoke` does."""
        one = await self._run(invocation)
        if (failure := await self._prepare(one)) is not None:
            return _whole(failure)
        call = one.call
        try:
            stream = await self._direct.stream(
                one.resolved.unit, call.context, method=call.method, target=call.target,
                headers=call.headers, body=call.body, timeout=one.patience,
            )  # fmt: skip
        except (Unreachable, TimeoutError) as error:
            return _whole(self._no_answer(one, error))
        if self._is_error(one, stream.status, stream.headers):
            try:
                body = await stream.read(requests.ANY_LIMIT)
            except (Unreachable, TooMuch) as error:
                return _whole(self._no_answer(one, error))
            return _whole(self._read(one, stream.status, stream.headers, body))
        headers = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in stream.headers)
        answer = Streaming(stream.status, headers, iter(()))  # type: ignore[arg-type]
        answer.chunks = self._chunks(one, stream, answer)
        return answer

    def unit_event(self, event: Mapping[str, Any]) -> None:
        """The gateway's event "unit": keeps what is known of the unit's interface.

        A unit that rests may be another thing when it comes back: its code can be changed meanwhile.
        """
        if event.get("state") == "ready" and event.get("interface"):
            self._interfaces[str(event["name"])] = str(event["interface"])
        elif event.get("state") == "retired":
            self._interfaces.pop(str(event["name"]), None)

    def forget(self, units: list[str]) -> None:
        """These units are no more."""
        for unit in units:
            self._interfaces.pop(unit, None)

    # -- one run -----------------------------------------------------------------------------------------

    async def _run(self, invocation: Invocation) -> _Run:
        begun, resolved = self._clock(), self._resolve(invocation)
        if resolved.version.state == "pending" and not resolved.version.serving:
            version = resolved.version
            await self._operations.wait_runnable(version.function, version.version, PENDING_S)
            resolved = self._resolve(invocation)
            if resolved.version.state == "pending" and not resolved.version.serving:
                said = f"Function {version.function} is not ready: its packages are being installed."
                raise Conflict(said, "function", version.function)
        return _Run(invocation, resolved, begun)

    def _resolve(self, invocation: Invocation) -> Resolved:
        resolved = self._operations.resolve(invocation.function, invocation.qualifier, random.random)
        function = resolved.function
        if function.disabled is not None:
            said = f"Invocations of function {function.name} are disabled: {function.disabled}".rstrip(": ")
            raise Disabled(said, "function", function.name)
        if function.reserved == 0:
            raise Throttled(
                f"Function {function.name} has no concurrency reserved.", "function", function.name
            )
        return resolved

    async def _invoke(self, invocation: Invocation) -> Result:
        one = await self._run(invocation)
        if (failure := await self._prepare(one)) is not None:
            return failure
        call = one.call
        try:
            answer = await self._direct.request(
                one.resolved.unit, call.context, method=call.method, target=call.target,
                headers=call.headers, body=call.body, timeout=one.patience, limit=one.limit,
            )  # fmt: skip
        except (Unreachable, TooMuch, TimeoutError) as error:
            return self._no_answer(one, error)
        return self._read(one, answer.status, answer.headers, answer.body)

    async def _prepare(self, one: _Run) -> Result | None:
        """Fill in the interface and the request; the Result if it cannot be started at all."""
        version = one.resolved.version
        if version.state == "failed" and not version.serving:
            return self._failed(one, "init_failed", version.reason or "The function could not be built.")
        interface = self._interfaces.get(one.resolved.unit)
        if interface is None:
            try:
                interface = await self._learn_of(version, one.resolved.unit)
            except GatewayError as error:
                kind: ErrorKind = "init_failed" if error.kind == START_FAILED else "unavailable"
                return self._failed(one, kind, str(error), traceback=error.traceback or "")
        one.interface = interface
        one.call = requests.call_of(
            one.invocation, one.resolved, interface, self._clock(), one.accepted_ns, self._arn
        )
        return None

    async def _learn_of(self, version: Version, unit: str) -> str:
        try:
            return await self._learn(unit)
        except GatewayError as error:
            if error.kind != START_FAILED or version.state != "active" or version.update_state != "pending":
                raise
            # Its update was being tried, and has failed: the code before serves.
            await self._operations.wait_runnable(version.function, version.version, PENDING_S, done=True)
            return await self._learn(unit)

    async def _learn(self, unit: str) -> str:
        """The interface of a unit that has not been up yet; those who ask meanwhile wait together."""
        asking = self._asking.get(unit)
        if asking is None:
            asking = asyncio.ensure_future(self._gateway.wait(unit, START_S))
            self._asking[unit] = asking
            asking.add_done_callback(lambda _done: self._asking.pop(unit, None))
        told = await asyncio.shield(asking)
        interface = self._interfaces[unit] = str(told["interface"])
        return interface

    def _is_error(self, one: _Run, status: int, headers: Headers) -> bool:
        is_event = one.interface == requests.EVENT
        plain_error = status != 200 if is_event else one.call.shape is None and status >= 400
        return plain_error or bool(requests.header(headers, ERROR_HEADER))

    def _read(self, one: _Run, status: int, headers: Headers, body: bytes) -> Result:
        """The Result of an answer, the instance's or the gateway's."""
        code = requests.header(headers, ERROR_HEADER)
        run = requests.run_of(headers)
        if code and code not in ("handled", "unhandled"):
            sentence, traceback = requests.gateway_said(body)
            if code == "body_too_large":
                raise TooLarge(sentence, "payload", one.invocation.function)
            kind = requests.GATEWAY_ERRORS.get(code, "unavailable")
            if kind == "throttled":
                raise Throttled(sentence, "function", one.invocation.function)
            return self._failed(one, kind, sentence, traceback=traceback, run=run, status=status)
        if not code and status == 504 and one.interface == requests.EVENT:  # its instance has others
            return self._failed(one, "timeout", requests.gateway_said(body)[0], run=run, status=status)
        payload, content_type, error = requests.result_of(one.call, one.interface, status, headers, body)
        if len(payload) > one.limit and not error:
            return self._failed(one, "response_too_large", _too_large(one), run=run)
        duration = one.elapsed() if run.run_ms is None else run.run_ms
        return Result(
            payload, error, one.resolved.version.version, duration, run.init_ms, run.memory_mb,
            instance=run.instance, start=run.start, content_type=content_type,
        )  # fmt: skip

    def _no_answer(self, one: _Run, error: Exception) -> Result:
        if isinstance(error, TooMuch):
            return self._failed(one, "response_too_large", _too_large(one))
        if isinstance(error, TimeoutError):
            said = f"There was no answer within {one.patience:g} s."
            return self._failed(one, "timeout", said)
        assert isinstance(error, Unreachable)
        if one.interface == requests.EVENT and not error.untouched:
            return self._failed(one, "process_exited", "The function's process did not give its answer.")
        return self._failed(one, "unavailable", str(error))

    def _failed(
        self,
        one: _Run,
        kind: ErrorKind,
        sentence: str,
        *,
        traceback: str = "",
        run: Run | None = None,
        status: int = 0,
    ) -> Result:
        run = run or Run()
        configuration = one.resolved.version.configuration
        duration = one.elapsed() if run.run_ms is None else run.run_ms
        failure = Failure(
            kind, sentence, one.invocation.id, configuration.timeout, duration, run.memory_mb, traceback,
            configuration.handler.replace(":", ".").rpartition(".")[0], one.limit, self._clock(), run.exit,
        )  # fmt: skip
        if self._telemetry is not None and kind != "response_too_large":
            size = configuration.memory
            ended = failures.ending(failure, run, one.of_fc, size, one.begun, one.accepted_ns)
            self._telemetry.record(
                {
                    "id": one.invocation.id,
                    "attempt": one.invocation.attempt,
                    "function": one.invocation.function,
                    "version": one.resolved.version.version,
                    "qualifier": one.invocation.qualifier,
                    "trigger": one.invocation.trigger,
                    "begun": one.begun,
                    "status": status or _STATUS.get(kind, 500),
                    "error": kind,
                    # Of one that never ran: its app was being brought up all the time.
                    "stages": {"initialise": one.elapsed()} if kind == "init_failed" else {},
                }
                | ended
            )
        return requests.failed(kind, one.dialect, failure, one.resolved.version.version, run)

    async def _chunks(self, one: _Run, stream: Stream, answer: Streaming) -> AsyncIterator[bytes]:
        size = 0
        run = requests.run_of(stream.headers)
        try:
            async for piece in stream:
                size += len(piece)
                if size > STREAM_LIMIT:
                    answer.result = self._failed(one, "response_too_large", _too_large(one))
                    return
                yield piece
        except Unreachable:
            said = "The function's process ended before its answer did."
            answer.result = self._failed(one, "process_exited", said, run=run)
            return
        finally:
            stream.close()
        version = one.resolved.version.version
        answer.result = Result(
            b"",
            "",
            version,
            one.elapsed(),
            run.init_ms,
            run.memory_mb,
            instance=run.instance,
            start=run.start,
        )


class _Run:
    """One run: what it is of, and since when. patience: seconds until the gateway is given up, too, which
    counts the function's time itself. limit: bytes of a whole result."""

    __slots__ = (
        "_clock", "accepted_ns", "begun", "call", "dialect", "interface", "invocation", "limit", "patience",
        "resolved",
    )  # fmt: skip

    def __init__(self, invocation: Invocation, resolved: Resolved, begun: float) -> None:
        self.invocation = invocation
        self.resolved = resolved
        self.begun = begun
        self.dialect = invocation.dialect
        self.limit = requests.LIMITS.get(invocation.dialect, requests.ANY_LIMIT)
        self.patience = resolved.version.configuration.timeout + START_S
        self.interface = ""
        self.call: Call
        self.accepted_ns = time.monotonic_ns()
        self._clock = time.perf_counter()

    @property
    def of_fc(self) -> bool:
        """Whether its log lines are FC's."""
        own = self.resolved.version.configuration.dialect
        return (self.dialect if self.dialect in ("lambda", "fc") else own) == "fc"

    def elapsed(self) -> float:
        """Milliseconds since the beginning."""
        return (time.perf_counter() - self._clock) * 1000


_STATUS = {
    "timeout": 504,
    "process_exited": 502,
    "out_of_memory": 507,
    "unavailable": 503,
    "init_failed": 500,
}


def _too_large(one: _Run) -> str:
    return f"The result of function {one.invocation.function} has more than {one.limit} bytes."


def _whole(result: Result) -> Streaming:
    """A result that is there at once, as a stream; an error's JSON is in the result, not in the stream."""

    async def chunks() -> AsyncIterator[bytes]:
        if not result.error:
            yield result.payload

    return Streaming(200, (("content-type", result.content_type),), chunks(), result)

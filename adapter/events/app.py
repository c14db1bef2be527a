"""A handler of events as a WSGI app.

The runner serves it like any app. A request with "snapfork.invocation" in its environ is an invocation: its
body is the payload of kind "event", and the answer the result with status 200, or, with X-Snapfork-Error, the
error as JSON. Any other request is an HTTP event: a function URL's for handlers of Lambda, an HTTP trigger's
for handlers of FC. Under another server it is what FC's custom runtime talks to.
"""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from snapfork.adapter import marks
from snapfork.adapter.events import http_events, results
from snapfork.adapter.events.context import Context, current
from snapfork.adapter.events.http_events import Answer
from snapfork.adapter.events.requests import INVOKE_PATH
from snapfork.adapter.events.results import BINARY, JSON

INVOCATION = "snapfork.invocation"
REQUEST_ID = "snapfork.request_id"
WARM_UP = "snapfork.warm_up"
ERROR = "snapfork.error"
"""Set in the environ of a request whose handler failed: "unhandled"."""
STREAM_TYPE = "application/vnd.awslambda.http-integration-response"
PRELUDE_END = bytes(8)
"""Between the JSON of status, headers and cookies and the body of a streamed HTTP answer, as in Lambda."""
_FC_HEADERS = {
    "name": "HTTP_X_FC_FUNCTION_NAME",
    "handler": "HTTP_X_FC_FUNCTION_HANDLER",
    "memory": "HTTP_X_FC_FUNCTION_MEMORY",
    "region": "HTTP_X_FC_REGION",
    "account": "HTTP_X_FC_ACCOUNT_ID",
    "qualifier": "HTTP_X_FC_QUALIFIER",
    "version": "HTTP_X_FC_VERSION_ID",
    "log_project": "HTTP_X_FC_SERVICE_LOGPROJECT",
    "log_store": "HTTP_X_FC_SERVICE_LOGSTORE",
}
TRACE = "_X_AMZN_TRACE_ID"
Start = Callable[..., Any]
Hook = Callable[[Context], Any]


class EventApp:
    """`handler(event, context)`, plain, async, or a generator whose pieces are streamed, as a WSGI app.

    function: what its context says of it (see `context`); "dialect" in it decides what an event is. is_open:
    whether a plain POST /invoke is an event, too; else only an invocation brings one. initializer, pre_stop:
    called with a context at FC's POST /initialize and GET /pre-stop.
    """

    __snapfork__ = marks.Marks({}, {}, "wsgi")

    def __init__(
        self,
        handler: Callable[..., Any],
        function: Mapping[str, Any] | None = None,
        *,
        is_open: bool = True,
        initializer: Hook | None = None,
        pre_stop: Hook | None = None,
    ) -> None:
        self.__wrapped__ = handler  # settings noted on it are found
        self.function = dict(function or {})
        self.is_open = is_open
        self.hooks = {("POST", "/initialize"): initializer, ("GET", "/pre-stop"): pre_stop}
        if inspect.iscoroutinefunction(handler) or inspect.isasyncgenfunction(handler):
            import snapfork.adapter.events.loops  # noqa: F401  # here once, and not in each process

    def __call__(self, environ: dict[str, Any], start_response: Start) -> Iterable[bytes]:
        invocation, function = environ.get(INVOCATION), self.function
        of_fc = REQUEST_ID not in environ and "HTTP_X_FC_REQUEST_ID" in environ
        if invocation is None:
            known = environ.get(REQUEST_ID) or environ.get("HTTP_X_FC_REQUEST_ID")
            invocation = {"id": known, "kind": "event" if self._is_event(environ, of_fc) else "http"}
        if of_fc:
            told = {name: environ[key] for name, key in _FC_HEADERS.items() if environ.get(key)}
            function = {"dialect": "fc", **told, **function}
            hook = self.hooks.get((environ["REQUEST_METHOD"], environ.get("PATH_INFO", "")))
            if hook is not None:
                return _run_hook(hook, Context(function, invocation), start_response)
        call = _Call(self.__wrapped__, environ, start_response, function, invocation, of_fc)
        return call.run()

    def _is_event(self, environ: Mapping[str, Any], of_fc: bool) -> bool:
        is_invoke = environ["REQUEST_METHOD"] == "POST" and environ.get("PATH_INFO") == INVOKE_PATH
        return is_invoke and (self.is_open or of_fc)


class _Call:
    """One call of the handler, and its answer. The body is read first: its faults are the server's."""

    def __init__(
        self,
        handler: Callable[..., Any],
        environ: dict[str, Any],
        start_response: Start,
        function: Mapping[str, Any],
        invocation: Mapping[str, Any],
        of_fc: bool,
    ) -> None:
        self.handler = handler
        self.environ = environ
        self.start_response = start_response
        self.function = function
        self.invocation = invocation
        self.of_fc = of_fc
        self.is_direct = INVOCATION in environ
        self.is_event = invocation.get("kind") != "http"
        self.dialect = str(function.get("dialect") or "runner")
        caller = str(invocation.get("dialect") or "")
        self.caller = caller if caller in ("lambda", "fc") else self.dialect
        self.body = _read(environ)
        self.pid = os.getpid()

    def run(self) -> Iterable[bytes]:
        """Call the handler, answer; what fails before the answer begins is the answer."""
        try:
            if self.dialect == "lambda":
                self._trace()
            context = Context(self.function, self.invocation)
            token = current.set(context)
            try:
                return self._answer(context, self._result(context))
            finally:
                current.reset(token)
        except BaseException as error:  # the handler's own
            self._pass_on(error)
            return self._failed(error)

    def _trace(self) -> None:
        """Lambda's variable, which AWS SDKs send along with what the handler asks of them: functions of its
        dialect have one request at a time."""
        trace = self.invocation.get("trace")
        if trace:
            os.environ[TRACE] = str(trace)
        elif TRACE in os.environ:
            del os.environ[TRACE]

    def _pass_on(self, error: BaseException) -> None:
        """Raise what is the server's: a rehearsal's alarm, and the end of a process that was forked here."""
        is_usual = isinstance(error, Exception | SystemExit | KeyboardInterrupt)
        if os.getpid() != self.pid or (self.environ.get(WARM_UP) and not is_usual):
            raise error

    def _result(self, context: Context) -> Any:
        if self.is_event:
            event = results.event_of(self.body, self.dialect)
        else:
            event = http_events.event_of(self.environ, self.body, self.dialect, context)
        result = self.handler(event, context)
        if hasattr(result, "__await__"):
            from snapfork.adapter.events import loops

            result = loops.run(_awaited(result))
        return result

    def _answer(self, context: Context, result: Any) -> Iterable[bytes]:
        if _is_stream(result):
            return self._stream(context, Answer(200, [("Content-Type", BINARY)], result), prelude=None)
        if not self.is_event:
            answer = http_events.answer_of(result, self.dialect)
            if _is_stream(answer.body):
                return self._stream(context, answer, prelude=None)
            return self._send(answer)
        if isinstance(result, dict) and _is_stream(result.get("body")):
            prelude = {name: value for name, value in result.items() if name != "body"}
            return self._stream(context, Answer(200, [("Content-Type", BINARY)], result["body"]), prelude)
        payload, kind = results.payload_of(result, self.dialect)
        return self._send(Answer(200, [("Content-Type", kind)], payload))

    def _send(self, answer: Answer) -> Iterable[bytes]:
        headers = [*answer.headers, ("Content-Length", str(len(answer.body)))]
        self.start_response(f"{answer.status} {_phrase(answer.status)}", headers)
        return [answer.body]

    # -- streams -----------------------------------------------------------------------------------------

    def _stream(self, context: Context, answer: Answer, prelude: Mapping[str, Any] | None) -> Iterable[bytes]:
        """Begin with the first piece, so that a failure before it is an answer like others.

        A prelude, {"statusCode", "headers", "cookies"}, comes apart from the pieces or as the first of them.
        """
        pieces = iter(answer.body) if hasattr(answer.body, "__next__") else _iterate(answer.body)
        first = next(pieces, b"")
        if prelude is None and isinstance(first, dict) and "statusCode" in first:
            prelude, first = first, b""
        head = b""
        if prelude is not None and self.is_event:
            answer.headers = [("Content-Type", STREAM_TYPE)]
            head = results.to_json(prelude) + PRELUDE_END
        elif prelude is not None:
            status = http_events.answer_of({**prelude, "body": None}, "lambda")
            answer.status, answer.headers = status.status, status.headers
        head += _bytes(first)
        self.start_response(f"{answer.status} {_phrase(answer.status)}", answer.headers)
        return self._pieces(context, head, pieces)

    def _pieces(self, context: Context, head: bytes, pieces: Iterator[Any]) -> Iterator[bytes]:
        token = current.set(context)
        try:
            if head:
                yield head
            for piece in pieces:
                if data := _bytes(piece):
                    yield data
        except GeneratorExit:
            raise  # whoever reads has gone
        except BaseException:
            self.environ[ERROR] = "unhandled"
            raise  # the connection ends: what has been sent is not the whole
        finally:
            current.reset(token)
            if hasattr(pieces, "close"):
                pieces.close()

    # -- errors ------------------------------------------------------------------------------------------

    def _failed(self, error: BaseException) -> Iterable[bytes]:
        self.environ[ERROR] = "unhandled"
        told = results.error_of(error, self.caller, str(self.invocation.get("id") or ""))
        sys.stdout.write(results.log_text(told, error))
        body = results.to_json(told)
        headers = [("Content-Type", JSON)]
        if self.is_direct:
            headers.append(("X-Snapfork-Error", "unhandled"))
        if self.of_fc:
            return self._send(Answer(404, [*headers, ("X-Fc-Status", "404")], body))
        if self.is_event:
            return self._send(Answer(200 if self.is_direct else 502, headers, body))
        if self.caller == "fc":
            return self._send(Answer(502, [*headers, ("X-Fc-Error-Type", "UnhandledInvocationError")], body))
        headers[0] = ("Content-Type", "text/plain")  # clients of a function URL see nothing of the inside
        return self._send(Answer(502, headers, b"Internal Server Error"))


def _run_hook(hook: Hook, context: Context, start_response: Start) -> Iterable[bytes]:
    try:
        result = hook(context)
        if hasattr(result, "__await__"):
            from snapfork.adapter.events import loops

            loops.run(_awaited(result))
    except (Exception, SystemExit, KeyboardInterrupt) as error:
        told = results.error_of(error, "fc", context.request_id)
        sys.stdout.write(results.log_text(told, error))
        body = results.to_json(told)
        start_response(
            "500 Internal Server Error", [("Content-Type", JSON), ("Content-Length", str(len(body)))]
        )
        return [body]
    start_response("200 OK", [("Content-Length", "0")])
    return []


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


def _read(environ: Mapping[str, Any]) -> bytes:
    """The body; servers that do not end `wsgi.input` by themselves say how long it is."""
    stream = environ["wsgi.input"]
    if environ.get("wsgi.input_terminated"):
        return bytes(stream.read())
    length = environ.get("CONTENT_LENGTH") or "0"
    return bytes(stream.read(int(length))) if length.isdigit() else b""


def _is_stream(result: Any) -> bool:
    return hasattr(result, "__next__") or hasattr(result, "__anext__")


def _iterate(pieces: Any) -> Iterator[Any]:
    from snapfork.adapter.events import loops

    return loops.iterate(pieces)


def _bytes(piece: Any) -> bytes:
    if isinstance(piece, (bytes, bytearray, memoryview)):
        return bytes(piece)
    return piece.encode("utf-8", "surrogatepass") if isinstance(piece, str) else results.to_json(piece)


def _phrase(status: int) -> str:
    from http import HTTPStatus

    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Status"

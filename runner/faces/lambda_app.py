"""The Lambda API as an ASGI app: /2015-03-31/functions and its sisters, for boto3, the aws CLI and others."""

from __future__ import annotations

import json
import logging
import uuid

from snapfork.runner.faces import (
    lambda_async,
    lambda_functions,
    lambda_invoke,
    lambda_layers,
    lambda_limits,
    lambda_misc,
    lambda_policies,
    lambda_sources,
    lambda_urls,
    lambda_versions,
)
from snapfork.runner.faces.auth import Auth, Refused, SignatureError, permit
from snapfork.runner.faces.exchange import BodyTooLarge, Disconnected, Head, Reply, read_body, send_reply
from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler, name_function, not_found
from snapfork.runner.faces.lambda_errors import LambdaError, Words, not_offered, of, signature, validation
from snapfork.runner.faces.lambda_offer import NOT_OFFERED
from snapfork.runner.faces.model import Api, BadInput, Malformed, Operation
from snapfork.runner.registry import errors
from snapfork.runner.registry.model import Key
from starlette.types import Receive, Scope, Send

SMALL = 1 << 20
UPLOAD = 70_167_211
"""Bytes of a request with a zip of 50 MB in base64, as the service has it."""
UPLOADS = frozenset({"CreateFunction", "UpdateFunctionCode", "PublishLayerVersion"})
INVOKING = frozenset({"Invoke", "InvokeAsync", "InvokeWithResponseStream"})
ACTIONS = {"Invoke": "InvokeFunction", "InvokeWithResponseStream": "InvokeFunction"}
"""Operation -> what policies call it, where that is another name."""
HANDLERS: dict[str, Handler] = {
    **lambda_functions.HANDLERS,
    **lambda_versions.HANDLERS,
    **lambda_invoke.HANDLERS,
    **lambda_async.HANDLERS,
    **lambda_limits.HANDLERS,
    **lambda_urls.HANDLERS,
    **lambda_layers.HANDLERS,
    **lambda_policies.HANDLERS,
    **lambda_misc.HANDLERS,
    **lambda_sources.HANDLERS,
}
_log = logging.getLogger(__name__)


class LambdaFace:
    """See the module. `prefixes`: the first segments of its paths."""

    def __init__(self, desk: Desk, auth: Auth) -> None:
        self._desk = desk
        self._auth = auth
        self._api = Api.load("lambda_api.json")
        self._words = Words(self._api.data["errors"])
        self.prefixes = self._api.prefixes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = Head.of(scope)
        # The id is the invocation's, whose instance and log lines have it too.
        call = Call("", {}, str(uuid.uuid4()), head, _NOBODY)
        try:
            reply = await self._answer(call, receive)
        except Disconnected:
            return
        await send_reply(send, reply, [(b"x-amzn-requestid", call.request_id.encode())])

    async def _answer(self, call: Call, receive: Receive) -> Reply:
        try:
            return await self._perform(call, receive)
        except LambdaError as error:
            return self._words.reply(error)
        except errors.NotFound as error:
            return self._words.reply(not_found(self._desk, call, error))
        except errors.OperationError as error:
            return self._words.reply(of(error))
        except SignatureError as error:
            return self._words.reply(signature(error.code, error.message))
        except Refused as error:
            return self._words.reply(LambdaError("AccessDeniedException", error.message))
        except Malformed as error:
            return self._words.reply(LambdaError("SerializationException", error.message))
        except BadInput as error:
            return self._words.reply(validation(error.violations))
        except Disconnected:
            raise
        except Exception:
            _log.exception("Lambda API, %s: unexpected", call.operation)
            return self._words.reply(LambdaError("ServiceException", "An internal error has occurred."))

    async def _perform(self, call: Call, receive: Receive) -> Reply:
        head = call.head
        claim = self._auth.open(head)
        matched = self._api.match(head)
        operation = matched[0] if matched else None
        call.operation = operation.name if operation else ""
        body = await self._body(call, receive)
        call.key = await self._auth.close_large(claim, body)
        if matched is None or operation is None:
            raise not_offered(f"There is no operation {head.method} {_shown(head.path)}.")
        handler = HANDLERS.get(operation.name)
        if handler is None:
            why = NOT_OFFERED.get(operation.name, "it is unknown here")
            raise not_offered(f"{operation.name} is not supported by this runner: {why}.")
        call.values = self._api.parse(operation, matched[1], head, body)
        has_qualifier = "Qualifier" in operation.members
        call.function, call.qualifier = name_function(call.values, has_qualifier, self._desk.place)
        self._permit(call)
        return _reply(operation, await handler(self._desk, call))

    async def _body(self, call: Call, receive: Receive) -> bytes:
        """The request's body. Raises LambdaError if it is beyond the operation's limit."""
        limit, name = SMALL, "RequestEntityTooLargeException"
        if call.operation in UPLOADS:
            limit = UPLOAD
        elif call.operation in INVOKING:
            limit, name = lambda_invoke.payload_limit(call.head), "RequestTooLargeException"
            if call.operation == "InvokeAsync":
                limit = lambda_invoke.ASYNC_LIMIT
        try:
            return await read_body(receive, call.head, limit)
        except BodyTooLarge:
            operation = ACTIONS.get(call.operation, call.operation or "requested")
            raise LambdaError(
                name, f"Request must be smaller than {limit} bytes for the {operation} operation"
            ) from None

    def _permit(self, call: Call) -> None:
        """Raise unless the caller's key allows this call."""
        function = call.function or None
        if "UUID" in call.values:
            function = lambda_sources.function_behind(self._desk, call.values["UUID"]) or None
        action = ACTIONS.get(call.operation, call.operation)
        try:
            permit(call.key, "invoke" if call.operation in INVOKING else "manage", function)
        except errors.Denied:
            place = self._desk.place
            arn = place.function(call.function, call.qualifier) if call.function else "*"
            raise LambdaError(
                "AccessDeniedException",
                f"User: {place.user(call.key.id)} is not authorized to perform: lambda:{action} on "
                f"resource: {arn} "
                f"because no identity-based policy allows the lambda:{action} action",
            ) from None


_NOBODY = Key("", "", role="invoke", functions=())


def _reply(operation: Operation, answer: Answer) -> Reply:
    if isinstance(answer, Reply):
        return answer
    if answer is None:
        return Reply(operation.status)
    return Reply(operation.status, json.dumps(answer).encode(), [(b"content-type", b"application/json")])


def _shown(path: bytes) -> str:
    text = path[:200].decode("ascii", "replace")
    return text if text.isprintable() else repr(text)

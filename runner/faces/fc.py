"""The FC 3.0 face: the ASGI app of /2023-03-30, which unmodified FC clients talk to.

A request is judged by its head, read, judged as a whole, turned into an operation's input by the data file,
and handed to the operation's handler. Everything that goes wrong on the way is FC's error body.
"""

from __future__ import annotations

import json
import logging
from urllib.parse import unquote

from snapfork.runner.faces import (
    fc_errors,
    fc_functions,
    fc_invoke,
    fc_layers,
    fc_limits,
    fc_names,
    fc_triggers,
)
from snapfork.runner.faces.auth import Auth, Refused, SignatureError, permit
from snapfork.runner.faces.exchange import BodyTooLarge, Disconnected, Head, Reply, read_body, send_reply
from snapfork.runner.faces.fc_call import Answer, Call, Desk, Handler
from snapfork.runner.faces.fc_errors import FcError
from snapfork.runner.faces.fc_offer import NOT_OFFERED
from snapfork.runner.faces.fc_words import refusal
from snapfork.runner.faces.model import Api, BadInput, Malformed, Operation
from snapfork.runner.registry.defaults import DEFAULTS
from snapfork.runner.registry.errors import OperationError
from starlette.types import Receive, Scope, Send

PREFIX = b"/2023-03-30/"
OLDER = (b"/2021-04-06/", b"/2016-08-15/")
"""Paths of FC 2.0's clients, which are told so before anything else: the older of them signs in a way of its
own."""
SMALL = 1 << 20
"""Bytes of a body that carries no code and no payload."""
UPLOADS = frozenset({"CreateFunction", "UpdateFunction", "CreateLayerVersion"})
UPLOAD_BYTES = DEFAULTS["fc"].zip_bytes * 4 // 3 + SMALL
TYPE = b"x-fc-invocation-type"
JSON = (b"content-type", b"application/json")


class FcFace:
    """The ASGI app. `desk` holds the parts of the runner, `auth` judges who calls."""

    def __init__(self, desk: Desk, auth: Auth) -> None:
        self._desk = desk
        self._auth = auth
        self._api = Api.load("fc_api.json", json_lists=True)
        self._handlers: dict[str, Handler] = {
            **fc_functions.HANDLERS,
            **fc_invoke.HANDLERS,
            **fc_layers.HANDLERS,
            **fc_limits.HANDLERS,
            **fc_triggers.handlers(self._api),
        }

    @property
    def offered(self) -> frozenset[str]:
        """The operations that have a handler."""
        return frozenset(self._handlers)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        head = Head.of(scope)
        request_id = fc_names.request_id(self._desk.clock())
        try:
            reply = await self._answer(head, receive, request_id)
        except Disconnected:
            return
        except FcError as error:
            reply = fc_errors.reply(error, request_id, head.path.startswith(OLDER))
        except Exception:
            logging.getLogger(__name__).exception("An FC request failed (%s).", request_id)
            reply = fc_errors.reply(
                FcError(500, "InternalServerError", "An internal error has occurred."), request_id
            )
        await send_reply(send, reply, [(b"x-fc-request-id", request_id.encode())])

    async def _answer(self, head: Head, receive: Receive, request_id: str) -> Reply:
        """The reply to a request. Raises FcError."""
        if head.path.startswith(OLDER):
            raise fc_errors.not_offered(_shown(head), "it is FC 2.0's; its API here is that of 3.0")
        try:
            claim = self._auth.open(head)
            operation, params = self._find(head)
            limit = _limit(operation, head)
            body = await read_body(receive, head, limit)
            key = await self._auth.close_large(claim, body)
            invokes = operation.name == "InvokeFunction"
            permit(key, "invoke" if invokes else "manage", params.get("function_name"))
            values = self._api.parse(operation, params, head, body)
            call = Call(operation.name, values, request_id, head, key)
            return _reply(await self._handlers[operation.name](self._desk, call))
        except SignatureError as error:
            raise fc_errors.signature(error.code) from None
        except Refused as error:
            raise FcError(403, "AccessDenied", error.message) from None
        except BodyTooLarge as error:
            raise fc_errors.too_large("The request body", error.limit) from None
        except Malformed as error:
            raise fc_errors.invalid(error.message) from None
        except BadInput as error:
            raise refusal(error.violations) from None
        except OperationError as error:
            raise fc_errors.of(error) from None

    def _find(self, head: Head) -> tuple[Operation, dict[str, str]]:
        """What a request is for. Raises FcError, Malformed."""
        found = self._api.match(head)
        if found is None:
            raise FcError(400, "PathNotSupported", f"{head.method} {_shown(head)} is not supported.")
        if found[0].name not in self._handlers:
            why = NOT_OFFERED.get(found[0].name, "it is newer than this runner")
            raise fc_errors.not_offered(found[0].name, why)
        return found


def _shown(head: Head) -> str:
    """The path, for people."""
    return unquote(head.path.decode("ascii", "replace"), errors="replace")


def _limit(operation: Operation, head: Head) -> int:
    if operation.name == "InvokeFunction":
        return fc_invoke.payload_limit(head.text(TYPE))
    return UPLOAD_BYTES if operation.name in UPLOADS else SMALL


def _reply(answer: Answer) -> Reply:
    if answer is None:
        return Reply(204)
    if isinstance(answer, Reply):
        return answer
    return Reply(200, json.dumps(answer).encode(), [JSON])

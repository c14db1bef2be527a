"""Operations of the Lambda API on how asynchronous invocations are executed."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Any

from snapfork.runner.faces.auth import permit_destination
from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler, arn_of, paged
from snapfork.runner.faces.lambda_errors import LambdaError, invalid_value
from snapfork.runner.registry import errors
from snapfork.runner.registry.defaults import async_defaults
from snapfork.runner.registry.model import AsyncConfig

_FUNCTION = re.compile(
    r"arn:aws[a-zA-Z-]*:lambda:(?P<region>[a-z0-9-]+):(?P<account>[0-9]{12}):function:"
    r"[a-zA-Z0-9_-]+(:[$a-zA-Z0-9_-]+)?"
)
MEMBERS = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds", "DestinationConfig")


async def put(desk: Desk, call: Call) -> Answer:
    """Replaces everything: what is not said is the default of where the function was created."""
    _something(call)
    function = desk.operations.get(call.function, call.kept)[0]
    base = async_defaults(function.dialect, call.function, call.kept)
    return _view(desk, await desk.operations.set_async(_changed(desk, call, base)))


async def update(desk: Desk, call: Call) -> Answer:
    """Changes what is said."""
    _something(call)
    return _view(desk, await desk.operations.set_async(_changed(desk, call, _config(desk, call))))


async def get(desk: Desk, call: Call) -> Answer:
    return _view(desk, _config(desk, call))


async def delete(desk: Desk, call: Call) -> Answer:
    _config(desk, call)
    await desk.operations.delete_async(call.function, call.kept)
    return None


async def list_all(desk: Desk, call: Call) -> Answer:
    found, after = desk.operations.list_async(call.function, call.start, call.limit)
    return paged("FunctionEventInvokeConfigs", found, after, lambda one: _view(desk, one))


def _something(call: Call) -> None:
    if not any(member in call.values for member in MEMBERS):
        raise invalid_value("You must specify at least one of error handling or destination setting.")


def _config(desk: Desk, call: Call) -> AsyncConfig:
    try:
        return desk.operations.get_async(call.function, call.kept)
    except errors.NotFound as error:
        if error.kind != "async_config":
            raise
        arn = arn_of(desk, call.function, call.kept, True)
        raise LambdaError(
            "ResourceNotFoundException", f"The function {arn} doesn't have an EventInvokeConfig"
        ) from None


def _changed(desk: Desk, call: Call, base: AsyncConfig) -> AsyncConfig:
    values = call.values
    changes: dict[str, Any] = {}
    if "MaximumRetryAttempts" in values:
        changes["retries"] = values["MaximumRetryAttempts"]
    if "MaximumEventAgeInSeconds" in values:
        changes["max_age"] = float(values["MaximumEventAgeInSeconds"])
    if "DestinationConfig" in values:
        for member, field in (("OnSuccess", "on_success"), ("OnFailure", "on_failure")):
            target = values["DestinationConfig"].get(member, {}).get("Destination", "")
            changes[field] = _destination(desk, call, target)
    return replace(base, **changes)


def _destination(desk: Desk, call: Call, target: str) -> str:
    """A destination that can be reached from here, and by who asks for it. Raises LambdaError, Denied."""
    match = _FUNCTION.fullmatch(target)
    if match:
        desk.place.reach(target, match["region"], match["account"])
    if match or target.startswith(("http://", "https://", "file:///")):
        permit_destination(call.key, target)
        return target
    if not target:
        return ""
    raise invalid_value(
        f"The destination {target} is not supported by this runner: it delivers to a function, an http:// or "
        "https:// address, or a file:///NAME of JSON lines."
    )


def _view(desk: Desk, config: AsyncConfig) -> dict[str, Any]:
    view: dict[str, Any] = {
        "LastModified": round(config.modified, 3),
        "FunctionArn": arn_of(desk, config.function, config.qualifier, True),
        "MaximumRetryAttempts": config.retries,
        "DestinationConfig": {
            "OnSuccess": {"Destination": config.on_success} if config.on_success else {},
            "OnFailure": {"Destination": config.on_failure} if config.on_failure else {},
        },
    }
    if config.max_age is not None:
        view["MaximumEventAgeInSeconds"] = math.ceil(config.max_age)
    return view


HANDLERS: dict[str, Handler] = {
    "PutFunctionEventInvokeConfig": put,
    "UpdateFunctionEventInvokeConfig": update,
    "GetFunctionEventInvokeConfig": get,
    "DeleteFunctionEventInvokeConfig": delete,
    "ListFunctionEventInvokeConfigs": list_all,
}

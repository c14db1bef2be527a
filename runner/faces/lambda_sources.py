"""Event source mappings. What there is to be mapped here is a watched directory, as an S3 bucket whose name
is its absolute path: EventSourceArn arn:aws:s3:::/data/inbox. A file that comes is an S3 event.

FilterCriteria: one pattern of prefix and suffix of the key: {"s3": {"object": {"key": [{"prefix": "in/"},
{"suffix": ".jpg"}]}}}. (On AWS the bucket's own notifications do this; there is no S3 API here to set them.)
"""

from __future__ import annotations

import json
import secrets
import uuid
from typing import Any

from snapfork.runner.faces.auth import permit_watching
from snapfork.runner.faces.exchange import Reply
from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler, arn_of, paged
from snapfork.runner.faces.lambda_errors import LambdaError, invalid_value
from snapfork.runner.faces.lambda_names import function_of, kept_qualifier
from snapfork.runner.registry.core import page
from snapfork.runner.registry.model import Trigger

ARN = "arn:aws:s3:::"
KIND = "s3"
_NAMES = uuid.UUID("5d0a3c1e-6f0f-4f5e-9a55-6d1f0c1c7b1e")
# Members that tune polling of streams and queues; a directory has none of it.
REFUSED = (
    "SelfManagedEventSource",
    "SourceAccessConfigurations",
    "Topics",
    "Queues",
    "StartingPosition",
    "StartingPositionTimestamp",
    "TumblingWindowInSeconds",
    "DestinationConfig",
    "ScalingConfig",
    "ProvisionedPollerConfig",
    "AmazonManagedKafkaEventSourceConfig",
    "SelfManagedKafkaEventSourceConfig",
    "DocumentDBEventSourceConfig",
    "FunctionResponseTypes",
)


async def create(desk: Desk, call: Call) -> Answer:
    values = call.values
    _refuse(values)
    arn = values.get("EventSourceArn", "")
    if not arn.startswith(f"{ARN}/"):
        raise invalid_value(
            f"EventSourceArn {arn or 'null'} is not supported by this runner: it maps watched directories, "
            "as "
            f"{ARN}/ABSOLUTE/PATH."
        )
    permit_watching(call.key)
    config = {"directory": arn.removeprefix(ARN), "filter": _filter(values)}
    made = await desk.operations.trigger_create(
        call.function,
        f"directory-{secrets.token_hex(8)}",
        KIND,
        config,
        call.kept,
        enabled=values.get("Enabled", True),
    )
    return _view(desk, made, "Enabling" if made.enabled else "Disabled", 202)


async def get(desk: Desk, call: Call) -> Answer:
    return _members(desk, _mapping(desk, call))


async def update(desk: Desk, call: Call) -> Answer:
    values = call.values
    _refuse(values)
    there = _mapping(desk, call)
    qualifier = None
    if "FunctionName" in values:
        name, said = function_of(values["FunctionName"], desk.place)
        if name != there.function:
            raise invalid_value("The function of a mapping cannot be changed here; its version or alias can.")
        qualifier = kept_qualifier(said)
    config = {**there.config, "filter": _filter(values)} if "FilterCriteria" in values else None
    made = await desk.operations.trigger_update(
        there.function, there.name, config, qualifier, enabled=values.get("Enabled")
    )
    return _view(desk, made, "Updating", 202)


async def delete(desk: Desk, call: Call) -> Answer:
    there = _mapping(desk, call)
    await desk.operations.trigger_delete(there.function, there.name)
    return _view(desk, there, "Deleting", 202)


async def list_all(desk: Desk, call: Call) -> Answer:
    arn = call.values.get("EventSourceArn")
    if call.function:
        desk.operations.get(call.function, call.kept)
    found = [
        one
        for one in desk.operations.triggers(KIND)
        if (not call.function or one.function == call.function) and arn in (None, _arn(one))
    ]
    chosen, after = page(sorted(found, key=uuid_of), uuid_of, call.start, call.limit)
    return paged("EventSourceMappings", chosen, after, lambda one: _members(desk, one))


def function_behind(desk: Desk, uuid: str) -> str:
    """The function of a mapping, "" if there is none: what a limited key is judged by."""
    for one in desk.operations.triggers(KIND):
        if uuid_of(one) == uuid.lower():
            return one.function
    return ""


def uuid_of(trigger: Trigger) -> str:
    """The UUID of a mapping: of a trigger as any API has made it."""
    return str(uuid.uuid5(_NAMES, f"{trigger.function}/{trigger.name}/{trigger.id}"))


def _mapping(desk: Desk, call: Call) -> Trigger:
    wanted = call.values["UUID"].lower()
    for one in desk.operations.triggers(KIND):
        if uuid_of(one) == wanted:
            return one
    raise LambdaError("ResourceNotFoundException", "The resource you requested does not exist.")


def _refuse(values: dict[str, Any]) -> None:
    for member in REFUSED:
        if values.get(member):
            raise invalid_value(
                f"{member} is not supported by this runner: a watched directory has no such thing."
            )
    if values.get("BatchSize", 1) != 1:
        raise invalid_value("BatchSize must be 1: each file of a watched directory is an event of its own.")


def _filter(values: dict[str, Any]) -> dict[str, Any]:
    """The trigger's filter. Raises LambdaError for patterns that a directory cannot be watched by."""
    filters = values.get("FilterCriteria", {}).get("Filters", [])
    if not filters:
        return {}
    wrong = invalid_value(
        'FilterCriteria must be one pattern of prefix and suffix: {"s3":{"object":{"key":[{"prefix":"a"},'
        '{"suffix":".b"}]}}}.'
    )
    try:
        rules = json.loads(filters[0]["Pattern"])["s3"]["object"]["key"]
        merged = {key: value for rule in rules for key, value in rule.items()}
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise wrong from None
    if len(filters) > 1 or not merged or not set(merged) <= {"prefix", "suffix"}:
        raise wrong
    if not all(isinstance(value, str) and value.isprintable() for value in merged.values()):
        raise wrong
    return {"key": merged}


def _arn(trigger: Trigger) -> str:
    return ARN + str(trigger.config["directory"])


def _members(desk: Desk, trigger: Trigger, state: str = "") -> dict[str, Any]:
    key = trigger.config.get("filter", {}).get("key", {})
    rules = [{part: key[part]} for part in ("prefix", "suffix") if key.get(part)]
    number = uuid_of(trigger)
    view: dict[str, Any] = {
        "UUID": number,
        "EventSourceMappingArn": desk.place.mapping(number),
        "EventSourceArn": _arn(trigger),
        "FunctionArn": arn_of(desk, trigger.function, trigger.qualifier),
        "BatchSize": 1,
        "LastModified": round(trigger.modified, 3),
        "State": state or ("Enabled" if trigger.enabled else "Disabled"),
        "StateTransitionReason": "USER_INITIATED",
    }
    if rules:
        pattern = json.dumps({"s3": {"object": {"key": rules}}}, separators=(",", ":"))
        view["FilterCriteria"] = {"Filters": [{"Pattern": pattern}]}
    return view


def _view(desk: Desk, trigger: Trigger, state: str, status: int) -> Reply:
    body = json.dumps(_members(desk, trigger, state)).encode()
    return Reply(status, body, [(b"content-type", b"application/json")])


HANDLERS: dict[str, Handler] = {
    "CreateEventSourceMapping": create,
    "GetEventSourceMapping": get,
    "UpdateEventSourceMapping": update,
    "DeleteEventSourceMapping": delete,
    "ListEventSourceMappings": list_all,
}

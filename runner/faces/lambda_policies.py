"""Operations of the Lambda API on resource policies. They are kept and given back: what a caller may do here,
their key says."""

from __future__ import annotations

import json
import re
from typing import Any

from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler, arn_of
from snapfork.runner.faces.lambda_errors import LambdaError, gone, invalid_value
from snapfork.runner.faces.lambda_names import layer_name
from snapfork.runner.registry import errors
from snapfork.runner.registry.model import Statement

_ACCOUNT = re.compile(r"[0-9]{12}")
# Member -> (operator, key) of the condition that it becomes.
CONDITIONS = {
    "SourceArn": ("ArnLike", "AWS:SourceArn"),
    "SourceAccount": ("StringEquals", "AWS:SourceAccount"),
    "FunctionUrlAuthType": ("StringEquals", "lambda:FunctionUrlAuthType"),
    "PrincipalOrgID": ("StringEquals", "aws:PrincipalOrgID"),
    "OrganizationId": ("StringEquals", "aws:PrincipalOrgID"),
    "EventSourceToken": ("StringEquals", "lambda:EventSourceToken"),
    "InvokedViaFunctionUrl": ("Bool", "lambda:InvokedViaFunctionUrl"),
}


async def add(desk: Desk, call: Call) -> Answer:
    if call.qualifier == "$LATEST":
        raise invalid_value("We currently do not support adding policies for $LATEST.")
    resource, arn = f"function/{call.function}", arn_of(desk, call.function, call.kept)
    return {"Statement": json.dumps(await _added(desk, call, resource, call.kept, arn))}


async def add_layer(desk: Desk, call: Call) -> Answer:
    resource, version, arn = _layer(desk, call)
    statement = await _added(desk, call, resource, version, arn)
    revision = desk.operations.statement_list(resource, version)[1]
    return {"Statement": json.dumps(statement), "RevisionId": revision}


async def get(desk: Desk, call: Call) -> Answer:
    return _policy(*desk.operations.statement_list(f"function/{call.function}", call.kept))


async def get_layer(desk: Desk, call: Call) -> Answer:
    resource, version, _ = _layer(desk, call)
    return _policy(*desk.operations.statement_list(resource, version))


async def remove(desk: Desk, call: Call) -> Answer:
    await _removed(desk, call, f"function/{call.function}", call.kept)
    return None


async def remove_layer(desk: Desk, call: Call) -> Answer:
    resource, version, _ = _layer(desk, call)
    await _removed(desk, call, resource, version)
    return None


async def _added(desk: Desk, call: Call, resource: str, qualifier: str, arn: str) -> dict[str, Any]:
    sid = call.values["StatementId"]
    statement = _statement(call.values, arn)
    try:
        await desk.operations.statement_add(resource, qualifier, sid, statement, call.revision)
    except errors.AlreadyExists:
        raise LambdaError(
            "ResourceConflictException",
            f"The statement id ({sid}) provided already exists. Please provide a new statement id, or "
            "remove the "
            "existing statement.",
        ) from None
    return statement


async def _removed(desk: Desk, call: Call, resource: str, qualifier: str) -> None:
    sid = call.values["StatementId"]
    try:
        await desk.operations.statement_remove(resource, qualifier, sid, call.revision)
    except errors.NotFound as error:
        if error.kind != "statement":
            raise
        raise LambdaError(
            "ResourceNotFoundException", f"Statement {sid} is not found in resource policy."
        ) from None


def _layer(desk: Desk, call: Call) -> tuple[str, str, str]:
    """(resource, version, ARN) as the registry and the policy call a layer's version. Raises LambdaError."""
    name, version = layer_name(call.values["LayerName"], desk.place), call.values["VersionNumber"]
    try:
        desk.operations.layer_get(name, version)
    except errors.NotFound:
        raise LambdaError(
            "ResourceNotFoundException", f"Layer version {desk.place.layer(name)}:{version} does not exist."
        ) from None
    return f"layer/{name}", str(version), f"{desk.place.layer(name)}:{version}"


def _statement(values: dict[str, Any], arn: str) -> dict[str, Any]:
    """The statement as policies have it."""
    principal: Any = values["Principal"]
    if _ACCOUNT.fullmatch(principal):
        principal = {"AWS": f"arn:aws:iam::{principal}:root"}
    elif principal.startswith("arn:"):
        principal = {"AWS": principal}
    elif principal != "*":
        principal = {"Service": principal}
    conditions: dict[str, dict[str, Any]] = {}
    for member, (operator, name) in CONDITIONS.items():
        if member in values:
            value = values[member]
            conditions.setdefault(operator, {})[name] = str(value).lower() if operator == "Bool" else value
    statement = {
        "Sid": values["StatementId"],
        "Effect": "Allow",
        "Principal": principal,
        "Action": values["Action"],
        "Resource": arn,
    }
    return {**statement, "Condition": conditions} if conditions else statement


def _policy(statements: list[Statement], revision: str) -> dict[str, Any]:
    if not statements:
        raise gone()
    policy = {"Version": "2012-10-17", "Id": "default", "Statement": [one.body for one in statements]}
    return {"Policy": json.dumps(policy), "RevisionId": revision}


HANDLERS: dict[str, Handler] = {
    "AddPermission": add,
    "GetPolicy": get,
    "RemovePermission": remove,
    "AddLayerVersionPermission": add_layer,
    "GetLayerVersionPolicy": get_layer,
    "RemoveLayerVersionPermission": remove_layer,
}

"""Operations of the Lambda API on versions and aliases."""

from __future__ import annotations

import base64
import binascii

from snapfork.runner.faces import lambda_views as views
from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler, paged, unqualified
from snapfork.runner.faces.lambda_errors import LambdaError, invalid_value
from snapfork.runner.faces.lambda_functions import worded
from snapfork.runner.faces.lambda_names import code_sha256, kept_qualifier, shown_version
from snapfork.runner.registry import errors


async def publish(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    values = call.values
    try:
        made = await desk.operations.publish(
            call.function, values.get("Description"), _hex(desk, call), call.revision
        )
    except errors.PreconditionFailed as error:
        raise (_other_code(desk, call) if error.kind == "code" else error) from None
    except errors.Conflict as error:
        raise worded(desk, call, error) from None
    return views.configuration(desk, made, made.version)


async def list_versions(desk: Desk, call: Call) -> Answer:
    found, after = desk.operations.versions(call.function, call.start, call.limit)
    return paged(
        "Versions",
        found,
        after,
        lambda one: views.configuration(desk, one, shown_version(one.version)),
    )


async def create_alias(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    values = call.values
    name = values["Name"]
    try:
        made = await desk.operations.alias_create(
            call.function,
            name,
            kept_qualifier(values["FunctionVersion"]),
            _weights(call) or {},
            values.get("Description", ""),
        )
    except errors.AlreadyExists:
        arn = desk.place.function(call.function, name)
        raise LambdaError("ResourceConflictException", f"Alias already exists: {arn}") from None
    except errors.NotFound as error:
        raise _no_version(desk, call, error) from None
    return views.alias(desk, made)


async def update_alias(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    values = call.values
    version = values.get("FunctionVersion")
    try:
        made = await desk.operations.alias_update(
            call.function,
            values["Name"],
            None if version is None else kept_qualifier(version),
            _weights(call),
            values.get("Description"),
            call.revision,
        )
    except errors.NotFound as error:
        raise _no_version(desk, call, error) from None
    return views.alias(desk, made)


async def get_alias(desk: Desk, call: Call) -> Answer:
    return views.alias(desk, desk.operations.alias_get(call.function, call.values["Name"]))


async def list_aliases(desk: Desk, call: Call) -> Answer:
    wanted = call.values.get("FunctionVersion", "")
    found, after = desk.operations.alias_list(call.function, wanted, "", call.start, call.limit)
    return paged("Aliases", found, after, lambda one: views.alias(desk, one))


async def delete_alias(desk: Desk, call: Call) -> Answer:
    """An alias that is gone is fine, as the service has it; a function that is gone is not."""
    try:
        await desk.operations.alias_delete(call.function, call.values["Name"])
    except errors.NotFound as error:
        if error.kind != "alias":
            raise
    return None


def _weights(call: Call) -> dict[str, float] | None:
    routing = call.values.get("RoutingConfig")
    if routing is None:
        return None
    weights: dict[str, float] = routing.get("AdditionalVersionWeights", {})
    return weights


def _no_version(desk: Desk, call: Call, error: errors.NotFound) -> Exception:
    if error.kind != "version":
        return error
    arn = desk.place.function(call.function, shown_version(error.name))
    return LambdaError("ResourceNotFoundException", f"Function not found: {arn}")


def _hex(desk: Desk, call: Call) -> str | None:
    """CodeSha256 as the registry has hashes, None if it was not given. Raises LambdaError."""
    given = call.values.get("CodeSha256")
    if not given:
        return None
    try:
        return base64.b64decode(given, validate=True).hex()
    except (binascii.Error, ValueError):
        raise _other_code(desk, call) from None


def _other_code(desk: Desk, call: Call) -> LambdaError:
    current = code_sha256(desk.operations.get(call.function)[1].package)
    return invalid_value(
        f"CodeSHA256 ({call.values['CodeSha256']}) is different from current CodeSHA256 in $LATEST "
        f"({current}). "
        "Please try again with the CodeSHA256 in $LATEST."
    )


HANDLERS: dict[str, Handler] = {
    "PublishVersion": publish,
    "ListVersionsByFunction": list_versions,
    "CreateAlias": create_alias,
    "UpdateAlias": update_alias,
    "GetAlias": get_alias,
    "ListAliases": list_aliases,
    "DeleteAlias": delete_alias,
}

"""Operations of the Lambda API on tags and the account, and settings that are kept and given back."""

from __future__ import annotations

from typing import Any

from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler, arn_of, unqualified
from snapfork.runner.faces.lambda_errors import LambdaError, invalid_value
from snapfork.runner.policy.chains import SETTING as LOOPS
from snapfork.runner.registry.defaults import DEFAULTS
from snapfork.runner.registry.model import Version

STORAGE = 80_530_636_800
"""Bytes of code that an account may keep, as the service says it; here the disk decides."""
RUNTIME = "RuntimeManagement"


async def tag(desk: Desk, call: Call) -> Answer:
    _function_only(call)
    await desk.operations.tag(call.function, call.values["Tags"])
    return None


async def untag(desk: Desk, call: Call) -> Answer:
    _function_only(call)
    await desk.operations.untag(call.function, call.values["TagKeys"])
    return None


async def list_tags(desk: Desk, call: Call) -> Answer:
    _function_only(call)
    return {"Tags": desk.operations.tags(call.function)}


async def account(desk: Desk, call: Call) -> Answer:
    default = DEFAULTS["lambda"]
    count, size, reserved, start = 0, 0, 0, ""
    while True:
        found, start = desk.operations.list("", start, 100)
        for function, latest in found:
            count += 1
            size += latest.size
            reserved += function.reserved or 0
        if not start:
            break
    return {
        "AccountLimit": {
            "TotalCodeSize": STORAGE,
            "CodeSizeUnzipped": default.unpacked_bytes,
            "CodeSizeZipped": default.zip_bytes,
            "ConcurrentExecutions": desk.concurrency,
            "UnreservedConcurrentExecutions": desk.concurrency - reserved,
        },
        "AccountUsage": {"TotalCodeSize": size, "FunctionCount": count},
    }


async def get_loops(desk: Desk, call: Call) -> Answer:
    extra = _latest(desk, call).configuration.extra
    return {LOOPS: extra.get(LOOPS, "Terminate")}


async def put_loops(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    await _keep(desk, call, LOOPS, call.values[LOOPS])
    return {LOOPS: call.values[LOOPS]}


async def get_runtime(desk: Desk, call: Call) -> Answer:
    version = desk.operations.get(call.function, call.kept)[1]
    return _runtime(desk, call, version.configuration.extra.get(RUNTIME, "Auto"))


async def put_runtime(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    mode = call.values["UpdateRuntimeOn"]
    if mode == "Manual" or "RuntimeVersionArn" in call.values:
        raise invalid_value(
            "UpdateRuntimeOn Manual is not supported by this runner: the runtime is a Python of this machine."
        )
    await _keep(desk, call, RUNTIME, mode)
    return _runtime(desk, call, mode)


async def get_code_signing(desk: Desk, call: Call) -> Answer:
    _latest(desk, call)
    return {"FunctionName": call.function}


def _latest(desk: Desk, call: Call) -> Version:
    return desk.operations.get(call.function)[1]


async def _keep(desk: Desk, call: Call, name: str, value: Any) -> None:
    extra = _latest(desk, call).configuration.extra
    if extra.get(name) != value:
        await desk.operations.update_configuration(call.function, {"extra": {**extra, name: value}})


def _runtime(desk: Desk, call: Call, mode: str) -> dict[str, Any]:
    return {"UpdateRuntimeOn": mode, "FunctionArn": arn_of(desk, call.function, call.kept, True)}


def _function_only(call: Call) -> None:
    resource: str = call.values["Resource"]
    if ":function:" not in resource:
        raise LambdaError(
            "ResourceNotFoundException", f"There is nothing to tag at {resource}: tags are functions'."
        )
    if call.qualifier:
        raise invalid_value(
            "Tags on function aliases and versions are not supported. Please specify a function ARN."
        )


HANDLERS: dict[str, Handler] = {
    "TagResource": tag,
    "UntagResource": untag,
    "ListTags": list_tags,
    "GetAccountSettings": account,
    "GetFunctionRecursionConfig": get_loops,
    "PutFunctionRecursionConfig": put_loops,
    "GetRuntimeManagementConfig": get_runtime,
    "PutRuntimeManagementConfig": put_runtime,
    "GetFunctionCodeSigningConfig": get_code_signing,
}

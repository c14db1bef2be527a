"""Operations of the Lambda API on concurrency: reserved and provisioned."""

from __future__ import annotations

from typing import Any

from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler, arn_of, paged, unqualified
from snapfork.runner.faces.lambda_errors import LambdaError, invalid_value
from snapfork.runner.faces.lambda_names import iso
from snapfork.runner.registry import errors
from snapfork.runner.registry.model import ProvisionConfig

Provisioned = tuple[ProvisionConfig, int, str, str]


async def put_reserved(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    wanted = call.values["ReservedConcurrentExecutions"]
    try:
        function = await desk.operations.set_reserved(call.function, wanted)
    except errors.LimitExceeded:
        raise invalid_value(
            "Specified ReservedConcurrentExecutions for function decreases account's "
            "UnreservedConcurrentExecution "
            "below its minimum value of [100]."
        ) from None
    return {"ReservedConcurrentExecutions": function.reserved}


async def get_reserved(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    reserved = desk.operations.get_reserved(call.function)
    return {} if reserved is None else {"ReservedConcurrentExecutions": reserved}


async def delete_reserved(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    await desk.operations.set_reserved(call.function, None)
    return None


async def put_provisioned(desk: Desk, call: Call) -> Answer:
    kept = _published(call)
    wanted = call.values["ProvisionedConcurrentExecutions"]
    reserved = desk.operations.function(call.function).reserved
    if reserved is not None:
        found, _ = await desk.operations.list_provision(call.function, limit=1 << 30)
        others = sum(config.target for config, *_ in found if config.qualifier != kept)
        if others + wanted > reserved:
            raise invalid_value(
                "Requested Provisioned Concurrency should not be greater than the "
                "reservedConcurrentExecution for function"
            )
    await desk.operations.set_provision(ProvisionConfig(call.function, kept, wanted))
    return _view(await desk.operations.get_provision(call.function, kept))


async def get_provisioned(desk: Desk, call: Call) -> Answer:
    try:
        return _view(await desk.operations.get_provision(call.function, _published(call)))
    except errors.NotFound as error:
        raise _none(error) from None


async def delete_provisioned(desk: Desk, call: Call) -> Answer:
    """One that is gone is fine, as the service has it."""
    try:
        await desk.operations.delete_provision(call.function, _published(call))
    except errors.NotFound as error:
        if error.kind != "provision_config":
            raise
    return None


async def list_provisioned(desk: Desk, call: Call) -> Answer:
    found, after = await desk.operations.list_provision(call.function, call.start, call.limit)

    def view(item: Provisioned) -> dict[str, Any]:
        return {"FunctionArn": arn_of(desk, item[0].function, item[0].qualifier, True), **_view(item)}

    return paged("ProvisionedConcurrencyConfigs", found, after, view)


def _published(call: Call) -> str:
    if not call.kept:
        raise invalid_value(
            "Provisioned Concurrency Configs cannot be applied to unpublished function versions."
        )
    return call.kept


def _none(error: errors.NotFound) -> Exception:
    if error.kind != "provision_config":
        return error
    return LambdaError(
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
    )


def _view(item: Provisioned) -> dict[str, Any]:
    config, ready, state, reason = item
    view: dict[str, Any] = {
        "RequestedProvisionedConcurrentExecutions": config.target,
        "AvailableProvisionedConcurrentExecutions": ready,
        "AllocatedProvisionedConcurrentExecutions": ready,
        "Status": state,
        "LastModified": iso(config.modified),
    }
    if reason:
        view["StatusReason"] = reason
    return view


HANDLERS: dict[str, Handler] = {
    "PutFunctionConcurrency": put_reserved,
    "GetFunctionConcurrency": get_reserved,
    "DeleteFunctionConcurrency": delete_reserved,
    "PutProvisionedConcurrencyConfig": put_provisioned,
    "GetProvisionedConcurrencyConfig": get_provisioned,
    "DeleteProvisionedConcurrencyConfig": delete_provisioned,
    "ListProvisionedConcurrencyConfigs": list_provisioned,
}

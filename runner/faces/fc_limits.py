"""FC's operations on concurrency, on how asynchronous invocations go, on provisioned instances."""

from __future__ import annotations

from typing import Any

from snapfork.runner.faces.auth import permit_destination
from snapfork.runner.faces.fc_call import Answer, Call, Desk, Handler, listed
from snapfork.runner.faces.fc_errors import FcError, invalid, not_found
from snapfork.runner.faces.fc_names import function_of, iso
from snapfork.runner.registry.defaults import DEFAULTS
from snapfork.runner.registry.errors import NotFound
from snapfork.runner.registry.model import LATEST, AsyncConfig, ProvisionConfig

Provided = tuple[ProvisionConfig, int, str, str]
SCALING = "scaling"
"""In a ProvisionConfig's `extra`: the members of a scaling config that it has no field for."""


async def put_concurrency(desk: Desk, call: Call) -> Answer:
    reserved = call.body["reservedConcurrency"]
    await desk.operations.set_reserved(call.function, reserved)
    return _concurrency(desk, call.function, reserved)


async def get_concurrency(desk: Desk, call: Call) -> Answer:
    return _concurrency(desk, call.function, _reserved(desk, call.function))


async def delete_concurrency(desk: Desk, call: Call) -> Answer:
    _reserved(desk, call.function)
    await desk.operations.set_reserved(call.function, None)
    return None


async def list_concurrency(desk: Desk, call: Call) -> Answer:
    name = call.values.get("functionName", "")
    found, after = desk.operations.list_reserved(name, call.start, call.limit)
    return listed("configs", [_concurrency(desk, one.name, one.reserved or 0) for one in found], after)


def _reserved(desk: Desk, name: str) -> int:
    reserved = desk.operations.get_reserved(name)
    if reserved is None:
        raise not_found("concurrency", name)
    return reserved


def _concurrency(desk: Desk, name: str, reserved: int) -> dict[str, Any]:
    return {"functionArn": desk.place.function(name), "reservedConcurrency": reserved}


async def disable(desk: Desk, call: Call) -> Answer:
    if call.values.get("abortOngoingRequest"):
        raise invalid("abortOngoingRequest is not supported: requests in progress are finished.")
    await desk.operations.set_disabled(call.function, call.values.get("reason", ""))
    return {"success": True}


async def enable(desk: Desk, call: Call) -> Answer:
    await desk.operations.set_disabled(call.function, None)
    return {"success": True}


async def put_async(desk: Desk, call: Call) -> Answer:
    members, default = call.body, DEFAULTS["fc"]
    destinations = members.get("destinationConfig", {})
    config = AsyncConfig(
        call.function,
        call.qualifier,
        members.get("maxAsyncRetryAttempts", default.retries),
        default.retry_delays,
        members.get("maxAsyncEventAgeInSeconds", default.max_age),
        on_success=_destination(desk, call, destinations, "onSuccess"),
        on_failure=_destination(desk, call, destinations, "onFailure"),
        tasks=members.get("asyncTask", False),
    )
    return _async(desk, await desk.operations.set_async(config))


async def get_async(desk: Desk, call: Call) -> Answer:
    return _async(desk, desk.operations.get_async(call.function, call.qualifier))


async def delete_async(desk: Desk, call: Call) -> Answer:
    await desk.operations.delete_async(call.function, call.qualifier)
    return None


async def list_async(desk: Desk, call: Call) -> Answer:
    name = call.values.get("functionName", "")
    found, after = desk.operations.list_async(name, call.start, call.limit)
    return listed("configs", [_async(desk, one) for one in found], after)


def _destination(desk: Desk, call: Call, config: dict[str, Any], side: str) -> str:
    """A destination's address. Only functions, HTTP addresses and files can be delivered to."""
    address: str = config.get(side, {}).get("destination", "")
    if (
        address
        and not function_of(address)
        and not address.startswith(("http://", "https://", "file:///", "arn:"))
    ):
        raise invalid(
            f"destinationConfig.{side} '{address}' is not supported: name a function's ARN, http(s)://, or file:///."
        )
    if not desk.place.has(address):
        raise invalid(f"destinationConfig.{side} '{address}' is of another region or account.")
    if address:
        permit_destination(call.key, address)
    return address


def _async(desk: Desk, config: AsyncConfig) -> dict[str, Any]:
    destinations = {
        side: {"destination": address}
        for side, address in (("onSuccess", config.on_success), ("onFailure", config.on_failure))
        if address
    }
    members = {
        "functionArn": desk.place.function(config.function, config.qualifier),
        "asyncTask": config.tasks,
        "destinationConfig": destinations,
        "maxAsyncRetryAttempts": config.retries,
        "createdTime": iso(config.created),
        "lastModifiedTime": iso(config.modified),
    }
    if config.max_age is not None:
        members["maxAsyncEventAgeInSeconds"] = round(config.max_age)
    return members


async def put_provision(desk: Desk, call: Call) -> Answer:
    members = call.body
    target = members.get("defaultTarget", members.get("target"))
    if target is None:
        raise invalid("defaultTarget is required.")
    config = ProvisionConfig(
        call.function,
        call.qualifier,
        target,
        scheduled=tuple(members.get("scheduledActions", ())),
        tracking=tuple(members.get("targetTrackingPolicies", ())),
        extra={
            "alwaysAllocateCPU": members.get("alwaysAllocateCPU", True),
            "alwaysAllocateGPU": members.get("alwaysAllocateGPU", True),
        },
    )
    await desk.operations.set_provision(config)
    return _provision(desk, await desk.operations.get_provision(call.function, call.qualifier))


async def get_provision(desk: Desk, call: Call) -> Answer:
    """Without a config the target is 0, as FC answers: its tools look for that, not for a 404."""
    try:
        provided = await desk.operations.get_provision(call.function, call.qualifier)
    except NotFound as error:
        if error.kind != "provision_config":
            raise
        provided = (ProvisionConfig(call.function, call.qualifier, 0), 0, "READY", "")
    return _provision(desk, provided)


async def delete_provision(desk: Desk, call: Call) -> Answer:
    await desk.operations.delete_provision(call.function, call.qualifier)
    return None


async def list_provision(desk: Desk, call: Call) -> Answer:
    name = call.values.get("functionName", "")
    found, after = await desk.operations.list_provision(name, call.start, call.limit)
    return listed("provisionConfigs", [_provision(desk, one) for one in found], after)


def _provision(desk: Desk, provided: Provided) -> dict[str, Any]:
    config, current, _, reason = provided
    return {
        "functionArn": desk.place.function(config.function, config.qualifier or LATEST),
        "defaultTarget": config.target,
        "target": desk.operations.provision_target(config),
        "current": current,
        "currentError": reason,
        "scheduledActions": list(config.scheduled),
        "targetTrackingPolicies": list(config.tracking),
        "alwaysAllocateCPU": config.extra.get("alwaysAllocateCPU", True),
        "alwaysAllocateGPU": config.extra.get("alwaysAllocateGPU", True),
    }


async def put_scaling(desk: Desk, call: Call) -> Answer:
    """The newer spelling of a provision config: the same record."""
    members = call.body
    if members.get("residentPoolId"):
        raise invalid("residentPoolId is not supported: there are no resident pools.")
    if members.get("enableOnDemandScaling") is False:
        raise invalid(
            "enableOnDemandScaling false is not supported: instances are started when they are needed."
        )
    tracking = [
        {**policy, "minCapacity": policy["minInstances"], "maxCapacity": policy["maxInstances"]}
        for policy in members.get("horizontalScalingPolicies", ())
    ]
    for policy in tracking:
        del policy["minInstances"], policy["maxInstances"]
    extra = {name: members[name] for name in ("enableMixMode", "requestDispatchPolicy") if name in members}
    config = ProvisionConfig(
        call.function,
        call.qualifier,
        members.get("minInstances", 0),
        scheduled=tuple(members.get("scheduledPolicies", ())),
        tracking=tuple(tracking),
        extra={SCALING: extra},
    )
    await desk.operations.set_provision(config)
    return _scaling(desk, await desk.operations.get_provision(call.function, call.qualifier))


async def get_scaling(desk: Desk, call: Call) -> Answer:
    return _scaling(desk, await _provided(desk, call))


async def delete_scaling(desk: Desk, call: Call) -> Answer:
    await _provided(desk, call)
    await desk.operations.delete_provision(call.function, call.qualifier)
    return None


async def list_scaling(desk: Desk, call: Call) -> Answer:
    name = call.values.get("functionName", "")
    found, after = await desk.operations.list_provision(name, call.start, call.limit)
    return listed("scalingConfigs", [_scaling(desk, one) for one in found], after)


async def _provided(desk: Desk, call: Call) -> Provided:
    try:
        return await desk.operations.get_provision(call.function, call.qualifier)
    except NotFound as error:
        if error.kind != "provision_config":
            raise
        raise FcError(
            404, "ScalingConfigNotFound", f"function '{call.function}' has no scaling config"
        ) from None


def _scaling(desk: Desk, provided: Provided) -> dict[str, Any]:
    config, current, _, reason = provided
    policies = [
        {**policy, "minInstances": policy["minCapacity"], "maxInstances": policy["maxCapacity"]}
        for policy in config.tracking
    ]
    for policy in policies:
        del policy["minCapacity"], policy["maxCapacity"]
    return {
        "functionArn": desk.place.function(config.function, config.qualifier or LATEST),
        "minInstances": config.target,
        "targetInstances": desk.operations.provision_target(config),
        "currentInstances": current,
        "currentError": reason,
        "scheduledPolicies": list(config.scheduled),
        "horizontalScalingPolicies": policies,
        "enableOnDemandScaling": True,
        **config.extra.get(SCALING, {}),
    }


HANDLERS: dict[str, Handler] = {
    "DeleteAsyncInvokeConfig": delete_async,
    "DeleteConcurrencyConfig": delete_concurrency,
    "DeleteProvisionConfig": delete_provision,
    "DeleteScalingConfig": delete_scaling,
    "DisableFunctionInvocation": disable,
    "EnableFunctionInvocation": enable,
    "GetAsyncInvokeConfig": get_async,
    "GetConcurrencyConfig": get_concurrency,
    "GetProvisionConfig": get_provision,
    "GetScalingConfig": get_scaling,
    "ListAsyncInvokeConfigs": list_async,
    "ListConcurrencyConfigs": list_concurrency,
    "ListProvisionConfigs": list_provision,
    "ListScalingConfigs": list_scaling,
    "PutAsyncInvokeConfig": put_async,
    "PutConcurrencyConfig": put_concurrency,
    "PutProvisionConfig": put_provision,
    "PutScalingConfig": put_scaling,
}

"""InvokeFunction, asynchronous tasks and instances."""

from __future__ import annotations

import re
from typing import Any

from snapfork.runner.faces import fc_results, fc_tasks
from snapfork.runner.faces.exchange import Reply
from snapfork.runner.faces.fc_call import Answer, Call, Desk, Handler, listed
from snapfork.runner.faces.fc_errors import FcError, invalid, too_large
from snapfork.runner.faces.fc_functions import code_checksum
from snapfork.runner.invocations.model import Invocation
from snapfork.runner.registry.model import LATEST

SYNC_BYTES = 32 << 20
ASYNC_BYTES = 128 << 10
LONGEST_DELAY = 3600
DELAY = b"x-fc-async-delay"
ASYNC = "Async"


def payload_limit(kind: str) -> int:
    """Bytes that an invocation may carry. kind: X-Fc-Invocation-Type, "" for none."""
    return ASYNC_BYTES if kind == ASYNC else SYNC_BYTES


async def invoke(desk: Desk, call: Call) -> Answer:
    name, qualifier, values = call.function, call.qualifier, call.values
    kind = values.get("x-fc-invocation-type", "Sync")
    payload: bytes = values["body"]
    if len(payload) > payload_limit(kind):
        raise too_large("The payload", payload_limit(kind))
    function, version, _ = desk.operations.get(name, qualifier)
    if function.disabled is not None:
        reason = f": {function.disabled}" if function.disabled else ""
        raise FcError(403, "AccessDenied", f"invocation of function '{name}' is disabled{reason}")
    invocation = Invocation(
        call.request_id,
        name,
        qualifier,
        payload,
        dialect="fc",
        content_type=call.head.text(b"content-type", "application/octet-stream"),
    )
    if kind == ASYNC:
        return await _enqueue(desk, call, invocation)
    result = await desk.invoker.invoke(invocation, tail=values.get("x-fc-log-type") == "Tail")
    if result.version and result.version != version.version:  # an alias drew its other version
        version = desk.operations.get(name, result.version)[1]
    return fc_results.reply(result, await code_checksum(desk, version), qualifier)


async def _enqueue(desk: Desk, call: Call, invocation: Invocation) -> Reply:
    task = await desk.queue.enqueue(
        invocation, delay=_delay(call), task_id=call.values.get("x-fc-async-task-id", "")
    )
    return Reply(202, b"", [(b"x-fc-async-task-id", task.task_id.encode())])


def _delay(call: Call) -> float:
    text = call.head.text(DELAY)
    if not text:
        return 0.0
    if not re.fullmatch(r"\d{1,5}", text) or not 0 < int(text) < LONGEST_DELAY:
        raise invalid(f"x-fc-async-delay must be a number of seconds above 0 and below {LONGEST_DELAY}.")
    return float(text)


async def get_task(desk: Desk, call: Call) -> Answer:
    desk.operations.get(call.function, call.qualifier)
    return fc_tasks.view(await desk.queue.get(call.function, call.values["task_id"]), desk.place, True)


async def list_tasks(desk: Desk, call: Call) -> Answer:
    desk.operations.get(call.function, call.qualifier)
    values = call.values
    payloads = values.get("includePayload", False)
    tasks, after = await desk.queue.list(
        call.function,
        "" if call.qualifier == LATEST else call.qualifier,
        prefix=values.get("prefix", ""),
        state=values.get("status", ""),
        begin=values.get("startedTimeBegin", 0) / 1000,
        end=values.get("startedTimeEnd", 0) / 1000,
        newest_first=values.get("sortOrderByTime", "desc") == "desc",
        payloads=payloads,
        start=call.start,
        limit=call.limit,
    )
    return listed("tasks", [fc_tasks.view(task, desk.place, payloads) for task in tasks], after)


async def stop_task(desk: Desk, call: Call) -> Answer:
    desk.operations.get(call.function, call.qualifier)
    await desk.queue.stop(call.function, call.values["task_id"])
    return None


async def list_instances(desk: Desk, call: Call) -> Answer:
    """Those that are there now: ended ones are not remembered."""
    values = call.values
    wanted, states = set(values.get("instanceIds", ())), set(values.get("instanceStatus", ()))
    found = [
        _instance(one, call.qualifier)
        for one in await desk.operations.instances(call.function, call.qualifier)
    ]
    chosen = [
        one
        for one in found
        if (not wanted or one["instanceId"] in wanted)
        and (not states or one["status"] in states)
        and one["instanceId"] > values.get("startKey", "")
        and one["createdTimeMs"] >= values.get("startTimeMs", 0)
        and one["createdTimeMs"] <= values.get("endTimeMs", one["createdTimeMs"])
    ]
    chosen.sort(key=lambda one: str(one["instanceId"]))
    if "limit" in values and not values.get("withAllActive"):
        chosen = chosen[: call.limit]
    return {"instances": chosen, "requestId": call.request_id}


def _instance(instance: dict[str, Any], qualifier: str) -> dict[str, Any]:
    version = str(instance.get("version", LATEST))
    return {
        "instanceId": str(instance.get("id") or instance.get("number")),
        "versionId": "0" if version == LATEST else version,
        "qualifier": qualifier or version,
        "status": "Running",
        "resourceType": "CPU",
        "createdTimeMs": round(float(instance.get("started") or 0) * 1000),
    }


HANDLERS: dict[str, Handler] = {
    "GetAsyncTask": get_task,
    "InvokeFunction": invoke,
    "ListAsyncTasks": list_tasks,
    "ListInstances": list_instances,
    "StopAsyncTask": stop_task,
}

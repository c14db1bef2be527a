"""What destinations get: the record of an asynchronous invocation, in the shape of either dialect.

Lambda's (functions of Lambda and of the runner): docs.aws.amazon.com, "Retaining records of asynchronous
invocations". FC's: help.aliyun.com, "Result callback".
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from snapfork.runner.invocations import targets
from snapfork.runner.invocations.item import Delivery, Item
from snapfork.runner.invocations.model import SYSTEM_ERRORS, Result
from snapfork.runner.policy import chains
from snapfork.runner.registry.errors import Invalid
from snapfork.runner.registry.model import AsyncConfig, Dialect

LAMBDA_CONDITIONS = frozenset({"Success", "RetriesExhausted", "EventAgeExceeded"})
_STATUS = {"": 200, "throttled": 429, "unavailable": 503}
ERROR_LIMIT = 1024
"""Of the message that a dead-letter queue gets (Lambda's)."""


@dataclass(frozen=True)
class Ended:
    """An invocation at its end. result: None if it never ran. condition: see policy.retries.Decision.
    chain: of what follows it."""

    item: Item
    payload: bytes
    condition: str
    result: Result | None
    dialect: Dialect
    arn: str
    at: float
    chain: str = ""


def function_arn(dialect: Dialect, region: str, account: str, name: str, qualifier: str) -> str:
    """The function as its dialect writes it."""
    if dialect == "fc":
        return f"acs:fc:{region}:{account}:functions/{name}" + (f"/{qualifier}" if qualifier else "")
    return f"arn:aws:lambda:{region}:{account}:function:{name}:{qualifier or '$LATEST'}"


def deliveries(ended: Ended, config: AsyncConfig) -> list[Delivery]:
    """What each destination of the function gets of this end."""
    item = ended.item
    good = ended.condition == "Success"
    made: list[Delivery] = []

    def add(target: str, kind: str, body: bytes, attributes: tuple[tuple[str, str], ...] = ()) -> None:
        if ended.condition == chains.CONDITION and _leads_back(target, ended.chain):
            return
        made.append(
            Delivery(
                target,
                kind,
                item.function,
                item.request_id,
                body,
                ended.dialect,
                attributes,
                created=ended.at,
                chain=ended.chain,
            )
        )

    target = config.on_success if good else config.on_failure
    if target:
        record = json.dumps(record_of(ended), separators=(",", ":")).encode()
        add(target, "on_success" if good else "on_failure", record)
    if config.dead_letter and not good:
        add(config.dead_letter, "dead_letter", ended.payload, _attributes(ended))
    return made


def _leads_back(target: str, chain: str) -> bool:
    """Whether a destination is a function that this chain may not invoke any more either."""
    try:
        found = targets.parse(target)
    except Invalid:
        return False
    return found.kind == "function" and chains.is_loop(chain, found.name)


def record_of(ended: Ended) -> dict[str, Any]:
    """The record, as its dialect has it."""
    return _fc(ended) if ended.dialect == "fc" else _lambda(ended)


def _lambda(ended: Ended) -> dict[str, Any]:
    result = ended.result
    condition = ended.condition if ended.condition in LAMBDA_CONDITIONS else "RetriesExhausted"
    response: dict[str, Any] = {"statusCode": status_of(result)}
    if result is not None:
        response["executedVersion"] = "$LATEST" if result.version in ("", "LATEST") else result.version
        if result.error and result.error not in SYSTEM_ERRORS:
            response["functionError"] = "Handled" if result.error == "handled" else "Unhandled"
    return {
        "version": "1.0",
        "timestamp": timestamp(ended.at),
        "requestContext": {
            "requestId": ended.item.request_id,
            "functionArn": ended.arn,
            "condition": condition,
            "approximateInvokeCount": ended.item.attempts,
        },
        "requestPayload": _parsed(ended.payload),
        "responseContext": response,
        "responsePayload": None if result is None else _parsed(result.payload),
    }


def _fc(ended: Ended) -> dict[str, Any]:
    result = ended.result
    error = "" if result is None or not result.error or result.error in SYSTEM_ERRORS else _fc_error(result)
    good = ended.condition == "Success"
    return {
        "timestamp": timestamp(ended.at),
        "requestContext": {
            "requestId": ended.item.request_id,
            "functionArn": ended.arn,
            "condition": "" if good else error or ended.condition,
            "approximateInvokeCount": ended.item.attempts,
        },
        "requestPayload": ended.payload.decode("utf-8", "replace"),
        "responseContext": {"statusCode": status_of(result), "functionError": error},
        "responsePayload": "" if result is None else result.payload.decode("utf-8", "replace"),
    }


def _fc_error(result: Result) -> str:
    return "HandledInvocationError" if result.error == "handled" else "UnhandledInvocationError"


def status_of(result: Result | None) -> int:
    """The HTTP status that the invocation's API would have answered with; 500 where nothing ever ran."""
    return 500 if result is None else _STATUS.get(result.error, 200)


def error_text(result: Result | None, condition: str) -> str:
    """One line of what went wrong, for lists of tasks and dead letters."""
    if result is None:
        return chains.ERROR if condition == chains.CONDITION else condition
    told = _parsed(result.payload)
    if isinstance(told, dict) and isinstance(told.get("errorMessage"), str):
        kind = told.get("errorType")
        return f"{kind}: {told['errorMessage']}" if isinstance(kind, str) and kind else told["errorMessage"]
    return result.payload[:ERROR_LIMIT].decode("utf-8", "replace") or result.error


def _attributes(ended: Ended) -> tuple[tuple[str, str], ...]:
    """What goes beside the bare event into a dead-letter queue."""
    message = error_text(ended.result, ended.condition)[:ERROR_LIMIT]
    return (
        ("RequestID", ended.item.request_id),
        ("ErrorCode", str(status_of(ended.result))),
        ("ErrorMessage", message),
    )


def timestamp(at: float) -> str:
    """ISO 8601 in UTC with milliseconds."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(at))
    return f"{whole}.{int(at * 1000) % 1000:03d}Z"


def _parsed(payload: bytes) -> Any:
    """A payload inside JSON: as the value that it is, else as text."""
    try:
        return json.loads(payload) if payload else None
    except (ValueError, RecursionError):
        return payload.decode("utf-8", "replace")

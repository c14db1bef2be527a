"""Operations of the Lambda API on function URLs."""

from __future__ import annotations

from typing import Any

from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler, arn_of, paged
from snapfork.runner.faces.lambda_errors import LambdaError, gone
from snapfork.runner.faces.lambda_names import iso
from snapfork.runner.registry import errors
from snapfork.runner.registry.model import FunctionUrl


async def create(desk: Desk, call: Call) -> Answer:
    values = call.values
    try:
        made = await desk.operations.set_url(
            call.function,
            call.kept,
            values["AuthType"],
            values.get("Cors"),
            values.get("InvokeMode"),
            create=True,
        )
    except errors.AlreadyExists:
        arn = arn_of(desk, call.function, call.kept)
        raise LambdaError(
            "ResourceConflictException",
            f"Failed to create function url config for [functionArn = {arn}]. Error message:  "
            "FunctionUrlConfig "
            "exists for this Lambda function",
        ) from None
    view = _view(desk, made)
    del view["LastModifiedTime"]
    return view


async def update(desk: Desk, call: Call) -> Answer:
    values = call.values
    try:
        made = await desk.operations.set_url(
            call.function,
            call.kept,
            values.get("AuthType"),
            values.get("Cors"),
            values.get("InvokeMode"),
            create=False,
        )
    except errors.NotFound as error:
        raise _none(error) from None
    return _view(desk, made)


async def get(desk: Desk, call: Call) -> Answer:
    try:
        return _view(desk, desk.operations.get_url(call.function, call.kept))
    except errors.NotFound as error:
        raise _none(error) from None


async def delete(desk: Desk, call: Call) -> Answer:
    try:
        await desk.operations.delete_url(call.function, call.kept)
    except errors.NotFound as error:
        raise _none(error) from None
    return None


async def list_all(desk: Desk, call: Call) -> Answer:
    found, after = desk.operations.list_urls(call.function, call.start, call.limit)
    return paged("FunctionUrlConfigs", found, after, lambda one: _view(desk, one))


def _none(error: errors.NotFound) -> Exception:
    return gone() if error.kind == "url" else error


def _view(desk: Desk, url: FunctionUrl) -> dict[str, Any]:
    view: dict[str, Any] = {
        "FunctionUrl": desk.url_of(url),
        "FunctionArn": arn_of(desk, url.function, url.qualifier),
        "AuthType": url.auth,
        "CreationTime": iso(url.created),
        "LastModifiedTime": iso(url.modified),
        "InvokeMode": url.invoke_mode,
    }
    if url.cors:
        view["Cors"] = url.cors
    return view


HANDLERS: dict[str, Handler] = {
    "CreateFunctionUrlConfig": create,
    "UpdateFunctionUrlConfig": update,
    "GetFunctionUrlConfig": get,
    "DeleteFunctionUrlConfig": delete,
    "ListFunctionUrlConfigs": list_all,
}

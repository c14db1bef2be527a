"""Operations of the Lambda API on layers."""

from __future__ import annotations

from typing import Any

from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler, paged
from snapfork.runner.faces.lambda_errors import gone, invalid_value
from snapfork.runner.faces.lambda_functions import worded, zip_of
from snapfork.runner.faces.lambda_names import code_sha256, iso, layer_name, layer_version
from snapfork.runner.registry import errors
from snapfork.runner.registry.model import LayerVersion


async def publish(desk: Desk, call: Call) -> Answer:
    values = call.values
    content = zip_of(values["Content"], "Please provide a source for layer code.")
    try:
        made = await desk.operations.layer_publish(
            layer_name(values["LayerName"], desk.place),
            content,
            values.get("Description", ""),
            values.get("CompatibleRuntimes", ()),
            values.get("LicenseInfo", ""),
            dialect="lambda",
            architectures=values.get("CompatibleArchitectures", ()),
        )
    except errors.BadPackage as error:
        raise worded(desk, call, error) from None
    return _whole(desk, call, made)


async def get(desk: Desk, call: Call) -> Answer:
    return _whole(desk, call, _layer(desk, call))


async def get_by_arn(desk: Desk, call: Call) -> Answer:
    named = layer_version(call.values["Arn"])
    if named is None:
        raise invalid_value(f"{call.values['Arn']} is not the ARN of a layer version.")
    try:
        if desk.place.has_layer(call.values["Arn"]):
            return _whole(desk, call, desk.operations.layer_get(*named))
    except errors.NotFound:
        pass
    raise gone()


async def delete(desk: Desk, call: Call) -> Answer:
    """One that is gone is fine."""
    await desk.operations.layer_delete(
        layer_name(call.values["LayerName"], desk.place), call.values["VersionNumber"]
    )
    return None


async def list_layers(desk: Desk, call: Call) -> Answer:
    runtime = call.values.get("CompatibleRuntime", "")
    architecture = call.values.get("CompatibleArchitecture", "")
    found, after = desk.operations.layer_list("", runtime, None, call.start, call.limit, architecture)

    def view(layer: LayerVersion) -> dict[str, Any]:
        arn = desk.place.layer(layer.layer)
        return {"LayerName": layer.layer, "LayerArn": arn, "LatestMatchingVersion": _brief(desk, layer)}

    return paged("Layers", found, after, view)


async def list_versions(desk: Desk, call: Call) -> Answer:
    values = call.values
    found, after = desk.operations.layer_versions(
        layer_name(values["LayerName"], desk.place),
        values.get("CompatibleRuntime", ""),
        call.start,
        call.limit,
        values.get("CompatibleArchitecture", ""),
    )
    return paged("LayerVersions", found, after, lambda one: _brief(desk, one))


def _layer(desk: Desk, call: Call) -> LayerVersion:
    try:
        return desk.operations.layer_get(
            layer_name(call.values["LayerName"], desk.place), call.values["VersionNumber"]
        )
    except errors.NotFound:
        raise gone() from None


def _whole(desk: Desk, call: Call, layer: LayerVersion) -> dict[str, Any]:
    view = _brief(desk, layer)
    view["LayerArn"] = desk.place.layer(layer.layer)
    view["Content"] = {
        "Location": desk.download(f"layers/{layer.layer}/{layer.version}", call),
        "CodeSha256": code_sha256(layer.package),
        "CodeSize": layer.size,
    }
    return view


def _brief(desk: Desk, layer: LayerVersion) -> dict[str, Any]:
    view: dict[str, Any] = {
        "LayerVersionArn": f"{desk.place.layer(layer.layer)}:{layer.version}",
        "Version": layer.version,
        "Description": layer.description,
        "CreatedDate": iso(layer.created),
    }
    if layer.runtimes:
        view["CompatibleRuntimes"] = list(layer.runtimes)
    if layer.architectures:
        view["CompatibleArchitectures"] = list(layer.architectures)
    if layer.license:
        view["LicenseInfo"] = layer.license
    return view


HANDLERS: dict[str, Handler] = {
    "PublishLayerVersion": publish,
    "GetLayerVersion": get,
    "GetLayerVersionByArn": get_by_arn,
    "DeleteLayerVersion": delete,
    "ListLayers": list_layers,
    "ListLayerVersions": list_versions,
}

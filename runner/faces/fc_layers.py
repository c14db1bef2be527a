"""FC's operations on layers, tags and regions."""

from __future__ import annotations

from typing import Any

from snapfork.runner.faces import fc_views
from snapfork.runner.faces.fc_call import PAGE, Answer, Call, Desk, Handler, filtered, listed, zip_of
from snapfork.runner.faces.fc_errors import FcError, invalid, not_found
from snapfork.runner.faces.fc_functions import tags_of
from snapfork.runner.faces.fc_names import function_of, layer_of
from snapfork.runner.registry.errors import NotFound
from snapfork.runner.registry.model import LayerVersion

RESOURCE = "ALIYUN::FC::FUNCTION"
RESOURCE_TYPES = ("function", RESOURCE, RESOURCE.lower())


async def create_layer_version(desk: Desk, call: Call) -> Answer:
    members = call.body
    code = await zip_of(desk, members["code"], required=True)
    assert code is not None
    layer = await desk.operations.layer_publish(
        call.values["layer_name"],
        code,
        description=members.get("description", ""),
        runtimes=members["compatibleRuntime"],
        license=members.get("license", ""),
        dialect="fc",
    )
    return await _shown(desk, layer, call)


async def get_layer_version(desk: Desk, call: Call) -> Answer:
    return await _shown(desk, _layer(desk, call), call)


async def get_layer_version_by_arn(desk: Desk, call: Call) -> Answer:
    named = layer_of(call.values["arn"])
    if named is None:
        raise invalid(f"'{call.values['arn']}' is not the ARN of a layer version.")
    if not desk.place.has(call.values["arn"]):
        raise not_found("layer", call.values["arn"])
    return await _shown(desk, _existing(desk, *named), call)


async def delete_layer_version(desk: Desk, call: Call) -> Answer:
    layer = _layer(desk, call)
    await desk.operations.layer_delete(layer.layer, layer.version)
    return None


async def list_layers(desk: Desk, call: Call) -> Answer:
    values = call.values
    if values.get("official") == "true":
        return listed("layers", [], "")
    public = {"true": True, "false": False}.get(values.get("public", ""))
    found, after = desk.operations.layer_list(
        values.get("prefix", ""), public=public, start=call.start, limit=call.limit
    )
    return listed("layers", [await _shown(desk, one) for one in found], after)


async def list_layer_versions(desk: Desk, call: Call) -> Answer:
    """Newest first; startVersion and nextVersion are the first version of a page."""
    name, first = call.values["layer_name"], call.values.get("startVersion", 0)
    found, _ = filtered(
        lambda start, limit: desk.operations.layer_versions(name, start=start, limit=limit),
        lambda layer: not first or layer.version <= first,
        lambda layer: str(layer.version),
        "",
        call.limit + 1,
    )
    if not found and not desk.operations.layer_versions(name, limit=1)[0]:
        raise not_found("layer", name)
    envelope: dict[str, Any] = {"layers": [await _shown(desk, one) for one in found[: call.limit]]}
    if len(found) > call.limit:
        envelope["nextVersion"] = found[-1].version
    return envelope


async def put_layer_acl(desk: Desk, call: Call) -> Answer:
    name, values = call.values["layer_name"], call.values
    if "acl" not in values and "public" not in values:
        raise invalid("acl is required.")
    public = values["public"] == "true" if "public" in values else values["acl"] == "1"
    await desk.operations.layer_share(name, public)
    return None


def _layer(desk: Desk, call: Call) -> LayerVersion:
    text = call.values["version"]
    if not text.isascii() or not text.isdigit() or len(text) > 9:
        raise invalid(f"version '{text}' is not the number of a layer version.")
    return _existing(desk, call.values["layer_name"], int(text))


def _existing(desk: Desk, name: str, version: int) -> LayerVersion:
    try:
        return desk.operations.layer_get(name, version)
    except NotFound:
        if desk.operations.layer_versions(name, limit=1)[0]:
            raise not_found("layer version", str(version)) from None
        raise not_found("layer", name) from None


async def _shown(desk: Desk, layer: LayerVersion, call: Call | None = None) -> dict[str, Any]:
    checksum = await desk.checksum(
        layer.package, lambda: desk.operations.layer_code(layer.layer, layer.version)
    )
    location = desk.download(f"layers/{layer.layer}/{layer.version}", call) if call else ""
    return fc_views.layer(layer, checksum, location, desk.place)


async def tag_resources(desk: Desk, call: Call) -> Answer:
    members = call.body
    tags = tags_of(members["Tag"])
    names = _functions(desk, members["ResourceType"], members["ResourceId"])
    for name in names:
        await desk.operations.tag(name, tags)
    return None


async def untag_resources(desk: Desk, call: Call) -> Answer:
    values = call.values
    keys = values.get("TagKey") or []
    everything = values.get("All", False)
    if not keys and not everything:
        raise invalid("TagKey or All is required.")
    for name in _functions(desk, values["ResourceType"], values["ResourceId"]):
        await desk.operations.untag(name, None if everything else keys)
    return None


async def list_tag_resources(desk: Desk, call: Call) -> Answer:
    values = call.values
    wanted = values.get("Tag") or []
    if values.get("ResourceId"):
        names = sorted(set(_functions(desk, values["ResourceType"], values["ResourceId"])))
    else:
        names = _all_functions(desk, values["ResourceType"])
    rows = [
        {
            "ResourceId": desk.place.function(name),
            "ResourceType": RESOURCE,
            "TagKey": key,
            "TagValue": value,
        }
        for name in names
        if _has(tags := desk.operations.tags(name), wanted)
        for key, value in sorted(tags.items())
    ]
    limit, token = values.get("Limit", PAGE), values.get("NextToken", "")
    if token and not (token.isascii() and token.isdigit() and len(token) < 10):
        raise invalid("NextToken is not one that was given out.")
    first = int(token or 0)
    after = str(first + limit) if first + limit < len(rows) else ""
    chosen = rows[first : first + limit]
    return {"RequestId": call.request_id, **listed("TagResources", chosen, after, "NextToken")}


def _functions(desk: Desk, kind: str, ids: list[str]) -> list[str]:
    """The functions that resource ids name, by ARN or bare; all of them are there."""
    _check_type(kind)
    found = []
    for resource in ids:
        named = function_of(resource)
        name = named[0] if named else resource
        if not desk.place.has(resource):
            raise not_found("function", resource)
        if ":" in name:
            raise invalid(f"ResourceId '{resource}' is not the ARN of a function.")
        desk.operations.tags(name)  # raises where there is none
        found.append(name)
    return found


def _all_functions(desk: Desk, kind: str) -> list[str]:
    _check_type(kind)
    names, start = [], ""
    while True:
        found, start = desk.operations.list(start=start, limit=1000)
        names += [function.name for function, _ in found]
        if not start:
            return names


def _check_type(kind: str) -> None:
    if kind not in RESOURCE_TYPES:
        raise FcError(400, "InvalidArgument", f"ResourceType '{kind}' is not supported: only {RESOURCE} is.")


def _has(tags: dict[str, str], wanted: list[dict[str, str]]) -> bool:
    """Whether a function has every tag that is asked for; one without a value asks for the key alone."""
    return all(
        tag.get("Key", "") in tags and tag.get("Value") in (None, "", tags[tag.get("Key", "")])
        for tag in wanted
    )


async def describe_regions(desk: Desk, call: Call) -> Answer:
    return {"Regions": {"Region": [{"RegionId": desk.place.region, "LocalName": desk.place.region}]}}


HANDLERS: dict[str, Handler] = {
    "CreateLayerVersion": create_layer_version,
    "DeleteLayerVersion": delete_layer_version,
    "DescribeRegions": describe_regions,
    "GetLayerVersion": get_layer_version,
    "GetLayerVersionByArn": get_layer_version_by_arn,
    "ListLayerVersions": list_layer_versions,
    "ListLayers": list_layers,
    "ListTagResources": list_tag_resources,
    "PutLayerACL": put_layer_acl,
    "TagResources": tag_resources,
    "UntagResources": untag_resources,
}

"""FC's operations on functions, their code, versions and aliases."""

from __future__ import annotations

from typing import Any

from snapfork.runner.faces import fc_configuration, fc_views
from snapfork.runner.faces.fc_call import Answer, Call, Desk, Handler, filtered, listed, zip_of
from snapfork.runner.faces.fc_errors import FcError, invalid, not_found
from snapfork.runner.registry import names
from snapfork.runner.registry.errors import NotFound
from snapfork.runner.registry.model import Function, Version


async def create_function(desk: Desk, call: Call) -> Answer:
    members = call.body
    configuration = fc_configuration.created(members)
    check_layers(desk, members)
    code = await zip_of(desk, members.get("code"), required=True)
    assert code is not None
    tags = tags_of(members.get("tags") or [])
    name = members["functionName"]
    version = await desk.operations.create(name, configuration, code, "fc", tags=tags)
    return await shown(desk, desk.operations.get(name)[0], version)


async def get_function(desk: Desk, call: Call) -> Answer:
    function, version, _ = desk.operations.get(call.function, call.qualifier)
    return await shown(desk, function, version)


async def update_function(desk: Desk, call: Call) -> Answer:
    name, members = call.function, call.body
    function, latest, _ = desk.operations.get(name)
    fields = fc_configuration.changes(members, latest.configuration)
    check_layers(desk, members)
    code = await zip_of(desk, members.get("code"), required=False)
    version = await desk.operations.update(name, code, fields)
    return await shown(desk, function, version)


def check_layers(desk: Desk, members: dict[str, Any]) -> None:
    """Raise for a layer of another region or account, which is not here."""
    for arn in members.get("layers") or ():
        if not desk.place.has(arn):
            raise not_found("layer", arn)


async def delete_function(desk: Desk, call: Call) -> Answer:
    if desk.operations.trigger_list(call.function, limit=1)[0]:
        raise FcError(409, "FunctionNotEmpty", f"function '{call.function}' has triggers; delete them first")
    await desk.operations.delete(call.function)
    return None


async def list_functions(desk: Desk, call: Call) -> Answer:
    values = call.values
    wanted = tags_of(values.get("tags") or [])

    def keep(item: tuple[Function, Version]) -> bool:
        function, version = item
        return (
            values.get("functionName") in (None, "", function.name)
            and values.get("runtime") in (None, "", version.configuration.runtime)
            and (values.get("description") or "") in version.configuration.description
            and all(function.tags.get(key) == value for key, value in wanted.items())
        )

    if values.get("fcVersion") == "v2" or values.get("gpuType"):
        return listed("functions", [], "")
    prefix = values.get("prefix", "")
    chosen, after = filtered(
        lambda start, limit: desk.operations.list(prefix, start, limit),
        keep,
        lambda item: item[0].name,
        call.start,
        call.limit,
    )
    return listed("functions", [await shown(desk, *item) for item in chosen], after)


async def get_function_code(desk: Desk, call: Call) -> Answer:
    _, version, _ = desk.operations.get(call.function, call.qualifier)
    checksum = await code_checksum(desk, version)
    return {"checksum": checksum, "url": desk.download(f"functions/{call.function}/{version.version}", call)}


async def publish_version(desk: Desk, call: Call) -> Answer:
    return fc_views.version(await desk.operations.publish(call.function, call.body.get("description")))


async def list_versions(desk: Desk, call: Call) -> Answer:
    direction = call.values.get("direction", "BACKWARD")
    versions, after = desk.operations.versions(
        call.function, call.start, call.limit, latest=False, backward=direction == "BACKWARD"
    )
    return {"direction": direction, **listed("versions", [fc_views.version(one) for one in versions], after)}


async def delete_version(desk: Desk, call: Call) -> Answer:
    await desk.operations.delete(call.function, call.values["version_id"])
    return None


async def create_alias(desk: Desk, call: Call) -> Answer:
    members = call.body
    name, version = members["aliasName"], members["versionId"]
    if names.qualifier(name) == "":
        raise invalid(f"aliasName '{name}' is reserved.")
    weights = weights_of(members)
    return fc_views.alias(
        await desk.operations.alias_create(
            call.function, name, version, weights, members.get("description", "")
        )
    )


async def update_alias(desk: Desk, call: Call) -> Answer:
    members, name = call.body, call.values["alias_name"]
    return fc_views.alias(
        await desk.operations.alias_update(
            call.function,
            name,
            members.get("versionId"),
            weights_of(members),
            members.get("description"),
        )
    )


async def get_alias(desk: Desk, call: Call) -> Answer:
    return fc_views.alias(desk.operations.alias_get(call.function, call.values["alias_name"]))


async def list_aliases(desk: Desk, call: Call) -> Answer:
    aliases, after = desk.operations.alias_list(
        call.function, prefix=call.values.get("prefix", ""), start=call.start, limit=call.limit
    )
    return listed("aliases", [fc_views.alias(one) for one in aliases], after)


async def delete_alias(desk: Desk, call: Call) -> Answer:
    await desk.operations.alias_delete(call.function, call.values["alias_name"])
    return None


async def shown(desk: Desk, function: Function, version: Version) -> dict[str, Any]:
    """A version of a function as FC's Function."""
    layers = []
    for arn in version.configuration.layers:
        try:
            size = desk.operations.layer_get(*names.layer_of(arn)).size
        except NotFound:  # deleted since; the function keeps it
            size = 0
        layers.append({"arn": arn, "size": size})
    return fc_views.function(function, version, layers, await code_checksum(desk, version), desk.place)


async def code_checksum(desk: Desk, version: Version) -> str:
    """FC's checksum of a version's code."""
    return await desk.checksum(
        version.package, lambda: desk.operations.code(version.function, version.version)
    )


def tags_of(tags: list[dict[str, str]]) -> dict[str, str]:
    """FC's list of tags as a mapping. Raises FcError for a key that is named twice."""
    found: dict[str, str] = {}
    for tag in tags:
        if tag["Key"] in found:
            raise invalid(f"Tag key '{tag['Key']}' is given twice.")
        found[tag["Key"]] = tag.get("Value", "")
    return found


def weights_of(members: dict[str, Any]) -> dict[str, float] | None:
    """The canary's weight; None where nothing was said of it."""
    weights: dict[str, float] | None = members.get("additionalVersionWeight")
    if weights and len(weights) > 1:
        raise invalid("additionalVersionWeight must name one version at most.")
    return weights


HANDLERS: dict[str, Handler] = {
    "CreateAlias": create_alias,
    "CreateFunction": create_function,
    "DeleteAlias": delete_alias,
    "DeleteFunction": delete_function,
    "DeleteFunctionVersion": delete_version,
    "GetAlias": get_alias,
    "GetFunction": get_function,
    "GetFunctionCode": get_function_code,
    "ListAliases": list_aliases,
    "ListFunctionVersions": list_versions,
    "ListFunctions": list_functions,
    "PublishFunctionVersion": publish_version,
    "UpdateAlias": update_alias,
    "UpdateFunction": update_function,
}

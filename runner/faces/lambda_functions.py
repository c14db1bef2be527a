"""Operations of the Lambda API on functions and their code."""

from __future__ import annotations

from typing import Any

from snapfork.runner.faces import lambda_views as views
from snapfork.runner.faces.exchange import Reply
from snapfork.runner.faces.lambda_call import Answer, Call, Desk, Handler, paged, unqualified
from snapfork.runner.faces.lambda_errors import LambdaError, invalid_value
from snapfork.runner.faces.lambda_names import shown_version
from snapfork.runner.registry import errors
from snapfork.runner.registry.defaults import DEFAULTS
from snapfork.runner.registry.model import Configuration, Version

# Members of a configuration that are kept and given back; the runner has no use for them.
ECHOED = (
    "Role",
    "KMSKeyArn",
    "TracingConfig",
    "Architectures",
    "EphemeralStorage",
    "SnapStart",
    "LoggingConfig",
    "PackageType",
    "VpcConfig",
)
# Members that ask for what is not here. A value that asks for nothing is fine.
REFUSED = {
    "FileSystemConfigs": "file systems cannot be mounted",
    "ImageConfig": "container images are not run",
    "CodeSigningConfigArn": "code is not signed here",
    "CapacityProviderConfig": "there are no capacity providers",
    "DurableConfig": "there are no durable executions",
    "TenancyConfig": "tenants are not kept apart",
    "AcceleratorConfig": "there are no accelerators",
    "RuntimeConfig": "there are no custom runtimes",
    "PublishTo": "only numbered versions are published",
}
SETTINGS = {"Handler": "handler", "Runtime": "runtime", "Timeout": "timeout", "MemorySize": "memory"}


async def create(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    values = call.values
    package = zip_of(values["Code"], "Please provide a source for function code.")
    check_package_type(values)
    for member in ("Runtime", "Handler"):
        if member not in values:
            raise invalid_value(f"{member} is mandatory for functions created with deployment packages.")
    default = DEFAULTS["lambda"]
    check_layers(desk, values)
    configuration = Configuration(
        handler=values["Handler"],
        runtime=values["Runtime"],
        timeout=float(values.get("Timeout", default.timeout)),
        memory=values.get("MemorySize", default.memory),
        dialect="lambda",
        description=values.get("Description", ""),
        env=values.get("Environment", {}).get("Variables", {}),
        layers=tuple(values.get("Layers", ())),
        extra=echoed(values),
    )
    publish = values.get("Publish", False)
    try:
        made = await desk.operations.create(
            call.function, configuration, package, "lambda", publish, values.get("Tags")
        )
    except errors.AlreadyExists:
        raise LambdaError("ResourceConflictException", f"Function already exist: {call.function}") from None
    except errors.OperationError as error:
        raise worded(desk, call, error) from None
    return views.configuration(desk, made, published(made))


async def update_code(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    values = call.values
    refuse(values)
    package = zip_of(values, "Please provide a source for function code.")
    publish = values.get("Publish", False)
    dry_run = values.get("DryRun", False)
    try:
        if "Architectures" in values and not dry_run:
            made = await desk.operations.update(
                call.function,
                package,
                {"extra": {**_extra(desk, call), "Architectures": values["Architectures"]}},
                publish,
                call.revision,
            )
        else:
            made = await desk.operations.update_code(call.function, package, publish, call.revision, dry_run)
    except errors.OperationError as error:
        raise worded(desk, call, error) from None
    return views.configuration(desk, made, published(made))


async def update_configuration(desk: Desk, call: Call) -> Answer:
    unqualified(call)
    values = call.values
    changes: dict[str, Any] = {kept: values[member] for member, kept in SETTINGS.items() if member in values}
    if "timeout" in changes:
        changes["timeout"] = float(changes["timeout"])
    if "Description" in values:
        changes["description"] = values["Description"]
    if "Environment" in values:
        changes["env"] = values["Environment"].get("Variables", {})
    check_layers(desk, values)
    if "Layers" in values:
        changes["layers"] = tuple(values["Layers"])
    if extra := echoed(values):
        changes["extra"] = {**_extra(desk, call), **extra}
    try:
        made = await desk.operations.update_configuration(call.function, changes, call.revision)
    except errors.OperationError as error:
        raise worded(desk, call, error) from None
    return views.configuration(desk, made)


async def get(desk: Desk, call: Call) -> Answer:
    function, version, _ = desk.operations.get(call.function, call.kept)
    path = f"functions/{call.function}/{version.version}"
    answer: dict[str, Any] = {
        "Configuration": views.configuration(desk, version, call.qualifier),
        "Code": {"RepositoryType": "S3", "Location": desk.download(path, call)},
    }
    if function.tags:
        answer["Tags"] = function.tags
    if function.reserved is not None:
        answer["Concurrency"] = {"ReservedConcurrentExecutions": function.reserved}
    return answer


async def get_configuration(desk: Desk, call: Call) -> Answer:
    return views.configuration(desk, desk.operations.get(call.function, call.kept)[1], call.qualifier)


async def delete(desk: Desk, call: Call) -> Answer:
    if call.qualifier:
        if call.qualifier == "$LATEST":
            raise invalid_value("$LATEST version cannot be deleted without deleting the function.")
        if not call.qualifier.isdigit():
            raise invalid_value("Deletion of aliases is not currently supported.")
    try:
        await desk.operations.delete(call.function, call.kept)
    except errors.Conflict as error:
        raise LambdaError("ResourceConflictException", _in_use(desk, call, error)) from None
    return Reply(204)


async def list_all(desk: Desk, call: Call) -> Answer:
    if call.values.get("FunctionVersion") == "ALL":
        return _every_version(desk, call)
    found, after = desk.operations.list("", call.start, call.limit)
    return paged(
        "Functions", [latest for _, latest in found], after, lambda one: views.configuration(desk, one)
    )


def zip_of(code: dict[str, Any], nothing: str) -> bytes:
    """The zip among the members that say where code is. Raises LambdaError; `nothing` says that it is "
    "missing."""
    if "ImageUri" in code:
        raise invalid_value(
            "ImageUri is not supported by this runner: container images are not run; send ZipFile."
        )
    if "S3Bucket" in code or "S3Key" in code:
        raise invalid_value("S3Bucket is not supported by this runner: there is no S3 here; send ZipFile.")
    if "ZipFile" not in code:
        raise invalid_value(nothing)
    data: bytes = code["ZipFile"]
    if not data:
        raise invalid_value("Uploaded file must be a non-empty zip")
    return data


def check_package_type(values: dict[str, Any]) -> None:
    refuse(values)
    if values.get("PackageType", "Zip") != "Zip":
        raise invalid_value("PackageType Image is not supported by this runner; send a zip.")


def refuse(values: dict[str, Any]) -> None:
    """Raise for a member that asks for what this runner cannot do, rather than let it pass for done."""
    for member, why in REFUSED.items():
        if values.get(member):
            raise invalid_value(f"{member} is not supported by this runner: {why}.")
    if values.get("DeadLetterConfig", {}).get("TargetArn"):
        raise invalid_value(
            "DeadLetterConfig.TargetArn is not supported by this runner: there is no SQS and SNS here; "
            "failed events "
            "are kept in its dead-letter list and go to an on-failure destination."
        )
    vpc = values.get("VpcConfig", {})
    if vpc.get("SubnetIds") or vpc.get("SecurityGroupIds"):
        raise invalid_value(
            "VpcConfig is not supported by this runner: functions have this machine's network."
        )


def check_layers(desk: Desk, values: dict[str, Any]) -> None:
    """Raise for a layer of another region or account, which is not here."""
    for arn in values.get("Layers", ()):
        if not desk.place.has_layer(arn):
            raise invalid_value(f"Layer version {arn} does not exist.")


def echoed(values: dict[str, Any]) -> dict[str, Any]:
    """What is kept of a configuration besides what the registry has words for. Raises LambdaError."""
    refuse(values)
    return {name: values[name] for name in ECHOED if name in values}


def published(version: Version) -> str:
    """The qualifier in the ARN of what was just made: a published version says its number."""
    number = shown_version(version.version)
    return "" if number == "$LATEST" else number


def worded(desk: Desk, call: Call, error: errors.OperationError) -> Exception:
    """The service's own sentence where it has one; else the error as it is."""
    arn = desk.place.function(call.function)
    match error:
        case errors.NotFound(kind="layer"):
            return invalid_value(f"Layer version {error.name} does not exist.")
        case errors.BadPackage():
            return invalid_value(
                "Could not unzip uploaded file. Please check your file, then try to upload again. "
                f"{error.message}"
            )
        case errors.Conflict(kind="update"):
            return LambdaError(
                "ResourceConflictException",
                "The operation cannot be performed at this time. An update is in progress for resource: "
                f"{arn}",
            )
        case errors.Invalid(member="env", kind="reserved"):
            return invalid_value(
                "Lambda was unable to configure your environment variables because the environment "
                "variables you "
                f"have provided contains reserved keys that are currently not supported for modification. "
                f"{error.message}"
            )
    return error


def _extra(desk: Desk, call: Call) -> dict[str, Any]:
    return desk.operations.get(call.function)[1].configuration.extra


def _in_use(desk: Desk, call: Call, error: errors.Conflict) -> str:
    if error.kind == "alias":
        return f"Unable to delete version because the following aliases reference it: [{error.name}]"
    return error.message


def _every_version(desk: Desk, call: Call) -> Answer:
    """Functions with all their versions; the marker is NAME:VERSION of the last that was given."""
    begin, _, after_version = call.start.partition(":")
    everything: list[Version] = []
    more = ""
    while True:
        functions, more = desk.operations.list("", more, 100)
        for function, _latest in functions:
            if function.name >= begin:
                everything += desk.operations.versions(function.name, limit=1 << 30)[0]
        if not more:
            break
    keys = [f"{one.function}:{one.version}" for one in everything]
    at = keys.index(call.start) + 1 if after_version and call.start in keys else 0
    chosen = everything[at : at + call.limit]
    after = keys[at + call.limit - 1] if at + call.limit < len(everything) else ""
    return paged(
        "Functions", chosen, after, lambda one: views.configuration(desk, one, shown_version(one.version))
    )


HANDLERS: dict[str, Handler] = {
    "CreateFunction": create,
    "UpdateFunctionCode": update_code,
    "UpdateFunctionConfiguration": update_configuration,
    "GetFunction": get,
    "GetFunctionConfiguration": get_configuration,
    "DeleteFunction": delete,
    "ListFunctions": list_all,
}

"""The registry's records as members of Lambda's answers."""

from __future__ import annotations

import math
from typing import Any

from snapfork.runner.faces.lambda_call import Desk
from snapfork.runner.faces.lambda_names import code_sha256, iso, shown_version
from snapfork.runner.registry import errors, names
from snapfork.runner.registry.model import LATEST, Alias, Version

STATES = {"pending": "Pending", "active": "Active", "failed": "Failed"}
CREATING = "The function is being created."
UPDATES = {"pending": "InProgress", "active": "Successful", "failed": "Failed"}
REASONS = {
    "BuildFailed": "FunctionError",
    "StartFailed": "FunctionError.RuntimeInitError",
    "EnvironmentFailed": "FunctionError",
    "RuntimeMissing": "InvalidRuntime",
}
"""The registry's reason codes as StateReasonCode; all others are FunctionError too."""
PLAIN: dict[str, Any] = {
    "TracingConfig": {"Mode": "PassThrough"},
    "Architectures": ["x86_64"],
    "EphemeralStorage": {"Size": 512},
    "PackageType": "Zip",
}
"""What the service says where nobody said anything."""
KEPT = ("VpcConfig", "KMSKeyArn", "FileSystemConfigs")
"""Members that are given back only if they were given."""


def configuration(desk: Desk, version: Version, qualifier: str = "") -> dict[str, Any]:
    """FunctionConfiguration. qualifier: what the ARN ends with, as Lambda spells it."""
    kept = version.configuration
    extra = kept.extra
    code = REASONS.get(version.reason_code, "FunctionError")
    view: dict[str, Any] = {
        "FunctionName": version.function,
        "FunctionArn": desk.place.function(version.function, qualifier),
        "Runtime": kept.runtime,
        "Role": extra.get("Role", f"arn:aws:iam::{desk.place.account}:role/runner"),
        "Handler": kept.handler,
        "CodeSize": version.size,
        "Description": version.description,
        "Timeout": math.ceil(kept.timeout),
        "LastModified": iso(version.modified),
        "CodeSha256": code_sha256(version.package),
        "Version": shown_version(version.version),
        "RevisionId": version.revision,
        "State": STATES[version.state],
        "LastUpdateStatus": UPDATES[version.update_state],
        **{name: extra.get(name, value) for name, value in PLAIN.items()},
        "SnapStart": {
            "ApplyOn": extra.get("SnapStart", {}).get("ApplyOn", "None"),
            "OptimizationStatus": "On" if _snapped(version) else "Off",
        },
        "LoggingConfig": {
            "LogFormat": "Text",
            "LogGroup": f"/aws/lambda/{version.function}",
            **extra.get("LoggingConfig", {}),
        },
        **{name: extra[name] for name in KEPT if name in extra},
    }
    if kept.memory is not None:
        view["MemorySize"] = kept.memory
    if kept.env:
        view["Environment"] = {"Variables": kept.env}
    if kept.layers:
        view["Layers"] = [_layer(desk, arn) for arn in kept.layers]
    if version.state == "pending":
        view |= {"StateReason": CREATING, "StateReasonCode": "Creating"}
        view |= {"LastUpdateStatus": UPDATES["pending"]}
        if version.version == LATEST:
            del view["LastUpdateStatus"]  # a new function has had no update, and the waiter for one waits
    elif version.state == "failed":
        view |= {"StateReason": version.reason, "StateReasonCode": code}
    if view.get("LastUpdateStatus") == UPDATES["pending"]:
        view |= {"LastUpdateStatusReason": CREATING, "LastUpdateStatusReasonCode": "Creating"}
    if version.update_state == "failed":
        view |= {"LastUpdateStatusReason": version.reason, "LastUpdateStatusReasonCode": code}
    return view


def alias(desk: Desk, item: Alias) -> dict[str, Any]:
    """AliasConfiguration."""
    view: dict[str, Any] = {
        "AliasArn": desk.place.function(item.function, item.name),
        "Name": item.name,
        "FunctionVersion": shown_version(item.version),
        "Description": item.description,
        "RevisionId": item.revision,
    }
    if item.weights:
        view["RoutingConfig"] = {"AdditionalVersionWeights": item.weights}
    return view


def _snapped(version: Version) -> bool:
    """Published versions with SnapStart start from the snapshot that the runner keeps of them."""
    wanted = version.configuration.extra.get("SnapStart", {}).get("ApplyOn") == "PublishedVersions"
    return wanted and version.version != LATEST


def _layer(desk: Desk, arn: str) -> dict[str, Any]:
    name, version = names.layer_of(arn)
    try:
        size = desk.operations.layer_get(name, version).size
    except errors.NotFound:  # deleted since; the function keeps it
        size = 0
    return {"Arn": f"{desk.place.layer(name)}:{version}", "CodeSize": size}

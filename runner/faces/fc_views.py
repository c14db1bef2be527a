"""The registry's records as FC shows them."""

from __future__ import annotations

import uuid
from typing import Any

from snapfork.runner.faces import fc_configuration
from snapfork.runner.faces.fc_names import Place, iso
from snapfork.runner.registry.model import Alias, Function, LayerVersion, Version

_SPACE = uuid.UUID("5d1b7bd8-1c3f-4c0e-8f43-6d0d7f0c2a11")
"""In which functions' ids are made out of their names and birthdays."""
STATES = {"pending": "Pending", "active": "Active", "failed": "Failed"}
UPDATES = {"pending": "InProgress", "active": "Successful", "failed": "Failed"}


def function(
    function: Function, version: Version, layers: list[dict[str, Any]], checksum: str, place: Place
) -> dict[str, Any]:
    """FC's Function. layers: [{"arn", "size"}]; checksum: of its code."""
    members = {
        "functionName": function.name,
        "functionId": str(uuid.uuid5(_SPACE, f"{function.name} {function.created}")),
        "functionArn": place.function(function.name),
        "codeSize": version.size,
        "codeChecksum": checksum,
        "createdTime": iso(function.created),
        "lastModifiedTime": iso(version.modified),
        "layers": layers,
        "tags": tags(function.tags),
        "state": STATES[version.state],
        "lastUpdateStatus": UPDATES[version.update_state],
        **fc_configuration.members_of(version.configuration),
    }
    for failed, prefix in ((version.state, "state"), (version.update_state, "lastUpdateStatus")):
        if failed == "failed":
            members[f"{prefix}Reason"] = version.reason
            members[f"{prefix}ReasonCode"] = version.reason_code
    if function.disabled is not None:
        members["invocationRestriction"] = {"disable": True, "reason": function.disabled}
    return members


def version(version: Version) -> dict[str, Any]:
    """FC's Version."""
    return {
        "versionId": version.version,
        "description": version.description,
        "createdTime": iso(version.created),
        "lastModifiedTime": iso(version.modified),
    }


def alias(alias: Alias) -> dict[str, Any]:
    """FC's Alias."""
    return {
        "aliasName": alias.name,
        "versionId": alias.version,
        "additionalVersionWeight": dict(alias.weights),
        "description": alias.description,
        "createdTime": iso(alias.created),
        "lastModifiedTime": iso(alias.modified),
    }


def layer(layer: LayerVersion, checksum: str, location: str, place: Place) -> dict[str, Any]:
    """FC's Layer, which is one version of it. location: where its zip can be fetched, "" in lists."""
    members: dict[str, Any] = {
        "layerName": layer.layer,
        "version": layer.version,
        "layerVersionArn": place.layer(layer.layer, layer.version),
        "description": layer.description,
        "compatibleRuntime": list(layer.runtimes),
        "license": layer.license,
        "acl": "1" if layer.public else "0",
        "codeSize": layer.size,
        "codeChecksum": checksum,
        "createTime": iso(layer.created),
    }
    if location:
        members["code"] = {"location": location, "repositoryType": "RunnerStore"}
    return members


def tags(tags: dict[str, str]) -> list[dict[str, str]]:
    """Tags as FC's lists have them."""
    return [{"Key": key, "Value": value} for key, value in sorted(tags.items())]

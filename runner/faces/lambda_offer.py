"""Which operations of the Lambda API this runner offers, and why not the others: data for face and README."""

from __future__ import annotations

OFFERED: dict[str, str] = {
    # functions and code
    "CreateFunction": "Code as ZipFile; PackageType Zip; Python runtimes",
    "GetFunction": "Code.Location is a signed address of this runner, good for ten minutes",
    "GetFunctionConfiguration": "",
    "ListFunctions": "",
    "UpdateFunctionCode": "Code as ZipFile",
    "UpdateFunctionConfiguration": "",
    "DeleteFunction": "",
    # versions and aliases
    "PublishVersion": "",
    "ListVersionsByFunction": "",
    "CreateAlias": "one additional version by weight",
    "GetAlias": "",
    "UpdateAlias": "",
    "DeleteAlias": "",
    "ListAliases": "",
    # invocation
    "Invoke": "RequestResponse, Event, DryRun; 6 MB, 1 MB for Event",
    "InvokeAsync": "",
    "InvokeWithResponseStream": "",
    "PutFunctionEventInvokeConfig": "destinations: a function, an http(s) address, a file of JSON lines",
    "UpdateFunctionEventInvokeConfig": "",
    "GetFunctionEventInvokeConfig": "",
    "DeleteFunctionEventInvokeConfig": "",
    "ListFunctionEventInvokeConfigs": "",
    # concurrency
    "PutFunctionConcurrency": "0 stops the function",
    "GetFunctionConcurrency": "",
    "DeleteFunctionConcurrency": "",
    "PutProvisionedConcurrencyConfig": "",
    "GetProvisionedConcurrencyConfig": "",
    "DeleteProvisionedConcurrencyConfig": "",
    "ListProvisionedConcurrencyConfigs": "",
    # function URLs
    "CreateFunctionUrlConfig": "",
    "GetFunctionUrlConfig": "",
    "UpdateFunctionUrlConfig": "",
    "DeleteFunctionUrlConfig": "",
    "ListFunctionUrlConfigs": "",
    # layers
    "PublishLayerVersion": "Content as ZipFile",
    "GetLayerVersion": "",
    "GetLayerVersionByArn": "",
    "DeleteLayerVersion": "",
    "ListLayers": "",
    "ListLayerVersions": "",
    "AddLayerVersionPermission": "kept and given back; keys decide who may do what",
    "GetLayerVersionPolicy": "",
    "RemoveLayerVersionPermission": "",
    # permissions
    "AddPermission": "kept and given back; keys decide who may do what",
    "GetPolicy": "",
    "RemovePermission": "",
    # the rest
    "TagResource": "functions",
    "UntagResource": "functions",
    "ListTags": "functions",
    "GetAccountSettings": "",
    "GetFunctionRecursionConfig": "chains of destinations and boto3 calls end at a function's 17th turn",
    "PutFunctionRecursionConfig": "",
    "GetRuntimeManagementConfig": "kept and given back; the runtime is this machine's Python",
    "PutRuntimeManagementConfig": "",
    "GetFunctionCodeSigningConfig": "always none",
    # a watched directory is an event source of the runner's own: see lambda_sources.py
    "CreateEventSourceMapping": "EventSourceArn of a directory bucket only: arn:aws:s3:::NAME",
    "GetEventSourceMapping": "",
    "UpdateEventSourceMapping": "",
    "DeleteEventSourceMapping": "",
    "ListEventSourceMappings": "",
}
"""Operation -> what is special about it here, "" for nothing."""

_SIGNING = "code is not signed here: keys decide who deploys"
_DURABLE = "durable executions keep their state in AWS"
_CAPACITY = "capacity providers manage EC2 instances"
_RESOURCE_POLICY = "of AWS accounts; permissions of functions: AddPermission"
NOT_OFFERED: dict[str, str] = {
    **{name + "CodeSigningConfig": _SIGNING for name in ("Create", "Delete", "Get", "Update")},
    "ListCodeSigningConfigs": _SIGNING,
    "ListFunctionsByCodeSigningConfig": _SIGNING,
    "DeleteFunctionCodeSigningConfig": _SIGNING,
    "PutFunctionCodeSigningConfig": _SIGNING,
    "CheckpointDurableExecution": _DURABLE,
    "DeleteDurableExecution": _DURABLE,
    "GetDurableExecution": _DURABLE,
    "GetDurableExecutionHistory": _DURABLE,
    "GetDurableExecutionState": _DURABLE,
    "ListDurableExecutionsByFunction": _DURABLE,
    "PauseDurableExecution": _DURABLE,
    "ResumeDurableExecution": _DURABLE,
    "SendDurableExecutionCallbackFailure": _DURABLE,
    "SendDurableExecutionCallbackHeartbeat": _DURABLE,
    "SendDurableExecutionCallbackSuccess": _DURABLE,
    "StopDurableExecution": _DURABLE,
    **{name + "CapacityProvider": _CAPACITY for name in ("Create", "Delete", "Get", "Update")},
    "ListCapacityProviders": _CAPACITY,
    "ListFunctionVersionsByCapacityProvider": _CAPACITY,
    "GetFunctionScalingConfig": _CAPACITY,
    "PutFunctionScalingConfig": _CAPACITY,
    **{name + "ResourcePolicy": _RESOURCE_POLICY for name in ("Delete", "Get", "Put")},
}
"""Operation -> why it is not there."""


def rows() -> list[tuple[str, bool, str]]:
    """(operation, whether it is offered, a remark), by name: the table of runner/README.md."""
    both = [(name, True, remark) for name, remark in OFFERED.items()]
    both += [(name, False, remark) for name, remark in NOT_OFFERED.items()]
    return sorted(both)

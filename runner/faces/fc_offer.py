"""Which operations of FC's API this runner offers, and why not the others: data for face and README."""

from __future__ import annotations

OFFERED: dict[str, str] = {
    # functions, code, versions, aliases
    "CreateFunction": "code.zipFile; runtimes python3.* (handlers) and custom* (web apps)",
    "GetFunction": "",
    "UpdateFunction": "",
    "DeleteFunction": "",
    "ListFunctions": "",
    "GetFunctionCode": "url is a signed address of this runner, good for ten minutes",
    "PublishFunctionVersion": "",
    "ListFunctionVersions": "",
    "DeleteFunctionVersion": "",
    "CreateAlias": "one additional version by weight",
    "GetAlias": "",
    "UpdateAlias": "",
    "DeleteAlias": "",
    "ListAliases": "",
    # invocation
    "InvokeFunction": "Sync (32 MB) and Async (128 KB), x-fc-async-delay, X-Fc-Async-Task-Id, log tail",
    "PutAsyncInvokeConfig": "destinations: a function, an http(s) address, a file of JSON lines",
    "GetAsyncInvokeConfig": "",
    "DeleteAsyncInvokeConfig": "",
    "ListAsyncInvokeConfigs": "",
    "ListAsyncTasks": "",
    "GetAsyncTask": "",
    "StopAsyncTask": "a task that runs ends with its instance; one that shares it goes on unseen",
    "DisableFunctionInvocation": "requests in progress are finished",
    "EnableFunctionInvocation": "",
    "ListInstances": "those that are there now",
    # concurrency and provisioned instances
    "PutConcurrencyConfig": "0 stops the function",
    "GetConcurrencyConfig": "",
    "DeleteConcurrencyConfig": "",
    "ListConcurrencyConfigs": "",
    "PutProvisionConfig": "scheduled actions, target tracking of concurrency and CPU",
    "GetProvisionConfig": "",
    "DeleteProvisionConfig": "",
    "ListProvisionConfigs": "",
    "PutScalingConfig": "the same record as the provision config, in the newer spelling",
    "GetScalingConfig": "",
    "DeleteScalingConfig": "",
    "ListScalingConfigs": "",
    # triggers and domains
    "CreateTrigger": "http, timer, oss (a watched directory)",
    "GetTrigger": "",
    "UpdateTrigger": "",
    "DeleteTrigger": "",
    "ListTriggers": "",
    "CreateCustomDomain": "routes without rewriting; TLS ends in a proxy in front",
    "GetCustomDomain": "",
    "UpdateCustomDomain": "",
    "DeleteCustomDomain": "",
    "ListCustomDomains": "",
    # layers, tags, regions
    "CreateLayerVersion": "code.zipFile",
    "GetLayerVersion": "",
    "GetLayerVersionByArn": "",
    "DeleteLayerVersion": "",
    "ListLayers": "",
    "ListLayerVersions": "",
    "PutLayerACL": "kept and given back; keys decide who may do what",
    "TagResources": "functions",
    "UntagResources": "functions",
    "ListTagResources": "functions",
    "DescribeRegions": "this runner's own",
}
"""Operation -> what is special about it here, "" for nothing."""

_SESSIONS = "sessions bind a client to an instance; instances here are interchangeable"
_SNAPSHOTS = "snapshots of a session's sandbox; snapfork makes its own of initialised apps"
_VPC = "there is no VPC on one machine"
NOT_OFFERED: dict[str, str] = {
    **{name + "Session": _SESSIONS for name in ("Create", "Delete", "Get", "Pause", "Resume", "Update")},
    "ListSessions": _SESSIONS,
    **{name + "Snapshot": _SNAPSHOTS for name in ("Create", "Delete", "Get")},
    "ListSnapshots": _SNAPSHOTS,
    **{name + "VpcBinding": _VPC for name in ("Create", "Delete")},
    "ListVpcBindings": _VPC,
    "ChangeResourceGroup": "there are no resource groups",
}
"""Operation -> why it is not there."""


def rows() -> list[tuple[str, bool, str]]:
    """(operation, whether it is offered, a remark), by name: the table of runner/README.md."""
    both = [(name, True, remark) for name, remark in OFFERED.items()]
    both += [(name, False, remark) for name, remark in NOT_OFFERED.items()]
    return sorted(both)

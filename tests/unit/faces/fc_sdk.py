"""Reads the FC 3.0 API out of its real SDK: operations from the client's calls, members from the models.

`python tests/unit/faces/fc_sdk.py` writes runner/faces/fc_api.json anew. Shapes are laid down as botocore's
service models lay them down. The SDK's comments say "This parameter is required." and many ranges; what they
leave out or say differently is in LIMITS, each with where it is written.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import alibabacloud_fc20230330 as sdk

DATA = Path(__file__).resolve().parents[3] / "runner" / "faces" / "fc_api.json"
PACKAGE = Path(sdk.__file__).parent
SCALARS = {"str": "string", "int": "integer", "float": "double", "bool": "boolean", "Any": "document"}
NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
LONG_NAME = r"[A-Za-z_][A-Za-z0-9_-]{0,127}"

# (model or operation, member) -> facets. The comment names the page of the vendor's documentation, or the
# tool, where the limit stands; None takes away what the SDK's comment says.
LIMITS: dict[tuple[str, str], dict[str, Any]] = {
    # "Limits on resources": names, 1 to 64 characters, not beginning with a digit or a hyphen.
    ("CreateFunctionInput", "functionName"): {"pattern": NAME, "min": 1, "max": 64},
    # "Limits on resources": timeout 1 to 86,400 s, memory 128 to 32,768 MB in steps of 64, five layers.
    ("*FunctionInput", "timeout"): {"min": 1, "max": 86400},
    ("*FunctionInput", "memorySize"): {"min": 128, "max": 32768, "multiple": 64},
    ("*FunctionInput", "layers"): {"max": 5},
    # SDK, CreateFunctionInput.cpu and .diskSize; for UpdateFunctionInput the comment is shorter.
    ("*FunctionInput", "cpu"): {"min": 0.05, "max": 16, "multiple": 0.05},
    ("*FunctionInput", "diskSize"): {"enum": [512, 10240]},
    # "Configure instance concurrency": 1 to 200.
    ("*FunctionInput", "instanceConcurrency"): {"min": 1, "max": 200},
    # SDK, comment of the member, as prose.
    ("*FunctionInput", "disableInjectCredentials"): {"enum": ["None", "Env", "Request", "All"]},
    # The resource quotas of tags: 20 on a resource.
    ("CreateFunctionInput", "tags"): {"max": 20},
    ("TagResourcesInput", "Tag"): {"min": 1, "max": 20},
    ("TagResourcesInput", "ResourceId"): {"min": 1, "max": 50},
    ("TagResourcesInput", "ResourceType"): {"required": True},
    ("UntagResources", "ResourceId"): {"min": 1, "max": 50},
    ("UntagResources", "ResourceType"): {"required": True},
    ("Tag", "Key"): {"required": True, "min": 1, "max": 128},
    ("Tag", "Value"): {"max": 128},
    # "Asynchronous invocation": 0 to 8 retries. Ages: the SDK says 604,800 s, the schema of the vendor's own
    # deployment tool (Serverless Devs, component fc3) 2,592,000; the larger is accepted.
    ("PutAsyncInvokeConfigInput", "maxAsyncRetryAttempts"): {"min": 0, "max": 8},
    ("PutAsyncInvokeConfigInput", "maxAsyncEventAgeInSeconds"): {"min": 1, "max": 2592000},
    # SDK: "This parameter is no longer recommended. Use the defaultTarget parameter instead."
    ("PutProvisionConfigInput", "target"): {"required": None, "min": 0, "max": 10000},
    ("PutProvisionConfigInput", "defaultTarget"): {"min": 0, "max": 10000},
    ("ScheduledAction", "target"): {"min": 0, "max": 10000},
    ("TargetTrackingPolicy", "minCapacity"): {"min": 0, "max": 10000},
    ("TargetTrackingPolicy", "maxCapacity"): {"min": 1, "max": 10000},
    ("TargetTrackingPolicy", "metricTarget"): {"min": 0, "max": 1},
    ("TargetTrackingPolicy", "metricType"): {
        "enum": ["ProvisionedConcurrencyUtilization", "CPUUtilization", "GPUMemUtilization"]
    },
    ("PutScalingConfigInput", "minInstances"): {"min": 0, "max": 10000},
    ("ScheduledPolicy", "name"): {"required": True},
    ("ScheduledPolicy", "scheduleExpression"): {"required": True},
    ("ScheduledPolicy", "target"): {"required": True, "min": 0, "max": 10000},
    ("ScalingPolicy", "name"): {"required": True},
    ("ScalingPolicy", "metricType"): {
        "required": True,
        "enum": ["ProvisionedConcurrencyUtilization", "CPUUtilization", "GPUMemUtilization"],
    },
    ("ScalingPolicy", "metricTarget"): {"required": True, "min": 0, "max": 1},
    ("ScalingPolicy", "minInstances"): {"required": True, "min": 0, "max": 10000},
    ("ScalingPolicy", "maxInstances"): {"required": True, "min": 1, "max": 10000},
    # 0 stops a function; no upper bound is documented beyond the account's instances.
    ("PutConcurrencyInput", "reservedConcurrency"): {"min": 0, "max": 2147483647},
    # "Configure lifecycle hooks": initializer 1 to 300 s; pre-stop, 1 to 90 s, is checked by the face.
    ("LifecycleHook", "timeout"): {"min": 1, "max": 300},
    # "Manage aliases"; weights 0 to 1.
    ("CreateAliasInput", "aliasName"): {"pattern": LONG_NAME, "min": 1, "max": 128},
    ("*AliasInput", "additionalVersionWeight"): {"value": {"min": 0, "max": 1}},
    # "Trigger names": SDK, comment of the member.
    ("CreateTriggerInput", "triggerName"): {"pattern": LONG_NAME, "min": 1, "max": 128},
    ("CreateTriggerInput", "triggerType"): {
        "enum": ["oss", "log", "timer", "http", "tablestore", "cdn_events", "mns_topic", "eventbridge"]
    },
    # The trigger configurations' pages: what each kind needs.
    ("TimerTriggerConfig", "cronExpression"): {"required": True, "min": 1},
    ("HTTPTriggerConfig", "authType"): {"enum": ["anonymous", "function", "jwt"]},
    ("HTTPTriggerConfig", "methods"): {
        "member": {"enum": ["GET", "POST", "PUT", "DELETE", "HEAD", "PATCH", "OPTIONS"]}
    },
    ("OSSTriggerConfig", "events"): {"required": True, "min": 1},
    # "Configure custom domain names".
    ("*CustomDomainInput", "protocol"): {"enum": ["HTTP", "HTTPS", "HTTP,HTTPS"]},
    ("CreateCustomDomainInput", "domainName"): {"min": 1, "max": 255},
    # Layer names follow the rule of function names.
    ("CreateLayerVersion", "layer_name"): {"pattern": NAME, "min": 1, "max": 64},
    ("PutLayerACL", "acl"): {"enum": ["0", "1"]},
    ("PutLayerACL", "public"): {"enum": ["true", "false"]},
    ("InputCodeLocation", "zipFile"): {"type": "blob"},  # the comment: in Base64
    ("CreateLayerVersionInput", "code"): {"required": True},
    ("CreateLayerVersionInput", "compatibleRuntime"): {"required": True, "min": 1},
    # SDK, comments as prose; the invocation's headers.
    ("InvokeFunction", "x-fc-invocation-type"): {"enum": ["Sync", "Async"]},
    ("InvokeFunction", "x-fc-log-type"): {"enum": ["None", "Tail"]},
    ("InvokeFunction", "x-fc-async-task-id"): {"pattern": LONG_NAME, "min": 1, "max": 128},
    ("ListAsyncTasks", "sortOrderByTime"): {"enum": ["asc", "desc"]},
    ("ListAsyncTasks", "status"): {
        "enum": [
            "Enqueued",
            "Dequeued",
            "Running",
            "Retrying",
            "Succeeded",
            "Failed",
            "Expired",
            "Stopping",
            "Stopped",
            "Invalid",
        ]
    },
    ("ListFunctionVersions", "direction"): {"enum": ["BACKWARD", "FORWARD"]},
    ("ListFunctions", "fcVersion"): {"enum": ["v2", "v3"]},
    # Where the SDK gives no limit for a page, the one of ListFunctions.
    ("List*", "limit"): {"min": 1, "max": 100},
    ("ListTagResources", "Limit"): {"min": 1, "max": 100},
    ("ListTagResources", "Tag"): {"max": 20},
}

# Query members that the client sends as text and the service reads as numbers.
NUMBERS = {("ListInstances", "limit"), ("ListLayerVersions", "startVersion")}

TRIGGER_CONFIGS = ("HTTPTriggerConfig", "OSSTriggerConfig", "TimerTriggerConfig")

RANGES = (
    r"[Vv]alid values: \[(?P<low>[\d.]+), ?(?P<high>[\d.]+)\]",
    r"range of \[(?P<low>[\d.]+), ?(?P<high>[\d.]+)\]",
    r"[Vv]alid values: (?P<low>[\d.]+) to (?P<high>[\d.]*\d)",
    r"[Mm]inimum value(?: is|:) (?P<low>[\d.]*\d)[^.]*?[,.] "
    r"(?:the |and the )?[Mm]aximum value(?: is|:) (?P<high>[\d.]*\d)",
)


def models() -> dict[str, dict[str, tuple[str, str, str]]]:
    """Every model class: its members' wire name -> (type, comment, Python name)."""
    found: dict[str, dict[str, tuple[str, str, str]]] = {}
    for path in sorted((PACKAGE / "models").glob("_*.py")):
        source = path.read_text(encoding="utf-8")
        for node in ast.parse(source).body:
            if isinstance(node, ast.ClassDef):
                found[node.name] = _members(node, source.splitlines())
    return found


def _members(model: ast.ClassDef, lines: list[str]) -> dict[str, tuple[str, str, str]]:
    methods = {item.name: item for item in model.body if isinstance(item, ast.FunctionDef)}
    wire = {}
    for condition in (node for node in ast.walk(methods["from_map"]) if isinstance(node, ast.If)):
        name = re.fullmatch(r"m\.get\('(.+)'\) is not None", ast.unparse(condition.test))
        for target in ast.walk(condition):
            if name and isinstance(target, ast.Attribute) and ast.unparse(target.value) == "self":
                wire[target.attr] = name[1]
    comments = dict(_comments(lines[methods["__init__"].lineno : methods["__init__"].end_lineno]))
    arguments = {
        arg.arg: ast.unparse(arg.annotation) for arg in methods["__init__"].args.args if arg.annotation
    }
    return {
        wire[name]: (kind, comments.get(name, ""), name) for name, kind in arguments.items() if name in wire
    }


def _comments(lines: list[str]) -> Iterator[tuple[str, str]]:
    comment: list[str] = []
    for line in (line.strip() for line in lines):
        if line.startswith("#"):
            comment.append(line[1:].strip())
        elif line.startswith("self."):
            yield line[5:].partition(" ")[0], " ".join(comment)
            comment = []


def facets(comment: str) -> dict[str, Any]:
    """What a comment says in figures: required, min, max."""
    said: dict[str, Any] = {}
    if "This parameter is required." in comment:
        said["required"] = True
    for pattern in RANGES:
        if match := re.search(pattern, comment):
            said["min"], said["max"] = (json.loads(match[side]) for side in ("low", "high"))
            break
    return said


def limits(owner: str, member: str) -> dict[str, Any]:
    """What LIMITS says of a member of a model, or of a query, path or header member of an operation."""
    found: dict[str, Any] = {}
    for key, extra in LIMITS.items():
        if key[1] == member and concerns(key, owner):
            found |= extra
    return found


def concerns(key: tuple[str, str], owner: str) -> bool:
    """Whether an entry of LIMITS is about this model or operation: * stands for any letters."""
    return re.fullmatch(key[0].replace("*", r"\w*"), owner) is not None


class Api:
    """Collects the shapes that the operations reach."""

    def __init__(self) -> None:
        self.models = models()
        self.shapes: dict[str, Any] = {}

    def reference(self, kind: str, extra: dict[str, Any]) -> dict[str, Any]:
        """The shape for a Python annotation, with a member's facets on it."""
        kind = kind.removeprefix("main_models.")
        extra = {key: value for key, value in extra.items() if key != "required"}
        if kind.startswith("List["):
            member = extra.pop("member", {})
            return {"type": "list", "member": self.reference(kind[5:-1], member), **extra}
        if kind.startswith("Dict["):
            value = extra.pop("value", {})
            return {"type": "map", "value": self.reference(kind[5:-1].partition(", ")[2], value), **extra}
        if kind in SCALARS:
            return {"type": SCALARS[kind], **extra}
        if kind not in self.shapes:
            self.shapes[kind] = {}  # a model may hold itself
            self.shapes[kind] = self.structure(kind, kind)
        return {"shape": kind, **extra}

    def structure(self, model: str, owner: str) -> dict[str, Any]:
        members, required = {}, []
        for name, (kind, comment, _) in self.models[model].items():
            said = facets(comment) | limits(owner, name)
            members[name] = self.reference(kind, said)
            if said.get("required"):
                required.append(name)
        return {"type": "structure", "required": required, "members": members}

    def operation(self, method: ast.FunctionDef) -> tuple[str, dict[str, Any]]:
        text = ast.unparse(method)
        (action,), (verb,), (path,), (answer,) = (
            re.findall(pattern, text)
            for pattern in (
                r"action='(\w+)'",
                r" method='(\w+)'",
                r"pathname=f?'([^']+)'",
                r" body_type='(\w+)'",
            )
        )
        path = re.sub(r"\{DaraURL\.percent_encode\((\w+)\)\}", r"{\1}", path)
        members: dict[str, Any] = {}
        for name in re.findall(r"\{(\w+)\}", path):
            members[name] = {"type": "string", "location": "uri", **limits(action, name)}
        required = list(members)
        request = re.search(r"(?:request|tmp_req): main_models\.(\w+)", text)
        fields = self.models[request[1]] if request else {}
        sent = set(re.findall(r"query\['([^']+)'\]", text))
        body = set(re.findall(r"body\['([^']+)'\]", text))
        for name, (kind, comment, _) in fields.items():
            said = facets(comment) | limits(action, name)
            if name == "body" and "request.body" in text:
                shape = {"type": "blob"} if answer == "binary" else self.reference(kind, {})
                members["body"] = {**shape, "location": "payload"}
                continue
            kind = "int" if (action, name) in NUMBERS else kind
            place = "querystring" if name in sent else "body"
            assert name in sent | body, (action, name)
            members[name] = {**self.reference(kind, said), "location": place}
            if said.get("required"):
                required.append(name)
        if headers := re.search(r"headers: main_models\.(\w+)", text):
            for name, (kind, _, _) in self.models[headers[1]].items():
                if name != "commonHeaders":
                    members[name] = {**self.reference(kind, limits(action, name)), "location": "header"}
        return action, {
            "method": verb,
            "path": path,
            "answer": answer,
            "required": required,
            "members": members,
        }


def build() -> dict[str, Any]:
    """The whole data file."""
    api = Api()
    (client,) = (
        node
        for node in ast.parse((PACKAGE / "client.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    )
    methods = (item for item in client.body if isinstance(item, ast.FunctionDef))
    operations = dict(api.operation(item) for item in methods if item.name.endswith("with_options"))
    for config in TRIGGER_CONFIGS:  # travel as JSON inside a string
        api.reference(config, {})
    return {
        "client": f"alibabacloud_fc20230330 {metadata.version('alibabacloud_fc20230330')}",
        "operations": dict(sorted(operations.items())),
        "shapes": dict(sorted(api.shapes.items())),
    }


def render(data: dict[str, Any]) -> str:
    """JSON with one operation or shape a line, so that a change of the SDK is a readable diff."""
    parts = [f'"client": {json.dumps(data["client"])}']
    for part in ("operations", "shapes"):
        rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in data[part].items())
        parts.append(f'"{part}": {{\n{rows}\n}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


if __name__ == "__main__":
    DATA.write_text(render(build()), encoding="utf-8")

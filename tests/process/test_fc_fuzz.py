"""Whatever is sent to the FC face, the answer is the operation's or FC's error body, and never a 500."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from alibabacloud_fc20230330 import models as m
from face_fuzz import METHODS, PATHS, Inputs, answered
from fc_served import CODE, Served, code, create, served
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapfork.runner.faces import fc_offer
from snapfork.runner.faces.model import Api

pytestmark = pytest.mark.once

API = Api.load("fc_api.json", json_lists=True)
TIMER = '{"cronExpression": "@every 5m"}'
CLASHES = '{"authType": "anonymous", "events": ["oss:ObjectCreated:*"], "directory": "/tmp"}'
# What members of these names are mostly given, so that requests get past the first check.
LIKELY: dict[str, list[Any]] = {
    "DeleteFunction.function_name": ["other"],
    "function_name": ["there"] * 6 + ["other", "nobody"],
    "functionName": ["new", "there", "other"],
    "alias_name": ["prod", "canary"],
    "aliasName": ["canary", "prod", "LATEST"],
    "qualifier": ["", "LATEST", "1", "prod", "canary", "7"],
    "version_id": ["1", "2", "LATEST"],
    "versionId": ["1", "2", "LATEST"],
    "trigger_name": ["timer", "http"],
    "triggerName": ["timer", "http", "oss"],
    "triggerType": ["timer", "http", "oss", "log"],
    "triggerConfig": [TIMER, CLASHES, "{", "[]"],
    "sourceArn": ["file:///tmp", "acs:oss:x:1:pictures", ""],
    "domain_name": ["a.example.com"],
    "domainName": ["a.example.com", "b.example.com"],
    "path": ["/*", "/api/*", "/login"],
    "layer_name": ["base"],
    "version": ["1", "2", "one"],
    "arn": ["acs:fc:x:1:layers/base/versions/1", "nonsense"],
    "task_id": ["task", "other"],
    "x-fc-async-task-id": ["task", "other", "a b"],
    "handler": ["index.handler", "index.other", ""],
    "runtime": ["python3", "custom", "nodejs20"],
    "code": [{"zipFile": base64.b64encode(CODE).decode()}] * 3 + [{"ossBucketName": "b"}, {}],
    "Tag": [[{"Key": "a", "Value": "1"}], [{"Value": "1"}], []],
    "zipFile": [base64.b64encode(CODE).decode(), "UEsFBgAAAAAAAAAAAAAAAAAAAAAAAA==", "", "%%%"],
    "command": [["gunicorn", "app:app"], ["python3"]],
    "layers": [["acs:fc:x:1:layers/base/versions/1"], ["nonsense"]],
    "scheduleExpression": ["cron(0 0 20 * * *)", "at(2099-01-01T00:00:00)", "cron(0 0 31 2 * *)", "cron()"],
    "startTime": ["2024-01-01T00:00:00Z", "2024-01-01T00:00:00", "soon", "0001-01-01T00:00:00Z"],
    "endTime": ["2099-01-01T00:00:00Z", "9999-12-31T23:59:59", "late"],
    "timeZone": ["Asia/Shanghai", "", "../../etc/passwd", "UTC"],
    "destination": ["acs:fc:x:1:functions/other", "http://127.0.0.1:9/", "file:///x.jsonl", "nowhere"],
    "additionalVersionWeight": [{}, {"2": 0.5}, {"1": 1}, {"LATEST": 0.1}],
    "ResourceId": [["acs:fc:x:1:functions/there"], ["there", "nobody"], []],
    "ResourceType": ["function", "ALIYUN::FC::FUNCTION", "service"],
    "TagKey": [["a"], []],
    "nextToken": ["", "there", "1", "zzz"],
    "NextToken": ["", "1", "zzz"],
}


INPUTS = Inputs(API, sorted(fc_offer.OFFERED), LIKELY, ("code", "defaultTarget"))


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("fc") / "data", signed=False) as one:
        client = one.client()
        for name in ("there", "other"):
            create(client, name)
        client.publish_function_version(
            "there", m.PublishFunctionVersionRequest(body=m.PublishVersionInput())
        )
        alias = m.CreateAliasInput(alias_name="prod", version_id="1")
        client.create_alias("there", m.CreateAliasRequest(body=alias))
        layer = m.CreateLayerVersionInput(code=code(), compatible_runtime=["python3"])
        client.create_layer_version("base", m.CreateLayerVersionRequest(body=layer))
        yield one


def asked(face: Served, method: str, target: str, body: bytes, headers: dict[str, str]) -> None:
    """Send it and hold the answer to the contract."""
    status, told, content = answered(face.port, method, target, body, headers)
    assert status in (200, 202, 204, 400, 403, 404, 409, 412, 429), (status, content)
    assert told["x-fc-request-id"]
    if status >= 400:
        said = json.loads(content)
        assert set(said) == {"Code", "Message", "RequestId"}
        assert said["Code"] and said["Message"] and said["RequestId"] == told["x-fc-request-id"]
    elif status in (202, 204):
        assert content == b""
    elif "/invocations" not in target:
        assert isinstance(json.loads(content), dict)


@settings(max_examples=600, suppress_health_check=list(HealthCheck))
@given(request=INPUTS.requests())
def test_any_input_of_any_operation(face: Served, request: tuple[str, str, bytes, dict[str, str]]) -> None:
    asked(face, *request)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(
    method=METHODS,
    path=PATHS,
    body=st.binary(max_size=50),
)
def test_any_path(face: Served, method: str, path: str, body: bytes) -> None:
    asked(face, method, f"/2023-03-30/{path}", body, {})


@pytest.mark.parametrize("operation", sorted(API.operations))
def test_every_operation_answers_an_empty_request(face: Served, operation: str) -> None:
    one = API.operations[operation]
    path = one.path.replace("{function_name}", "there")
    for member in one.members.values():
        path = path.replace(f"{{{member.name}}}", "nothing")
    if operation not in ("DeleteFunction",):
        asked(face, one.method, path, b"", {})

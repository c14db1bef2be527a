"""Whatever is sent to the FC face, the answer is the operation's or FC's error body, and never a 500."""

from __future__ import annotations

import base64
import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from alibabacloud_fc20230330 import models as m
from fc_served import CODE, Served, code, create, served
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from snapfork.runner.faces import fc_offer
from snapfork.runner.faces.model import Api, Operation
from snapfork.runner.faces.shapes import Shape

API = Api.load("fc_api.json", json_lists=True)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
TIMER = '{"cronExpression": "@every 5m"}'
CLASHES = '{"authType": "anonymous", "events": ["oss:ObjectCreated:*"], "directory": "/tmp"}'
# What members of these names are mostly given, so that requests get past the first check.
LIKELY: dict[str, list[Any]] = {
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


def tame(shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
    """Values that a shape mostly takes."""
    if depth > 5:
        return st.none()
    match shape.type:
        case "structure":
            return _structure(shape, depth)
        case "list":
            assert shape.member is not None
            return st.lists(tame(shape.member, depth + 1), max_size=2)
        case "map":
            assert shape.value is not None
            return st.dictionaries(st.text(max_size=10), tame(shape.value, depth + 1), max_size=2)
        case "boolean":
            return st.booleans()
        case "integer" | "double":
            step, low, high = shape.multiple or 1, shape.min or 0, min(shape.max or 100, 2**40)
            near = st.integers(0, 20).map(lambda number: low + number * step)
            return near | st.sampled_from([low, high, low - 1, high + 1])
    return st.sampled_from(shape.enum) if shape.enum else st.text(max_size=20)


def member_of(name: str, shape: Shape, depth: int) -> st.SearchStrategy[Any]:
    """Values of a member: mostly likely ones, now and then anything."""
    usual = st.sampled_from(LIKELY[name]) if name in LIKELY else tame(shape, depth)
    return st.integers(0, 19).flatmap(lambda dice: JSON if dice == 0 else usual)


@st.composite
def _structure(draw: st.DrawFn, shape: Shape, depth: int) -> dict[str, Any]:
    """What is required, and up to three other members."""
    optional = [name for name in shape.members if name not in shape.required]
    more = draw(st.lists(st.sampled_from(optional), max_size=3, unique=True)) if optional else []
    wanted = [*shape.required, *more, *(name for name in ("code", "defaultTarget") if name in optional)]
    return {name: draw(member_of(name, shape.members[name].shape, depth + 1)) for name in wanted}


@st.composite
def requests(draw: st.DrawFn) -> tuple[str, str, bytes, dict[str, str]]:
    """(method, target, body, headers) for some operation that is offered, mostly."""
    operation: Operation = API.operations[draw(st.sampled_from(sorted(fc_offer.OFFERED)))]
    path, query, headers, body = operation.path, {}, {}, b""
    fields: dict[str, Any] = {}
    for member in operation.members.values():
        wanted = member.name in operation.required or draw(st.booleans())
        if member.location == "uri":
            likely = ["other"] if operation.name == "DeleteFunction" else LIKELY[member.name]
            value = draw(st.sampled_from(likely * 3 + ["a/b", "\N{SNOWMAN}", "%", " "]))
            path = path.replace(f"{{{member.name}}}", quote(value, safe=""))
        elif member.location == "payload":
            body = draw(_payload(member.shape))
        elif wanted:
            given_value = draw(member_of(member.name, member.shape, 0))
            text = given_value if isinstance(given_value, str) else json.dumps(given_value)
            if member.location == "querystring":
                query[member.wire] = text.encode("utf-8", "surrogatepass")
            elif member.location == "header":
                headers[member.wire] = quote(text, safe=" ")
            else:
                fields[member.wire] = given_value
    if fields:
        body = _dumped(fields)
    return operation.method, path + ("?" + urlencode(query) if query else ""), body, headers


def _payload(shape: Shape) -> st.SearchStrategy[bytes]:
    if shape.type == "blob":
        return st.binary(max_size=100)
    wild = st.binary(max_size=60) | JSON.map(_dumped)
    return st.integers(0, 9).flatmap(lambda dice: wild if dice == 0 else tame(shape).map(_dumped))


def _dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def asked(face: Served, method: str, target: str, body: bytes, headers: dict[str, str]) -> None:
    """Send it and hold the answer to the contract."""
    connection = http.client.HTTPConnection("127.0.0.1", face.port, timeout=30)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        content = answer.read()
    finally:
        connection.close()
    assert answer.status in (200, 202, 204, 400, 403, 404, 409, 412, 429), (answer.status, content)
    assert answer.getheader("x-fc-request-id")
    if answer.status >= 400:
        said = json.loads(content)
        assert set(said) == {"Code", "Message", "RequestId"}
        assert said["Code"] and said["Message"] and said["RequestId"] == answer.getheader("x-fc-request-id")
    elif answer.status in (202, 204):
        assert content == b""
    elif "/invocations" not in target:
        assert isinstance(json.loads(content), dict)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(request=requests())
def test_any_input_of_any_operation(face: Served, request: tuple[str, str, bytes, dict[str, str]]) -> None:
    asked(face, *request)


PATHS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), min_size=0, max_size=40
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"]),
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

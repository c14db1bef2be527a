"""Whatever is sent to the Lambda face, the answer is the operation's or an error of Lambda's; never a 500."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest
from face_fuzz import METHODS, PATHS, Inputs, Request, answered
from fc_served import Served
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lambda_served import ACCOUNT, ARN, CODE, OTHER, REGION, ROLE, client, create, served
from snapfork.runner.faces.lambda_errors import COMMON
from snapfork.runner.faces.lambda_offer import OFFERED
from snapfork.runner.faces.model import Api

pytestmark = pytest.mark.once

API = Api.load("lambda_api.json")
LAYER = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:base"
ZIPS = [base64.b64encode(CODE).decode(), base64.b64encode(OTHER).decode(), "", "%%%", "UEsFBgAAAAAAAA=="]
STATEMENT = '{"s3":{"object":{"key":[{"prefix":"a"}]}}}'
LIKELY: dict[str, list[Any]] = {
    "FunctionName": [
        "there",
        "there:1",
        "there:prod",
        f"{ARN}there",
        f"{ACCOUNT}:function:there:$LATEST",
        "other",
    ]
    + ["nobody"],
    "DeleteFunction.FunctionName": ["other", "new"],
    "Qualifier": ["1", "prod", "$LATEST", "7", "2"],
    "Name": ["prod", "canary", "LATEST"],
    "FunctionVersion": ["1", "2", "$LATEST", "ALL"],
    "RoutingConfig": [{}, {"AdditionalVersionWeights": {"2": 0.5}}, {"AdditionalVersionWeights": {"1": 1}}],
    "Runtime": ["python3.12", "python3.13", "nodejs20.x", "ruby3.3"],
    "Handler": ["main.handler", "x"],
    "Role": [ROLE],
    "Code": [{"ZipFile": ZIPS[0]}] * 3 + [{"S3Bucket": "bucket", "S3Key": "k"}, {}],
    "Content": [{"ZipFile": ZIPS[0]}, {}],
    "ZipFile": ZIPS,
    "Environment": [{"Variables": {"AA": "1"}}, {"Variables": {"AWS_REGION": "x"}}, {}],
    "Layers": [[f"{LAYER}:1"], [f"{LAYER}:9"], [], [f"{LAYER}:1"] * 6],
    "LayerName": ["base", LAYER, "nothing"],
    "VersionNumber": ["1", "2", "x", "-1", "99999999999999999999"],
    "Arn": [f"{LAYER}:1", f"{LAYER}:7", LAYER],
    "Resource": [f"{ARN}there", f"{ARN}there:1", f"{ARN}nobody"],
    "Tags": [{"a": "b"}, {}, {"aws:x": "y"}],
    "TagKeys": ["a", "b"],
    "StatementId": ["one", "two"],
    "Action": ["lambda:InvokeFunction", "lambda:GetLayerVersion"],
    "Principal": ["s3.amazonaws.com", "*", ACCOUNT],
    "UUID": ["5d0a3c1e-6f0f-4f5e-9a55-6d1f0c1c7b1e", "x"],
    "EventSourceArn": ["arn:aws:s3:::/tmp", "arn:aws:s3:::bucket", f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"],
    "Pattern": [STATEMENT, "{", "[]", '{"s3": {"object": {"key": [{"prefix": 1}]}}}'],
    "Destination": [
        f"{ARN}there",
        "http://127.0.0.1:9/",
        "file:///x.jsonl",
        f"arn:aws:sqs:{REGION}:{ACCOUNT}:q",
    ],
    "RevisionId": ["00000000-0000-0000-0000-000000000000"],
    "CodeSha256": ["x", ""],
    "Marker": ["there", "zzz", "1", "there:1"],
    "ClientContext": [base64.b64encode(b"{}").decode(), "%"],
}
INPUTS = Inputs(API, sorted(OFFERED), LIKELY, ("Runtime", "Handler", "ZipFile", "EventSourceArn"))
ERRORS = set(API.data["errors"]) | set(COMMON)


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("lambda") / "data", signed=False) as one:
        boto = client(one.port)
        for name in ("there", "other"):
            create(boto, name, Publish=True)
        boto.create_alias(FunctionName="there", Name="prod", FunctionVersion="1")
        boto.publish_layer_version(LayerName="base", Content={"ZipFile": CODE})
        yield one


def asked(face: Served, method: str, target: str, body: bytes, headers: dict[str, str]) -> None:
    """Send it and hold the answer to the contract."""
    status, told, content = answered(face.port, method, target, body, headers)
    assert told["x-amzn-requestid"]
    if status < 400:
        assert status in (200, 201, 202, 204), (status, content)
        if status == 204:
            assert content == b""
        elif "invocations" not in target:
            assert isinstance(json.loads(content), dict)
        return
    assert status in (400, 403, 404, 409, 412, 413, 429), (status, content)
    assert told["x-amzn-errortype"] in ERRORS
    said = json.loads(content)
    assert said.get("message") or said.get("Message")


@settings(max_examples=600, suppress_health_check=list(HealthCheck))
@given(request=INPUTS.requests())
def test_any_input_of_any_operation(face: Served, request: Request) -> None:
    asked(face, *request)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(method=METHODS, day=st.sampled_from(sorted(API.prefixes)), path=PATHS, body=st.binary(max_size=50))
def test_any_path(face: Served, method: str, day: bytes, path: str, body: bytes) -> None:
    asked(face, method, f"/{day.decode()}/{path}", body, {})


@pytest.mark.parametrize("operation", sorted(API.operations))
def test_every_operation_answers_an_empty_request(face: Served, operation: str) -> None:
    one = API.operations[operation]
    path = one.path.replace("{FunctionName}", "there")
    for member in one.members.values():
        path = path.replace(f"{{{member.wire}}}", "nothing")
    query = "&".join(f"{key}={value}" for key, value in one.literal)
    if operation != "DeleteFunction":
        asked(face, one.method, f"{path}?{query}" if query else path, b"", {})

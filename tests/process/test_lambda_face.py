"""The Lambda face through boto3, unmodified, for every operation that it offers."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.request
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fc_served import INVOKER, LIMITED, Served, zipped
from lambda_served import ACCOUNT, ARN, CODE, OTHER, REGION, ROLE, client, create, error_of, served
from snapfork.runner.invocations.model import Result
from snapfork.runner.registry.model import Key


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("lambda") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def boto(face: Served) -> Any:
    return client(face.port)


@pytest.fixture
def name() -> str:
    return f"f-{uuid.uuid4().hex[:10]}"


def sha(code: bytes) -> str:
    return base64.b64encode(hashlib.sha256(code).digest()).decode()


# Functions and code


def test_create_with_the_service_s_defaults(boto: Any, name: str) -> None:
    made = create(boto, name)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 201
    assert made["FunctionArn"] == ARN + name
    assert (made["Timeout"], made["MemorySize"], made["Version"]) == (3, 128, "$LATEST")
    assert made["CodeSha256"] == sha(CODE) and made["CodeSize"] == len(CODE)
    assert (made["State"], made.get("LastUpdateStatus")) in (("Pending", None), ("Active", "Successful"))
    assert made["Role"] == ROLE and made["PackageType"] == "Zip" and made["Architectures"] == ["x86_64"]
    for waiter in ("function_exists", "function_active_v2", "function_active", "function_updated_v2"):
        boto.get_waiter(waiter).wait(FunctionName=name, WaiterConfig={"Delay": 0, "MaxAttempts": 1})


def test_create_with_everything_and_read_back(boto: Any, name: str) -> None:
    more = {
        "Timeout": 900,
        "MemorySize": 1024,
        "Description": "what it does",
        "Environment": {"Variables": {"AA": "1", "BB": "ü"}},
        "Tags": {"team": "a", "ünicode key": "v"},
        "EphemeralStorage": {"Size": 1024},
        "TracingConfig": {"Mode": "Active"},
        "Architectures": ["arm64"],
        "SnapStart": {"ApplyOn": "PublishedVersions"},
        "LoggingConfig": {"LogFormat": "JSON"},
        "Publish": True,
    }
    made = create(boto, name, **more)
    assert made["Version"] == "1" and made["FunctionArn"] == f"{ARN}{name}:1"
    assert made["SnapStart"] == {"ApplyOn": "PublishedVersions", "OptimizationStatus": "On"}
    boto.get_waiter("published_version_active").wait(
        FunctionName=name, Qualifier="1", WaiterConfig={"Delay": 0, "MaxAttempts": 1}
    )
    whole = boto.get_function(FunctionName=name)
    there = whole["Configuration"]
    for member in (
        "Timeout",
        "MemorySize",
        "Description",
        "Environment",
        "EphemeralStorage",
        "TracingConfig",
    ):
        assert there[member] == more[member]
    assert there["Architectures"] == ["arm64"] and there["LoggingConfig"]["LogFormat"] == "JSON"
    assert whole["Tags"] == more["Tags"] and "Concurrency" not in whole
    alone = boto.get_function_configuration(FunctionName=name)
    assert {key: value for key, value in alone.items() if key != "ResponseMetadata"} == there


@pytest.mark.parametrize(
    "spelled",
    [
        "{name}",
        "{account}:function:{name}",
        "{arn}{name}",
        "function:{name}",
    ],
)
@pytest.mark.parametrize("in_name", [True, False])
def test_every_spelling_of_a_function(boto: Any, name: str, spelled: str, in_name: bool) -> None:
    create(boto, name, Publish=True)
    text = spelled.format(name=name, account=ACCOUNT, arn=ARN)
    for qualifier, version in (("1", "1"), ("$LATEST", "$LATEST")):
        if in_name:
            got = boto.get_function_configuration(FunctionName=f"{text}:{qualifier}")
        else:
            got = boto.get_function_configuration(FunctionName=text, Qualifier=qualifier)
        assert got["Version"] == version and got["FunctionArn"] == f"{ARN}{name}:{qualifier}"
        same = boto.get_function_configuration(FunctionName=f"{text}:{qualifier}", Qualifier=qualifier)
        assert same["Version"] == version
    assert error_of(boto.get_function, FunctionName=f"{text}:1", Qualifier="2") == (
        400,
        "InvalidParameterValueException",
        "The derived qualifier from the function name does not match the specified qualifier.",
    )


def test_code_is_downloaded_from_its_location(face: Served, boto: Any, name: str) -> None:
    create(boto, name)
    location = boto.get_function(FunctionName=name)["Code"]["Location"]
    for _ in range(2):  # an address may be used again
        with urllib.request.urlopen(location) as answer:
            assert answer.read() == CODE and answer.headers["content-type"] == "application/zip"
    for wrong in (
        location.replace(name, "other"),
        location.replace("X-Amz-Expires=600", "X-Amz-Expires=601"),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(wrong)
        assert refused.value.code == 403
    with pytest.raises(urllib.error.HTTPError) as unsigned:
        urllib.request.urlopen(location.partition("?")[0])
    assert unsigned.value.code == 403


def test_update_code(boto: Any, name: str) -> None:
    before = create(boto, name)
    dry = boto.update_function_code(FunctionName=name, ZipFile=OTHER, DryRun=True)
    assert dry["CodeSha256"] == sha(OTHER)
    assert boto.get_function_configuration(FunctionName=name)["CodeSha256"] == sha(CODE)
    after = boto.update_function_code(FunctionName=name, ZipFile=OTHER, RevisionId=before["RevisionId"])
    assert after["CodeSha256"] == sha(OTHER) and after["RevisionId"] != before["RevisionId"]
    assert error_of(
        boto.update_function_code, FunctionName=name, ZipFile=CODE, RevisionId=before["RevisionId"]
    )[:2] == (412, "PreconditionFailedException")
    published = boto.update_function_code(
        FunctionName=name, ZipFile=CODE, Publish=True, Architectures=["x86_64"]
    )
    assert published["Version"] == "1" and published["FunctionArn"].endswith(":1")


def test_update_configuration_changes_only_what_is_said(boto: Any, name: str) -> None:
    create(boto, name, Timeout=10, Environment={"Variables": {"AA": "1"}})
    after = boto.update_function_configuration(FunctionName=name, MemorySize=256, Description="new")
    assert (after["Timeout"], after["MemorySize"], after["Description"]) == (10, 256, "new")
    assert after["Environment"] == {"Variables": {"AA": "1"}}
    cleared = boto.update_function_configuration(FunctionName=name, Environment={"Variables": {}})
    assert "Environment" not in cleared
    assert error_of(
        boto.update_function_configuration, FunctionName=name, RevisionId="0" * 8, MemorySize=128
    )[:2] == (412, "PreconditionFailedException")


def test_list_functions_by_pages(boto: Any, name: str) -> None:
    names = sorted(f"{name}-{number}" for number in range(5))
    for one in names:
        create(boto, one)
    pages = boto.get_paginator("list_functions").paginate(PaginationConfig={"PageSize": 2})
    found = [one["FunctionName"] for page in pages for one in page["Functions"]]
    assert [one for one in found if one.startswith(name)] == names and found == sorted(set(found))
    boto.publish_version(FunctionName=names[0])
    pages = boto.get_paginator("list_functions").paginate(
        FunctionVersion="ALL", PaginationConfig={"PageSize": 3}
    )
    versions = [(one["FunctionName"], one["Version"]) for page in pages for one in page["Functions"]]
    assert (names[0], "$LATEST") in versions and (names[0], "1") in versions
    assert len(versions) == len(set(versions))


def test_delete(boto: Any, name: str) -> None:
    create(boto, name, Publish=True)
    boto.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    assert error_of(boto.delete_function, FunctionName=name, Qualifier="1") == (
        409,
        "ResourceConflictException",
        "Unable to delete version because the following aliases reference it: [live]",
    )
    assert (
        error_of(boto.delete_function, FunctionName=name, Qualifier="live")[1]
        == "InvalidParameterValueException"
    )
    assert (
        error_of(boto.delete_function, FunctionName=f"{name}:$LATEST")[1] == "InvalidParameterValueException"
    )
    boto.delete_alias(FunctionName=name, Name="live")
    assert boto.delete_function(FunctionName=name, Qualifier="1")["StatusCode"] == 204
    assert boto.delete_function(FunctionName=name)["StatusCode"] == 204
    assert error_of(boto.delete_function, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}{name}",
    )
    with pytest.raises(boto.exceptions.ResourceNotFoundException):
        boto.get_function(FunctionName=name)


# Versions and aliases


def test_versions(boto: Any, name: str) -> None:
    create(boto, name)
    first = boto.publish_version(FunctionName=name, Description="one", CodeSha256=sha(CODE))
    assert (first["Version"], first["Description"], first["FunctionArn"]) == ("1", "one", f"{ARN}{name}:1")
    assert boto.publish_version(FunctionName=name)["Version"] == "1", "nothing has changed"
    boto.update_function_code(FunctionName=name, ZipFile=OTHER)
    assert boto.publish_version(FunctionName=name)["Version"] == "2"
    status, code, message = error_of(boto.publish_version, FunctionName=name, CodeSha256=sha(CODE))
    assert (status, code) == (400, "InvalidParameterValueException") and "CodeSHA256" in message
    pages = boto.get_paginator("list_versions_by_function").paginate(
        FunctionName=name, PaginationConfig={"PageSize": 1}
    )
    assert [one["Version"] for page in pages for one in page["Versions"]] == ["$LATEST", "1", "2"]


def test_aliases(boto: Any, name: str) -> None:
    create(boto, name, Publish=True)
    boto.update_function_code(FunctionName=name, ZipFile=OTHER, Publish=True)
    made = boto.create_alias(
        FunctionName=name,
        Name="live",
        FunctionVersion="1",
        Description="d",
        RoutingConfig={"AdditionalVersionWeights": {"2": 0.1}},
    )
    assert made["AliasArn"] == f"{ARN}{name}:live" and made["FunctionVersion"] == "1"
    assert made["RoutingConfig"] == {"AdditionalVersionWeights": {"2": 0.1}}
    assert error_of(boto.create_alias, FunctionName=name, Name="live", FunctionVersion="1") == (
        409,
        "ResourceConflictException",
        f"Alias already exists: {ARN}{name}:live",
    )
    got = boto.get_alias(FunctionName=name, Name="live")
    assert got["RevisionId"] == made["RevisionId"] and got["Description"] == "d"
    assert boto.get_function_configuration(FunctionName=name, Qualifier="live")["Version"] == "1"
    moved = boto.update_alias(
        FunctionName=name,
        Name="live",
        FunctionVersion="2",
        RoutingConfig={"AdditionalVersionWeights": {}},
        RevisionId=got["RevisionId"],
    )
    assert moved["FunctionVersion"] == "2" and "RoutingConfig" not in moved and moved["Description"] == "d"
    assert error_of(boto.update_alias, FunctionName=name, Name="live", RevisionId="x" * 8)[1] == (
        "PreconditionFailedException"
    )
    boto.create_alias(FunctionName=name, Name="next", FunctionVersion="$LATEST")
    pages = boto.get_paginator("list_aliases").paginate(FunctionName=name, PaginationConfig={"PageSize": 1})
    assert [one["Name"] for page in pages for one in page["Aliases"]] == ["live", "next"]
    only = boto.list_aliases(FunctionName=name, FunctionVersion="2")["Aliases"]
    assert [one["Name"] for one in only] == ["live"]
    boto.delete_alias(FunctionName=name, Name="live")
    boto.delete_alias(FunctionName=name, Name="live")
    assert error_of(boto.get_alias, FunctionName=name, Name="live") == (
        404,
        "ResourceNotFoundException",
        f"Cannot find alias arn: {ARN}{name}:live",
    )
    assert error_of(boto.create_alias, FunctionName=name, Name="x", FunctionVersion="7") == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}{name}:7",
    )


# Invocation


def test_invoke(face: Served, boto: Any, name: str) -> None:
    create(boto, name, Publish=True)
    answer = boto.invoke(FunctionName=name, Payload=b'{"a": 1}')
    assert answer["StatusCode"] == 200 and json.load(answer["Payload"]) == {"a": 1}
    assert answer["ExecutedVersion"] == "$LATEST"
    assert "FunctionError" not in answer and "LogResult" not in answer
    ran = face.invoker.ran[-1]
    assert ran.id == answer["ResponseMetadata"]["RequestId"]
    assert (ran.function, ran.qualifier, ran.dialect, ran.trigger) == (name, "", "lambda", "api")
    assert json.load(boto.invoke(FunctionName=name)["Payload"]) == {}, "no payload is an empty object"
    tailed = boto.invoke(FunctionName=f"{name}:1", LogType="Tail")
    assert base64.b64decode(tailed["LogResult"]) == b"a line\n" and tailed["ExecutedVersion"] == "1"
    context = base64.b64encode(b'{"client": {}}').decode()
    boto.invoke(FunctionName=name, ClientContext=context)
    assert face.invoker.ran[-1].client_context == context


@pytest.mark.parametrize(
    ("kind", "shown"),
    [
        ("unhandled", "Unhandled"),
        ("handled", "Handled"),
        ("timeout", "Unhandled"),
        ("out_of_memory", "Unhandled"),
    ],
)
def test_invoke_function_errors(face: Served, boto: Any, name: str, kind: Any, shown: str) -> None:
    create(boto, name)
    body = json.dumps({"errorMessage": "no", "errorType": "ValueError"}).encode()
    face.invoker.what[name] = lambda _one: Result(body, kind)
    answer = boto.invoke(FunctionName=name)
    assert (answer["StatusCode"], answer["FunctionError"]) == (200, shown)
    assert json.load(answer["Payload"])["errorType"] == "ValueError"


def test_invoke_that_cannot_be(face: Served, boto: Any, name: str) -> None:
    assert error_of(boto.invoke, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        f"Function not found: {ARN}{name}",
    )
    create(boto, name)
    assert error_of(boto.invoke, FunctionName=name, Qualifier="9")[2] == f"Function not found: {ARN}{name}:9"
    assert (
        error_of(boto.invoke, FunctionName=name, Qualifier="no")[2] == f"Function not found: {ARN}{name}:no"
    )
    status, code, message = error_of(boto.invoke, FunctionName=name, Payload=b"{no")
    assert (status, code) == (400, "InvalidRequestContentException")
    assert message.startswith("Could not parse request body into json: ")
    with pytest.raises(boto.exceptions.InvalidRequestContentException):
        boto.invoke(FunctionName=name, Payload=b"[" * 100_000)
    for context in (
        "!",
        base64.b64encode(b"[]").decode(),
        base64.b64encode(b'{"a":"%s"}' % (b"x" * 3000)).decode(),
    ):
        with pytest.raises(boto.exceptions.InvalidRequestContentException):
            boto.invoke(FunctionName=name, ClientContext=context)
    face.invoker.what[name] = lambda _one: Result(b"", "unavailable")
    assert error_of(boto.invoke, FunctionName=name)[:2] == (500, "ServiceException")


def test_invoke_too_large(face: Served, boto: Any, name: str) -> None:
    create(boto, name)
    fits = b'"%s"' % (b"x" * (6_291_456 - 2))
    assert boto.invoke(FunctionName=name, Payload=fits)["StatusCode"] == 200
    assert error_of(boto.invoke, FunctionName=name, Payload=fits + b" ") == (
        413,
        "RequestTooLargeException",
        "Request must be smaller than 6291456 bytes for the InvokeFunction operation",
    )
    later = b'"%s"' % (b"x" * (1_048_576 - 2))
    assert boto.invoke(FunctionName=name, InvocationType="Event", Payload=later)["StatusCode"] == 202
    with pytest.raises(boto.exceptions.RequestTooLargeException):
        boto.invoke(FunctionName=name, InvocationType="Event", Payload=later + b" ")
    face.invoker.what[name] = lambda _one: Result(b"x" * (6_291_456 + 101))
    answer = boto.invoke(FunctionName=name)
    assert answer["FunctionError"] == "Unhandled"
    assert json.load(answer["Payload"])["errorType"] == "Function.ResponseSizeTooLarge"


def test_invoke_throttled(face: Served, boto: Any, name: str) -> None:
    create(boto, name)
    boto.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=0)
    with pytest.raises(boto.exceptions.TooManyRequestsException) as refused:
        boto.invoke(FunctionName=name)
    answer = refused.value.response
    assert (
        answer["ResponseMetadata"]["HTTPStatusCode"] == 429 and answer["Error"]["Message"] == "Rate Exceeded."
    )
    assert answer["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    assert answer["retryAfterSeconds"] == "1" and answer["Type"] == "User"
    boto.delete_function_concurrency(FunctionName=name)
    face.invoker.what[name] = lambda _one: Result(b"", "throttled")
    with pytest.raises(boto.exceptions.TooManyRequestsException) as full:
        boto.invoke(FunctionName=name)
    assert full.value.response["Reason"] == "ConcurrentInvocationLimitExceeded"


def test_dry_run(face: Served, boto: Any, name: str) -> None:
    create(boto, name)
    before = len(face.invoker.ran)
    assert boto.invoke(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204
    assert len(face.invoker.ran) == before
    with pytest.raises(boto.exceptions.ResourceNotFoundException):
        boto.invoke(FunctionName=f"{name}-not", InvocationType="DryRun")


def test_event(face: Served, boto: Any, name: str) -> None:
    create(boto, name)
    answer = boto.invoke(FunctionName=name, InvocationType="Event", Payload=b'{"n": 1}')
    assert answer["StatusCode"] == 202 and answer["Payload"].read() == b""
    assert answer["ResponseMetadata"]["RequestId"]
    deprecated = boto.invoke_async(FunctionName=name, InvokeArgs=b"{}")
    assert deprecated["Status"] == 202
    assert error_of(boto.invoke, FunctionName=f"{name}-not", InvocationType="Event")[:2] == (
        404,
        "ResourceNotFoundException",
    )


def test_a_retried_event_is_one_invocation(face: Served, name: str) -> None:
    """boto3 tells its attempts apart, and their call by one id."""
    boto = client(face.port)
    create(boto, name)
    number = str(uuid.uuid4())

    def same(request: Any, **_more: Any) -> None:
        request.headers["amz-sdk-invocation-id"] = number
        if attempts:
            request.headers["amz-sdk-request"] = "attempt=2; max=3"
        attempts.append(request)

    attempts: list[Any] = []
    boto.meta.events.register("before-send.lambda.Invoke", same)
    ids = {
        boto.invoke(FunctionName=name, InvocationType="Event")["ResponseMetadata"]["RequestId"]
        for _ in range(2)
    }
    assert len(ids) == 1 and len(attempts) == 2


def test_stream(face: Served, boto: Any, name: str) -> None:
    create(boto, name)
    answer = boto.invoke_with_response_stream(FunctionName=name, Payload=b'{"a": 1}', LogType="Tail")
    assert answer["ResponseStreamContentType"] == "application/vnd.amazon.eventstream"
    events = list(answer["EventStream"])
    assert b"".join(one["PayloadChunk"]["Payload"] for one in events[:-1]) == b'{"a": 1}'
    assert base64.b64decode(events[-1]["InvokeComplete"]["LogResult"]) == b"a line\n"
    assert answer["ExecutedVersion"] == "$LATEST"
    face.invoker.what[name] = lambda _one: Result(b'{"errorMessage": "late"}', "unhandled")
    events = list(boto.invoke_with_response_stream(FunctionName=name)["EventStream"])
    assert events[-1]["InvokeComplete"]["ErrorCode"] == "Unhandled"
    assert json.loads(events[-1]["InvokeComplete"]["ErrorDetails"]) == {"errorMessage": "late"}
    assert boto.invoke_with_response_stream(FunctionName=name, InvocationType="DryRun")["StatusCode"] == 204


# How asynchronous invocations go


def test_event_invoke_config(boto: Any, name: str) -> None:
    create(boto, name, Publish=True)
    assert error_of(boto.get_function_event_invoke_config, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        f"The function {ARN}{name}:$LATEST doesn't have an EventInvokeConfig",
    )
    put = boto.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=1)
    assert put["MaximumRetryAttempts"] == 1 and put["MaximumEventAgeInSeconds"] == 21600
    assert put["FunctionArn"] == f"{ARN}{name}:$LATEST" and put["LastModified"].timestamp() > 1e9
    destinations = {
        "OnSuccess": {"Destination": f"{ARN}{name}"},
        "OnFailure": {"Destination": "http://127.0.0.1:9/failed"},
    }
    after = boto.update_function_event_invoke_config(
        FunctionName=name, MaximumEventAgeInSeconds=60, DestinationConfig=destinations
    )
    assert (after["MaximumRetryAttempts"], after["MaximumEventAgeInSeconds"]) == (1, 60)
    assert after["DestinationConfig"] == destinations
    boto.put_function_event_invoke_config(FunctionName=name, Qualifier="1", MaximumRetryAttempts=0)
    listed = boto.list_function_event_invoke_configs(FunctionName=name)["FunctionEventInvokeConfigs"]
    assert {one["FunctionArn"] for one in listed} == {f"{ARN}{name}:$LATEST", f"{ARN}{name}:1"}
    put = boto.put_function_event_invoke_config(FunctionName=name, MaximumRetryAttempts=2)
    assert put["MaximumEventAgeInSeconds"] == 21600 and put["DestinationConfig"]["OnFailure"] == {}
    boto.delete_function_event_invoke_config(FunctionName=name)
    assert error_of(boto.delete_function_event_invoke_config, FunctionName=name)[0] == 404
    sqs = {"OnFailure": {"Destination": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}}
    status, code, message = error_of(
        boto.put_function_event_invoke_config, FunctionName=name, DestinationConfig=sqs
    )
    assert (status, code) == (400, "InvalidParameterValueException") and "not supported" in message


# Concurrency


def test_reserved_concurrency(boto: Any, name: str) -> None:
    create(boto, name)
    assert "ReservedConcurrentExecutions" not in boto.get_function_concurrency(FunctionName=name)
    put = boto.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
    assert put["ReservedConcurrentExecutions"] == 5
    assert boto.get_function_concurrency(FunctionName=name)["ReservedConcurrentExecutions"] == 5
    assert boto.get_function(FunctionName=name)["Concurrency"] == {"ReservedConcurrentExecutions": 5}
    status, code, message = error_of(
        boto.put_function_concurrency, FunctionName=name, ReservedConcurrentExecutions=901
    )
    assert (status, code) == (400, "InvalidParameterValueException") and "minimum value of [100]" in message
    boto.delete_function_concurrency(FunctionName=name)
    assert "ReservedConcurrentExecutions" not in boto.get_function_concurrency(FunctionName=name)


def test_provisioned_concurrency_is_part_of_what_is_reserved(boto: Any, name: str) -> None:
    create(boto, name, Publish=True)
    boto.update_function_code(FunctionName=name, ZipFile=OTHER, Publish=True)
    boto.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=3)

    def put(qualifier: str, wanted: int) -> Any:
        return boto.put_provisioned_concurrency_config(
            FunctionName=name, Qualifier=qualifier, ProvisionedConcurrentExecutions=wanted
        )

    put("1", 2)
    put("1", 3)
    put("1", 2)
    with pytest.raises(boto.exceptions.InvalidParameterValueException) as refused:
        put("2", 2)
    assert "greater than the reservedConcurrentExecution" in str(refused.value)
    put("2", 1)


def test_provisioned_concurrency(boto: Any, name: str) -> None:
    create(boto, name, Publish=True)
    assert error_of(boto.get_provisioned_concurrency_config, FunctionName=name, Qualifier="1") == (
        404,
        "ProvisionedConcurrencyConfigNotFoundException",
        "No Provisioned Concurrency Config found for this function",
    )
    put = boto.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="1", ProvisionedConcurrentExecutions=2
    )
    assert put["ResponseMetadata"]["HTTPStatusCode"] == 202
    assert put["RequestedProvisionedConcurrentExecutions"] == 2
    got = boto.get_provisioned_concurrency_config(FunctionName=name, Qualifier="1")
    assert (got["Status"], got["AvailableProvisionedConcurrentExecutions"]) == ("READY", 2)
    listed = boto.list_provisioned_concurrency_configs(FunctionName=name)["ProvisionedConcurrencyConfigs"]
    assert [one["FunctionArn"] for one in listed] == [f"{ARN}{name}:1"]
    for qualifier in ("$LATEST",):
        assert error_of(
            boto.put_provisioned_concurrency_config,
            FunctionName=name,
            Qualifier=qualifier,
            ProvisionedConcurrentExecutions=1,
        )[:2] == (400, "InvalidParameterValueException")
    for _ in range(2):
        boto.delete_provisioned_concurrency_config(FunctionName=name, Qualifier="1")


# Function URLs


def test_function_urls(boto: Any, name: str) -> None:
    create(boto, name, Publish=True)
    boto.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    cors = {"AllowOrigins": ["https://a.example"], "MaxAge": 10}
    made = boto.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=cors)
    assert made["FunctionUrl"].endswith(f".lambda-url.{REGION}.localhost:8000/") and made["Cors"] == cors
    assert made["InvokeMode"] == "BUFFERED" and made["FunctionArn"] == ARN + name
    status, code, _ = error_of(boto.create_function_url_config, FunctionName=name, AuthType="NONE")
    assert (status, code) == (409, "ResourceConflictException")
    aliased = boto.create_function_url_config(
        FunctionName=name, Qualifier="live", AuthType="AWS_IAM", InvokeMode="RESPONSE_STREAM"
    )
    assert aliased["FunctionArn"] == f"{ARN}{name}:live"
    changed = boto.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    assert changed["AuthType"] == "AWS_IAM" and changed["Cors"] == cors
    assert changed["FunctionUrl"] == made["FunctionUrl"]
    assert boto.get_function_url_config(FunctionName=name)["AuthType"] == "AWS_IAM"
    assert len(boto.list_function_url_configs(FunctionName=name)["FunctionUrlConfigs"]) == 2
    boto.delete_function_url_config(FunctionName=name)
    for call in (boto.get_function_url_config, boto.delete_function_url_config):
        assert error_of(call, FunctionName=name) == (
            404,
            "ResourceNotFoundException",
            "The resource you requested does not exist.",
        )


# Layers


def test_layers(boto: Any, name: str) -> None:
    content = zipped({"python/lib_of_layer.py": "X = 1\n"})
    made = boto.publish_layer_version(
        LayerName=name,
        Content={"ZipFile": content},
        Description="d",
        CompatibleRuntimes=["python3.12"],
        CompatibleArchitectures=["arm64"],
        LicenseInfo="MIT",
    )
    assert made["CompatibleArchitectures"] == ["arm64"]
    for words, there in (
        ({"CompatibleArchitecture": "x86_64"}, False),
        ({"CompatibleArchitecture": "arm64"}, True),
    ):
        found = [one["LayerName"] for one in boto.list_layers(**words)["Layers"]]
        assert (
            (name in found)
            is there
            is bool(boto.list_layer_versions(LayerName=name, **words)["LayerVersions"])
        )
    arn = f"arn:aws:lambda:{REGION}:{ACCOUNT}:layer:{name}"
    assert (made["LayerArn"], made["LayerVersionArn"], made["Version"]) == (arn, f"{arn}:1", 1)
    assert made["Content"]["CodeSha256"] == sha(content) and made["LicenseInfo"] == "MIT"
    with urllib.request.urlopen(made["Content"]["Location"]) as answer:
        assert answer.read() == content
    assert boto.publish_layer_version(LayerName=name, Content={"ZipFile": content})["Version"] == 2
    assert boto.get_layer_version(LayerName=name, VersionNumber=1)["Description"] == "d"
    assert boto.get_layer_version_by_arn(Arn=f"{arn}:1")["Version"] == 1
    listed = [one for one in boto.list_layers()["Layers"] if one["LayerName"] == name]
    assert listed[0]["LatestMatchingVersion"]["Version"] == 2
    versions = boto.list_layer_versions(LayerName=arn)["LayerVersions"]
    assert [one["Version"] for one in versions] == [2, 1]
    function = create(boto, f"{name}-f", Layers=[f"{arn}:1"])
    assert function["Layers"] == [{"Arn": f"{arn}:1", "CodeSize": len(content)}]
    status, code, message = error_of(create, boto, f"{name}-g", Layers=[f"{arn}:9"])
    assert (status, code, message) == (
        400,
        "InvalidParameterValueException",
        f"Layer version {arn}:9 does not exist.",
    )
    grant = {"StatementId": "s", "Action": "lambda:GetLayerVersion", "Principal": "*"}
    boto.add_layer_version_permission(LayerName=name, VersionNumber=1, **grant)
    policy = boto.get_layer_version_policy(LayerName=name, VersionNumber=1)
    assert json.loads(policy["Policy"])["Statement"][0]["Resource"] == f"{arn}:1"
    boto.remove_layer_version_permission(
        LayerName=name, VersionNumber=1, StatementId="s", RevisionId=policy["RevisionId"]
    )
    assert error_of(boto.get_layer_version_policy, LayerName=name, VersionNumber=1)[0] == 404
    for _ in range(2):
        boto.delete_layer_version(LayerName=name, VersionNumber=2)
    assert error_of(boto.get_layer_version, LayerName=name, VersionNumber=2)[:2] == (
        404,
        "ResourceNotFoundException",
    )


# Permissions, tags, account and what is only kept


def test_permissions(boto: Any, name: str) -> None:
    create(boto, name, Publish=True)
    assert error_of(boto.get_policy, FunctionName=name) == (
        404,
        "ResourceNotFoundException",
        "The resource you requested does not exist.",
    )
    members = {
        "StatementId": "s3",
        "Action": "lambda:InvokeFunction",
        "Principal": "s3.amazonaws.com",
        "SourceArn": "arn:aws:s3:::bucket",
        "SourceAccount": ACCOUNT,
    }
    said = json.loads(boto.add_permission(FunctionName=name, **members)["Statement"])
    assert said == {
        "Sid": "s3",
        "Effect": "Allow",
        "Principal": {"Service": "s3.amazonaws.com"},
        "Action": "lambda:InvokeFunction",
        "Resource": ARN + name,
        "Condition": {
            "ArnLike": {"AWS:SourceArn": "arn:aws:s3:::bucket"},
            "StringEquals": {"AWS:SourceAccount": ACCOUNT},
        },
    }
    status, code, message = error_of(boto.add_permission, FunctionName=name, **members)
    assert (status, code) == (409, "ResourceConflictException") and "statement id (s3)" in message
    policy = boto.get_policy(FunctionName=name)
    assert json.loads(policy["Policy"])["Statement"] == [said]
    assert error_of(boto.remove_permission, FunctionName=name, StatementId="s3", RevisionId="no")[:2] == (
        412,
        "PreconditionFailedException",
    )
    boto.remove_permission(FunctionName=name, StatementId="s3", RevisionId=policy["RevisionId"])
    assert error_of(boto.remove_permission, FunctionName=name, StatementId="s3") == (
        404,
        "ResourceNotFoundException",
        "Statement s3 is not found in resource policy.",
    )


def test_tags(boto: Any, name: str) -> None:
    create(boto, name)
    boto.tag_resource(Resource=ARN + name, Tags={"a": "1", "b c": "2", "d": ""})
    boto.untag_resource(Resource=ARN + name, TagKeys=["a", "b c"])
    assert boto.list_tags(Resource=ARN + name)["Tags"] == {"d": ""}
    assert error_of(boto.list_tags, Resource=f"{ARN}{name}-not")[:2] == (404, "ResourceNotFoundException")
    assert error_of(boto.tag_resource, Resource=f"{ARN}{name}:1", Tags={"a": "1"})[1] == (
        "InvalidParameterValueException"
    )


def test_account_and_what_is_kept(boto: Any, name: str) -> None:
    create(boto, name)
    account = boto.get_account_settings()
    assert account["AccountUsage"]["FunctionCount"] >= 1
    assert account["AccountLimit"]["ConcurrentExecutions"] == 1000
    assert boto.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Terminate"
    boto.put_function_recursion_config(FunctionName=name, RecursiveLoop="Allow")
    assert boto.get_function_recursion_config(FunctionName=name)["RecursiveLoop"] == "Allow"
    assert boto.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "Auto"
    boto.put_runtime_management_config(FunctionName=name, UpdateRuntimeOn="FunctionUpdate")
    assert boto.get_runtime_management_config(FunctionName=name)["UpdateRuntimeOn"] == "FunctionUpdate"
    assert error_of(boto.put_runtime_management_config, FunctionName=name, UpdateRuntimeOn="Manual")[0] == 400
    assert boto.get_function_code_signing_config(FunctionName=name)["FunctionName"] == name


# Watched directories


def test_event_source_mappings(boto: Any, name: str, tmp_path: Path) -> None:
    create(boto, name)
    arn = f"arn:aws:s3:::{tmp_path}"
    criteria = {"Filters": [{"Pattern": '{"s3":{"object":{"key":[{"prefix":"in/"},{"suffix":".jpg"}]}}}'}]}
    made = boto.create_event_source_mapping(FunctionName=name, EventSourceArn=arn, FilterCriteria=criteria)
    assert made["ResponseMetadata"]["HTTPStatusCode"] == 202 and made["State"] == "Enabling"
    assert made["EventSourceArn"] == arn and made["FilterCriteria"] == criteria
    got = boto.get_event_source_mapping(UUID=made["UUID"])
    assert got["State"] == "Enabled" and got["FunctionArn"] == ARN + name
    off = boto.update_event_source_mapping(UUID=made["UUID"], Enabled=False)
    assert off["State"] == "Updating"
    assert boto.get_event_source_mapping(UUID=made["UUID"])["State"] == "Disabled"
    listed = boto.list_event_source_mappings(FunctionName=name, EventSourceArn=arn)["EventSourceMappings"]
    assert [one["UUID"] for one in listed] == [made["UUID"]]
    assert boto.delete_event_source_mapping(UUID=made["UUID"])["State"] == "Deleting"
    assert error_of(boto.get_event_source_mapping, UUID=made["UUID"])[:2] == (
        404,
        "ResourceNotFoundException",
    )
    queue = f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"
    status, code, message = error_of(
        boto.create_event_source_mapping, FunctionName=name, EventSourceArn=queue
    )
    assert (status, code) == (400, "InvalidParameterValueException") and "not supported" in message
    pattern = {"Filters": [{"Pattern": '{"body": {"a": [1]}}'}]}
    assert error_of(
        boto.create_event_source_mapping, FunctionName=name, EventSourceArn=arn, FilterCriteria=pattern
    )[:2] == (400, "InvalidParameterValueException")


# Keys


def test_keys(face: Served, boto: Any, name: str) -> None:
    create(boto, name)
    invoker = client(face.port, INVOKER)
    assert invoker.invoke(FunctionName=name)["StatusCode"] == 200
    status, code, message = error_of(invoker.get_function, FunctionName=name)
    assert (status, code) == (403, "AccessDeniedException")
    assert f"is not authorized to perform: lambda:GetFunction on resource: {ARN}{name}" in message
    assert error_of(invoker.delete_function, FunctionName=name)[0] == 403
    limited = client(face.port, LIMITED)
    for call, members in (
        (limited.invoke, {"FunctionName": name}),
        (limited.list_functions, {}),
        (limited.list_tags, {"Resource": ARN + name}),
    ):
        assert error_of(call, **members)[:2] == (403, "AccessDeniedException")
    create(limited, "only")
    assert limited.invoke(FunctionName="only")["StatusCode"] == 200
    for target, refused in ((f"{ARN}{name}:1", True), (f"{ARN}only", False), ("https://x.example/", False)):
        config = {"OnFailure": {"Destination": target}}  # or else it would call through this what it may not
        put = limited.put_function_event_invoke_config
        if refused:
            status, code, _ = error_of(put, FunctionName="only", DestinationConfig=config)
            assert (status, code) == (403, "AccessDeniedException")
        else:
            put(FunctionName="only", DestinationConfig=config)
    refusal = error_of(  # or else it would read through this what only the runner's user may
        limited.create_event_source_mapping, FunctionName="only", EventSourceArn="arn:aws:s3:::/data/inbox"
    )
    assert refusal[:2] == (403, "AccessDeniedException")
    assert "may not have directories watched" in refusal[2]
    outside = {"OnSuccess": {"Destination": "file:///../x.jsonl"}}
    answer = error_of(boto.put_function_event_invoke_config, FunctionName=name, DestinationConfig=outside)
    assert answer[:2] == (400, "InvalidParameterValueException")
    unknown = client(face.port, Key("AKIDNOBODY", "x"))
    assert error_of(unknown.list_functions)[:2] == (403, "UnrecognizedClientException")
    wrong = client(face.port, Key("LTAIManager", "wrong"))
    status, code, message = error_of(wrong.list_functions)
    assert (status, code) == (403, "InvalidSignatureException")
    assert message.startswith("The request signature we calculated does not match")
    assert boto.get_function(FunctionName=name), "nothing of this has changed anything"


def test_without_keys(tmp_path: Path) -> None:
    with served(tmp_path / "data", signed=False) as open_to_all:
        boto = client(open_to_all.port, Key("anything", "at all"))
        create(boto, "f")
        assert boto.invoke(FunctionName="f")["StatusCode"] == 200
        location = boto.get_function(FunctionName="f")["Code"]["Location"]
        with urllib.request.urlopen(location) as answer:
            assert answer.read() == CODE

"""What the Lambda face refuses: exact status, error and sentence, with nothing changed by it."""

from __future__ import annotations

import hashlib
import http.client
import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from fc_served import MANAGER, Served, zipped
from lambda_served import ACCOUNT, ARN, CODE, REGION, ROLE, client, create, error_of, served
from snapfork.runner.faces.exchange import Headers
from snapfork.runner.faces.signing import sign_sigv4
from snapfork.runner.registry.model import Key

pytestmark = pytest.mark.once

IPV = "InvalidParameterValueException"


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("lambda") / "data") as running:
        yield running


@pytest.fixture(scope="module")
def boto(face: Served) -> Any:
    made = client(face.port, parameter_validation=False)
    create(made, "there")
    return made


def absent(place: str) -> str:
    constraint = "failed to satisfy constraint: Member must not be null"
    return f"1 validation error detected: Value null at '{place}' {constraint}"


def one(value: str, place: str, constraint: str) -> str:
    shown = f"'{value}' " if value else ""
    return (
        f"1 validation error detected: Value {shown}at '{place}' failed to satisfy constraint: {constraint}"
    )


NAME = (
    r"(arn:(aws[a-zA-Z-]*)?:lambda:)?((eusc-)?[a-z]{2}((-gov)|(-iso([a-z]?)))?-[a-z]+-\d{1}:)?(\d{12}:)?"
    r"(function:)?([a-zA-Z0-9-_]+)(:(\$LATEST|[a-zA-Z0-9-_]+))?"
)
CREATE = {
    "FunctionName": "new",
    "Runtime": "python3.12",
    "Handler": "main.handler",
    "Code": {"ZipFile": CODE},
    "Role": ROLE,
}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"Timeout": 0}, one("0", "timeout", "Member must have value greater than or equal to 1")),
        ({"Timeout": 901}, one("901", "timeout", "Member must have value less than or equal to 900")),
        ({"MemorySize": 64}, one("64", "memorySize", "Member must have value greater than or equal to 128")),
        (
            {"MemorySize": 10241},
            one("10241", "memorySize", "Member must have value less than or equal to 10240"),
        ),
        (
            {"FunctionName": "a b"},
            one("a b", "functionName", f"Member must satisfy regular expression pattern: {NAME}"),
        ),
        (
            {"Description": "x" * 257},
            one("x" * 257, "description", "Member must have length less than or equal to 256"),
        ),
        (
            {"Handler": "has space"},
            one("has space", "handler", r"Member must satisfy regular expression pattern: [^\s]+"),
        ),
        (
            {"PackageType": "Tar"},
            one("Tar", "packageType", "Member must satisfy enum value set: [Zip, Image]"),
        ),
        (
            {"TracingConfig": {"Mode": "Loud"}},
            one("Loud", "tracingConfig.mode", "Member must satisfy enum value set: [Active, PassThrough]"),
        ),
        (
            {"Environment": {"Variables": {"1A": "secret"}}},
            one(
                "",
                "environment.variables",
                "Map keys must satisfy constraint: [Member must satisfy regular expression pattern: "
                "[a-zA-Z]([a-zA-Z0-9_])+]",
            ),
        ),
        (
            {"EphemeralStorage": {}},
            absent("ephemeralStorage.size"),
        ),
        (
            {"Role": None},
            absent("role"),
        ),
        ({"Runtime": None}, "Runtime is mandatory for functions created with deployment packages."),
        ({"Handler": None}, "Handler is mandatory for functions created with deployment packages."),
        ({"Code": {}}, "Please provide a source for function code."),
        ({"Code": {"ZipFile": b""}}, "Uploaded file must be a non-empty zip"),
        (
            {"Code": {"ImageUri": "x"}},
            "ImageUri is not supported by this runner: container images are not run; send ZipFile.",
        ),
        (
            {"Code": {"S3Bucket": "bucket", "S3Key": "k"}},
            "S3Bucket is not supported by this runner: there is no S3 here; send ZipFile.",
        ),
        (
            {"DeadLetterConfig": {"TargetArn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q"}},
            "DeadLetterConfig.TargetArn is not supported by this runner: there is no SQS and SNS here; "
            "failed events are kept in its dead-letter list and go to an on-failure destination.",
        ),
        (
            {"VpcConfig": {"SubnetIds": ["subnet-1"]}},
            "VpcConfig is not supported by this runner: functions have this machine's network.",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_create_function(boto: Any, changes: dict[str, Any], message: str) -> None:
    members = {key: value for key, value in {**CREATE, **changes}.items() if value is not None}
    status, code, said = error_of(boto.create_function, **members)
    assert (status, code) == (400, IPV)
    assert said == message
    assert "secret" not in said


def test_two_at_once(boto: Any) -> None:
    message = error_of(boto.create_function, **{**CREATE, "Timeout": 0, "MemorySize": 1})[2]
    assert message.startswith("2 validation errors detected: Value '0' at 'timeout' failed")
    assert "; Value '1' at 'memorySize' failed" in message


@pytest.mark.parametrize("runtime", ["nodejs20.x", "python2.7"])
def test_a_runtime_that_is_not_here(boto: Any, runtime: str) -> None:
    assert error_of(boto.create_function, **{**CREATE, "Runtime": runtime})[:2] == (400, IPV)


def test_packages_that_are_refused(boto: Any) -> None:
    for bad in (b"no zip", zipped({"../out.py": "x"}), zipped({"/abs.py": "x"}), CODE[:-30]):
        status, code, message = error_of(boto.create_function, **{**CREATE, "Code": {"ZipFile": bad}})
        assert (status, code) == (400, IPV)
        assert message.startswith(
            "Could not unzip uploaded file. Please check your file, then try to upload again."
        )
    status, code, _ = error_of(boto.update_function_code, FunctionName="there", ZipFile=b"no zip")
    assert (status, code) == (400, IPV)
    assert error_of(boto.get_function, FunctionName="new")[0] == 404, "nothing was made"


def test_names_that_are_taken_or_not_there(boto: Any) -> None:
    assert error_of(boto.create_function, **{**CREATE, "FunctionName": "there"}) == (
        409,
        "ResourceConflictException",
        "Function already exist: there",
    )
    gone = (404, "ResourceNotFoundException", f"Function not found: {ARN}gone")
    calls: list[tuple[Any, dict[str, Any]]] = [
        (boto.get_function_configuration, {}),
        (boto.update_function_configuration, {"MemorySize": 128}),
        (boto.update_function_code, {"ZipFile": CODE}),
        (boto.publish_version, {}),
        (boto.list_versions_by_function, {}),
        (boto.list_aliases, {}),
        (boto.get_policy, {}),
        (boto.get_function_concurrency, {}),
        (boto.put_function_concurrency, {"ReservedConcurrentExecutions": 1}),
        (boto.get_function_event_invoke_config, {}),
        (boto.put_function_event_invoke_config, {"MaximumRetryAttempts": 1}),
        (boto.create_function_url_config, {"AuthType": "NONE"}),
        (boto.list_function_url_configs, {}),
        (boto.list_provisioned_concurrency_configs, {}),
        (boto.get_function_recursion_config, {}),
        (boto.get_function_code_signing_config, {}),
        (boto.invoke, {}),
        (boto.invoke_with_response_stream, {}),
    ]
    for call, members in calls:
        assert error_of(call, FunctionName="gone", **members) == gone, call.__name__


@pytest.mark.parametrize(
    ("operation", "members", "place", "constraint"),
    [
        (
            "put_function_event_invoke_config",
            {"MaximumRetryAttempts": 7},
            "Value '7' at 'maximumRetryAttempts'",
            "Member must have value less than or equal to 2",
        ),
        (
            "put_function_event_invoke_config",
            {"MaximumEventAgeInSeconds": 59},
            "Value '59' at 'maximumEventAgeInSeconds'",
            "Member must have value greater than or equal to 60",
        ),
        ("put_function_event_invoke_config", {}, "You must specify at least one", ""),
        (
            "create_alias",
            {"Name": "123", "FunctionVersion": "$LATEST"},
            "Value '123' at 'name'",
            "Member must satisfy regular expression pattern: (?!^[0-9]+$)([a-zA-Z0-9-_]+)",
        ),
        (
            "create_alias",
            {
                "Name": "a",
                "FunctionVersion": "$LATEST",
                "RoutingConfig": {"AdditionalVersionWeights": {"1": 1.5}},
            },
            "Value '1.5' at 'routingConfig.additionalVersionWeights.1'",
            "Map value must satisfy constraint: [Member must have value less than or equal to 1]",
        ),
        (
            "create_function_url_config",
            {"AuthType": "OPEN"},
            "Value 'OPEN' at 'authType'",
            "Member must satisfy enum value set: [NONE, AWS_IAM]",
        ),
        (
            "invoke",
            {"InvocationType": "Later"},
            "Value 'Later' at 'invocationType'",
            "Member must satisfy enum value set: [Event, RequestResponse, DryRun]",
        ),
        ("invoke", {"TenantId": "a"}, "The function is not configured for tenant isolation", "TenantId"),
        ("invoke_with_response_stream", {"TenantId": "a"}, "not configured for tenant isolation", ""),
        ("invoke", {"DurableExecutionName": "a"}, "The function is not durable", ""),
        ("invoke", {"LogType": "Head"}, "Value 'Head' at 'logType'", "[None, Tail]"),
        ("invoke", {"Qualifier": "a b"}, "Value 'a b' at 'qualifier'", "regular expression pattern"),
        (
            "list_versions_by_function",
            {"MaxItems": 0},
            "Value '0' at 'maxItems'",
            "greater than or equal to 1",
        ),
        ("put_function_concurrency", {"ReservedConcurrentExecutions": -1}, "Value '-1'", "or equal to 0"),
        (
            "put_provisioned_concurrency_config",
            {"Qualifier": "1", "ProvisionedConcurrentExecutions": 0},
            "Value '0' at 'provisionedConcurrentExecutions'",
            "Member must have value greater than or equal to 1",
        ),
    ],
)
def test_other_operations(
    boto: Any, operation: str, members: dict[str, Any], place: str, constraint: str
) -> None:
    status, code, message = error_of(getattr(boto, operation), FunctionName="there", **members)
    assert (status, code) == (400, IPV)
    assert place in message and constraint in message


def test_weights_that_cannot_be(boto: Any) -> None:
    create(boto, "split", Publish=True)
    for weights in ({"1": 0.5}, {"$LATEST": 0.5}, {"1": 0.1, "2": 0.1}):
        members = {
            "Name": "x",
            "FunctionVersion": "1",
            "RoutingConfig": {"AdditionalVersionWeights": weights},
        }
        assert error_of(boto.create_alias, FunctionName="split", **members)[:2] == (400, IPV), weights


def test_what_is_not_offered(boto: Any) -> None:
    status, code, message = error_of(boto.list_code_signing_configs)
    assert (status, code) == (404, "UnknownOperationException")
    assert message == "ListCodeSigningConfigs is not supported by this runner: " + (
        "code is not signed here: keys decide who deploys."
    )
    assert error_of(boto.list_capacity_providers)[:2] == (404, "UnknownOperationException")


# By hand: what no client would send


def send(
    face: Served,
    method: str,
    path: str,
    body: bytes = b"",
    headers: Headers | None = None,
    key: Key = MANAGER,
    now: float | None = None,
    signed: bool = True,
    change: Any = None,
) -> tuple[int, dict[str, str], Any]:
    """One request, signed as it stands, then changed by `change(path, headers, body)`."""
    target, _, query = path.partition("?")
    sent: Headers = [(b"host", f"127.0.0.1:{face.port}".encode()), *(headers or [])]
    if signed:
        digest = hashlib.sha256(body).hexdigest()
        sent += sign_sigv4(method, target.encode(), query.encode(), sent, digest, key, now or time.time())
    if change:
        path, sent, body = change(path, sent, body)
    connection = http.client.HTTPConnection("127.0.0.1", face.port, timeout=150)
    try:
        connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in sent:
            connection.putheader(name.decode(), value)
        connection.putheader("Content-Length", str(len(body)))
        connection.endheaders(body)
        answer = connection.getresponse()
        data = answer.read()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, told, json.loads(data) if data.startswith(b"{") else data
    finally:
        connection.close()


LIST = "/2015-03-31/functions"


def test_the_shape_of_an_error(face: Served, boto: Any) -> None:
    status, headers, body = send(face, "GET", f"{LIST}/gone")
    assert status == 404 and headers["x-amzn-errortype"] == "ResourceNotFoundException"
    assert headers["content-type"] == "application/json" and uuid.UUID(headers["x-amzn-requestid"])
    assert body == {"Type": "User", "Message": f"Function not found: {ARN}gone"}
    status, headers, body = send(face, "POST", f"{LIST}/there/invocations", b"{")
    assert headers["x-amzn-errortype"] == "InvalidRequestContentException" and "message" in body
    status, headers, body = send(face, "GET", "/2015-03-31/nothing")
    assert (status, headers["x-amzn-errortype"]) == (404, "UnknownOperationException")
    status, headers, body = send(face, "PATCH", LIST)
    assert (status, headers["x-amzn-errortype"]) == (404, "UnknownOperationException")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "Could not parse request body into json."),
        (b"[]", "The body must be a JSON object."),
        (b'{"FunctionName": 1}', "FunctionName: NUMBER_VALUE can not be converted to string."),
        (b'{"FunctionName": "\\ud800"}', "FunctionName: STRING_VALUE can not be converted to string."),
        (b'{"FunctionName": "a", "Timeout": "3"}', "Timeout: STRING_VALUE can not be converted to integer."),
        (b'{"FunctionName": "a", "Timeout": 3.5}', "Timeout: NUMBER_VALUE can not be converted to integer."),
        (
            b'{"FunctionName": "a", "Timeout": 1e400}',
            "Timeout: NUMBER_VALUE can not be converted to integer.",
        ),
        (
            b'{"FunctionName": "a", "Publish": "yes"}',
            "Publish: STRING_VALUE can not be converted to boolean.",
        ),
        (b'{"FunctionName": "a", "Code": []}', "Code: START_ARRAY can not be converted to structure."),
        (
            b'{"FunctionName": "a", "Code": {"ZipFile": "%%"}}',
            "Code.ZipFile: STRING_VALUE can not be converted to base64 blob.",
        ),
        (b'{"FunctionName": "a", "Tags": []}', "Tags: START_ARRAY can not be converted to map."),
        (b'{"a":' * 100_000, "Could not parse request body into json."),
        (b"\xff\xfe", "Could not parse request body into json."),
        (b'{"Timeout": NaN}', "Could not parse request body into json."),
    ],
)
def test_bodies_that_cannot_be_read(face: Served, body: bytes, said: str) -> None:
    status, headers, answer = send(face, "POST", LIST, body)
    assert (status, headers["x-amzn-errortype"], answer["message"]) == (400, "SerializationException", said)


def test_queries_and_paths_that_cannot_be_read(face: Served) -> None:
    for path in (f"{LIST}?MaxItems=x", f"{LIST}?Marker=%ff", f"{LIST}/%ff"):
        status, headers, _ = send(face, "GET", path)
        assert (status, headers["x-amzn-errortype"]) == (400, "SerializationException"), path


def test_a_body_that_is_too_large(face: Served) -> None:
    status, headers, body = send(face, "PUT", f"{LIST}/there/configuration", b" " * (1 << 20) + b"{}")
    assert (status, headers["x-amzn-errortype"]) == (413, "RequestEntityTooLargeException")


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda p, h, b: (p.replace("there", "three"), h, b), "InvalidSignatureException"),
        (lambda p, h, b: (p + "1", h, b), "InvalidSignatureException"),
        (lambda p, h, b: (p, h, b[:-1] + b" "), "InvalidSignatureException"),
        (
            lambda p, h, b: (p, [(n, b"Event" if n == b"x-amz-invocation-type" else v) for n, v in h], b),
            "InvalidSignatureException",
        ),
        (lambda p, h, b: (p, [*h, (b"x-amz-log-type", b"Tail")], b), "InvalidSignatureException"),
        (
            lambda p, h, b: (p, [one for one in h if one[0] != b"authorization"], b),
            "MissingAuthenticationTokenException",
        ),
        (
            lambda p, h, b: (p, [(n, v[:-5] if n == b"authorization" else v) for n, v in h], b),
            "IncompleteSignatureException",
        ),
    ],
)
def test_a_changed_request(face: Served, boto: Any, change: Any, error: str) -> None:
    before = len(face.invoker.ran)
    path = f"{LIST}/there/invocations?Qualifier=$LATEST".replace("$", "%24")
    kind = [(b"x-amz-invocation-type", b"RequestResponse")]
    assert send(face, "POST", path, b"{}", kind)[0] == 200
    status, headers, body = send(face, "POST", path, b"{}", kind, change=change)
    assert (status, headers["x-amzn-errortype"]) == (403, error)
    assert MANAGER.secret not in json.dumps(body)
    assert len(face.invoker.ran) == before + 1


def test_stale_and_replayed_requests(face: Served, boto: Any) -> None:
    for off in (-1000, 1000):
        status, headers, body = send(face, "GET", LIST, now=time.time() + off)
        assert (status, headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
        assert "15 min" in body["message"]
    kept: list[Any] = []

    def keep(path: str, headers: Headers, body: bytes) -> Any:
        kept.append((path, headers, body))
        return kept[0]

    path = f"{LIST}/there/invocations"
    assert send(face, "POST", path, b"{}", change=keep)[0] == 200
    before = len(face.invoker.ran)
    status, headers, body = send(face, "POST", path, b"{}", change=keep)
    assert (status, headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert body["message"] == "This signature was used before." and len(face.invoker.ran) == before


def test_a_request_of_boto3_sent_again(face: Served, boto: Any) -> None:
    """Word by word as it was captured, it is refused; boto3's own next call is not."""
    captured: list[Any] = []
    own = client(face.port)
    own.meta.events.register("before-send.lambda.Invoke", lambda request, **_: captured.append(request))
    for _ in range(20):  # signed alike within a second
        own.invoke(FunctionName="there", Payload=b"{}")
    request = captured[0]
    sent = [
        (name.lower().encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in request.headers.items()
    ]
    sent.insert(0, (b"host", f"127.0.0.1:{face.port}".encode()))
    sent = [one for one in sent if one[0] != b"content-length"]
    before = len(face.invoker.ran)
    path = f"{LIST}/there/invocations"
    status, headers, _ = send(face, "POST", path, request.body, signed=False, headers=sent[1:])
    assert (status, headers["x-amzn-errortype"]) == (403, "InvalidSignatureException")
    assert len(face.invoker.ran) == before


def test_pages_of_somebody_else(face: Served) -> None:
    for header in ((b"origin", b"https://evil.example"), (b"origin", b"null")):
        status, headers, _ = send(face, "GET", LIST, headers=[header])
        assert (status, headers["x-amzn-errortype"]) == (403, "AccessDeniedException")
    status, headers, _ = send(
        face, "GET", LIST, change=lambda p, h, b: (p, [(b"host", b"evil.example:80"), *h[1:]], b)
    )
    assert (status, headers["x-amzn-errortype"]) == (403, "AccessDeniedException")


def test_the_retries_of_boto3(face: Served, boto: Any) -> None:
    """Throttles and errors of the service are tried three times, bad input once: as on AWS."""
    own = client(face.port, retries=3, connect_timeout=150)
    attempts: list[str] = []
    own.meta.events.register(
        "before-send.lambda.*", lambda request, **_: attempts.append(str(request.headers["amz-sdk-request"]))
    )
    create(boto, "stopped")
    boto.put_function_concurrency(FunctionName="stopped", ReservedConcurrentExecutions=0)
    assert error_of(own.invoke, FunctionName="stopped")[0] == 429 and len(attempts) == 3
    attempts.clear()
    assert error_of(own.invoke, FunctionName="stopped", Payload=b"{")[0] == 400 and len(attempts) == 1
    assert isinstance(own.meta.config, Config)

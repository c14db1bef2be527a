"""Functions deployed, invoked and taken away by unmodified boto3 against a running `runner serve`."""

from __future__ import annotations

import base64
import json
import os
import re
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials
from botocore.exceptions import WaiterError
from fc_served import zipped
from server import HANG_S, Serve

T = TypeVar("T")
ROLE = "arn:aws:iam::000000000000:role/any"
RUNTIME = f"python3.{sys.version_info[1]}"  # the runner's own, with its boto3
HANDLER = """
import json, os, time

def handler(event, context):
    print("called", context.aws_request_id)
    if event.get("raise"):
        raise ValueError("no")
    if event.get("exit"):
        os._exit(3)
    if event.get("unserialisable"):
        return object()
    time.sleep(event.get("sleep", 0))
    if event.get("who"):
        return [context.function_name, context.function_version, context.memory_limit_in_mb,
                context.invoked_function_arn, os.environ["AWS_REGION"], os.environ.get("KEY_A")]
    if event.get("client"):
        return context.client_context.custom
    return event
"""
ONE = {"main.py": "def handler(event, context):\n    return 1\n"}
TWO = {"main.py": "def handler(event, context):\n    return 2\n"}
WEB = """
import json

def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "application/json")])
    yield json.dumps({"path": environ["PATH_INFO"], "method": environ["REQUEST_METHOD"]}).encode()
"""


class Lambda:
    """A runner with boto3's client."""

    def __init__(self, server: Serve, data: Path) -> None:
        self.server = server
        key = json.loads((data / "keys").read_text())["keys"][0]
        self.credentials = Credentials(key["id"], key["secret"])
        self.control = urlsplit(server.wait_for(r"control: (http://\S+)/status")[1])
        self.boto = self.client()

    def client(self) -> Any:
        return boto3.client(
            "lambda",
            endpoint_url=f"http://{self.control.netloc}",
            region_name="us-east-1",
            aws_access_key_id=self.credentials.access_key,
            aws_secret_access_key=self.credentials.secret_key,
            config=Config(retries={"total_max_attempts": 1}, read_timeout=HANG_S),
        )

    def create(self, name: str, files: Mapping[str, str], **more: Any) -> Any:
        members = {"Runtime": "python3.11", "Handler": "main.handler", "Role": ROLE, "Timeout": 30, **more}
        made = self.boto.create_function(FunctionName=name, Code={"ZipFile": zipped(files)}, **members)
        self.wait("function_active_v2", FunctionName=name)
        return made

    def wait(self, waiter: str, **members: Any) -> None:
        pace = {"Delay": 0.05, "MaxAttempts": int(HANG_S / 0.05)}
        self.boto.get_waiter(waiter).wait(WaiterConfig=pace, **members)

    def invoke(self, name: str, payload: Any = None, **more: Any) -> tuple[Any, dict[str, Any]]:
        """(what its payload says, the whole answer)."""
        answer = self.boto.invoke(FunctionName=name, Payload=json.dumps(payload or {}).encode(), **more)
        return json.loads(answer["Payload"].read() or b"null"), answer

    def fails(self, name: str, payload: Any) -> dict[str, Any]:
        """The error that an invocation gives, which must be the function's."""
        said, answer = self.invoke(name, payload)
        assert (answer["StatusCode"], answer["FunctionError"]) == (200, "Unhandled")
        assert isinstance(said, dict)
        return said


def until(ask: Callable[[], T | None]) -> T:
    """What `ask` gives, as soon as it is something."""
    deadline = time.monotonic() + HANG_S
    while not (found := ask()):
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.02)
    return found


def serve(data: Path) -> Serve:
    return Serve("--control", "127.0.0.1:0", data_dir=data)


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    data = tmp_path_factory.mktemp("runner") / "data"
    with serve(data) as server:
        yield Lambda(server, data)


def test_a_handler_is_invoked(aws: Lambda) -> None:
    made = aws.create(
        "hello", {"main.py": HANDLER}, MemorySize=256, Environment={"Variables": {"KEY_A": "a"}}
    )
    assert made["FunctionArn"] == "arn:aws:lambda:us-east-1:000000000000:function:hello"
    said, answer = aws.invoke("hello", {"a": 1})
    assert said == {"a": 1} and answer["ExecutedVersion"] == "$LATEST"
    said, _ = aws.invoke("hello", {"who": 1})
    assert said == ["hello", "$LATEST", "256", made["FunctionArn"], "us-east-1", "a"]
    context = base64.b64encode(b'{"custom": {"k": "v"}}').decode()
    assert aws.invoke("hello", {"client": 1}, ClientContext=context)[0] == {"k": "v"}


def test_the_end_of_the_log(aws: Lambda) -> None:
    aws.create("logs", {"main.py": HANDLER})
    _, answer = aws.invoke("logs", LogType="Tail")
    request = answer["ResponseMetadata"]["RequestId"]
    lines = base64.b64decode(answer["LogResult"]).decode().splitlines()
    assert f"START RequestId: {request} Version: $LATEST" in lines
    assert f"called {request}" in lines
    assert f"END RequestId: {request}" in lines
    (report,) = [line for line in lines if line.startswith("REPORT")]
    assert re.match(
        rf"REPORT RequestId: {request}\tDuration: [\d.]+ ms\tBilled Duration: \d+ ms\tMemory Size: 128 MB\t",
        report,
    )


def test_what_goes_wrong_in_a_function(aws: Lambda) -> None:
    aws.create("wrong", {"main.py": HANDLER}, Timeout=1)
    said = aws.fails("wrong", {"raise": 1})
    assert (said["errorMessage"], said["errorType"]) == ("no", "ValueError")
    assert said["requestId"] and "main.py" in said["stackTrace"][-1]
    assert aws.fails("wrong", {"exit": 1})["errorType"] == "Runtime.ExitError"
    assert aws.fails("wrong", {"unserialisable": 1})["errorType"] == "Runtime.MarshalError"
    assert re.search(r"Task timed out after 1\.00 seconds", aws.fails("wrong", {"sleep": 30})["errorMessage"])
    assert aws.invoke("wrong", {"a": 1})[0] == {"a": 1}


def test_a_handler_that_cannot_be_imported(aws: Lambda) -> None:
    with pytest.raises(WaiterError):
        aws.create("broken", {"main.py": "import nothing_of_that_name\n"})
    said = aws.fails("broken", {})
    assert said["errorType"] == "Runtime.ImportModuleError"
    assert "nothing_of_that_name" in said["errorMessage"]


def test_a_response_comes_as_a_stream(aws: Lambda) -> None:
    aws.create("stream", {"main.py": HANDLER})
    answer = aws.boto.invoke_with_response_stream(FunctionName="stream", Payload=b'{"a": 1}', LogType="Tail")
    events = list(answer["EventStream"])
    payload = b"".join(one["PayloadChunk"]["Payload"] for one in events if "PayloadChunk" in one)
    assert json.loads(payload) == {"a": 1}
    assert b"called" in base64.b64decode(events[-1]["InvokeComplete"]["LogResult"])
    answer = aws.boto.invoke_with_response_stream(FunctionName="stream", Payload=b'{"raise": 1}')
    ending = list(answer["EventStream"])[-1]["InvokeComplete"]
    assert (
        ending["ErrorCode"] == "Unhandled" and json.loads(ending["ErrorDetails"])["errorType"] == "ValueError"
    )


def test_whoever_is_told_of_new_code_meets_it(aws: Lambda) -> None:
    aws.create("moves", ONE)
    for source, said in ((TWO, 2), (ONE, 1), (TWO, 2)):
        aws.invoke("moves")
        aws.boto.update_function_code(FunctionName="moves", ZipFile=zipped(source))
        aws.wait("function_updated_v2", FunctionName="moves")
        assert aws.invoke("moves")[0] == said


def test_versions_and_an_alias_that_splits(aws: Lambda) -> None:
    aws.create("split", ONE, Publish=True)
    aws.boto.update_function_code(FunctionName="split", ZipFile=zipped(TWO), Publish=True)
    assert [aws.invoke("split", Qualifier=one)[0] for one in ("1", "2", "$LATEST")] == [1, 2, 2]
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    aws.boto.create_alias(FunctionName="split", Name="live", FunctionVersion="1", RoutingConfig=weights)
    answers = [aws.invoke("split:live") for _ in range(60)]
    assert all(str(said) == answer["ExecutedVersion"] for said, answer in answers)
    assert min(Counter(said for said, _ in answers).values()) > 5
    aws.boto.update_alias(
        FunctionName="split", Name="live", FunctionVersion="2", RoutingConfig={"AdditionalVersionWeights": {}}
    )
    assert {aws.invoke("split", Qualifier="live")[0] for _ in range(20)} == {2}


def test_an_event_fails_and_its_destination_is_told(aws: Lambda) -> None:
    aws.create("fails", {"main.py": HANDLER})
    source = """
import json, os

def handler(event, context):
    path = os.path.join(os.environ["HOME"], "seen")  # all instances of a function have one
    if event.get("ask"):
        return [json.loads(line) for line in open(path)] if os.path.exists(path) else []
    with open(path, "a") as file:
        file.write(json.dumps(event) + "\\n")
"""
    made = aws.create("told", {"main.py": source})
    aws.boto.put_function_event_invoke_config(
        FunctionName="fails",
        MaximumRetryAttempts=0,
        DestinationConfig={"OnFailure": {"Destination": made["FunctionArn"]}},
    )
    sent = aws.boto.invoke(FunctionName="fails", InvocationType="Event", Payload=b'{"raise": 1}')
    assert sent["StatusCode"] == 202
    (record,) = until(lambda: aws.invoke("told", {"ask": 1})[0])
    about = record["requestContext"]
    assert about["requestId"] == sent["ResponseMetadata"]["RequestId"]
    assert about["condition"] == "RetriesExhausted" and about["approximateInvokeCount"] == 1
    assert (
        record["requestPayload"] == {"raise": 1} and record["responseContext"]["functionError"] == "Unhandled"
    )
    assert record["responsePayload"]["errorType"] == "ValueError"


def test_a_function_that_is_its_own_destination_ends(aws: Lambda) -> None:
    source = """
import os

def handler(event, context):
    path = os.path.join(os.environ["HOME"], "turns")
    if event.get("ask"):
        return os.path.getsize(path) if os.path.exists(path) else 0
    with open(path, "a") as file:
        file.write("x")
"""
    made = aws.create("turns", {"main.py": source})
    aws.boto.put_function_event_invoke_config(
        FunctionName="turns", DestinationConfig={"OnSuccess": {"Destination": made["FunctionArn"]}}
    )
    aws.boto.invoke(FunctionName="turns", InvocationType="Event", Payload=b"{}")

    def letters() -> str:
        said = aws.server.run("dead-letters", "turns")
        assert said.returncode == 0, said.stderr
        return said.stdout if "RecursiveInvocation" in said.stdout else ""

    assert until(letters)
    assert aws.invoke("turns", {"ask": 1})[0] == 16


CALLER = """
import json, os
import boto3

def handler(event, context):
    with open(os.path.join(os.environ["HOME"], "turns"), "a") as file:
        file.write("x")
    client = boto3.client("lambda", **event["client"])
    event = event | {"next": context.function_name, "this": event["next"]}
    client.invoke(FunctionName=event["this"], InvocationType="Event", Payload=json.dumps(event))
"""
COUNTER = """
import os

def handler(event, context):
    path = os.path.join(os.environ["HOME"], "turns")
    return os.path.getsize(path) if os.path.exists(path) else 0
"""


def test_functions_that_invoke_each_other_through_boto3_end(aws: Lambda) -> None:
    for name in ("ping", "pong"):
        aws.create(name, {"main.py": CALLER, "counter.py": COUNTER}, Runtime=RUNTIME)
    client = {
        "endpoint_url": aws.boto.meta.endpoint_url, "region_name": "us-east-1",
        "aws_access_key_id": aws.credentials.access_key, "aws_secret_access_key": aws.credentials.secret_key,
    }  # fmt: skip
    first = json.dumps({"client": client, "next": "pong"})
    aws.boto.invoke(FunctionName="ping", InvocationType="Event", Payload=first)
    assert until(lambda: "RecursiveInvocation" in aws.server.run("dead-letters", "ping").stdout)
    for name in ("ping", "pong"):
        aws.boto.update_function_configuration(FunctionName=name, Handler="counter.handler")
        aws.wait("function_updated_v2", FunctionName=name)
        assert aws.invoke(name)[0] == 16


def test_a_call_that_closes_a_loop_is_refused_unless_the_function_allows_it(aws: Lambda) -> None:
    aws.create("loop", ONE)
    sent: list[str] = []
    boto = aws.client()
    boto.meta.events.register("before-call", lambda params, **_: params["headers"].update(
        {"X-Amzn-Trace-Id": f"Root=1-5759e988-bd862e3fe1be46a994272793;Lineage={sent[-1]}"}
    ))  # fmt: skip
    sent.append("loop:15,other:99")
    assert boto.invoke(FunctionName="loop")["StatusCode"] == 200
    sent.append("loop:16")
    with pytest.raises(boto.exceptions.RecursiveInvocationException):
        boto.invoke(FunctionName="loop")
    boto.put_function_recursion_config(FunctionName="loop", RecursiveLoop="Allow")
    assert boto.invoke(FunctionName="loop")["StatusCode"] == 200


def test_limits_of_a_function(aws: Lambda) -> None:
    aws.create("limited", ONE, Publish=True)
    aws.boto.put_function_concurrency(FunctionName="limited", ReservedConcurrentExecutions=0)
    with pytest.raises(aws.boto.exceptions.TooManyRequestsException) as refused:
        aws.invoke("limited")
    assert refused.value.response["Reason"] == "ReservedFunctionConcurrentInvocationLimitExceeded"
    aws.boto.delete_function_concurrency(FunctionName="limited")
    assert aws.invoke("limited")[0] == 1
    aws.boto.put_provisioned_concurrency_config(
        FunctionName="limited", Qualifier="1", ProvisionedConcurrentExecutions=2
    )

    def ready() -> bool:
        got = aws.boto.get_provisioned_concurrency_config(FunctionName="limited", Qualifier="1")
        return bool(got["Status"] == "READY" and got["AvailableProvisionedConcurrentExecutions"] == 2)

    assert until(ready)


def test_function_urls(aws: Lambda) -> None:
    aws.create("web", {"main.py": WEB}, Handler="main.app")
    url = aws.boto.create_function_url_config(FunctionName="web", AuthType="NONE")["FunctionUrl"]
    host = urlsplit(url).netloc
    answer = aws.server.get("/shop?a=1", {"Host": host})
    assert answer.status == 200 and answer.json() == {"path": "/shop", "method": "GET"}
    aws.boto.update_function_url_config(FunctionName="web", AuthType="AWS_IAM")
    assert aws.server.get("/shop?a=1", {"Host": host}).status == 403
    request = AWSRequest("GET", f"{url}shop", params={"a": "1"})
    SigV4Auth(aws.credentials, "lambda", "us-east-1").add_auth(request)
    headers = {"Host": host, **dict(request.headers.items())}
    assert aws.server.get("/shop?a=1", headers).status == 200
    assert aws.server.get("/shop?a=2", headers).status == 403


CORS_APP = """
def handler(event, context):
    headers = {"access-control-allow-origin": "https://of-the-app.example", "x-a": event["rawPath"]}
    return {"statusCode": 200, "headers": headers, "body": "done"}

async def app(scope, receive, send):
    assert scope["type"] == "http"
    headers = [(b"Access-Control-Allow-Origin", b"https://of-the-app.example"), (b"x-a", b"/")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"done"})
"""


@pytest.mark.parametrize("attribute", ["handler", "app"])
def test_pages_of_the_origins_that_a_function_url_names_may_call_it(aws: Lambda, attribute: str) -> None:
    name, shop, other = f"cors-{attribute}", "https://shop.example", "https://other.example"
    aws.create(name, {"main.py": CORS_APP}, Handler=f"main.{attribute}")
    rules = {
        "AllowOrigins": [shop], "AllowMethods": ["PUT"], "ExposeHeaders": ["x-a"], "AllowHeaders": ["x-b"],
    }  # fmt: skip
    url = aws.boto.create_function_url_config(FunctionName=name, AuthType="NONE", Cors=rules)["FunctionUrl"]
    host = {"Host": urlsplit(url).netloc}
    with closing(aws.server.client()) as client:  # on one connection pages of both
        for origin, named in ((shop, shop), (other, None), ("", "https://of-the-app.example"), (shop, shop)):
            sent = {**host, "Origin": origin} if origin else host
            answer = client.ask("GET", "/", None, sent)
            assert (answer.status, answer.body) == (200, b"done")
            # Of an origin that has no leave the app's own word stays out of the answer, too.
            assert answer.headers.get("access-control-allow-origin") == named, origin
            assert answer.headers.get("access-control-expose-headers") == ("x-a" if origin == shop else None)
    asked = {**host, "Access-Control-Request-Method": "PUT", "Access-Control-Request-Headers": "x-b"}
    aws.boto.update_function_url_config(FunctionName=name, AuthType="AWS_IAM")
    answer = aws.server.ask("OPTIONS", "/", None, {**asked, "Origin": shop})  # browsers do not sign it
    assert (answer.status, answer.body) == (200, b"")
    assert answer.headers["access-control-allow-origin"] == shop
    assert answer.headers["access-control-allow-methods"] == "PUT"
    assert answer.headers["access-control-allow-headers"] == "x-b"
    answer = aws.server.ask("OPTIONS", "/", None, {**asked, "Origin": other})
    assert answer.status == 200 and "access-control-allow-origin" not in answer.headers
    assert aws.server.ask("PUT", "/", None, {**host, "Origin": shop}).status == 403  # unsigned
    assert aws.server.ask("OPTIONS", "/", None, host).status == 403


def test_a_function_has_no_say_in_the_control_api(aws: Lambda) -> None:
    source = """
import os, urllib.error, urllib.request

def handler(event, context):
    found = {}
    for name, (method, path, body) in event["calls"].items():
        request = urllib.request.Request(event["url"] + path, body.encode() if body else None, method=method)
        try:
            with urllib.request.urlopen(request) as answer:
                found[name] = answer.status
        except urllib.error.HTTPError as error:
            found[name] = error.code
    return [found, sorted(name for name in os.environ if "KEY" in name or "SECRET" in name)]
"""
    aws.create("curious", {"main.py": source})
    functions = "/2015-03-31/functions"
    calls = {
        "list": ["GET", functions, ""],
        "invoke": ["POST", f"{functions}/curious/invocations", "{}"],
        "delete": ["DELETE", f"{functions}/curious", ""],
        "fc": ["GET", "/2023-03-30/functions", ""],
        "native": ["GET", "/v1/functions", ""],
        "code": ["GET", "/downloads/functions/curious/LATEST", ""],
        "stop": ["POST", "/stop", "{}"],
    }
    said, secrets = aws.invoke("curious", {"url": aws.boto.meta.endpoint_url, "calls": calls})[0]
    assert set(said) == set(calls) and all(status in (400, 401, 403) for status in said.values()), said
    assert secrets == []
    assert aws.boto.get_function(FunctionName="curious")


def test_a_layer_is_laid_under_the_code(aws: Lambda) -> None:
    content = zipped({"python/in_the_layer.py": "NAME = 'layer'\n"})
    layer = aws.boto.publish_layer_version(LayerName="base", Content={"ZipFile": content})
    source = "import in_the_layer\n\ndef handler(event, context):\n    return in_the_layer.NAME\n"
    aws.create("layered", {"main.py": source}, Layers=[layer["LayerVersionArn"]])
    assert aws.invoke("layered")[0] == "layer"


LAYERED = """
import os, pathlib, who

def read(place):
    return {one.name: one.read_text() for one in pathlib.Path(place, "data").glob("*")}

def handler(event, context):
    places = [read(one) for one in os.environ["SNAPFORK_OPT"].split(":")]
    return who.NAME, places, read("/opt"), os.access("/opt/data", os.W_OK)
"""


def test_layers_lie_over_one_another_and_in_opt(aws: Lambda) -> None:
    contents: list[dict[str, str]] = [
        {"python/who.py": "NAME = 'lower'\n", "data/lower": "1", "data/both": "lower"},
        {"python/who.py": "NAME = 'upper'\n", "data/both": "upper"},
    ]
    lower, upper = ({"lower": "1", "both": "lower"}, {"both": "upper"})
    arns = [
        aws.boto.publish_layer_version(LayerName=f"data{at}", Content={"ZipFile": zipped(content)})[
            "LayerVersionArn"
        ]
        for at, content in enumerate(contents)
    ]
    for name, layers, places in (("two", arns, [upper, lower]), ("one", arns[:1], [lower])):
        aws.create(name, {"main.py": LAYERED}, Layers=layers)
        who, found, opt, writable = aws.invoke(name)[0]
        assert (who, found) == ("upper" if name == "two" else "lower", places)
        if os.geteuid() == 0:  # only then may the runner mount
            assert (opt, writable) == (lower | places[0], False)
    aws.create(
        "bare", {"main.py": "import os\n\ndef handler(event, context):\n    return os.listdir('/opt')\n"}
    )
    assert set(aws.invoke("bare")[0]) == set(os.listdir("/opt"))


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serve(data) as server:
        aws = Lambda(server, data)
        aws.create("kept", ONE, Publish=True)
        aws.boto.create_alias(FunctionName="kept", Name="live", FunctionVersion="1")
        server.kill()
        server.wait_until_nothing_is_left()
    with serve(data) as server:
        aws = Lambda(server, data)
        assert aws.invoke("kept:live")[0] == 1
        assert aws.boto.get_alias(FunctionName="kept", Name="live")["FunctionVersion"] == "1"

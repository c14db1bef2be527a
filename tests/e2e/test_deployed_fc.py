"""Functions deployed, invoked and taken away by the real FC SDK against a running `runner serve`."""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from alibabacloud_fc20230330 import models as m
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.exceptions import ClientException
from alibabacloud_tea_openapi.utils_models import Config
from darabonba.runtime import RuntimeOptions
from deployed import serve, until
from fc_served import zipped
from server import HANG_S, Serve

HANDLER = """
import json, os, time

def init(context):
    print("initialised", context.request_id)

def handler(event, context):
    print("called", context.request_id)
    what = json.loads(event or b"{}")
    if what.get("raise"):
        raise ValueError("no")
    if what.get("exit"):
        os._exit(3)
    time.sleep(what.get("sleep", 0))
    if what.get("who"):
        about = context.function
        return json.dumps([about.name, about.handler, about.memory, about.timeout, context.region])
    return event
"""
WEB = """
import json

def app(environ, start_response):
    body = environ["wsgi.input"].read()
    said = {
        "method": environ["REQUEST_METHOD"],
        "path": environ["PATH_INFO"],
        "query": environ["QUERY_STRING"],
        "body": body.decode(),
        "request": environ.get("HTTP_X_FC_REQUEST_ID"),
    }
    start_response("200 OK", [("Content-Type", "application/json")])
    return [json.dumps(said).encode()]
"""


class Fc:
    """A runner with an FC client."""

    def __init__(self, server: Serve, data: Path) -> None:
        self.server = server
        key = json.loads((data / "keys").read_text())["keys"][0]
        control = urlsplit(server.wait_for(r"control: (http://\S+)/status")[1])
        self.client = Client(
            Config(
                access_key_id=key["id"],
                access_key_secret=key["secret"],
                region_id="local",
                endpoint=control.netloc,
                protocol="http",
            )
        )

    def create(self, name: str, files: Mapping[str, str], **more: Any) -> m.Function:
        code = m.InputCodeLocation(zip_file=base64.b64encode(zipped(files)).decode())
        members = {"runtime": "python3", "handler": "index.handler", "timeout": 30, "code": code, **more}
        body = m.CreateFunctionInput(function_name=name, **members)
        made: m.Function = self.client.create_function(m.CreateFunctionRequest(body=body)).body
        return made

    def invoke(
        self,
        name: str,
        payload: Any = None,
        qualifier: str | None = None,
        *,
        kind: str | None = None,
        log: str | None = None,
        task: str | None = None,
    ) -> tuple[bytes, dict[str, str]]:
        """(body, headers) of an invocation."""
        data = b"" if payload is None else json.dumps(payload).encode()
        answer = self.client.invoke_function_with_options(
            name,
            m.InvokeFunctionRequest(body=io.BytesIO(data), qualifier=qualifier),
            m.InvokeFunctionHeaders(x_fc_invocation_type=kind, x_fc_log_type=log, x_fc_async_task_id=task),
            RuntimeOptions(read_timeout=int(HANG_S * 1000)),
        )
        return answer.body.read(), answer.headers

    def task(self, name: str, task: str, *states: str) -> m.AsyncTask:
        """The task, once it is in one of these states."""

        def found() -> m.AsyncTask | None:
            one: m.AsyncTask = self.client.get_async_task(name, task, m.GetAsyncTaskRequest()).body
            return one if one.status in states else None

        return until(found)

    def keep_tasks(self, name: str, **more: Any) -> None:
        body = m.PutAsyncInvokeConfigInput(async_task=True, **more)
        self.client.put_async_invoke_config(name, m.PutAsyncInvokeConfigRequest(body=body))

    def tasks(self, name: str) -> list[m.AsyncTask]:
        request = m.ListAsyncTasksRequest(include_payload=True, sort_order_by_time="asc")
        tasks: list[m.AsyncTask] = self.client.list_async_tasks(name, request).body.tasks
        return tasks

    def publish(self, name: str) -> str:
        request = m.PublishFunctionVersionRequest(body=m.PublishVersionInput())
        return str(self.client.publish_function_version(name, request).body.version_id)


@pytest.fixture(scope="module")
def fc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fc]:
    data = tmp_path_factory.mktemp("runner") / "data"
    with serve(data) as server:
        yield Fc(server, data)


def test_a_handler_is_invoked(fc: Fc) -> None:
    hook = m.InstanceLifecycleConfig(initializer=m.LifecycleHook(handler="index.init", timeout=5))
    fc.create("hello", {"index.py": HANDLER}, instance_lifecycle_config=hook, memory_size=256)
    assert fc.invoke("hello", {"a": 1})[0].decode() == '{"a": 1}'
    said = json.loads(fc.invoke("hello", {"who": 1})[0])
    assert said[:2] == ["hello", "index.handler"]
    assert (int(said[2]), float(said[3])) == (256, 30.0)
    headers = fc.invoke("hello", {"a": 1}, log="Tail")[1]
    request = headers["x-fc-request-id"]
    lines = base64.b64decode(headers["x-fc-log-result"]).decode().splitlines()
    assert f"FC Invoke Start RequestId: {request}" in lines
    assert f"called {request}" in lines
    assert f"FC Invoke End RequestId: {request}" in lines
    assert float(headers["x-fc-max-memory-usage"]) > 0
    assert headers["x-fc-invocation-service-version"] == "LATEST"


def test_what_goes_wrong_in_a_function(fc: Fc) -> None:
    fc.create("wrong", {"index.py": HANDLER}, timeout=1)
    body, headers = fc.invoke("wrong", {"raise": 1})
    said = json.loads(body)
    assert (said["errorMessage"], said["errorType"]) == ("no", "ValueError")
    assert said["stackTrace"][-1][1:] == ["line 11", "in handler", 'raise ValueError("no")']
    assert headers["x-fc-error-type"] == "UnhandledInvocationError"
    body, headers = fc.invoke("wrong", {"exit": 1})
    assert re.fullmatch(
        r"Process exited unexpectedly before completing request"
        r" \(duration: \d+ms, maxMemoryUsage: [1-9]\d*\.\d\dMB\)",
        json.loads(body)["errorMessage"],
    )
    assert headers["x-fc-error-type"] == "UnhandledInvocationError"
    body, headers = fc.invoke("wrong", {"sleep": 30}, log="Tail")
    said = json.loads(body)["errorMessage"]
    assert re.fullmatch(r"Function timed out after 1 second \(maxMemoryUsage: [1-9]\d*\.\d\dMB\)", said)
    lines = base64.b64decode(headers["x-fc-log-result"]).decode().splitlines()
    assert said in lines and f"FC Invoke End RequestId: {headers['x-fc-request-id']}" in lines
    assert fc.invoke("wrong", {"a": 1})[0] == b'{"a": 1}'


def test_a_handler_that_cannot_be_imported(fc: Fc) -> None:
    fc.create("broken", {"index.py": "import nothing_of_that_name\n"})
    body, headers = fc.invoke("broken")
    assert headers["x-fc-error-type"] == "UnhandledInvocationError"
    assert "nothing_of_that_name" in json.loads(body)["errorMessage"]


def test_a_web_app_answers_events_and_http(fc: Fc) -> None:
    start = m.CustomRuntimeConfig(command=["gunicorn", "web:app"], port=9000)
    fc.create("web", {"web.py": WEB}, runtime="custom.debian12", custom_runtime_config=start)
    body, headers = fc.invoke("web", {"any": "event"})
    said = json.loads(body)
    assert (said["method"], said["path"], said["body"]) == ("POST", "/invoke", '{"any": "event"}')
    assert said["request"] == headers["x-fc-request-id"]
    event = {
        "version": "v1",
        "rawPath": "/shop",
        "body": "",
        "isBase64Encoded": False,
        "headers": {"Host": "x"},
        "queryParameters": {"q": "1"},
        "requestContext": {
            "accountId": "1",
            "domainName": "x",
            "http": {"method": "GET", "path": "/shop", "protocol": "HTTP/1.1", "sourceIp": "1.1.1.1"},
            "requestId": "1",
            "timeEpoch": "1",
        },
    }
    answer = json.loads(fc.invoke("web", event)[0])
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"])["path"] == "/shop"

    for auth, status in (("anonymous", 200), ("function", 403)):
        body = m.CreateTriggerInput(
            trigger_name="http",
            trigger_type="http",
            trigger_config=json.dumps(
                {
                    "authType": auth,
                    "methods": ["GET"],
                    "corsConfig": {"allowOrigins": ["*"], "allowMethods": ["GET"]},
                }
            ),
        )
        made = fc.client.create_trigger("web", m.CreateTriggerRequest(body=body)).body
        host = urlsplit(made.http_trigger.url_internet).netloc
        assert fc.server.get("/a?b=c", {"Host": host}).status == status, auth
        page = {"Host": host, "Origin": "https://x.example"}
        asked = fc.server.ask("OPTIONS", "/a", None, {**page, "Access-Control-Request-Method": "GET"})
        assert (asked.status, asked.headers["access-control-allow-origin"]) == (200, "*")
        if auth == "anonymous":
            assert fc.server.get("/a", page).headers["access-control-allow-origin"] == "*"
        fc.client.delete_trigger("web", "http")


def test_versions_live_side_by_side_and_an_alias_moves(fc: Fc) -> None:
    fc.create("versions", {"index.py": "def handler(event, context):\n    return 'one'\n"})
    assert fc.publish("versions") == "1"
    code = zipped({"index.py": "def handler(event, context):\n    return 'two'\n"})
    update = m.UpdateFunctionInput(code=m.InputCodeLocation(zip_file=base64.b64encode(code).decode()))
    fc.client.update_function("versions", m.UpdateFunctionRequest(body=update))
    assert fc.publish("versions") == "2"
    alias = m.CreateAliasInput(alias_name="prod", version_id="1")
    fc.client.create_alias("versions", m.CreateAliasRequest(body=alias))
    assert [fc.invoke("versions", qualifier=one)[0] for one in ("1", "2", "prod")] == [b"one", b"two", b"one"]
    moved = m.UpdateAliasInput(version_id="2")
    fc.client.update_alias("versions", "prod", m.UpdateAliasRequest(body=moved))
    assert fc.invoke("versions", qualifier="prod")[0] == b"two"


def test_asynchronous_invocations_end_as_tasks_and_in_their_destinations(fc: Fc) -> None:
    fc.create("later", {"index.py": HANDLER})
    fc.create("told", {"index.py": HANDLER})
    fc.keep_tasks("told")
    arn = fc.client.get_function("told", m.GetFunctionRequest()).body.function_arn
    failed = m.DestinationConfig(on_failure=m.Destination(destination=arn))
    fc.keep_tasks("later", max_async_retry_attempts=1, destination_config=failed)
    fc.invoke("later", {"a": 1}, kind="Async", task="good")
    fc.invoke("later", {"raise": 1}, kind="Async", task="bad")
    good = fc.task("later", "good", "Succeeded")
    assert (good.return_payload, good.already_retried_times) == ('{"a": 1}', 0)
    bad = fc.task("later", "bad", "Failed")
    assert bad.already_retried_times == 1
    assert "no" in bad.task_error_message
    states = [event.status for event in bad.events]
    assert states[:3] == ["Enqueued", "Dequeued", "Running"]
    assert "Retrying" in states and states[-1] == "Failed"
    (task,) = until(lambda: fc.tasks("told"))
    record = json.loads(task.task_payload)
    assert record["requestContext"]["requestId"] == bad.request_id
    assert record["requestContext"]["approximateInvokeCount"] == 2


def test_a_running_task_is_stopped(fc: Fc) -> None:
    fc.create("long", {"index.py": HANDLER}, timeout=60)
    fc.invoke("long", {"sleep": 50}, kind="Async", task="t")
    fc.task("long", "t", "Running")
    fc.server.wait_until(lambda now: any(one["busy"] for one in now["instances"]), "long:LATEST")
    fc.client.stop_async_task("long", "t", m.StopAsyncTaskRequest())
    fc.task("long", "t", "Stopped")
    # And its handler with it, which had no way to notice.
    fc.server.wait_until(lambda now: now["deaths"] == {"stopped": 1}, "long:LATEST")
    assert fc.invoke("long", {"a": 1})[0] == b'{"a": 1}'


def test_limits_of_a_function(fc: Fc) -> None:
    fc.create("limited", {"index.py": HANDLER})
    stopped = m.PutConcurrencyInput(reserved_concurrency=0)
    fc.client.put_concurrency_config("limited", m.PutConcurrencyConfigRequest(body=stopped))
    with pytest.raises(ClientException) as caught:
        fc.invoke("limited")
    assert (caught.value.status_code, caught.value.code) == (429, "ResourceExhausted")
    fc.client.delete_concurrency_config("limited")
    fc.client.disable_function_invocation("limited", m.DisableFunctionInvocationRequest(reason="r"))
    with pytest.raises(ClientException) as caught:
        fc.invoke("limited")
    assert (caught.value.status_code, caught.value.code) == (403, "AccessDenied")
    fc.client.enable_function_invocation("limited")
    assert fc.invoke("limited", {"a": 1})[0] == b'{"a": 1}'


def test_provisioned_instances_become_ready(fc: Fc) -> None:
    fc.create("ready", {"index.py": HANDLER})
    version = fc.publish("ready")
    put = m.PutProvisionConfigRequest(body=m.PutProvisionConfigInput(default_target=2), qualifier=version)
    assert fc.client.put_provision_config("ready", put).body.target == 2
    request = m.GetProvisionConfigRequest(qualifier=version)
    until(lambda: fc.client.get_provision_config("ready", request).body.current == 2)
    instances = fc.client.list_instances("ready", m.ListInstancesRequest(qualifier=version)).body.instances
    assert len(instances) >= 2
    fc.client.delete_provision_config("ready", m.DeleteProvisionConfigRequest(qualifier=version))


def test_a_timer_and_a_watched_directory_invoke(fc: Fc, tmp_path: Path) -> None:
    fc.create("woken", {"index.py": HANDLER})
    fc.keep_tasks("woken")
    watched = tmp_path / "pictures"
    watched.mkdir()
    timer = {"cronExpression": "@every 1s", "payload": "wake up", "enable": True}
    for kind, config, source in (
        ("timer", timer, None),
        (
            "oss",
            {"events": ["oss:ObjectCreated:*"], "filter": {"key": {"suffix": ".png"}}},
            f"file://{watched}",
        ),
    ):
        body = m.CreateTriggerInput(
            trigger_name=kind, trigger_type=kind, trigger_config=json.dumps(config), source_arn=source
        )
        fc.client.create_trigger("woken", m.CreateTriggerRequest(body=body))
    (watched / "a.txt").write_text("no")
    (watched / "a.png").write_bytes(b"png")

    def payloads() -> list[dict[str, Any]]:
        return [json.loads(task.task_payload) for task in fc.tasks("woken")]

    tick = until(lambda: [one for one in payloads() if one.get("triggerName") == "timer"])[0]
    assert tick["payload"] == "wake up"
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", tick["triggerTime"])
    (event,) = until(lambda: [one for one in payloads() if "events" in one])[0]["events"]
    assert event["eventName"] == "ObjectCreated:PutObject"
    assert (event["oss"]["bucket"]["name"], event["oss"]["object"]["key"]) == ("pictures", "a.png")
    assert event["oss"]["object"]["size"] == 3
    for kind in ("timer", "oss"):
        fc.client.delete_trigger("woken", kind)


def test_a_layer_is_laid_under_the_code(fc: Fc) -> None:
    code = m.InputCodeLocation(
        zip_file=base64.b64encode(zipped({"python/in_the_layer.py": "NAME = 'layer'\n"})).decode()
    )
    body = m.CreateLayerVersionInput(code=code, compatible_runtime=["python3"])
    layer = fc.client.create_layer_version("base", m.CreateLayerVersionRequest(body=body)).body
    source = "import in_the_layer\n\ndef handler(event, context):\n    return in_the_layer.NAME\n"
    fc.create("layered", {"index.py": source}, layers=[layer.layer_version_arn])
    assert fc.invoke("layered")[0] == b"layer"


def test_what_was_acknowledged_survives_kill_9(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with serve(data) as server:
        fc = Fc(server, data)
        fc.create("kept", {"index.py": HANDLER})
        fc.invoke("kept", {"sleep": 1}, kind="Async", task="t")
        server.kill()
        server.wait_until_nothing_is_left()
    with serve(data) as server:
        fc = Fc(server, data)
        assert fc.invoke("kept", {"a": 1})[0] == b'{"a": 1}'
        assert fc.task("kept", "t", "Succeeded").return_payload == '{"sleep": 1}'

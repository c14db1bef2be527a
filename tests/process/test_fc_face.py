"""The FC face, driven by the real, unmodified SDK."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import http.client
import io
import json
import re
import socket
import time
import urllib.error
import urllib.request
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from alibabacloud_fc20230330 import models as m
from alibabacloud_fc20230330.client import Client
from alibabacloud_tea_openapi.exceptions import ClientException, ServerException
from darabonba.runtime import RuntimeOptions
from fc_served import ACCOUNT, CODE, INVOKER, LIMITED, MANAGER, REGION, Served, code, create, served, zipped
from snapfork.runner.faces import fc_names, fc_offer
from snapfork.runner.faces.signing import sign_acs3
from snapfork.runner.invocations.model import Invocation, Result
from snapfork.runner.registry.model import Configuration, Key

ARN = f"acs:fc:{REGION}:{ACCOUNT}:functions/"
OTHER = zipped({"index.py": "def handler(event, context):\n    return 'other'\n"})


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("fc") / "data") as one:
        yield one


@pytest.fixture
def client(face: Served) -> Client:
    return face.client()


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A function name of the test's own."""
    return re.sub(r"\W", "_", request.node.name)[:60]


def refused(call: Any, *arguments: Any) -> tuple[int, str, str]:
    """(status, code, message) of the error that the SDK raises."""
    with pytest.raises(ClientException) as caught:
        call(*arguments)
    message = re.sub(r"^code: \d+, (.*) request id: 1-[0-9a-f]{8}-[0-9a-f]{24}$", r"\1", caught.value.message)
    return caught.value.status_code, caught.value.code, message


def invoke(
    client: Client,
    name: str,
    payload: bytes = b"",
    *,
    qualifier: str | None = None,
    kind: str | None = None,
    log: str | None = None,
    task: str | None = None,
    headers: dict[str, str] | None = None,
) -> m.InvokeFunctionResponse:
    return client.invoke_function_with_options(
        name,
        m.InvokeFunctionRequest(body=io.BytesIO(payload), qualifier=qualifier),
        m.InvokeFunctionHeaders(
            common_headers=headers,
            x_fc_invocation_type=kind,
            x_fc_log_type=log,
            x_fc_async_task_id=task,
        ),
        RuntimeOptions(),
    )


# -- functions ------------------------------------------------------------------------------------------


def test_a_function_is_made_shown_changed_and_deleted(client: Client, name: str) -> None:
    made = create(client, name, memory_size=1024, tags=[m.Tag(key="team", value="shop")])
    assert made.function_name == name
    assert made.function_arn == ARN + name
    assert made.code_checksum == fc_names.checksum(CODE)
    assert made.code_size == len(CODE)
    assert (made.timeout, made.memory_size, made.disk_size, made.instance_concurrency) == (3, 1024, 512, 1)
    assert made.cpu == pytest.approx(0.7)
    assert (made.state, made.last_update_status) == ("Active", "Successful")
    assert [(tag.key, tag.value) for tag in made.tags] == [("team", "shop")]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", made.created_time)
    shown = client.get_function(name, m.GetFunctionRequest()).body
    assert shown.to_map() == made.to_map()

    body = m.UpdateFunctionInput(
        timeout=20, code=code(OTHER), environment_variables={"A": "1"}, description="changed"
    )
    changed = client.update_function(name, m.UpdateFunctionRequest(body=body)).body
    assert (changed.timeout, changed.description, changed.environment_variables) == (
        20,
        "changed",
        {"A": "1"},
    )
    assert changed.code_checksum == fc_names.checksum(OTHER)
    assert changed.memory_size == 1024

    assert client.delete_function(name).status_code == 204
    missing = (404, "FunctionNotFound", f"function '{name}' does not exist")
    assert refused(client.get_function, name, m.GetFunctionRequest()) == missing
    assert refused(client.delete_function, name) == missing


def test_everything_that_fc_stores_comes_back(client: Client, name: str) -> None:
    made = create(
        client,
        name,
        cpu=0.5,
        role="acs:ram::1:role/fc",
        log_config=m.LogConfig(project="p", logstore="l", enable_request_metrics=True),
        instance_lifecycle_config=m.InstanceLifecycleConfig(
            initializer=m.LifecycleHook(handler="index.init", timeout=20),
            pre_stop=m.LifecycleHook(handler="index.stop", timeout=90),
        ),
        internet_access=False,
        idle_timeout=60,
        vpc_config=m.VPCConfig(),
        nas_config=m.NASConfig(mount_points=[]),
    )
    assert made.log_config.to_map() == {"enableRequestMetrics": True, "logstore": "l", "project": "p"}
    assert made.instance_lifecycle_config.to_map() == {
        "initializer": {"handler": "index.init", "timeout": 20},
        "preStop": {"handler": "index.stop", "timeout": 90},
    }
    assert (made.cpu, made.role, made.internet_access, made.idle_timeout) == (
        0.5,
        "acs:ram::1:role/fc",
        False,
        60,
    )


def test_a_checksum_is_compared(client: Client, name: str) -> None:
    wrong = refused(lambda: create(client, name, code=code(checksum="1")))
    assert wrong == (
        400,
        "InvalidArgument",
        f"code.checksum is 1, but the CRC-64 of the package is {fc_names.checksum(CODE)}.",
    )
    create(client, name, code=code(checksum=fc_names.checksum(CODE)))


def test_functions_are_listed_in_pages_and_by_what_they_are(client: Client) -> None:
    for number in range(5):
        create(
            client,
            f"paged_{number}",
            tags=[m.Tag(key="odd", value=str(number % 2))],
            description=f"no {number}",
        )
    pages, token = [], None
    while True:
        page = client.list_functions(m.ListFunctionsRequest(prefix="paged_", limit=2, next_token=token)).body
        pages.append([one.function_name for one in page.functions])
        token = page.next_token
        if not token:
            break
    assert pages == [["paged_0", "paged_1"], ["paged_2", "paged_3"], ["paged_4"]]
    tags = [m.Tag(key="odd", value="1")]
    odd = client.list_functions(m.ListFunctionsRequest(prefix="paged_", tags=tags, limit=1)).body
    assert [one.function_name for one in odd.functions] == ["paged_1"]
    more = m.ListFunctionsRequest(prefix="paged_", tags=tags, limit=1, next_token=odd.next_token)
    rest = client.list_functions(more).body
    assert ([one.function_name for one in rest.functions], rest.next_token) == (["paged_3"], None)
    for request, found in (
        (m.ListFunctionsRequest(prefix="paged_", description="no 4"), ["paged_4"]),
        (m.ListFunctionsRequest(prefix="paged_", runtime="python3.9"), []),
        (m.ListFunctionsRequest(prefix="paged_", fc_version="v2"), []),
        (m.ListFunctionsRequest(function_name="paged_2"), ["paged_2"]),
    ):
        assert [one.function_name for one in client.list_functions(request).body.functions] == found


def test_a_name_is_taken_once(client: Client, name: str) -> None:
    create(client, name)
    assert refused(lambda: create(client, name))[:2] == (409, "FunctionAlreadyExists")


def test_a_function_of_another_dialect_is_shown(face: Served, client: Client, name: str) -> None:
    configuration = Configuration("index.handler", "python3", 30.0, None, "runner", description="mine")
    asyncio.run_coroutine_threadsafe(face.operations.create(name, configuration, CODE), face.loop).result(10)
    shown = client.get_function(name, m.GetFunctionRequest()).body
    assert (shown.handler, shown.timeout, shown.memory_size, shown.description) == (
        "index.handler",
        30,
        None,
        "mine",
    )


def test_the_code_can_be_fetched(client: Client, name: str) -> None:
    create(client, name)
    found = client.get_function_code(name, m.GetFunctionCodeRequest()).body
    assert found.checksum == fc_names.checksum(CODE)
    with urllib.request.urlopen(found.url, timeout=150) as answer:
        assert answer.read() == CODE
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(found.url.replace(name, "other"), timeout=150)


# -- versions and aliases -------------------------------------------------------------------------------


def publish(client: Client, name: str, description: str | None = None) -> m.Version:
    body = m.PublishVersionInput(description=description)
    return client.publish_function_version(name, m.PublishFunctionVersionRequest(body=body)).body


def test_versions_are_published_listed_and_deleted(client: Client, name: str) -> None:
    create(client, name)
    first = publish(client, name, "the first")
    assert (first.version_id, first.description) == ("1", "the first")
    assert publish(client, name).version_id == "1"  # nothing has changed
    for number in (2, 3):
        body = m.UpdateFunctionInput(timeout=number * 10)
        client.update_function(name, m.UpdateFunctionRequest(body=body))
        assert publish(client, name).version_id == str(number)
    assert client.get_function(name, m.GetFunctionRequest(qualifier="1")).body.timeout == 3
    assert client.get_function(name, m.GetFunctionRequest(qualifier="LATEST")).body.timeout == 30
    back = client.list_function_versions(name, m.ListFunctionVersionsRequest(limit=2)).body
    assert ([one.version_id for one in back.versions], back.direction) == (["3", "2"], "BACKWARD")
    request = m.ListFunctionVersionsRequest(limit=2, next_token=back.next_token)
    assert [one.version_id for one in client.list_function_versions(name, request).body.versions] == ["1"]
    request = m.ListFunctionVersionsRequest(direction="FORWARD")
    forth = client.list_function_versions(name, request).body
    assert [one.version_id for one in forth.versions] == ["1", "2", "3"]
    assert client.delete_function_version(name, "2").status_code == 204
    assert refused(client.get_function, name, m.GetFunctionRequest(qualifier="2")) == (
        404,
        "VersionNotFound",
        "version '2' does not exist",
    )


def test_aliases(client: Client, name: str) -> None:
    create(client, name)
    publish(client, name)
    client.update_function(name, m.UpdateFunctionRequest(body=m.UpdateFunctionInput(timeout=9)))
    publish(client, name)
    body = m.CreateAliasInput(
        alias_name="prod", version_id="1", additional_version_weight={"2": 0.1}, description="live"
    )
    made = client.create_alias(name, m.CreateAliasRequest(body=body)).body
    assert (made.alias_name, made.version_id, made.additional_version_weight) == ("prod", "1", {"2": 0.1})
    assert refused(client.create_alias, name, m.CreateAliasRequest(body=body))[:2] == (
        409,
        "AliasAlreadyExists",
    )
    assert client.get_alias(name, "prod").body.to_map() == made.to_map()
    assert client.get_function(name, m.GetFunctionRequest(qualifier="prod")).body.timeout == 3
    update = m.UpdateAliasInput(version_id="2", additional_version_weight={})
    moved = client.update_alias(name, "prod", m.UpdateAliasRequest(body=update)).body
    assert (moved.version_id, moved.additional_version_weight, moved.description) == ("2", {}, "live")
    listed = client.list_aliases(name, m.ListAliasesRequest(prefix="p")).body
    assert [one.alias_name for one in listed.aliases] == ["prod"]
    assert refused(client.delete_function_version, name, "2")[:2] == (409, "ResourceInUse")
    assert client.delete_alias(name, "prod").status_code == 204
    missing = (404, "AliasNotFound", "alias 'prod' does not exist")
    assert refused(client.get_alias, name, "prod") == missing
    assert refused(client.get_function, name, m.GetFunctionRequest(qualifier="prod")) == missing


def test_a_canary_may_not_be_the_main_version(client: Client, name: str) -> None:
    create(client, name)
    publish(client, name)
    body = m.CreateAliasInput(alias_name="a", version_id="1", additional_version_weight={"1": 0.5})
    said = refused(client.create_alias, name, m.CreateAliasRequest(body=body))
    assert said[:2] == (400, "AdditionalVersionContainsMajorVersion")


# -- invocation -----------------------------------------------------------------------------------------


def test_a_synchronous_invocation(face: Served, client: Client, name: str) -> None:
    create(client, name)
    payload = bytes(range(256))
    answer = invoke(client, name, payload)
    assert answer.status_code == 200
    assert answer.body.read() == payload
    headers = answer.headers
    assert headers["content-type"] == "application/octet-stream"
    assert re.fullmatch(r"1-[0-9a-f]{8}-[0-9a-f]{24}", headers["x-fc-request-id"])
    assert headers["x-fc-code-checksum"] == fc_names.checksum(CODE)
    assert headers["x-fc-invocation-service-version"] == "LATEST"
    assert "x-fc-error-type" not in headers and "x-fc-log-result" not in headers
    ran = face.invoker.ran[-1]
    assert (ran.id, ran.dialect, ran.payload, ran.attempt) == (headers["x-fc-request-id"], "fc", payload, 1)


def test_the_simple_call_without_headers_or_body(client: Client, name: str) -> None:
    create(client, name)
    answer = client.invoke_function(name, m.InvokeFunctionRequest())
    assert (answer.status_code, answer.body.read()) == (200, b"")


def test_the_tail_of_the_log(client: Client, name: str) -> None:
    create(client, name)
    answer = invoke(client, name, log="Tail")
    assert base64.b64decode(answer.headers["x-fc-log-result"]) == b"a line\n"
    assert "x-fc-log-result" not in invoke(client, name, log="None").headers


def test_qualifiers(client: Client, name: str) -> None:
    create(client, name)
    publish(client, name)
    body = m.CreateAliasInput(alias_name="prod", version_id="1")
    client.create_alias(name, m.CreateAliasRequest(body=body))
    for qualifier in ("1", "prod", "LATEST"):
        headers = invoke(client, name, qualifier=qualifier).headers
        assert headers["x-fc-invocation-service-version"] == qualifier
    assert refused(lambda: invoke(client, name, qualifier="7")) == (
        404,
        "VersionNotFound",
        "version '7' does not exist",
    )
    assert refused(lambda: invoke(client, name, qualifier="nobody")) == (
        404,
        "AliasNotFound",
        "alias 'nobody' does not exist",
    )


def test_a_functions_error_does_not_raise(face: Served, client: Client, name: str) -> None:
    create(client, name)
    error = {"errorMessage": "no", "errorType": "ValueError", "stackTrace": []}
    face.invoker.what[name] = lambda _: Result(json.dumps(error).encode(), error="unhandled")
    answer = invoke(client, name)
    assert (answer.status_code, answer.headers["x-fc-error-type"]) == (200, "UnhandledInvocationError")
    assert json.loads(answer.body.read()) == error


def test_system_errors_raise(face: Served, client: Client, name: str) -> None:
    create(client, name)
    face.invoker.what[name] = lambda _: Result(b"", error="unavailable")
    with pytest.raises(ServerException) as caught:
        invoke(client, name)
    assert (caught.value.status_code, caught.value.code) == (503, "ResourceThrottled")


def test_reserved_concurrency_stops_a_function(client: Client, name: str) -> None:
    create(client, name)
    body = m.PutConcurrencyInput(reserved_concurrency=0)
    made = client.put_concurrency_config(name, m.PutConcurrencyConfigRequest(body=body)).body
    assert (made.function_arn, made.reserved_concurrency) == (ARN + name, 0)
    assert refused(lambda: invoke(client, name))[:2] == (429, "ResourceExhausted")
    assert client.get_concurrency_config(name).body.reserved_concurrency == 0
    listed = client.list_concurrency_configs(m.ListConcurrencyConfigsRequest(function_name=name)).body
    assert [one.function_arn for one in listed.configs] == [ARN + name]
    client.delete_concurrency_config(name)
    assert refused(client.get_concurrency_config, name)[:2] == (404, "OnDemandConfigNotFound")
    assert refused(client.delete_concurrency_config, name)[:2] == (404, "OnDemandConfigNotFound")
    invoke(client, name)


def test_invocation_is_switched_off_and_on(client: Client, name: str) -> None:
    create(client, name)
    request = m.DisableFunctionInvocationRequest(reason="under repair")
    assert client.disable_function_invocation(name, request).body.success is True
    said = refused(lambda: invoke(client, name))
    assert said == (403, "AccessDenied", f"invocation of function '{name}' is disabled: under repair")
    restriction = client.get_function(name, m.GetFunctionRequest()).body.invocation_restriction
    assert (restriction.disable, restriction.reason) == (True, "under repair")
    assert client.enable_function_invocation(name).body.success is True
    invoke(client, name)


# -- asynchronous invocation ----------------------------------------------------------------------------


def test_an_asynchronous_invocation_becomes_a_task(client: Client, name: str) -> None:
    create(client, name)
    answer = invoke(
        client, name, b'{"a": 1}', kind="Async", task="job-1", headers={"x-fc-async-delay": "3599"}
    )
    assert (answer.status_code, answer.headers["x-fc-async-task-id"]) == (202, "job-1")
    said = refused(lambda: invoke(client, name, kind="Async", task="job-1"))
    assert said[:2] == (409, "AsyncTaskAlreadyExists")
    task = client.get_async_task(name, "job-1", m.GetAsyncTaskRequest()).body
    assert (task.task_id, task.status, task.task_payload) == ("job-1", "Enqueued", '{"a": 1}')
    assert task.request_id == answer.headers["x-fc-request-id"]
    assert (task.function_arn, task.qualifier, task.already_retried_times) == (ARN + name, "LATEST", 0)
    listed = client.list_async_tasks(name, m.ListAsyncTasksRequest(prefix="job", status="Enqueued")).body
    assert [(one.task_id, one.task_payload) for one in listed.tasks] == [("job-1", None)]
    request = m.ListAsyncTasksRequest(include_payload=True, sort_order_by_time="asc")
    assert client.list_async_tasks(name, request).body.tasks[0].task_payload == '{"a": 1}'
    assert client.stop_async_task(name, "job-1", m.StopAsyncTaskRequest()).status_code == 204
    stopped = client.get_async_task(name, "job-1", m.GetAsyncTaskRequest()).body
    assert stopped.status == "Stopped"
    assert [event.status for event in stopped.events][-1] == "Stopped"


def test_a_task_id_is_made_where_none_is_given(client: Client, name: str) -> None:
    create(client, name)
    headers = invoke(client, name, kind="Async").headers
    assert headers["x-fc-async-task-id"] == headers["x-fc-request-id"]


def test_tasks_that_are_not_there(client: Client, name: str) -> None:
    create(client, name)
    missing = (404, "AsyncTaskNotFound")
    assert refused(client.get_async_task, name, "x", m.GetAsyncTaskRequest())[:2] == missing
    assert refused(client.stop_async_task, name, "x", m.StopAsyncTaskRequest())[:2] == missing
    assert refused(client.list_async_tasks, "nobody", m.ListAsyncTasksRequest())[:2] == (
        404,
        "FunctionNotFound",
    )


def test_the_asynchronous_config(client: Client, name: str) -> None:
    create(client, name)
    request = m.GetAsyncInvokeConfigRequest()
    assert refused(client.get_async_invoke_config, name, request)[:2] == (404, "AsyncConfigNotExists")
    body = m.PutAsyncInvokeConfigInput(
        async_task=True,
        max_async_retry_attempts=8,
        max_async_event_age_in_seconds=2_592_000,
        destination_config=m.DestinationConfig(
            on_success=m.Destination(destination=ARN + "next"),
            on_failure=m.Destination(destination="http://127.0.0.1:9/failed"),
        ),
    )
    made = client.put_async_invoke_config(name, m.PutAsyncInvokeConfigRequest(body=body)).body
    assert made.async_task is True
    assert (made.max_async_retry_attempts, made.max_async_event_age_in_seconds) == (8, 2_592_000)
    assert made.destination_config.on_success.destination == ARN + "next"
    assert client.get_async_invoke_config(name, request).body.to_map() == made.to_map()
    listed = client.list_async_invoke_configs(m.ListAsyncInvokeConfigsRequest(function_name=name)).body
    assert [one.to_map() for one in listed.configs] == [made.to_map()]
    default = client.put_async_invoke_config(
        name, m.PutAsyncInvokeConfigRequest(body=m.PutAsyncInvokeConfigInput())
    ).body
    assert (default.max_async_retry_attempts, default.max_async_event_age_in_seconds) == (3, 86400)
    client.delete_async_invoke_config(name, m.DeleteAsyncInvokeConfigRequest())
    assert refused(client.get_async_invoke_config, name, request)[:2] == (404, "AsyncConfigNotExists")


# -- provisioned instances ------------------------------------------------------------------------------


def test_provisioned_instances(client: Client, name: str) -> None:
    create(client, name)
    publish(client, name)
    none = client.get_provision_config(name, m.GetProvisionConfigRequest(qualifier="1")).body
    assert (none.target, none.current) == (0, 0)
    body = m.PutProvisionConfigInput(
        default_target=2,
        scheduled_actions=[
            m.ScheduledAction(
                name="evening",
                schedule_expression="cron(0 0 20 * * *)",
                target=2,
                start_time="2020-01-01T00:00:00Z",
                end_time="2099-01-01T00:00:00Z",
            )
        ],
        target_tracking_policies=[
            m.TargetTrackingPolicy(
                name="busy",
                metric_type="ProvisionedConcurrencyUtilization",
                metric_target=0.6,
                min_capacity=1,
                max_capacity=5,
                start_time="2098-01-01T00:00:00",
                end_time="2099-01-01T00:00:00",
                time_zone="Asia/Shanghai",
            )
        ],
    )
    request = m.PutProvisionConfigRequest(body=body, qualifier="1")
    made = client.put_provision_config(name, request).body
    assert (made.function_arn, made.default_target, made.target) == (ARN + name + "/1", 2, 2)
    assert made.scheduled_actions[0].to_map() == body.scheduled_actions[0].to_map()
    assert made.target_tracking_policies[0].to_map() == body.target_tracking_policies[0].to_map()
    assert made.always_allocate_cpu is True
    shown = client.get_provision_config(name, m.GetProvisionConfigRequest(qualifier="1")).body
    assert (shown.current, shown.current_error) == (2, "")
    listed = client.list_provision_configs(m.ListProvisionConfigsRequest(function_name=name)).body
    assert [one.function_arn for one in listed.provision_configs] == [ARN + name + "/1"]
    instances = client.list_instances(name, m.ListInstancesRequest(qualifier="1")).body.instances
    assert [(one.version_id, one.status) for one in instances] == [("1", "Running")] * 2
    client.delete_provision_config(name, m.DeleteProvisionConfigRequest(qualifier="1"))
    assert client.list_instances(name, m.ListInstancesRequest()).body.instances == []


def test_the_scaling_config_is_the_provision_config_in_other_words(client: Client, name: str) -> None:
    create(client, name)
    request = m.GetScalingConfigRequest(qualifier="LATEST")
    assert refused(client.get_scaling_config, name, request)[:2] == (404, "ScalingConfigNotFound")
    policy = m.ScalingPolicy(
        name="busy", metric_type="CPUUtilization", metric_target=0.5, min_instances=1, max_instances=4
    )
    body = m.PutScalingConfigInput(
        min_instances=1, horizontal_scaling_policies=[policy], enable_mix_mode=True
    )
    put = m.PutScalingConfigRequest(body=body, qualifier="LATEST")
    assert client.put_scaling_config(name, put).status_code == 200
    shown = client.get_scaling_config(name, request).body
    assert (shown.min_instances, shown.enable_mix_mode) == (1, True)
    assert shown.horizontal_scaling_policies[0].to_map() == policy.to_map()
    provided = client.get_provision_config(name, m.GetProvisionConfigRequest(qualifier="LATEST")).body
    assert provided.target_tracking_policies[0].max_capacity == 4
    listed = client.list_scaling_configs(m.ListScalingConfigsRequest(function_name=name)).body
    assert len(listed.scaling_configs) == 1
    client.delete_scaling_config(name, m.DeleteScalingConfigRequest(qualifier="LATEST"))
    assert refused(client.get_scaling_config, name, request)[0] == 404


# -- triggers and domains -------------------------------------------------------------------------------


def trigger(kind: str, config: Any, **more: Any) -> m.CreateTriggerRequest:
    text = config if isinstance(config, str) else json.dumps(config)
    name = more.pop("name", kind)
    body = m.CreateTriggerInput(trigger_name=name, trigger_type=kind, trigger_config=text, **more)
    return m.CreateTriggerRequest(body=body)


@pytest.mark.parametrize("expression", ["@every 5m", "0 0 4 * * *", "CRON_TZ=Asia/Shanghai 0 30 4 1 * ?"])
def test_timers(client: Client, name: str, expression: str) -> None:
    create(client, name)
    config = {"cronExpression": expression, "payload": "wake up", "enable": True}
    made = client.create_trigger(name, trigger("timer", config, description="d")).body
    assert (made.trigger_name, made.trigger_type, made.description) == ("timer", "timer", "d")
    assert json.loads(made.trigger_config) == config
    assert (made.qualifier, made.target_arn, made.status) == ("LATEST", ARN + name, "Active")
    update = m.UpdateTriggerInput(trigger_config=json.dumps({**config, "enable": False}))
    off = client.update_trigger(name, "timer", m.UpdateTriggerRequest(body=update)).body
    assert (json.loads(off.trigger_config)["enable"], off.description) == (False, "d")
    assert [one.trigger_id for one in client.list_triggers(name, m.ListTriggersRequest()).body.triggers] == [
        made.trigger_id
    ]
    assert refused(client.delete_function, name)[:2] == (409, "FunctionNotEmpty")
    client.delete_trigger(name, "timer")
    assert refused(client.get_trigger, name, "timer") == (
        404,
        "TriggerNotFound",
        "trigger 'timer' does not exist",
    )


def test_an_http_trigger_says_where_it_is(client: Client, name: str) -> None:
    create(client, name)
    config = {"authType": "anonymous", "methods": ["GET"], "disableURLInternet": False}
    made = client.create_trigger(name, trigger("http", config)).body
    assert json.loads(made.trigger_config) == config
    assert made.http_trigger.url_internet == f"http://{name}.localhost:8000/"
    again = trigger("http", config, name="second")
    assert refused(client.create_trigger, name, again)[:2] == (409, "TriggerAlreadyExists")
    assert json.loads(client.get_trigger(name, "http").body.trigger_config) == config


def test_an_oss_trigger_watches_a_directory(client: Client, name: str, tmp_path: Path) -> None:
    create(client, name)
    config = {"events": ["oss:ObjectCreated:*"], "filter": {"key": {"prefix": "in/", "suffix": ".png"}}}
    source = f"file://{tmp_path}"
    made = client.create_trigger(name, trigger("oss", config, source_arn=source, invocation_role="r")).body
    said = json.loads(made.trigger_config)
    assert said | config == said
    assert (said["directory"], made.source_arn, made.invocation_role) == (str(tmp_path), source, "r")
    second = {**config, "directory": str(tmp_path)}
    bucket = f"acs:oss:{REGION}:{ACCOUNT}:pictures"
    other = client.create_trigger(name, trigger("oss", second, name="o2", source_arn=bucket)).body
    assert json.loads(other.trigger_config)["bucket"] == "pictures"
    update = m.UpdateTriggerInput(trigger_config=json.dumps({"events": ["oss:ObjectRemoved:*"]}))
    moved = client.update_trigger(name, "oss", m.UpdateTriggerRequest(body=update)).body
    assert json.loads(moved.trigger_config)["directory"] == str(tmp_path)
    assert json.loads(moved.trigger_config)["events"] == ["oss:ObjectRemoved:*"]


def test_custom_domains(client: Client, name: str) -> None:
    create(client, name)
    domain = f"{name.replace('_', '-').lower()}.example.com"
    routes = m.RouteConfig(routes=[m.PathConfig(path="/api/*", function_name=name, methods=["GET"])])
    body = m.CreateCustomDomainInput(
        domain_name=domain,
        protocol="HTTP",
        route_config=routes,
        cert_config=m.CertConfig(cert_name="c", certificate="PUBLIC", private_key="SECRET"),
    )
    made = client.create_custom_domain(m.CreateCustomDomainRequest(body=body)).body
    assert (made.domain_name, made.protocol, made.account_id) == (domain, "HTTP", ACCOUNT)
    assert made.cert_config.to_map() == {"certName": "c", "certificate": "PUBLIC"}
    route = made.route_config.routes[0]
    assert (route.path, route.function_name, route.qualifier, route.methods) == (
        "/api/*",
        name,
        "LATEST",
        ["GET"],
    )
    again = refused(client.create_custom_domain, m.CreateCustomDomainRequest(body=body))
    assert again[:2] == (409, "DomainNameAlreadyExists")
    update = m.UpdateCustomDomainInput(protocol="HTTP,HTTPS")
    moved = client.update_custom_domain(domain, m.UpdateCustomDomainRequest(body=update)).body
    assert (moved.protocol, len(moved.route_config.routes)) == ("HTTP,HTTPS", 1)
    listed = client.list_custom_domains(m.ListCustomDomainsRequest(prefix=domain)).body
    assert [one.domain_name for one in listed.custom_domains] == [domain]
    client.delete_custom_domain(domain)
    assert refused(client.get_custom_domain, domain)[:2] == (404, "DomainNameNotFound")


# -- layers, tags, regions ------------------------------------------------------------------------------


def test_layers(client: Client, name: str) -> None:
    body = m.CreateLayerVersionInput(
        code=code(), compatible_runtime=["python3"], description="a layer", license="MIT"
    )
    made = client.create_layer_version(name, m.CreateLayerVersionRequest(body=body)).body
    assert (made.layer_name, made.version, made.acl, made.license) == (name, 1, "0", "MIT")
    assert made.code_checksum == fc_names.checksum(CODE)
    with urllib.request.urlopen(made.code.location, timeout=150) as answer:
        assert answer.read() == CODE
    arn = f"acs:fc:{REGION}:{ACCOUNT}:layers/{name}/versions/1"
    assert made.layer_version_arn == arn
    for again in (client.get_layer_version(name, "1"), client.get_layer_version_by_arn(arn)):
        assert {**again.body.to_map(), "code": None} == {**made.to_map(), "code": None}
    function = create(client, f"{name}_f", layers=[arn])
    assert [(one.arn, one.size) for one in function.layers] == [(arn, len(CODE))]
    for number in (2, 3):
        assert (
            client.create_layer_version(name, m.CreateLayerVersionRequest(body=body)).body.version == number
        )
    page = client.list_layer_versions(name, m.ListLayerVersionsRequest(limit=2)).body
    assert ([one.version for one in page.layers], page.next_version) == ([3, 2], 1)
    request = m.ListLayerVersionsRequest(start_version=str(page.next_version))
    assert [one.version for one in client.list_layer_versions(name, request).body.layers] == [1]
    listed = client.list_layers(m.ListLayersRequest(prefix=name)).body
    assert [(one.layer_name, one.version) for one in listed.layers] == [(name, 3)]
    client.put_layer_acl(name, m.PutLayerACLRequest(acl="1"))
    assert client.get_layer_version(name, "1").body.acl == "1"
    assert len(client.list_layers(m.ListLayersRequest(prefix=name, public="true")).body.layers) == 1
    client.delete_layer_version(name, "1")
    assert refused(client.get_layer_version, name, "1") == (
        404,
        "LayerVersionNotFound",
        "layer version '1' does not exist",
    )
    assert refused(client.get_layer_version, "nothing", "1")[:2] == (404, "LayerNotFound")


def test_tags(client: Client, name: str) -> None:
    create(client, name)
    tags = [m.Tag(key="a", value="1"), m.Tag(key="b", value="2")]
    body = m.TagResourcesInput(resource_id=[ARN + name], resource_type="function", tag=tags)
    client.tag_resources(m.TagResourcesRequest(body=body))
    request = m.ListTagResourcesRequest(resource_type="function", resource_id=[ARN + name])
    found = client.list_tag_resources(request).body
    assert [(one.resource_id, one.tag_key, one.tag_value) for one in found.tag_resources] == [
        (ARN + name, "a", "1"),
        (ARN + name, "b", "2"),
    ]
    by_tag = m.ListTagResourcesRequest(
        resource_type="ALIYUN::FC::FUNCTION", tag=[m.ListTagResourcesRequestTag(key="a", value="1")]
    )
    assert {one.resource_id for one in client.list_tag_resources(by_tag).body.tag_resources} == {ARN + name}
    untag = m.UntagResourcesRequest(resource_type="function", resource_id=[ARN + name], tag_key=["a"])
    client.untag_resources(untag)
    assert [one.tag_key for one in client.list_tag_resources(request).body.tag_resources] == ["b"]
    client.untag_resources(
        m.UntagResourcesRequest(resource_type="function", resource_id=[ARN + name], all=True)
    )
    assert client.list_tag_resources(request).body.tag_resources == []


def test_regions(client: Client) -> None:
    regions = client.describe_regions(m.DescribeRegionsRequest()).body.regions.region
    assert [one.region_id for one in regions] == [REGION]


# -- who may, and what is not there ---------------------------------------------------------------------


def test_what_is_not_offered_says_so(client: Client, name: str) -> None:
    create(client, name)
    calls = {
        "CreateSession": lambda: client.create_session(
            name, m.CreateSessionRequest(body=m.CreateSessionInput())
        ),
        "ListSnapshots": lambda: client.list_snapshots(m.ListSnapshotsRequest()),
        "ListVpcBindings": lambda: client.list_vpc_bindings(name),
    }
    for operation, call in calls.items():
        why = fc_offer.NOT_OFFERED[operation]
        said = (400, "PathNotSupported", f"{operation} is not supported by this runner: {why}.")
        assert refused(call) == said


def test_a_wrong_secret_is_refused(face: Served, client: Client, name: str) -> None:
    create(client, name)
    for key, status, what in (
        (Key("LTAIManager", "wrong"), 403, "SignatureNotMatch"),
        (Key("LTAINobody", "wrong"), 403, "InvalidAccessKeyID"),
    ):
        other = face.client(key)
        assert refused(other.get_function, name, m.GetFunctionRequest())[:2] == (status, what)


def test_keys_may_do_what_they_are_for(face: Served, client: Client, name: str) -> None:
    create(client, name)
    invoker = face.client(INVOKER)
    assert invoke(invoker, name, b"x").body.read() == b"x"
    assert refused(invoker.delete_function, name)[:2] == (403, "AccessDenied")
    limited = face.client(LIMITED)
    assert refused(limited.get_function, name, m.GetFunctionRequest())[:2] == (403, "AccessDenied")
    assert refused(limited.list_functions, m.ListFunctionsRequest())[:2] == (403, "AccessDenied")
    create(client, "only")
    for target, why in ((ARN + name, "AccessDenied"), ("file:///../x", "InvalidArgument")):
        there = m.DestinationConfig(on_success=m.Destination(destination=target))
        request = m.PutAsyncInvokeConfigRequest(body=m.PutAsyncInvokeConfigInput(destination_config=there))
        assert refused(limited.put_async_invoke_config, "only", request)[1] == why
    watch = {"events": ["oss:ObjectCreated:*"], "directory": "/data/inbox"}
    assert refused(limited.create_trigger, "only", trigger("oss", watch))[:2] == (403, "AccessDenied")
    client.create_trigger("only", trigger("oss", watch))
    for directory, why in (("/data/inbox", None), ("/data/other", "AccessDenied")):
        update = m.UpdateTriggerInput(trigger_config=json.dumps({**watch, "directory": directory}))
        request = m.UpdateTriggerRequest(body=update)
        if why:
            assert refused(limited.update_trigger, "only", "oss", request)[1] == why
        else:
            limited.update_trigger("only", "oss", request)
    limited.delete_trigger("only", "oss")
    client.delete_function("only")


def raw(face: Served, text: bytes) -> tuple[int, dict[str, Any]]:
    """What an HTTP request gets, byte for byte."""
    with socket.create_connection(("127.0.0.1", face.port), timeout=150) as sock:
        sock.sendall(text)
        sock.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: sock.recv(65536), b""))
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(body)


def test_an_unsigned_request_and_one_of_a_web_page_are_refused(face: Served) -> None:
    host = b"Host: 127.0.0.1:%d\r\nConnection: close\r\n" % face.port
    status, said = raw(face, b"GET /2023-03-30/functions HTTP/1.1\r\n" + host + b"\r\n")
    assert (status, said["Code"]) == (400, "MissingRequiredHeader")
    assert set(said) == {"Code", "Message", "RequestId"}
    status, said = raw(
        face, b"GET /2023-03-30/functions HTTP/1.1\r\nOrigin: http://evil.example\r\n" + host + b"\r\n"
    )
    assert (status, said["Code"]) == (403, "AccessDenied")
    foreign = b"GET /2023-03-30/functions HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n"
    assert raw(face, foreign)[0] == 403


def test_a_request_that_was_changed_or_comes_again_is_refused_and_changes_nothing(
    face: Served, client: Client, name: str
) -> None:
    create(client, name)
    ran = len(face.invoker.ran)
    target, body = f"/2023-03-30/functions/{name}/invocations?qualifier=LATEST", b"payload"
    host = f"127.0.0.1:{face.port}"

    def signed(moment: float) -> list[tuple[str, str]]:
        path, _, query = target.encode().partition(b"?")
        sent = [(b"host", host.encode()), (b"x-acs-action", b"InvokeFunction"), (b"x-fc-log-type", b"None")]
        digest = hashlib.sha256(body).hexdigest()
        added = sign_acs3("POST", path, query, sent, digest, MANAGER, moment)
        return [(key.decode(), value.decode()) for key, value in [*sent, *added]]

    def send(target: str, headers: list[tuple[str, str]], body: bytes) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", face.port, timeout=150)
        connection.request("POST", target, body, dict(headers))
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        return answer.status, json.loads(said)["Code"] if answer.status >= 400 else ""

    now = time.time()
    log = [(key, "Tail" if key == "x-fc-log-type" else value) for key, value in signed(now)]
    more = [*signed(now), ("x-fc-async-delay", "1")]
    for changed in (
        (target.replace("functions/", "functions/x"), signed(now), body),
        (target.replace("LATEST", "LATESU"), signed(now), body),
        (target + "&limit=1", signed(now), body),
        (target, log, body),
        (target, more, body),
        (target, signed(now), b"Payload"),
    ):
        status, said = send(*changed)
        assert (status, said) in ((403, "SignatureNotMatch"), (400, "InvalidArgument")), changed
    assert send(target, signed(now - 1000), body) == (403, "RequestTimeTooSkewed")
    assert len(face.invoker.ran) == ran
    good = signed(now)
    assert send(target, good, body) == (200, "")
    assert send(target, good, body) == (403, "SignatureNonceUsed")
    assert len(face.invoker.ran) == ran + 1


def test_older_clients_are_told_so_in_their_own_words(face: Served) -> None:
    host = b"Host: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % face.port
    says = "is not supported by this runner: it is FC 2.0's; its API here is that of 3.0."
    for date in (b"2021-04-06", b"2016-08-15"):
        status, said = raw(face, b"GET /%b/services HTTP/1.1\r\nAuthorization: FC x:y\r\n%b" % (date, host))
        assert (status, said["Code"]) == (400, "PathNotSupported")
        assert said["Message"] == f"/{date.decode()}/services {says}"
        assert (said["ErrorCode"], said["ErrorMessage"]) == (said["Code"], said["Message"])


def test_without_auth_nobody_signs(tmp_path: Path) -> None:
    with served(tmp_path / "data", signed=False) as one:
        host = b"Host: 127.0.0.1:%d\r\nConnection: close\r\n\r\n" % one.port
        assert raw(one, b"GET /2023-03-30/functions HTTP/1.1\r\n" + host) == (200, {"functions": []})
        assert raw(one, b"PATCH /2023-03-30/functions HTTP/1.1\r\n" + host)[0] == 400


def test_what_was_made_is_there_after_a_restart(tmp_path: Path) -> None:
    directory = tmp_path / "data"
    with served(directory) as one:
        create(one.client(), "kept")
        invoke(one.client(), "kept", b"1", kind="Async", task="t")
    with served(directory) as one:
        client = one.client()
        assert client.get_function("kept", m.GetFunctionRequest()).body.function_name == "kept"
        assert client.get_async_task("kept", "t", m.GetAsyncTaskRequest()).body.task_payload == "1"


def test_an_alias_shows_the_version_that_ran(face: Served, client: Client, name: str) -> None:
    create(client, name)
    publish(client, name)
    client.update_function(name, m.UpdateFunctionRequest(body=m.UpdateFunctionInput(code=code(OTHER))))
    publish(client, name)
    body = m.CreateAliasInput(alias_name="prod", version_id="1", additional_version_weight={"2": 0.5})
    client.create_alias(name, m.CreateAliasRequest(body=body))
    face.invoker.point = 0.2
    canary = invoke(client, name, qualifier="prod").headers
    face.invoker.point = 0.99
    main = invoke(client, name, qualifier="prod").headers
    assert (main["x-fc-code-checksum"], canary["x-fc-code-checksum"]) == (
        fc_names.checksum(CODE),
        fc_names.checksum(OTHER),
    )


def test_a_zip_that_is_none(client: Client, name: str) -> None:
    assert refused(lambda: create(client, name, code=code(b"no zip")))[:2] == (400, "InvalidArgument")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("../evil.py", "x = 1")
    assert refused(lambda: create(client, name, code=code(buffer.getvalue())))[:2] == (400, "InvalidArgument")
    assert refused(client.get_function, name, m.GetFunctionRequest())[0] == 404


def sent(invocation: Invocation) -> Result:
    return Result(invocation.content_type.encode())


def test_payloads_are_sent_as_octets(face: Served, client: Client, name: str) -> None:
    create(client, name)
    face.invoker.what[name] = sent
    assert invoke(client, name, b"x").body.read() == b"application/octet-stream"

"""Bad inputs of the FC API and what each is answered: one row, one test, by the real SDK or raw requests."""

from __future__ import annotations

import io
import stat
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from alibabacloud_fc20230330 import models as m
from alibabacloud_fc20230330.client import Client
from darabonba.runtime import RuntimeOptions
from fc_served import code, create

FUNCTION = "there"
"""A function that exists, with version 1 and alias prod."""


@dataclass(frozen=True)
class Bad:
    """call: by the SDK. message: a regular expression for the whole of it."""

    name: str
    call: Callable[[Client], object]
    code: str
    message: str
    status: int = 400


def archive(entries: list[tuple[str, bytes]], link: str = "") -> bytes:
    """A zip with these entries as they are named, and a link to `link`."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names that are there twice
        for name, data in entries:
            made.writestr(name, data)
        if link:
            about = zipfile.ZipInfo("out")
            about.create_system = 3
            about.external_attr = (stat.S_IFLNK | 0o777) << 16
            made.writestr(about, link)
    return buffer.getvalue()


def bomb() -> bytes:
    """A small zip of more than FC takes unpacked."""
    return archive([("zeros", bytes(600 << 20))])


def new(**members: Any) -> Callable[[Client], object]:
    return lambda client: create(client, **{"name": "new", **members})


def update(**members: Any) -> Callable[[Client], object]:
    body = m.UpdateFunctionInput(**members)
    return lambda client: client.update_function(FUNCTION, m.UpdateFunctionRequest(body=body))


def alias(**members: Any) -> Callable[[Client], object]:
    body = m.CreateAliasInput(**{"alias_name": "new", "version_id": "1", **members})
    return lambda client: client.create_alias(FUNCTION, m.CreateAliasRequest(body=body))


def asynchronous(**members: Any) -> Callable[[Client], object]:
    body = m.PutAsyncInvokeConfigInput(**members)
    return lambda client: client.put_async_invoke_config(FUNCTION, m.PutAsyncInvokeConfigRequest(body=body))


def provision(**members: Any) -> Callable[[Client], object]:
    request = m.PutProvisionConfigRequest(body=m.PutProvisionConfigInput(**members), qualifier="1")
    return lambda client: client.put_provision_config(FUNCTION, request)


def trigger(kind: str, config: str, name: str = "new", **more: Any) -> Callable[[Client], object]:
    body = m.CreateTriggerInput(trigger_type=kind, trigger_config=config, trigger_name=name, **more)
    return lambda client: client.create_trigger(FUNCTION, m.CreateTriggerRequest(body=body))


def domain(**members: Any) -> Callable[[Client], object]:
    body = m.CreateCustomDomainInput(**{"domain_name": "new.example.com", "protocol": "HTTP", **members})
    return lambda client: client.create_custom_domain(m.CreateCustomDomainRequest(body=body))


def invoke(
    name: str = FUNCTION,
    payload: bytes = b"",
    kind: str | None = None,
    log: str | None = None,
    task: str | None = None,
    qualifier: str | None = None,
    **headers: str,
) -> Callable[[Client], object]:
    extra = {key.replace("_", "-"): value for key, value in headers.items()}
    return lambda client: client.invoke_function_with_options(
        name,
        m.InvokeFunctionRequest(body=io.BytesIO(payload), qualifier=qualifier),
        m.InvokeFunctionHeaders(
            common_headers=extra, x_fc_invocation_type=kind, x_fc_log_type=log, x_fc_async_task_id=task
        ),
        RuntimeOptions(),
    )


def routes(**members: Any) -> m.RouteConfig:
    return m.RouteConfig(routes=[m.PathConfig(**{"path": "/*", "function_name": FUNCTION, **members})])


def action(**members: Any) -> list[m.ScheduledAction]:
    given = {"name": "a", "target": 1, "schedule_expression": "at(2099-01-01T00:00:00)", **members}
    return [m.ScheduledAction(**given)]


def tracking(**members: Any) -> list[m.TargetTrackingPolicy]:
    given = {
        "name": "t",
        "metric_type": "CPUUtilization",
        "metric_target": 0.5,
        "min_capacity": 1,
        "max_capacity": 2,
        **members,
    }
    return [m.TargetTrackingPolicy(**given)]


INVALID = "InvalidArgument"
GONE = {"status": 404}
TABLE: list[Bad] = [
    # functions
    Bad(
        "name with a slash", new(name="a/b c"), INVALID, r"functionName 'a/b c' is invalid: it must match .*"
    ),
    Bad("name with a digit first", new(name="1a"), INVALID, r"functionName '1a' is invalid: .*"),
    Bad(
        "name too long", new(name="a" * 65), INVALID, r"functionName is too long: the maximum length is 64\."
    ),
    Bad("no name", new(name=None), INVALID, r"functionName is required\."),
    Bad("no handler", new(handler=None), INVALID, r"handler is required\."),
    Bad("empty handler", new(handler=""), INVALID, r"handler must not be empty\."),
    Bad("no runtime", new(runtime=None), INVALID, r"runtime is required\."),
    Bad("foreign runtime", new(runtime="nodejs20"), INVALID, r"Runtime 'nodejs20' is not supported: .*"),
    Bad("container", new(runtime="custom-container"), INVALID, r"Runtime 'custom-container' is not .*"),
    Bad("timeout 0", new(timeout=0), INVALID, r"timeout '0' is out of range: the minimum is 1\."),
    Bad("timeout beyond a day", new(timeout=86401), INVALID, r"timeout '86401' is out .* maximum is 86400\."),
    Bad("little memory", new(memory_size=64), INVALID, r"memorySize '64' is out of range: .* 128\."),
    Bad("much memory", new(memory_size=32832), INVALID, r"memorySize '32832' is out of range: .* 32768\."),
    Bad("odd memory", new(memory_size=200), INVALID, r"memorySize '200' is invalid: .* multiple of 64\."),
    Bad("memory as text", new(memory_size="much"), INVALID, r"memorySize: STRING_VALUE can not .*integer\."),
    Bad("cpu out of ratio", new(cpu=4, memory_size=512), INVALID, r"The ratio of cpu \(4\) to memorySize .*"),
    Bad("cpu between steps", new(cpu=0.33), INVALID, r"cpu '0\.33' is invalid: .* multiple of 0\.05\."),
    Bad(
        "odd disk", new(disk_size=600), INVALID, r"diskSize '600' is invalid: it must be one of 512, 10240\."
    ),
    Bad("concurrency 0", new(instance_concurrency=0), INVALID, r"instanceConcurrency '0' .* minimum is 1\."),
    Bad("concurrency 201", new(instance_concurrency=201), INVALID, r"instanceConcurrency '201' .* 200\."),
    Bad("six layers", new(layers=[f"a:{n}" for n in range(6)]), INVALID, r"layers is too long: .* 5\."),
    Bad(
        "layer that is no ARN", new(layers=["nonsense"]), INVALID, r".*'nonsense' is not the ARN of a layer.*"
    ),
    Bad(
        "layer that is not there",
        new(layers=["acs:fc:x:1:layers/none/versions/1"]),
        "LayerNotFound",
        r"layer 'acs:fc:x:1:layers/none/versions/1' does not exist",
        404,
    ),
    Bad(
        "environment too large",
        new(environment_variables={"A": "x" * 5000}),
        INVALID,
        r".*4096 is the most\.",
    ),
    Bad(
        "variable without a name", new(environment_variables={"": "x"}), INVALID, r"'' cannot be the name .*"
    ),
    Bad(
        "initializer too slow",
        new(
            instance_lifecycle_config=m.InstanceLifecycleConfig(
                initializer=m.LifecycleHook(handler="a.b", timeout=301)
            )
        ),
        INVALID,
        r"instanceLifecycleConfig\.initializer\.timeout '301' is out of range: the maximum is 300\.",
    ),
    Bad(
        "pre-stop too slow",
        new(
            instance_lifecycle_config=m.InstanceLifecycleConfig(
                pre_stop=m.LifecycleHook(handler="a.b", timeout=91)
            )
        ),
        INVALID,
        r"instanceLifecycleConfig\.preStop\.timeout must be between 1 and 90, not 91\.",
    ),
    Bad("NAS", new(nas_config=m.NASConfig(user_id=1)), INVALID, r"nasConfig is not supported: .*"),
    Bad("21 tags", new(tags=[m.Tag(key=f"k{n}") for n in range(21)]), INVALID, r"tags is too long: .* 20\."),
    Bad("a tag twice", new(tags=[m.Tag(key="k"), m.Tag(key="k")]), INVALID, r"Tag key 'k' is given twice\."),
    Bad("tag without key", new(tags=[m.Tag(value="v")]), INVALID, r"tags\.1\.Key is required\."),
    Bad("taken name", new(name=FUNCTION), "FunctionAlreadyExists", r".*there.*", 409),
    Bad("unknown function", lambda c: c.delete_function("no"), "FunctionNotFound", r"function 'no' .*", 404),
    # code
    Bad("no code", new(code=None), INVALID, r"code\.zipFile is required\."),
    Bad("empty code", new(code=code(b"")), INVALID, r"code\.zipFile is required\."),
    Bad(
        "code in OSS", new(code=m.InputCodeLocation(oss_bucket_name="b")), INVALID, r"code\.ossBucketName .*"
    ),
    Bad(
        "code that is no base64",
        new(code=m.InputCodeLocation(zip_file="%%%")),
        INVALID,
        r"code\.zipFile: STRING_VALUE can not be converted to base64 blob\.",
    ),
    Bad("code that is no zip", new(code=code(b"no zip")), INVALID, r".+"),
    Bad("zip slip", new(code=code(archive([("../evil.py", b"")]))), INVALID, r".*\.\./evil\.py.*"),
    Bad("absolute path", new(code=code(archive([("/etc/evil", b"")]))), INVALID, r".*/etc/evil.*"),
    Bad("link out", new(code=code(archive([], "/etc/passwd"))), INVALID, r".*out.*"),
    Bad("link up", new(code=code(archive([], "../../x"))), INVALID, r".*out.*"),
    Bad("zip bomb", lambda client: create(client, "new", code=code(bomb())), "EntityTooLarge", r".+"),
    Bad("entries twice", new(code=code(archive([("a.py", b"1"), ("a.py", b"2")]))), INVALID, r".*a\.py.*"),
    Bad(
        "wrong checksum", update(code=code(checksum="1")), INVALID, r"code\.checksum is 1, but the CRC-64 .*"
    ),
    # versions and aliases
    Bad(
        "unknown version",
        lambda c: c.get_function(FUNCTION, m.GetFunctionRequest(qualifier="99")),
        "VersionNotFound",
        r"version '99' does not exist",
        404,
    ),
    Bad(
        "unknown alias",
        lambda c: c.get_function(FUNCTION, m.GetFunctionRequest(qualifier="nobody")),
        "AliasNotFound",
        r"alias 'nobody' does not exist",
        404,
    ),
    Bad(
        "version in use",
        lambda c: c.delete_function_version(FUNCTION, "1"),
        "ResourceInUse",
        r"Version 1 .*prod\.",
        409,
    ),
    Bad("LATEST is no version", lambda c: c.delete_function_version(FUNCTION, "LATEST"), INVALID, r".+"),
    Bad("alias LATEST", alias(alias_name="LATEST"), INVALID, r"aliasName 'LATEST' is reserved\."),
    Bad("alias of digits", alias(alias_name="12"), INVALID, r"aliasName '12' is invalid: .*"),
    Bad("alias taken", alias(alias_name="prod"), "AliasAlreadyExists", r".*prod.*", 409),
    Bad("alias of nothing", alias(version_id="9"), "VersionNotFound", r"version '9' does not exist", 404),
    Bad(
        "weight above 1",
        alias(additional_version_weight={"2": 1.5}),
        INVALID,
        r"additionalVersionWeight\.2 '1\.5' is out of range: the maximum is 1\.",
    ),
    Bad(
        "two canaries",
        alias(additional_version_weight={"2": 0.1, "3": 0.1}),
        INVALID,
        r"additionalVersionWeight must name one version at most\.",
    ),
    Bad(
        "canary is main",
        alias(additional_version_weight={"1": 0.1}),
        "AdditionalVersionContainsMajorVersion",
        r".*[Vv]ersion 1 .*",
    ),
    # invocation
    Bad("invoke nobody", invoke("nobody"), "FunctionNotFound", r"function 'nobody' does not exist", 404),
    Bad("invoke no version", invoke(qualifier="9"), "VersionNotFound", r"version '9' does not exist", 404),
    Bad("invoke no alias", invoke(qualifier="x"), "AliasNotFound", r"alias 'x' does not exist", 404),
    Bad("invocation type", invoke(kind="Later"), INVALID, r"x-fc-invocation-type 'Later' .* Sync, Async\."),
    Bad("log type", invoke(log="Head"), INVALID, r"x-fc-log-type 'Head' is invalid: .* None, Tail\."),
    Bad("task id", invoke(kind="Async", task="1 2"), INVALID, r"x-fc-async-task-id '1 2' is invalid: .*"),
    Bad("long task id", invoke(kind="Async", task="a" * 129), INVALID, r"x-fc-async-task-id is too long: .*"),
    Bad("delay 0", invoke(kind="Async", x_fc_async_delay="0"), INVALID, r"x-fc-async-delay must be .*"),
    Bad("delay of an hour", invoke(kind="Async", x_fc_async_delay="3600"), INVALID, r"x-fc-async-delay .*"),
    Bad("delay in words", invoke(kind="Async", x_fc_async_delay="soon"), INVALID, r"x-fc-async-delay .*"),
    Bad(
        "large asynchronous payload",
        invoke(payload=bytes((128 << 10) + 1), kind="Async"),
        "EntityTooLarge",
        r"The request body must be smaller than or equal to 131072 bytes\.",
    ),
    # how asynchronous invocations go
    Bad(
        "nine retries", asynchronous(max_async_retry_attempts=9), INVALID, r"maxAsyncRetryAttempts '9' .* 8\."
    ),
    Bad(
        "retries below 0", asynchronous(max_async_retry_attempts=-1), INVALID, r"maxAsyncRetry.* '-1' .* 0\."
    ),
    Bad("age 0", asynchronous(max_async_event_age_in_seconds=0), INVALID, r"maxAsyncEventAge.* '0' .* 1\."),
    Bad(
        "age beyond 30 days",
        asynchronous(max_async_event_age_in_seconds=2592001),
        INVALID,
        r"maxAsyncEventAgeInSeconds '2592001' is out of range: the maximum is 2592000\.",
    ),
    Bad(
        "destination in MNS",
        asynchronous(
            destination_config=m.DestinationConfig(
                on_failure=m.Destination(destination="acs:mns:::/queues/q/messages")
            )
        ),
        INVALID,
        r"destinationConfig\.onFailure 'acs:mns:::/queues/q/messages' is not supported: .*",
    ),
    Bad(
        "no async config",
        lambda c: c.get_async_invoke_config(FUNCTION, m.GetAsyncInvokeConfigRequest()),
        "AsyncConfigNotExists",
        r"async invoke config of 'there' does not exist",
        404,
    ),
    Bad(
        "no task",
        lambda c: c.get_async_task(FUNCTION, "none", m.GetAsyncTaskRequest()),
        "AsyncTaskNotFound",
        r"task 'none' does not exist",
        404,
    ),
    Bad(
        "task state",
        lambda c: c.list_async_tasks(FUNCTION, m.ListAsyncTasksRequest(status="Dancing")),
        INVALID,
        r"status 'Dancing' is invalid: it must be one of Enqueued, .*",
    ),
    Bad(
        "page of 101",
        lambda c: c.list_async_tasks(FUNCTION, m.ListAsyncTasksRequest(limit=101)),
        INVALID,
        r"limit '101' is out of range: the maximum is 100\.",
    ),
    # limits
    Bad(
        "no reservation said",
        lambda c: c.put_concurrency_config(
            FUNCTION, m.PutConcurrencyConfigRequest(body=m.PutConcurrencyInput())
        ),
        INVALID,
        r"reservedConcurrency is required\.",
    ),
    Bad(
        "reservation below 0",
        lambda c: c.put_concurrency_config(
            FUNCTION, m.PutConcurrencyConfigRequest(body=m.PutConcurrencyInput(reserved_concurrency=-1))
        ),
        INVALID,
        r"reservedConcurrency '-1' is out of range: the minimum is 0\.",
    ),
    Bad(
        "reservation beyond the account",
        lambda c: c.put_concurrency_config(
            FUNCTION, m.PutConcurrencyConfigRequest(body=m.PutConcurrencyInput(reserved_concurrency=100000))
        ),
        "LimitExceededError",
        r".+",
    ),
    Bad("provision nothing", provision(), INVALID, r"defaultTarget is required\."),
    Bad("provision too much", provision(default_target=10001), INVALID, r"defaultTarget '10001' .* 10000\."),
    Bad(
        "schedule",
        provision(default_target=0, scheduled_actions=action(schedule_expression="noon")),
        INVALID,
        r"scheduleExpression is cron.*'noon'\.",
    ),
    Bad(
        "metric",
        provision(default_target=0, target_tracking_policies=tracking(metric_type="Mood")),
        INVALID,
        r"targetTrackingPolicies\.1\.metricType 'Mood' is invalid: .*",
    ),
    Bad(
        "least above most",
        provision(default_target=0, target_tracking_policies=tracking(min_capacity=3)),
        INVALID,
        r"minCapacity of t is above its maxCapacity\.",
    ),
    Bad(
        "time zone",
        provision(default_target=0, scheduled_actions=action(time_zone="Mars/Base")),
        INVALID,
        r"There is no time zone 'Mars/Base'\.",
    ),
    # triggers
    Bad("trigger kind", trigger("log", "{}"), INVALID, r"triggerType 'log' is not supported: .*"),
    Bad("unknown kind", trigger("moon", "{}"), INVALID, r"triggerType 'moon' is invalid: .*"),
    Bad("trigger name", trigger("timer", "{}", "1 2"), INVALID, r"triggerName '1 2' is invalid: .*"),
    Bad("config that is no JSON", trigger("timer", "{"), INVALID, r"triggerConfig is not JSON\."),
    Bad("config that is a list", trigger("timer", "[]"), INVALID, r"triggerConfig: START_ARRAY can not .*"),
    Bad(
        "timer without times", trigger("timer", "{}"), INVALID, r"triggerConfig\.cronExpression is required\."
    ),
    *(
        Bad(f"timer {text}", trigger("timer", f'{{"cronExpression": "{text}"}}'), INVALID, r".+")
        for text in (
            "@every 0s",
            "@every soon",
            "@daily",
            "0 0 4 * *",
            "0 0 4 * * * 2030",
            "0 0 25 * * *",
            "61 0 0 * * *",
            "CRON_TZ=Mars/Base 0 0 4 * * *",
            "CRON_TZ=UTC",
        )
    ),
    Bad(
        "http auth",
        trigger("http", '{"authType": "jwt"}'),
        INVALID,
        r"authType is one of anonymous, function, not 'jwt'\.",
    ),
    Bad(
        "http method",
        trigger("http", '{"methods": ["DANCE"]}'),
        INVALID,
        r"triggerConfig\.methods\.1 'DANCE' is invalid: .*",
    ),
    Bad(
        "oss without a directory",
        trigger("oss", '{"events": ["oss:ObjectCreated:*"]}', source_arn="acs:oss:cn-x:1:b"),
        INVALID,
        r"An oss trigger watches a directory here: .*",
    ),
    Bad(
        "oss event",
        trigger("oss", '{"events": ["oss:Sneezed"]}', source_arn="file:///tmp"),
        INVALID,
        r".*'oss:Sneezed'.*",
    ),
    Bad("trigger of no alias", trigger("http", "{}", qualifier="no"), "AliasNotFound", r"alias 'no' .*", 404),
    Bad("no trigger", lambda c: c.get_trigger(FUNCTION, "no"), "TriggerNotFound", r"trigger 'no' .*", 404),
    # domains
    Bad("domain name", domain(domain_name="no host"), INVALID, r"'no host' cannot be the name of a domain\."),
    Bad("protocol", domain(protocol="FTP"), INVALID, r"protocol 'FTP' is invalid: .*"),
    Bad("route", domain(route_config=routes(path="api")), INVALID, r"'api' is not the path of a route.*"),
    Bad("route to nobody", domain(route_config=routes(function_name="no")), "FunctionNotFound", r".+", 404),
    Bad(
        "rewriting",
        domain(
            route_config=routes(
                rewrite_config=m.RewriteConfig(equal_rules=[m.EqualRule(match="/a", replacement="/b")])
            )
        ),
        INVALID,
        r"Rewrite rules are not offered.*",
    ),
    Bad("no domain", lambda c: c.get_custom_domain("no.example"), "DomainNameNotFound", r"domain 'no.*", 404),
    # layers and tags
    Bad("no layer", lambda c: c.get_layer_version("no", "1"), "LayerNotFound", r"layer 'no' .*", 404),
    Bad("layer version", lambda c: c.get_layer_version("no", "one"), INVALID, r"version 'one' is not .*"),
    Bad("layer arn", lambda c: c.get_layer_version_by_arn("a:b/c"), INVALID, r"'a:b/c' is not the ARN .*"),
    Bad(
        "layer without runtimes",
        lambda c: c.create_layer_version(
            "new", m.CreateLayerVersionRequest(body=m.CreateLayerVersionInput(code=code()))
        ),
        INVALID,
        r"compatibleRuntime is required\.",
    ),
    Bad(
        "tags of nobody",
        lambda c: c.tag_resources(
            m.TagResourcesRequest(
                body=m.TagResourcesInput(
                    resource_id=["no"], resource_type="function", tag=[m.Tag(key="a", value="b")]
                )
            )
        ),
        "FunctionNotFound",
        r"function 'no' does not exist",
        404,
    ),
    Bad(
        "tags of services",
        lambda c: c.list_tag_resources(m.ListTagResourcesRequest(resource_type="service", resource_id=["x"])),
        INVALID,
        r"ResourceType 'service' is not supported: .*",
    ),
    Bad(
        "untag nothing",
        lambda c: c.untag_resources(
            m.UntagResourcesRequest(resource_id=[FUNCTION], resource_type="function")
        ),
        INVALID,
        r"TagKey or All is required\.",
    ),
]

# What the SDK cannot be made to send: (name, method, path, body, code, message).
RAW: list[tuple[str, str, str, bytes, str, str]] = [
    ("no JSON", "POST", "/functions", b"{", INVALID, r"Could not parse request body into json\."),
    ("no object", "POST", "/functions", b"[1]", INVALID, r"The body must be a JSON object\."),
    ("NaN", "POST", "/functions", b'{"timeout": NaN}', INVALID, r"Could not parse request body into json\."),
    ("no UTF-8", "POST", "/functions", b'"\xff"', INVALID, r"Could not parse request body into json\."),
    ("deep", "POST", "/functions", b"[" * 100000, INVALID, r"Could not parse request body into json\."),
    ("list as name", "POST", "/functions", b'{"functionName": []}', INVALID, r"functionName: START_ARRAY .*"),
    ("limit in words", "GET", "/functions?limit=many", b"", INVALID, r"limit: STRING_VALUE can not .*"),
    ("tags no JSON", "GET", "/functions?tags=%5B", b"", INVALID, r"Could not parse .*json\."),
    ("path no UTF-8", "GET", "/functions/%FF", b"", INVALID, r"The request is not UTF-8\."),
    (
        "path unknown",
        "GET",
        "/nothing",
        b"",
        "PathNotSupported",
        r"GET /2023-03-30/nothing is not supported\.",
    ),
    ("method unknown", "PATCH", "/functions", b"", "PathNotSupported", r"PATCH .* is not supported\."),
    ("not offered", "GET", "/snapshots", b"", "PathNotSupported", r"ListSnapshots is not supported .*"),
    ("slash in a name", "GET", "/functions/a%2Fb", b"", "FunctionNotFound", r"function 'a/b' does not exist"),
    (
        "large payload",
        "POST",
        f"/functions/{FUNCTION}/invocations",
        bytes((32 << 20) + 1),
        "EntityTooLarge",
        r"The request body must be smaller than or equal to 33554432 bytes\.",
    ),
    ("large control body", "POST", "/tags-v2", bytes(2 << 20), "EntityTooLarge", r"The request body must .*"),
]

"""Every operation of the Lambda API that is offered, by boto3 against a running `runner serve`."""

from __future__ import annotations

import base64
import hashlib
import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import pytest
from fc_served import zipped
from snapfork.runner.faces.lambda_offer import OFFERED
from snapfork.runner.registry.model import Key
from test_deployed_lambda import ONE, ROLE, TWO, Lambda, serve
from test_lambda_cli import Aws

GRANT = {"StatementId": "s", "Principal": "*"}


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    data = tmp_path_factory.mktemp("runner") / "data"
    with serve(data) as server:
        yield Lambda(server, data)


def test_a_whole_life_with_every_operation(aws: Lambda, tmp_path: Path) -> None:
    boto = aws.boto
    called: set[str] = set()
    boto.meta.events.register("before-call.lambda.*", lambda model, **_more: called.add(model.name))
    one = {"FunctionName": "f"}
    layer = {"LayerName": "base"}
    first = {**layer, "VersionNumber": 1}

    made = boto.publish_layer_version(**layer, Content={"ZipFile": zipped({"python/in_layer.py": "X = 1\n"})})
    assert boto.get_layer_version(**first)["Version"] == 1
    assert boto.get_layer_version_by_arn(Arn=made["LayerVersionArn"])["LayerArn"] == made["LayerArn"]
    assert boto.list_layers()["Layers"] and boto.list_layer_versions(**layer)["LayerVersions"]
    boto.add_layer_version_permission(**first, **GRANT, Action="lambda:GetLayerVersion")
    assert "s" in boto.get_layer_version_policy(**first)["Policy"]
    boto.remove_layer_version_permission(**first, StatementId="s")

    function = aws.create("f", ONE, Layers=[made["LayerVersionArn"]])
    arn = function["FunctionArn"]
    with urllib.request.urlopen(boto.get_function(**one)["Code"]["Location"]) as answer:
        digest = hashlib.sha256(answer.read()).digest()
    assert base64.b64encode(digest).decode() == function["CodeSha256"]
    assert boto.list_functions()["Functions"][0]["FunctionName"] == "f"
    boto.update_function_configuration(**one, Timeout=5)
    aws.wait("function_updated_v2", **one)
    assert boto.get_function_configuration(**one)["Timeout"] == 5
    boto.update_function_code(**one, ZipFile=zipped(TWO))
    aws.wait("function_updated_v2", **one)
    assert boto.publish_version(**one)["Version"] == "1"
    aws.wait("published_version_active", **one, Qualifier="1")
    assert len(boto.list_versions_by_function(**one)["Versions"]) == 2

    boto.create_alias(**one, Name="live", FunctionVersion="$LATEST")
    assert boto.update_alias(**one, Name="live", FunctionVersion="1")["FunctionVersion"] == "1"
    assert boto.get_alias(**one, Name="live")["AliasArn"] == f"{arn}:live"
    assert len(boto.list_aliases(**one)["Aliases"]) == 1

    assert aws.invoke("f:live")[0] == 2
    assert boto.invoke_async(**one, InvokeArgs=b"{}")["Status"] == 202
    events = list(boto.invoke_with_response_stream(**one)["EventStream"])
    assert events[0]["PayloadChunk"]["Payload"] == b"2"
    boto.put_function_event_invoke_config(**one, MaximumRetryAttempts=0)
    boto.update_function_event_invoke_config(**one, MaximumEventAgeInSeconds=60)
    assert boto.get_function_event_invoke_config(**one)["MaximumRetryAttempts"] == 0
    assert len(boto.list_function_event_invoke_configs(**one)["FunctionEventInvokeConfigs"]) == 1
    boto.delete_function_event_invoke_config(**one)

    boto.put_function_concurrency(**one, ReservedConcurrentExecutions=1)
    assert boto.get_function_concurrency(**one)["ReservedConcurrentExecutions"] == 1
    boto.delete_function_concurrency(**one)
    provisioned = {**one, "Qualifier": "live"}
    boto.put_provisioned_concurrency_config(**provisioned, ProvisionedConcurrentExecutions=1)
    assert boto.get_provisioned_concurrency_config(**provisioned)["Status"] in ("IN_PROGRESS", "READY")
    assert len(boto.list_provisioned_concurrency_configs(**one)["ProvisionedConcurrencyConfigs"]) == 1
    boto.delete_provisioned_concurrency_config(**provisioned)

    boto.create_function_url_config(**one, AuthType="AWS_IAM")
    boto.update_function_url_config(**one, AuthType="NONE")
    assert boto.get_function_url_config(**one)["AuthType"] == "NONE"
    assert len(boto.list_function_url_configs(**one)["FunctionUrlConfigs"]) == 1
    boto.delete_function_url_config(**one)

    boto.add_permission(**one, **GRANT, Action="lambda:InvokeFunction")
    assert json.loads(boto.get_policy(**one)["Policy"])["Statement"][0]["Sid"] == "s"
    boto.remove_permission(**one, StatementId="s")
    boto.tag_resource(Resource=arn, Tags={"a": "1", "b": "2"})
    boto.untag_resource(Resource=arn, TagKeys=["a"])
    assert boto.list_tags(Resource=arn)["Tags"] == {"b": "2"}
    assert boto.get_account_settings()["AccountUsage"]["FunctionCount"] == 1
    boto.put_function_recursion_config(**one, RecursiveLoop="Allow")
    assert boto.get_function_recursion_config(**one)["RecursiveLoop"] == "Allow"
    boto.put_runtime_management_config(**one, UpdateRuntimeOn="FunctionUpdate")
    assert boto.get_runtime_management_config(**one)["UpdateRuntimeOn"] == "FunctionUpdate"
    assert boto.get_function_code_signing_config(**one)["FunctionName"] == "f"

    source = boto.create_event_source_mapping(**one, EventSourceArn=f"arn:aws:s3:::{tmp_path}")
    mapping = {"UUID": source["UUID"]}
    boto.update_event_source_mapping(**mapping, Enabled=False)
    assert boto.get_event_source_mapping(**mapping)["State"] == "Disabled"
    assert len(boto.list_event_source_mappings(**one)["EventSourceMappings"]) == 1
    boto.delete_event_source_mapping(**mapping)

    boto.delete_alias(**one, Name="live")
    boto.delete_layer_version(**first)
    boto.delete_function(**one)
    with pytest.raises(boto.exceptions.ResourceNotFoundException):
        boto.get_function(**one)
    assert set(OFFERED) - called == set()


def test_those_that_are_not_offered_say_so(aws: Lambda) -> None:
    calls: list[tuple[str, dict[str, Any]]] = [
        ("list_code_signing_configs", {}),
        ("list_capacity_providers", {}),
        ("list_durable_executions_by_function", {"FunctionName": "f"}),
        ("get_function_scaling_config", {"FunctionName": "f", "Qualifier": "1"}),
    ]
    for name, members in calls:
        with pytest.raises(aws.boto.exceptions.ClientError) as refused:
            getattr(aws.boto, name)(**members)
        answer = refused.value.response
        assert answer["Error"]["Code"] == "UnknownOperationException"
        assert "is not supported by this runner" in answer["Error"]["Message"]
        assert answer["ResponseMetadata"]["HTTPStatusCode"] == 404


def test_the_aws_command_line(aws: Lambda, tmp_path: Path) -> None:
    port = urlsplit(aws.boto.meta.endpoint_url).port
    key = Key(aws.credentials.access_key, aws.credentials.secret_key)
    cli = Aws(SimpleNamespace(port=port), tmp_path, key)  # type: ignore[arg-type]
    (tmp_path / "code.zip").write_bytes(zipped(ONE))
    (tmp_path / "other.zip").write_bytes(zipped(TWO))
    name = ("--function-name", "by-cli")
    about = ("--runtime", "python3.11", "--handler", "main.handler", "--role", ROLE)
    done = cli.run_all(
        [
            ("create-function", *name, *about, "--zip-file", "fileb://code.zip", "--publish"),
            ("wait", "function-active-v2", *name),
            ("invoke", *name, "first"),
            ("update-function-code", *name, "--zip-file", "fileb://other.zip"),
            ("wait", "function-updated-v2", *name),
            ("invoke", *name, "--log-type", "Tail", "second"),
            ("invoke", *name, "--qualifier", "1", "third"),
            ("delete-function", *name),
        ]
    )
    assert [code for code, _out, _err in done] == [0] * 8, done
    assert [(tmp_path / file).read_text() for file in ("first", "second", "third")] == ["1", "2", "1"]
    assert b"START RequestId" in base64.b64decode(json.loads(done[5][1])["LogResult"])

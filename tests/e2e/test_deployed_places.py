"""What is called by which name: ARNs with versions and aliases, of other places, and shares of an alias."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from deployed import serve, until
from test_deployed_lambda import Lambda

WHO = {"main.py": "def handler(event, context):\n    return context.invoked_function_arn\n"}
ARN = "arn:aws:lambda:us-east-1:000000000000:function:"


@pytest.fixture(scope="module")
def aws(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lambda]:
    data: Path = tmp_path_factory.mktemp("runner") / "data"
    with serve(data) as server:
        yield Lambda(server, data)


def test_a_function_is_told_the_arn_that_it_was_called_by(aws: Lambda) -> None:
    aws.create("who", WHO, Publish=True)
    aws.boto.create_alias(FunctionName="who", Name="live", FunctionVersion="1")
    assert aws.invoke("who")[0] == f"{ARN}who"
    for latest in ("who:$LATEST", f"{ARN}who:$LATEST"):
        assert aws.invoke(latest)[0] == f"{ARN}who:$LATEST"
    assert aws.invoke("who", Qualifier="$LATEST")[0] == f"{ARN}who:$LATEST"
    assert aws.invoke("who", Qualifier="1")[0] == aws.invoke("who:1")[0] == f"{ARN}who:1"
    assert aws.invoke(f"{ARN}who:live")[0] == f"{ARN}who:live"
    assert aws.invoke("who", Qualifier="live")[0] == f"{ARN}who:live"


def test_functions_of_other_regions_and_accounts_are_not_here(aws: Lambda) -> None:
    aws.create("mine", WHO)
    region = "arn:aws:lambda:eu-west-1:000000000000:function:mine"
    account = "arn:aws:lambda:us-east-1:111111111111:function:mine"
    short = "111111111111:function:mine"
    for name in (region, account, short):
        for call in (aws.boto.get_function, aws.boto.invoke, aws.boto.delete_function):
            with pytest.raises(ClientError) as refused:
                call(FunctionName=name)
            assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
    with pytest.raises(ClientError) as refused:
        aws.boto.list_tags(Resource=account)
    assert refused.value.response["Error"]["Code"] == "ResourceNotFoundException"
    layer = "arn:aws:lambda:us-east-1:111111111111:layer:tools:1"
    with pytest.raises(ClientError, match="does not exist"):
        aws.boto.update_function_configuration(FunctionName="mine", Layers=[layer])
    assert aws.invoke("000000000000:function:mine")[0] == f"{ARN}mine"


def test_instances_provided_for_an_alias_are_as_many_as_were_asked_for(aws: Lambda) -> None:
    aws.create("shared", WHO, Publish=True)
    aws.boto.update_function_configuration(FunctionName="shared", Timeout=7)
    aws.wait("function_updated_v2", FunctionName="shared")
    assert aws.boto.publish_version(FunctionName="shared")["Version"] == "2"
    weights = {"AdditionalVersionWeights": {"2": 0.5}}
    aws.boto.create_alias(FunctionName="shared", Name="live", FunctionVersion="1", RoutingConfig=weights)
    about = {"FunctionName": "shared", "Qualifier": "live"}
    aws.boto.put_provisioned_concurrency_config(ProvisionedConcurrentExecutions=1, **about)
    until(lambda: aws.boto.get_provisioned_concurrency_config(**about)["Status"] == "READY")
    told = aws.boto.get_provisioned_concurrency_config(**about)
    assert told["RequestedProvisionedConcurrentExecutions"] == 1
    assert told["AllocatedProvisionedConcurrentExecutions"] == 1
    assert told["AvailableProvisionedConcurrentExecutions"] == 1

"""Every bad input gets its exact status, code and message in FC's error body."""

from __future__ import annotations

import http.client
import json
import re
from collections.abc import Iterator

import fc_bad_inputs
import pytest
from alibabacloud_fc20230330 import models as m
from alibabacloud_tea_openapi.exceptions import ClientException
from fc_bad_inputs import FUNCTION, RAW, TABLE, Bad
from fc_served import Served, create, served

pytestmark = pytest.mark.once


@pytest.fixture(scope="module")
def face(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("fc") / "data", signed=False) as one:
        client = one.client()
        create(client, FUNCTION)
        client.publish_function_version(
            FUNCTION, m.PublishFunctionVersionRequest(body=m.PublishVersionInput())
        )
        body = m.CreateAliasInput(alias_name="prod", version_id="1")
        client.create_alias(FUNCTION, m.CreateAliasRequest(body=body))
        yield one


@pytest.mark.parametrize("bad", TABLE, ids=lambda bad: bad.name)
def test_a_bad_input_is_refused_and_changes_nothing(face: Served, bad: Bad) -> None:
    client = face.client()
    before = client.list_functions(m.ListFunctionsRequest()).body.to_map()
    with pytest.raises(ClientException) as caught:
        bad.call(client)
    assert (caught.value.status_code, caught.value.code) == (bad.status, bad.code)
    said = re.fullmatch(
        r"code: \d+, (.*) request id: 1-[0-9a-f]{8}-[0-9a-f]{24}", caught.value.message, re.DOTALL
    )
    assert said and re.fullmatch(bad.message, said[1]), caught.value.message
    assert client.list_functions(m.ListFunctionsRequest()).body.to_map() == before
    assert client.list_triggers(FUNCTION, m.ListTriggersRequest()).body.triggers == []
    assert client.list_custom_domains(m.ListCustomDomainsRequest()).body.custom_domains == []


@pytest.mark.parametrize(
    ("name", "method", "path", "body", "code", "message"), RAW, ids=[row[0] for row in RAW]
)
def test_a_bad_request_is_refused(
    face: Served, name: str, method: str, path: str, body: bytes, code: str, message: str
) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", face.port, timeout=10)
    connection.request(method, f"/2023-03-30{path}", body)
    answer = connection.getresponse()
    said = json.loads(answer.read())
    connection.close()
    assert set(said) == {"Code", "Message", "RequestId"}
    assert answer.status == (404 if code.endswith("NotFound") else 400)
    assert said["Code"] == code
    assert re.fullmatch(message, said["Message"]), said["Message"]
    assert answer.getheader("x-fc-request-id") == said["RequestId"]


def test_the_table_has_each_name_once() -> None:
    names = [bad.name for bad in fc_bad_inputs.TABLE]
    assert len(set(names)) == len(names)

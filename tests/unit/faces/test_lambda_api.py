"""lambda_api.json against the service model of the botocore that is here, and the table of operations."""

from __future__ import annotations

import importlib.util
import json
import re
import warnings
from pathlib import Path
from types import ModuleType

import botocore
import pytest
from snapfork.runner.faces.lambda_app import HANDLERS
from snapfork.runner.faces.lambda_offer import NOT_OFFERED, OFFERED, rows
from snapfork.runner.faces.model import Api

ROOT = Path(__file__).resolve().parents[3]
DATA = json.loads((ROOT / "runner/faces/lambda_api.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    spec = importlib.util.spec_from_file_location("lambda_model", ROOT / "tests/tools/lambda_model.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_data_file_is_what_the_tool_makes_of_this_botocore(tool: ModuleType) -> None:
    made = tool.build()
    if made["client"] == DATA["client"]:
        assert tool.render(made) == tool.DATA.read_text("utf-8"), "type: python tests/tools/lambda_model.py"
        return
    broken = tool.breaks(DATA, made, set(OFFERED))
    assert not broken, f"{made['client']} sends offered operations otherwise than {DATA['client']} did"
    more = tool.additions(DATA, made, set(OFFERED))
    if more:
        warnings.warn(
            f"{made['client']} has more than lambda_api.json ({DATA['client']}): {'; '.join(more)}. Decide "
            "on each in runner/faces/lambda_offer.py and type: python tests/tools/lambda_model.py",
            stacklevel=1,
        )


def test_a_newer_client_is_told_apart(tool: ModuleType) -> None:
    newer = json.loads(json.dumps(DATA))
    newer["operations"]["NewThing"] = newer["operations"]["Invoke"]
    newer["operations"]["Invoke"] = json.loads(json.dumps(newer["operations"]["Invoke"]))
    newer["operations"]["Invoke"]["members"]["Further"] = {"type": "string", "location": "header"}
    newer["shapes"]["Environment"]["members"]["More"] = {"type": "string"}
    assert tool.additions(DATA, newer, set(OFFERED)) == [
        "operation NewThing",
        "member Invoke.Further",
        "member Environment.More",
    ]
    assert tool.breaks(DATA, newer, set(OFFERED)) == []
    newer["operations"]["Invoke"]["path"] = "/2030-01-01/x"
    newer["operations"]["GetFunction"]["members"]["Qualifier"]["location"] = "header"
    del newer["operations"]["GetAlias"]
    assert [one.split(":")[0] for one in tool.breaks(DATA, newer, set(OFFERED))] == [
        "GetAlias is gone",
        "GetFunction.Qualifier has moved to header",
        "Invoke",
    ]


def test_every_operation_is_offered_or_not() -> None:
    assert set(DATA["operations"]) == set(OFFERED) | set(NOT_OFFERED)
    assert not set(OFFERED) & set(NOT_OFFERED)
    assert set(HANDLERS) == set(OFFERED)
    table = rows()
    assert [name for name, _, _ in table] == sorted(DATA["operations"])
    assert all(remark for _, offered, remark in table if not offered)


def test_routes_lead_to_their_operations() -> None:
    from snapfork.runner.faces.exchange import Head

    api = Api.load("lambda_api.json")
    for name, operation in api.operations.items():
        path = re.sub(r"\{\w+\}", "a%2Fb", operation.path)
        query = "&".join(f"{key}={value}" for key, value in operation.literal).encode()
        for sent in (path, path + "/"):
            found = api.match(Head(operation.method, sent.encode(), query, []))
            assert found is not None and found[0].name == name
            assert set(found[1].values()) <= {"a/b"}
    for method, path in (
        ("GET", "/"),
        ("GET", "/2015-03-31"),
        ("PATCH", "/2015-03-31/functions"),
        ("GET", "//"),
    ):
        assert api.match(Head(method, path.encode(), b"", [])) is None


def test_botocore_is_a_dependency_of_tests_only() -> None:
    """The runner's own modules do not import it."""
    assert botocore.__version__
    for path in (ROOT / "runner").rglob("*.py"):
        assert not re.search(r"^\s*(import|from) (boto|botocore|boto3)\b", path.read_text("utf-8"), re.M), (
            path
        )

"""The engine that reads requests by an API's data file: routes, conversions, constraints."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.faces.exchange import Head
from snapfork.runner.faces.lambda_errors import validation
from snapfork.runner.faces.model import Api, BadInput, Malformed, parse_query

DATA: dict[str, Any] = {
    "client": "a test",
    "operations": {
        "Put": {
            "method": "PUT",
            "path": "/v/things/{Name}",
            "required": ["Name", "Size"],
            "members": {
                "Name": {"type": "string", "location": "uri", "pattern": "[a-z/]+", "max": 8},
                "Size": {"type": "integer", "location": "body", "min": 1, "max": 10, "name": "size"},
                "Ratio": {"type": "double", "location": "body", "multiple": 0.05},
                "Secret": {"type": "string", "location": "body", "sensitive": True, "max": 3},
                "Data": {"type": "blob", "location": "body", "max": 4},
                "Tree": {"shape": "Tree", "location": "body"},
                "Kinds": {
                    "type": "list",
                    "location": "querystring",
                    "member": {"type": "string", "enum": ["a", "b"]},
                },
                "Flag": {"type": "boolean", "location": "querystring"},
                "Since": {"type": "long", "location": "header", "name": "X-Since"},
            },
        },
        "Send": {
            "method": "POST",
            "path": "/v/things/{Name}/send",
            "required": ["Name"],
            "members": {
                "Name": {"type": "string", "location": "uri"},
                "Body": {"type": "blob", "location": "payload", "max": 10},
            },
        },
        "Whole": {
            "method": "POST",
            "path": "/v/things",
            "required": [],
            "members": {"body": {"shape": "Tree", "location": "payload"}},
        },
        "ListAll": {
            "method": "GET",
            "path": "/v/things",
            "query": {"List": "ALL"},
            "required": [],
            "members": {},
        },
        "List": {"method": "GET", "path": "/v/things", "required": [], "members": {}},
    },
    "shapes": {
        "Tree": {
            "type": "structure",
            "required": ["Label"],
            "members": {
                "Label": {"type": "string", "min": 1},
                "Under": {"type": "list", "member": {"shape": "Tree"}, "max": 2},
                "Notes": {"type": "map", "key": {"type": "string", "max": 3}, "value": {"type": "string"}},
            },
        }
    },
}
API = Api(DATA)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["Label", "Under", "Notes", "size", "Data", "x"]), inner, max_size=3
        )
    ),
    max_leaves=10,
)


def parsed(method: str, target: str, body: bytes = b"", api: Api = API, **headers: str) -> dict[str, Any]:
    path, _, query = target.partition("?")
    sent = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    head = Head(method, path.encode(), query.encode(), sent)
    found = api.match(head)
    assert found is not None
    return api.parse(found[0], found[1], head, body)


def test_members_from_everywhere() -> None:
    tree = {"Label": "x", "Under": [{"Label": "y"}]}
    body = json.dumps({"size": 3, "Ratio": 0.15, "Data": "YWJj", "Tree": tree, "unknown": 1}).encode()
    assert parsed("PUT", "/v/things/a%2Fb?Kinds=a&Kinds=b&Flag=True", body, x_since="12") == {
        "Name": "a/b",
        "Kinds": ["a", "b"],
        "Flag": True,
        "Since": 12,
        "Size": 3,
        "Ratio": 0.15,
        "Data": b"abc",
        "Tree": tree,
    }


def test_lists_of_the_query_as_json() -> None:
    api = Api(DATA, json_lists=True)
    assert parsed("PUT", '/v/things/a?Kinds=["b"]', b'{"size": 1}', api)["Kinds"] == ["b"]
    with pytest.raises(Malformed):
        parsed("PUT", "/v/things/a?Kinds=b", b'{"size": 1}', api)


def test_literals_in_the_query_tell_operations_apart() -> None:
    for target, name in (
        ("/v/things?List=ALL", "ListAll"),
        ("/v/things?List=x", "List"),
        ("/v/things", "List"),
    ):
        path, _, query = target.partition("?")
        found = API.match(Head("GET", path.encode(), query.encode(), []))
        assert found is not None and found[0].name == name
    assert API.match(Head("GET", b"/v/things//send", b"", [])) is None


def test_constraints_in_the_order_of_the_members() -> None:
    body = {"size": 11, "Ratio": 0.07, "Secret": "very", "Data": "YWJjZGU=", "Tree": {"Notes": {"long": "x"}}}
    with pytest.raises(BadInput) as caught:
        parsed("PUT", "/v/things/TOOLONGNAME?Kinds=c", json.dumps(body).encode())
    found = [(".".join(one.path), one.constraint, one.shown) for one in caught.value.violations]
    assert found == [
        ("Name", "length_max", "TOOLONGNAME"),
        ("Name", "pattern", "TOOLONGNAME"),
        ("Kinds.1.member", "enum", "c"),
        ("Size", "max", "11"),
        ("Ratio", "multiple", "0.07"),
        ("Secret", "length_max", None),
        ("Data", "length_max", None),
        ("Tree.Notes.key", "length_max", "long"),
        ("Tree.Label", "required", None),
    ]
    message = validation(caught.value.violations).message
    assert message.startswith("9 validation errors detected: Value 'TOOLONGNAME' at 'name' failed to satisfy")
    assert "very" not in message
    assert "Value 'c' at 'kinds.1.member' failed to satisfy constraint: Member must satisfy enum" in message


@pytest.mark.parametrize(
    "value", ['"1"', "1.5", "true", "[]", "{}", "2147483648", "1e999", "1" + "0" * 5000, "NaN"]
)
def test_what_is_no_integer(value: str) -> None:
    with pytest.raises(Malformed):
        parsed("PUT", "/v/things/a", f'{{"size": {value}}}'.encode())


def test_nothing_is_nothing() -> None:
    with pytest.raises(BadInput) as caught:
        parsed("PUT", "/v/things/a", b'{"size": null}')
    assert [(one.path, one.constraint) for one in caught.value.violations] == [(("Size",), "required")]
    assert parsed("POST", "/v/things/a/send") == {"Name": "a", "Body": b""}


def test_a_tree_without_an_end() -> None:
    deep = b'{"Label":"x","Under":[' * 5000 + b"]}" * 5000
    with pytest.raises(Malformed):
        parsed("POST", "/v/things", deep)


@given(JSON)
def test_any_json_is_taken_or_refused(value: Any) -> None:
    body = json.dumps(value).encode()
    for method, target in (("POST", "/v/things"), ("PUT", "/v/things/a")):
        try:
            given_members = parsed(method, target, body)
        except (Malformed, BadInput):
            continue
        json.dumps(given_members.get("body", {}).get("Label", ""))


@given(st.binary(max_size=40))
def test_any_query(query: bytes) -> None:
    try:
        found = parse_query(query)
    except Malformed:
        return
    assert all(isinstance(one, str) for values in found.values() for one in values)


def test_unreadable_texts() -> None:
    for target in ("/v/things/%ff", "/v/things/a?Flag=yes", "/v/things/a?Flag=%ff"):
        with pytest.raises(Malformed):
            parsed("PUT", target, b'{"size": 1}')
    for number in ("1.0", "", " 1", "١", "9" * 19, "1" * 21):
        with pytest.raises(Malformed):
            head = Head("PUT", b"/v/things/a", b"", [(b"x-since", number.encode())])
            found = API.match(head)
            assert found is not None
            API.parse(found[0], found[1], head, b'{"size": 1}')

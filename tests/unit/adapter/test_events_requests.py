"""Events become the requests that they describe, whatever is in them; answers go back as Mangum has them."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qsl, unquote

import events_samples as samples
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mangum import Mangum
from snapfork.adapter.events import convert, detect, from_response, to_request

LINE_ENDS = {"\r", "\n", "\0"}


@pytest.mark.parametrize("name", samples.ALL)
def test_each_shape_is_the_request_it_describes(name: str) -> None:
    event = samples.sample(name)
    shape = detect(event)
    assert shape is not None and shape.name == samples.SHAPES[name]
    request = to_request(event)
    path, _, query = request.target.partition("?")
    assert (request.method, request.body) == ("POST", samples.BODY)
    assert unquote(path).startswith("/shop/") and path.isascii() and " " not in path
    assert dict(request.headers)[b"content-type"] == b"application/json"
    assert b"host" in dict(request.headers)
    assert parse_qsl(query)[0][0] == "q"
    found, again = convert(json.dumps(event).encode())
    assert found is not None and found.name == shape.name
    assert (again.target, again.headers, again.body) == (request.target, request.headers, request.body)


def test_repeated_parts_of_a_request_survive() -> None:
    assert to_request(samples.HTTP_V2).target == "/shop/caf%C3%A9?q=a&q=b&e="
    assert dict(to_request(samples.HTTP_V2).headers)[b"cookie"] == b"a=1; b=2"
    assert to_request(samples.APIGATEWAY_V1).target == "/shop/caf%C3%A9%20x?q=a&q=b&e="
    multi = [value for name, value in to_request(samples.ALB_MULTI).headers if name == b"x-two"]
    assert multi == [b"first", b"last"]


@pytest.mark.parametrize(
    "event",
    [
        {"Records": [{"s3": {}}]},
        {"Records": []},
        {"Records": "x"},
        {"requestContext": None},
        {"requestContext": {"elb": 1}},
        {"version": "2.0", "requestContext": {}},
        {"version": "v1", "requestContext": {"http": {}}},
        {"resource": "/", "requestContext": {}},
        {"answer": 42},
        [1, 2],
        "text",
        7,
        None,
    ],
)
def test_anything_else_is_the_payload_of_a_post(event: Any) -> None:
    payload = json.dumps(event).encode()
    shape, request = convert(payload)
    assert shape is None and detect(event) is None
    assert (request.method, request.target, request.body) == ("POST", "/invoke", payload)
    assert to_request(b"\xff\x00 no json").body == b"\xff\x00 no json"


def _with_headers(event: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    event["headers"] = headers
    event.pop("multiValueHeaders", None)
    return event


@pytest.mark.parametrize(
    "headers",
    [{"x-a": "b\r\nx-snapfork-unit: shop:1"}, {"x a": "b"}, {"x-a\r\nb": "c"}, {"x-a": "b\0"}],
)
def test_a_header_that_would_end_its_line_makes_no_request(headers: dict[str, str]) -> None:
    assert detect(_with_headers(samples.sample("http_v2"), headers)) is None


def test_a_method_is_a_word() -> None:
    event = samples.sample("http_v2")
    event["requestContext"]["http"]["method"] = "GET / HTTP/1.1\r\nHost: x\r\n\r\nGET"
    assert detect(event) is None


def test_headers_of_one_hop_and_of_the_runner_stay_behind() -> None:
    event = _with_headers(
        samples.sample("http_v2"),
        {
            "Transfer-Encoding": "chunked",
            "Connection": "close",
            "Content-Length": "1",
            "X-Snapfork-Unit": "shop:1",
            "x-snapfork-invocation": "{}",
            "Expect": "100-continue",
            "x-mine": "kept",
        },
    )
    assert to_request(event).headers == [(b"x-mine", b"kept"), (b"cookie", b"a=1; b=2")]


async def _app(scope: Any, receive: Any, send: Any) -> None:
    plan = scope["aws.event"]["plan"]
    headers = [(name.encode(), value.encode("latin-1")) for name, value in plan["headers"]]
    await send({"type": "http.response.start", "status": plan["status"], "headers": headers})
    await send({"type": "http.response.body", "body": base64.b64decode(plan["body"])})


ANSWERS = [
    (200, [("content-type", "text/plain")], "plain é".encode()),
    (200, [("content-type", "image/png")], b"\x89PNG\xff"),
    (200, [("content-type", "application/json")], b"\xff not utf-8"),
    (204, [], b""),
    (302, [("location", "/x"), ("set-cookie", "a=1"), ("set-cookie", "b=2")], b""),
    (200, [("vary", "a"), ("vary", "b"), ("vary", "c"), ("content-type", "text/html")], b"<p>"),
]


@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("name", samples.AWS)
def test_answers_are_those_of_mangum(name: str, answer: tuple[int, list[tuple[str, str]], bytes]) -> None:
    status, headers, body = answer
    event = samples.sample(name)
    event["plan"] = {"status": status, "headers": headers, "body": base64.b64encode(body).decode()}
    theirs = Mangum(_app, lifespan="off")(event, None)  # type: ignore[arg-type]
    shape = detect(event)
    assert shape is not None
    ours = from_response(shape, status, headers, body)
    if name == "cloudfront":  # several values of a header, and CloudFront's own word for base64
        assert ours.pop("bodyEncoding") == ("base64" if ours["isBase64Encoded"] else "text")
        last = {key: values[-1:] for key, values in ours["headers"].items()}
        assert [len(v) for v in ours["headers"].values()] == [
            sum(1 for one, _ in headers if one == key) for key in ours["headers"]
        ]
        ours["headers"] = last
    assert ours == theirs


def test_answers_of_fc_join_what_can_be_joined() -> None:
    shape = detect(samples.FC_HTTP)
    assert shape is not None
    headers = [
        ("Vary", "a"),
        ("vary", "b"),
        ("Set-Cookie", "a=1"),
        ("Set-Cookie", "b=2"),
        ("Connection", "x"),
    ]
    assert from_response(shape, 201, headers, b"\xff") == {
        "statusCode": 201,
        "headers": {"vary": "a,b", "set-cookie": ["a=1", "b=2"]},
        "body": "/w==",
        "isBase64Encoded": True,
    }
    assert from_response(shape, 200, [(b"set-cookie", b"a=1"), (b"content-type", b"text/x")], b"t") == {
        "statusCode": 200,
        "headers": {"set-cookie": "a=1", "content-type": "text/x"},
        "body": "t",
        "isBase64Encoded": False,
    }


@given(
    st.sampled_from(sorted(samples.AWS)),
    st.integers(200, 599),
    st.lists(
        st.tuples(
            st.sampled_from(["content-type", "x-a", "x-b", "set-cookie", "vary"]),
            st.text(
                st.characters(min_codepoint=33, max_codepoint=255, exclude_characters="\x7f"), max_size=12
            ),
        ),
        max_size=6,
    ),
    st.binary(max_size=40),
)
def test_any_answer_can_be_given(name: str, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    shape = detect(samples.sample(name))
    assert shape is not None
    raw = [(key.encode(), value.encode("latin-1")) for key, value in headers]
    out = from_response(shape, status, raw, body)
    json.dumps(out)
    text = out["body"]
    assert (base64.b64decode(text) if out["isBase64Encoded"] else text.encode()) == body


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)


@given(st.sampled_from(sorted(samples.ALL)), st.data())
def test_no_damaged_event_makes_a_bad_request(name: str, data: Any) -> None:
    event: Any = samples.sample(name)
    place = event
    while isinstance(place, (dict, list)) and place:  # some part of it, replaced by anything or taken out
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else [0]))
        if data.draw(st.booleans()) or not isinstance(place[key], (dict, list)):
            if data.draw(st.booleans()):
                del place[key]
            else:
                place[key] = data.draw(JSON_VALUES)
            break
        place = place[key]
    payload = json.dumps(event).encode()
    shape, request = convert(payload)
    if shape is None:
        assert (request.method, request.target, request.body) == ("POST", "/invoke", payload)
    words = [request.method, request.target, *(v.decode("latin-1") for pair in request.headers for v in pair)]
    assert not LINE_ENDS & set("".join(words))
    assert request.target.startswith("/") and request.target.isascii() and " " not in request.target
    assert not any(one.startswith(b"x-snapfork-") for one, _ in request.headers)
    assert isinstance(request.body, bytes)

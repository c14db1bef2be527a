"""Requests that are mostly almost right, for any operation of an API as its data file tells it."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from hypothesis import strategies as st
from snapfork.runner.faces.model import Api
from snapfork.runner.faces.shapes import Member, Shape

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PATHS = st.text(
    st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="#"), min_size=0, max_size=40
)
METHODS = st.sampled_from(["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
Request = tuple[str, str, bytes, dict[str, str]]
"""(method, target, body, headers)."""


@dataclass(frozen=True)
class Inputs:
    """likely: what members of a name are mostly given, so that requests get past the first check. always:
    members of structures that are given wherever there are such."""

    api: Api
    offered: Sequence[str]
    likely: dict[str, list[Any]]
    always: tuple[str, ...] = ()

    def requests(self) -> st.SearchStrategy[Request]:
        """Requests for some operation that is offered."""
        return _requests(self)

    def tame(self, shape: Shape, depth: int = 0) -> st.SearchStrategy[Any]:
        """Values that a shape mostly takes."""
        if depth > 5:
            return st.none()
        match shape.type:
            case "structure":
                return _structure(self, shape, depth)
            case "list":
                assert shape.member is not None
                return st.lists(self.tame(shape.member, depth + 1), max_size=2)
            case "map":
                assert shape.value is not None
                return st.dictionaries(st.text(max_size=10), self.tame(shape.value, depth + 1), max_size=2)
            case "boolean":
                return st.booleans()
            case "integer" | "long" | "double" | "timestamp":
                step, low, high = shape.multiple or 1, shape.min or 0, min(shape.max or 100, 2**40)
                near = st.integers(0, 20).map(lambda number: low + number * step)
                return near | st.sampled_from([low, high, low - 1, high + 1])
        return st.sampled_from(shape.enum) if shape.enum else st.text(max_size=20)

    def member(self, name: str, shape: Shape, depth: int) -> st.SearchStrategy[Any]:
        """Values of a member: mostly likely ones, now and then anything."""
        usual = st.sampled_from(self.likely[name]) if name in self.likely else self.tame(shape, depth)
        return st.integers(0, 19).flatmap(lambda dice: JSON if dice == 0 else usual)

    def segment(self, operation: str, member: Member) -> st.SearchStrategy[str]:
        """What stands in a path."""
        likely = self.likely.get(f"{operation}.{member.name}") or self.likely[member.name]
        return st.sampled_from(likely * 3 + ["a/b", "\N{SNOWMAN}", "%", " "])

    def payload(self, shape: Shape) -> st.SearchStrategy[bytes]:
        """A whole body."""
        if shape.type == "blob":
            return st.binary(max_size=100) | JSON.map(dumped)
        wild = st.binary(max_size=60) | JSON.map(dumped)
        return st.integers(0, 9).flatmap(lambda dice: wild if dice == 0 else self.tame(shape).map(dumped))


@st.composite
def _structure(draw: st.DrawFn, inputs: Inputs, shape: Shape, depth: int) -> dict[str, Any]:
    """What is required, and up to three other members."""
    optional = [name for name in shape.members if name not in shape.required]
    more = draw(st.lists(st.sampled_from(optional), max_size=3, unique=True)) if optional else []
    wanted = [*shape.required, *more, *(name for name in inputs.always if name in optional)]
    return {name: draw(inputs.member(name, shape.members[name].shape, depth + 1)) for name in wanted}


@st.composite
def _requests(draw: st.DrawFn, inputs: Inputs) -> Request:
    operation = inputs.api.operations[draw(st.sampled_from(sorted(inputs.offered)))]
    path, body = operation.path, b""
    query: list[tuple[str, bytes]] = [(key, value.encode()) for key, value in operation.literal]
    headers: dict[str, str] = {}
    fields: dict[str, Any] = {}
    optional = [name for name in operation.members if name not in operation.required]
    more = draw(st.lists(st.sampled_from(optional), max_size=3, unique=True)) if optional else []
    for member in operation.members.values():
        wanted = member.name in operation.required or member.name in (*more, *inputs.always)
        if member.location == "uri":
            value = draw(inputs.segment(operation.name, member))
            path = path.replace(f"{{{member.name}}}", quote(value, safe=""))
        elif member.location == "payload":
            body = draw(inputs.payload(member.shape))
        elif wanted:
            given = draw(inputs.member(member.name, member.shape, 0))
            text = given if isinstance(given, str) else json.dumps(given)
            if member.location == "querystring":
                query.append((member.wire, text.encode("utf-8", "surrogatepass")))
            elif member.location == "header":
                headers[member.wire] = quote(text, safe=" =")
            else:
                fields[member.wire] = given
    if fields:
        body = dumped(fields)
    return operation.method, path + ("?" + urlencode(query) if query else ""), body, headers


def dumped(value: Any) -> bytes:
    return json.dumps(value).encode()


def answered(
    port: int, method: str, target: str, body: bytes, headers: dict[str, str]
) -> tuple[int, dict[str, str], bytes]:
    """Send it: status, headers by lower-case names, body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=150)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        told = {name.lower(): value for name, value in answer.getheaders()}
        return answer.status, told, answer.read()
    finally:
        connection.close()

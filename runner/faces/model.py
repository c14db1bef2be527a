"""One API as its data file tells it: which operation a request is for, and its input, checked.

A data file (`lambda_api.json`, `fc_api.json`) is made from the real client by a script of the tests:
{"client", "operations": {NAME: {"method", "path", "query"?, "status"?, "required", "members": {MEMBER: REF +
"location" + "name"?}, "output"?: {MEMBER: place}, "errors"?}}, "shapes": {NAME: {"type", "required",
"members"}}, "errors"?: {NAME: {...}}}. A REF is {"shape": NAME} or {"type": ...}, with facets: min, max,
pattern, enum, multiple, sensitive. Everything is read once, at start.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field, replace
from functools import cached_property
from importlib import resources
from typing import Any
from urllib.parse import unquote_to_bytes

from snapfork.runner.faces.exchange import Head
from snapfork.runner.faces.shapes import Member, Shape, Violation, WrongType, check, convert, from_text

__all__ = ["Api", "BadInput", "Malformed", "Operation", "Violation", "WrongType", "parse_query"]
_FACETS = ("min", "max", "multiple", "sensitive")


class Malformed(Exception):
    """Not JSON, not UTF-8, or a value of another type; one sentence. path: of the value, () for the body."""

    def __init__(self, message: str, path: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.path = path


class BadInput(Exception):
    """Constraints that the input breaks, in the order of the members."""

    def __init__(self, violations: list[Violation]) -> None:
        super().__init__(f"{len(violations)} values break a constraint.")
        self.violations = violations


@dataclass(slots=True)
class Operation:
    """One operation. literal: query parameters that tell it from a sibling on the same path. output: where
    each member of the answer goes: "body", "payload", "status" or "header:NAME". members: of the input."""

    name: str
    method: str
    path: str
    status: int
    required: tuple[str, ...]
    members: dict[str, Member]
    literal: tuple[tuple[str, str], ...] = ()
    output: dict[str, str] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    payload: Member | None = None
    body: tuple[Member, ...] = ()
    elsewhere: tuple[Member, ...] = ()


@dataclass(slots=True)
class _Node:
    """A path so far: what may follow, and which operations end here, by method, the pickiest first."""

    literals: dict[bytes, _Node] = field(default_factory=dict)
    parameter: _Node | None = None
    ends: dict[str, list[tuple[Operation, tuple[str, ...]]]] = field(default_factory=dict)


class Api:
    """All operations of a dialect. json_lists: lists and objects in the query travel as JSON texts (FC); else
    a list is a repeated parameter (Lambda)."""

    def __init__(self, data: dict[str, Any], json_lists: bool = False) -> None:
        self.data = data
        self._json_lists = json_lists
        self._shapes: dict[str, Shape] = {}
        self.operations: dict[str, Operation] = {
            name: self._operation(name, spec) for name, spec in data["operations"].items()
        }
        self._root = _Node()
        for operation in self.operations.values():
            self._add(operation)

    @classmethod
    def load(cls, file: str, json_lists: bool = False) -> Api:
        """The API of a data file beside this module."""
        text = resources.files("snapfork.runner.faces").joinpath(file).read_text("utf-8")
        return cls(json.loads(text), json_lists)

    @cached_property
    def prefixes(self) -> frozenset[bytes]:
        """First segments of all paths: the API's dates."""
        return frozenset(self._root.literals)

    def shape(self, name: str) -> Shape:
        """A named shape of the data file, for members that travel as text inside others."""
        return self._named(name)

    def match(self, head: Head) -> tuple[Operation, dict[str, str]] | None:
        """The operation of a request and what its path holds, by member name. None: there is none.

        The path is split before it is decoded: an encoded slash belongs to a value. Raises Malformed.
        """
        path = head.path[:-1] if head.path.endswith(b"/") else head.path  # older clients send one
        node: _Node | None = self._root
        values: list[bytes] = []
        for segment in path[1:].split(b"/"):
            assert node is not None
            follow = node.literals.get(segment)
            if follow is None:
                follow = node.parameter
                values.append(segment)
            if follow is None or not segment:
                return None
            node = follow
        assert node is not None
        ends = node.ends.get(head.method)
        if ends is None:
            return None
        operation, names = ends[0]
        if len(ends) > 1 or operation.literal:
            given = parse_query(head.query)
            fitting = [end for end in ends if all(given.get(k) == [v] for k, v in end[0].literal)]
            if not fitting:
                return None
            operation, names = fitting[0]
        return operation, {
            name: _decode(value, (name,)) if b"%" in value else _ascii(value, (name,))
            for name, value in zip(names, values, strict=True)
        }

    def parse(self, operation: Operation, params: dict[str, str], head: Head, body: bytes) -> dict[str, Any]:
        """The operation's input by member names. Raises Malformed, BadInput."""
        found: list[Violation] = []
        try:
            given = self._outside(operation, params, head, found)
            if operation.payload is not None:
                self._payload(operation.payload, body, given, found)
            elif operation.body:
                fields = _json_object(body)
                for member in operation.body:
                    value = fields.get(member.wire)
                    if value is not None:
                        given[member.name] = convert(member.shape, value, (member.name,), found)
        except WrongType as error:
            raise Malformed(str(error), error.path) from None
        except RecursionError:
            raise Malformed("The body is nested too deeply.") from None
        for name in operation.required:
            if name not in given:
                found.append(Violation((name,), None, "required", None))
        if found:
            raise BadInput(found)
        return given

    def _outside(
        self, operation: Operation, params: dict[str, str], head: Head, found: list[Violation]
    ) -> dict[str, Any]:
        """What path, query and headers hold."""
        given: dict[str, Any] = {}
        query = parse_query(head.query) if head.query else {}
        for member in operation.elsewhere:
            path = (member.name,)
            if member.location == "uri":
                text: str | None = params[member.wire]
            elif member.location == "header":
                raw = head.get(member.wire.encode())
                text = None if raw is None else _ascii(raw, path)
            else:
                texts = query.get(member.wire)
                if texts is not None and member.shape.type in ("list", "map", "structure"):
                    value: Any = _json(texts[-1].encode(), path) if self._json_lists else texts
                    given[member.name] = convert(member.shape, value, path, found)
                    continue
                text = texts[-1] if texts else None
            if text is not None:
                given[member.name] = from_text(member.shape, text, path, found)
        return given

    def _payload(self, member: Member, body: bytes, given: dict[str, Any], found: list[Violation]) -> None:
        if member.shape.type == "blob":
            given[member.name] = body
            check(member.shape, body, (member.name,), found)
        else:  # the body itself is the structure, and its members are spoken of as the operation's
            given[member.name] = convert(member.shape, _json_object(body), (), found)

    def _add(self, operation: Operation) -> None:
        node = self._root
        names: list[str] = []
        for segment in operation.path[1:].split("/"):
            if segment.startswith("{"):
                names.append(segment[1:-1])
                node.parameter = node.parameter or _Node()
                node = node.parameter
            else:
                node = node.literals.setdefault(segment.encode(), _Node())
        ends = node.ends.setdefault(operation.method, [])
        ends.append((operation, tuple(names)))
        ends.sort(key=lambda end: -len(end[0].literal))

    def _operation(self, name: str, spec: dict[str, Any]) -> Operation:
        members = {key: self._member(key, ref) for key, ref in spec["members"].items()}
        payload = [member for member in members.values() if member.location == "payload"]
        return Operation(
            name,
            spec["method"],
            spec["path"],
            spec.get("status", 200),
            tuple(spec["required"]),
            members,
            tuple(spec.get("query", {}).items()),
            spec.get("output", {}),
            tuple(spec.get("errors", ())),
            payload[0] if payload else None,
            tuple(member for member in members.values() if member.location == "body"),
            tuple(member for member in members.values() if member.location not in ("body", "payload")),
        )

    def _member(self, name: str, ref: dict[str, Any]) -> Member:
        wire: str = ref.get("name", name)
        location: str = ref.get("location", "body")
        return Member(name, wire.lower() if location == "header" else wire, location, self._ref(ref))

    def _ref(self, ref: dict[str, Any]) -> Shape:
        if "shape" not in ref:
            return self._fill(Shape(ref["type"]), ref)
        base = self._named(ref["shape"])
        if any(facet in ref for facet in (*_FACETS, "pattern", "enum")):
            return self._fill(replace(base), {**ref, "type": base.type})
        return base

    def _named(self, name: str) -> Shape:
        shape = self._shapes.get(name)
        if shape is None:
            spec = self.data["shapes"][name]
            shape = self._shapes[name] = Shape(spec["type"])  # before its members: it may hold itself
            self._fill(shape, spec)
        return shape

    def _fill(self, shape: Shape, spec: dict[str, Any]) -> Shape:
        for facet in _FACETS:
            if facet in spec:
                setattr(shape, facet, spec[facet])
        if "pattern" in spec:
            shape.pattern = re.compile(spec["pattern"])
        if "enum" in spec:
            shape.enum = tuple(spec["enum"])
        if "required" in spec:
            shape.required = tuple(spec["required"])
        if "members" in spec:
            shape.members = {key: self._member(key, ref) for key, ref in spec["members"].items()}
        for part in ("member", "key", "value"):
            if part in spec:
                setattr(shape, part, self._ref(spec[part]))
        return shape


def parse_query(query: bytes) -> dict[str, list[str]]:
    """The values of each parameter, in order; a plus is a space. Raises Malformed for what is not UTF-8."""
    found: dict[str, list[str]] = {}
    for pair in query.split(b"&"):
        if pair:
            name, _, value = pair.partition(b"=")
            key = _decode(name.replace(b"+", b" "), ())
            found.setdefault(key, []).append(_decode(value.replace(b"+", b" "), (key,)))
    return found


def _decode(raw: bytes, path: tuple[str, ...]) -> str:
    try:
        return unquote_to_bytes(raw).decode()
    except UnicodeDecodeError:
        raise Malformed("The request is not UTF-8.", path) from None


def _ascii(raw: bytes, path: tuple[str, ...]) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("The request is not UTF-8.", path) from None


def _json(raw: bytes, path: tuple[str, ...]) -> Any:
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise Malformed("Could not parse request body into json.", path) from None


def _json_object(body: bytes) -> dict[str, Any]:
    fields = _json(body, ()) if body else {}
    if not isinstance(fields, dict):
        raise Malformed("The body must be a JSON object.")
    return fields


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")

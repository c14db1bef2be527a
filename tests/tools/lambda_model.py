"""Reads the Lambda API out of botocore's service model.

`python tests/tools/lambda_model.py` writes runner/faces/lambda_api.json anew: of the offered operations
everything, of the others what it takes to recognise them. Limits of the service's documentation that are
narrower than the model's are in LIMITS.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import botocore
import botocore.session
from snapfork.runner.faces.lambda_offer import OFFERED

DATA = Path(__file__).resolve().parents[2] / "runner" / "faces" / "lambda_api.json"
FACETS = ("min", "max", "pattern", "enum", "sensitive")
# "Lambda quotas": a function runs for 900 s at most and has 128 to 10,240 MB. The model allows for others.
LIMITS = {"Timeout": {"max": 900}, "MemorySize": {"max": 10240}}
# What this runner takes beyond the service's values: destinations that are no ARNs.
FURTHER = {"DestinationArn": "|https?://.+|file:///.+"}
# Java's classes of letters, separators and numbers.
UNICODE = (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", r"(?u:[\w\s.:/=+\-@]*)")


def service_model() -> dict[str, Any]:
    """botocore's model of the `lambda` service."""
    loader = botocore.session.get_session().get_component("data_loader")
    model: dict[str, Any] = loader.load_service_model("lambda", "service-2")
    return model


class Reader:
    """Collects the shapes that the operations reach."""

    def __init__(self, model: dict[str, Any]) -> None:
        self.model = model
        self.shapes: dict[str, Any] = {}

    def reference(self, name: str) -> dict[str, Any]:
        """A scalar in place, anything else by name."""
        spec = self.model["shapes"][name]
        if spec["type"] not in ("structure", "list", "map"):
            return self.facets(name, spec)
        if name not in self.shapes:
            self.shapes[name] = {}  # it may hold itself
            made = self.facets(name, spec)
            if spec["type"] == "structure":
                made["required"] = sorted(spec.get("required", []))
                made["members"] = {
                    member: {**self.reference(ref["shape"]), **named(member, ref)}
                    for member, ref in spec["members"].items()
                }
            for part in ("member", "key", "value"):
                if part in spec:
                    made[part] = self.reference(spec[part]["shape"])
            self.shapes[name] = made
        return {"shape": name}

    def facets(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        found = {"type": spec["type"], **{facet: spec[facet] for facet in FACETS if facet in spec}}
        found |= LIMITS.get(name, {})
        if "pattern" in found:
            found["pattern"] = found["pattern"].replace(*UNICODE) + FURTHER.get(name, "")
        return found

    def operation(self, name: str, spec: dict[str, Any]) -> dict[str, Any]:
        path, _, query = spec["http"]["requestUri"].partition("?")
        found: dict[str, Any] = {
            "method": spec["http"]["method"],
            "path": path,
            "status": spec["http"].get("responseCode", 200),
            "required": [],
            "members": {},
        }
        if query:
            found["query"] = dict(pair.split("=") for pair in query.split("&"))
        if name in OFFERED:
            found |= self.input(spec["input"]["shape"])
            if "output" in spec:
                found["output"] = self.output(spec["output"]["shape"])
            found["errors"] = sorted(error["shape"] for error in spec.get("errors", []))
        else:
            uri = [part[1:-1] for part in path.split("/") if part.startswith("{")]
            found["members"] = {part: {"type": "string", "location": "uri"} for part in uri}
            found["required"] = uri
        return found

    def input(self, name: str) -> dict[str, Any]:
        shape = self.model["shapes"][name]
        members = {}
        for member, ref in shape["members"].items():
            location = ref.get("location", "payload" if member == shape.get("payload") else "body")
            members[member] = {
                **self.reference(ref["shape"]),
                "location": location,
                **named(member, ref),
            }
        return {"required": sorted(shape.get("required", [])), "members": members}

    def output(self, name: str) -> dict[str, str]:
        shape = self.model["shapes"][name]
        places = {}
        for member, ref in shape["members"].items():
            place = {"header": f"header:{ref.get('locationName', member)}", "statusCode": "status"}
            inside = "payload" if member == shape.get("payload") else "body"
            places[member] = place.get(ref.get("location", ""), inside)
        return places


def named(member: str, ref: dict[str, Any]) -> dict[str, Any]:
    wire = ref.get("locationName", member)
    return {} if wire == member else {"name": wire}


def errors(model: dict[str, Any]) -> dict[str, Any]:
    """Status and message member ("message" or "Message") of each modelled error."""
    return {
        name: {
            "status": spec["error"]["httpStatusCode"],
            "message": "message" if "message" in spec["members"] else "Message",
        }
        for name, spec in model["shapes"].items()
        if spec.get("exception")
    }


def build(model: dict[str, Any] | None = None) -> dict[str, Any]:
    """The whole data file."""
    model = model or service_model()
    reader = Reader(model)
    operations = {name: reader.operation(name, spec) for name, spec in sorted(model["operations"].items())}
    return json.loads(
        json.dumps(
            {
                "client": f"botocore {botocore.__version__}",
                "operations": operations,
                "shapes": dict(sorted(reader.shapes.items())),
                "errors": dict(sorted(errors(model).items())),
            }
        )
    )


def render(data: dict[str, Any]) -> str:
    """JSON with one operation, shape or error a line, so that a change of the client is a readable diff."""
    parts = [f'"client": {json.dumps(data["client"])}']
    for part in ("operations", "shapes", "errors"):
        rows = ",\n".join(f"{json.dumps(name)}: {json.dumps(value)}" for name, value in data[part].items())
        parts.append(f'"{part}": {{\n{rows}\n}}')
    return "{\n" + ",\n".join(parts) + "\n}\n"


def additions(ours: dict[str, Any], theirs: dict[str, Any], offered: set[str]) -> list[str]:
    """What another client has that the data file has not: operations, members, enum values; sentences."""
    found = [f"operation {name}" for name in theirs["operations"] if name not in ours["operations"]]
    for name in sorted(offered & set(theirs["operations"])):
        new = set(theirs["operations"][name]["members"]) - set(ours["operations"][name]["members"])
        found += [f"member {name}.{member}" for member in sorted(new)]
    for name in sorted(set(theirs["shapes"]) & set(ours["shapes"])):
        new = set(theirs["shapes"][name].get("members", ())) - set(ours["shapes"][name].get("members", ()))
        found += [f"member {name}.{member}" for member in sorted(new)]
    return found


def breaks(ours: dict[str, Any], theirs: dict[str, Any], offered: set[str]) -> list[str]:
    """What the other client does differently with offered operations, so that they would no longer work."""
    found = []
    for name in sorted(offered):
        mine, other = ours["operations"][name], theirs["operations"].get(name)
        if other is None:
            found.append(f"{name} is gone")
            continue
        for part in ("method", "path", "query"):
            if mine.get(part) != other.get(part):
                found.append(f"{name}: {part} is {other.get(part)}, not {mine.get(part)}")
        for member, ref in mine["members"].items():
            moved = other["members"].get(member, ref)
            if [moved.get(key) for key in ("location", "name")] != [
                ref.get(key) for key in ("location", "name")
            ]:
                found.append(f"{name}.{member} has moved to {moved['location']}")
        found += [f"{name} needs {member}" for member in set(other["required"]) - set(mine["members"])]
    return found


if __name__ == "__main__":
    DATA.write_text(render(build()), encoding="utf-8")

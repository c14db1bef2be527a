"""Operations on tags and on statements of resource policies: both are kept and given back."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from snapfork.runner.registry import configurations, names
from snapfork.runner.registry.core import Core, check_revision
from snapfork.runner.registry.errors import AlreadyExists, LimitExceeded, NotFound
from snapfork.runner.registry.model import LayerVersion, Statement

MOST_POLICY_BYTES = 20480
"""Of a resource's policy (docs.aws.amazon.com, Lambda quotas)."""


class LabelOperations(Core):
    """`resource` is "function/NAME" or "layer/NAME", with a layer's version as the qualifier."""

    async def tag(self, name: str, tags: Mapping[str, str]) -> None:
        """Add tags to a function, or replace those of the same names."""
        async with self._changing:
            function = self.function(name)
            merged = {**function.tags, **tags}
            configurations.check_tags(merged)
            await self.commit([replace(function, tags=merged)], about=[("function", name)])

    async def untag(self, name: str, keys: Iterable[str] | None) -> None:
        """Take tags away; None for all."""
        async with self._changing:
            function = self.function(name)
            gone = set(function.tags if keys is None else keys)
            kept = {key: value for key, value in function.tags.items() if key not in gone}
            await self.commit([replace(function, tags=kept)], about=[("function", name)])

    def tags(self, name: str) -> dict[str, str]:
        return dict(self.function(name).tags)

    async def statement_add(
        self, resource: str, qualifier: str, sid: str, body: Mapping[str, Any], revision: str | None = None
    ) -> Statement:
        """Raises AlreadyExists (kind "statement"), NotFound, PreconditionFailed, LimitExceeded ("policy")."""
        async with self._changing:
            kept = self._resource(resource, qualifier)
            there = self._statements(resource, kept)
            check_revision(revision, revision_of(there), "The policy")
            if any(one.sid == sid for one in there):
                raise AlreadyExists(f"The policy has a statement {sid} already.", "statement", sid)
            made = Statement(resource, kept, sid, dict(body))
            if sum(len(json.dumps(one.body)) for one in [*there, made]) > MOST_POLICY_BYTES:
                raise LimitExceeded(f"A policy has at most {MOST_POLICY_BYTES} bytes.", "policy")
            await self.commit([made])
        return made

    def statement_list(self, resource: str, qualifier: str = "") -> tuple[list[Statement], str]:
        """The statements and their revision. Raises NotFound of the resource; no statements are []."""
        found = self._statements(resource, self._resource(resource, qualifier))
        return found, revision_of(found)

    async def statement_remove(
        self, resource: str, qualifier: str, sid: str, revision: str | None = None
    ) -> None:
        """Raises NotFound (kind "statement"), PreconditionFailed."""
        async with self._changing:
            there = self._statements(resource, self._resource(resource, qualifier))
            check_revision(revision, revision_of(there), "The policy")
            found = [one for one in there if one.sid == sid]
            if not found:
                raise NotFound(f"The policy has no statement {sid}.", "statement", sid)
            await self.commit([], found)

    def _resource(self, resource: str, qualifier: str) -> str:
        kind, _, name = resource.partition("/")
        if kind == "function":
            return self.check_qualifier(name, qualifier)
        version = int(qualifier) if names.NUMBER.fullmatch(qualifier) else 0
        if self.image.get(LayerVersion, name, version) is None:
            raise NotFound(f"There is no version {qualifier} of layer {name}.", "layer", name)
        return qualifier

    def _statements(self, resource: str, qualifier: str) -> list[Statement]:
        return [
            one
            for one in self.image.all(Statement)
            if one.resource == resource and one.qualifier == qualifier
        ]


def revision_of(statements: Iterable[Statement]) -> str:
    """A policy's revision: another one for other statements."""
    text = json.dumps([[one.sid, one.body] for one in statements], sort_keys=True)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return f"{digest[:8]}-{digest[8:12]}-{digest[12:16]}-{digest[16:20]}-{digest[20:32]}"

"""The data file of the FC API is what the installed SDK says."""

from __future__ import annotations

import json
from importlib import metadata
from typing import Any

import fc_sdk
import pytest


@pytest.fixture(scope="module")
def kept() -> dict[str, Any]:
    data: dict[str, Any] = json.loads(fc_sdk.DATA.read_text(encoding="utf-8"))
    return data


def test_the_file_has_every_operation_of_the_installed_sdk(kept: dict[str, Any]) -> None:
    """A newer SDK with more operations fails here by their names; run tests/unit/faces/fc_sdk.py then."""
    assert sorted(fc_sdk.build()["operations"].keys() - kept["operations"].keys()) == []


def test_the_file_is_what_the_script_writes(kept: dict[str, Any]) -> None:
    client = f"alibabacloud_fc20230330 {metadata.version('alibabacloud_fc20230330')}"
    if kept["client"] != client:
        pytest.skip(f"written from {kept['client']}, installed is {client}")
    assert fc_sdk.DATA.read_text(encoding="utf-8") == fc_sdk.render(fc_sdk.build())


def test_every_limit_kept_by_hand_meets_a_member() -> None:
    reached: set[tuple[str, str]] = set()

    def limits(owner: str, member: str) -> dict[str, Any]:
        reached.add((owner, member))
        found: dict[str, Any] = real(owner, member)
        return found

    real, fc_sdk.limits = fc_sdk.limits, limits
    try:
        fc_sdk.build()
    finally:
        fc_sdk.limits = real
    unmet = [
        key
        for key in fc_sdk.LIMITS
        if not any(fc_sdk.concerns(key, owner) and member == key[1] for owner, member in reached)
    ]
    assert unmet == []

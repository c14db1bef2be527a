"""Names, times and checksums in FC's spelling."""

from __future__ import annotations

import re

import pytest
from snapfork.runner.faces import fc_names

PLACE = fc_names.Place("cn-hangzhou", "123")


def test_arns_are_read_back() -> None:
    assert fc_names.function_of(PLACE.function("f")) == ("f", "")
    assert fc_names.function_of(PLACE.function("f", "prod")) == ("f", "prod")
    assert fc_names.layer_of(PLACE.layer("base", 3)) == ("base", 3)


@pytest.mark.parametrize(
    ("arn", "named"),
    [
        ("acs:fc:::services/s.q/functions/f", ("f", "")),
        ("acs:fc:cn-x:1:functions/f.prod", ("f", "prod")),
        ("acs:mns:::/queues/q/messages", None),
        ("functions/f", None),
        ("", None),
    ],
)
def test_functions_in_other_spellings(arn: str, named: tuple[str, str] | None) -> None:
    assert fc_names.function_of(arn) == named


def test_request_ids_have_fcs_form() -> None:
    made = fc_names.request_id(1_700_000_000.5)
    assert re.fullmatch(r"1-6553f100-[0-9a-f]{24}", made)
    assert made != fc_names.request_id(1_700_000_000.5)


def test_times() -> None:
    assert fc_names.iso(1_700_000_000.9) == "2023-11-14T22:13:20Z"
    assert fc_names.iso(0) == ""
    assert fc_names.milliseconds(1.2345) == 1235


def test_the_checksum_is_crc64_of_ecma_182() -> None:
    assert fc_names.checksum(b"123456789") == str(0x995DC9BBDF1939FA)

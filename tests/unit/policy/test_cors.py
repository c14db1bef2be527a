"""What a browser is told of pages of other origins."""

from __future__ import annotations

from typing import Any

import pytest
from snapfork.runner.policy import cors

SHOP = "https://shop.example"


def rules(**members: Any) -> cors.Cors:
    return cors.unpacked(cors.packed(members))


def test_both_dialects_say_the_same() -> None:
    ours = {"AllowOrigins": [SHOP], "MaxAge": 5, "AllowCredentials": True}
    theirs = {"allowOrigins": [SHOP], "maxAge": 5, "allowCredentials": True, "allowMethods": []}
    assert cors.packed(ours) == cors.packed(theirs)
    assert cors.packed({}) == cors.packed({"AllowCredentials": False}) == ""


def test_an_answer_names_the_origin_that_may_read_it() -> None:
    named = rules(AllowOrigins=["https://other.example", SHOP], ExposeHeaders=["x-a", "x-b"])
    assert dict(cors.of_answer(named, SHOP)) == {
        b"access-control-allow-origin": SHOP.encode(),
        b"vary": b"Origin",
        b"access-control-expose-headers": b"x-a,x-b",
    }
    assert cors.of_answer(named, "https://shop.example.evil") == ((b"vary", b"Origin"),)
    assert cors.of_answer(rules(AllowOrigins=["*"]), SHOP) == ((b"access-control-allow-origin", b"*"),)
    with_cookies = dict(cors.of_answer(rules(AllowOrigins=["*"], AllowCredentials=True), SHOP))
    assert with_cookies[b"access-control-allow-origin"] == SHOP.encode()  # a browser takes no * with them
    assert with_cookies[b"access-control-allow-credentials"] == b"true"


def test_a_preflight_is_told_what_it_asks_for_and_no_more() -> None:
    some = rules(AllowOrigins=[SHOP], AllowMethods=["PUT"], AllowHeaders=["X-One"], MaxAge=60)
    assert dict(cors.of_preflight(some, SHOP, "PUT", "x-one, x-two")) == {
        b"access-control-allow-origin": SHOP.encode(),
        b"vary": b"Origin",
        b"access-control-allow-methods": b"PUT",
        b"access-control-allow-headers": b"x-one",
        b"access-control-max-age": b"60",
    }
    assert cors.of_preflight(some, SHOP, "DELETE", "") == ()
    assert cors.of_preflight(some, "null", "PUT", "") == ()


@pytest.mark.parametrize("word", ["x-a\r\nset-cookie: a=1", "x\0y", "\u20ac"])
def test_what_may_not_stand_in_a_header_is_left_out(word: str) -> None:
    assert rules(AllowOrigins=["*"], ExposeHeaders=[word, "x-b"]).exposed == ("x-b",)

"""Comparing a restored app's answers with the live one's."""

from __future__ import annotations

from typing import Any

from snapfork.adapter.snapshots.likeness import all_differences, differences


def answer(status: int | None = 200, body: str = "a", **fields: str) -> dict[str, Any]:
    pairs = sorted([name.replace("_", "-"), value] for name, value in fields.items())
    return {"request": "/x", "status": status, "fields": pairs, "body": body}


def test_equal_answers() -> None:
    assert differences(answer(etag="1"), answer(etag="1"), answer(etag="1")) == []


def test_what_the_live_app_itself_varies_is_not_compared() -> None:
    first = answer(body="a", set_cookie="1", date="now")
    second = answer(body="b", set_cookie="2", date="now")
    assert differences(first, second, answer(body="c", date="later")) == []


def test_what_follows_from_a_body_that_varies_is_not_compared() -> None:
    first, second = answer(body="a", content_length="9"), answer(body="b", content_length="9")
    assert differences(first, second, answer(body="c", content_length="10")) == []


def test_everything_else_is() -> None:
    live = answer(etag="1", vary="x")
    assert differences(live, live, answer(500, etag="1", vary="x")) == ["/x has status 500 instead of 200"]
    assert differences(live, live, answer(body="b", etag="1", vary="x")) == ["/x has another body"]
    assert differences(live, live, answer(etag="2", vary="x")) == ["/x has etag: 2 instead of etag: 1"]
    assert differences(live, live, answer(etag="1")) == ["/x has no vary instead of vary: x"]
    assert differences(live, live, answer(etag="1", vary="x", more="y")) == [
        "/x has more: y instead of no more"
    ]
    assert all_differences([[live], [live]], [answer(None)]) != []


def test_the_order_of_a_list_is_nothing() -> None:
    live, back = answer(allow="GET, OPTIONS"), answer(allow="OPTIONS, GET")
    assert differences(live, live, back) == []
    assert differences(live, live, answer(allow="GET")) != []

"""Which function owns a path of a host."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.http.routes import Route, Routes

TABLE = Routes(
    [
        Route(None, "", "site"),
        Route(None, "/blog", "blog"),
        Route(None, "/blog/admin", "admin"),
        Route("a.example", "", "a"),
        Route("a.example", "/api", "api"),
    ]
)


@pytest.mark.parametrize(
    ("host", "path", "function"),
    [
        ("x", "/", "site"),
        ("x", "/blogger", "site"),
        ("x", "/blog", "blog"),
        ("x", "/blog/", "blog"),
        ("x", "/blog/admin", "admin"),
        ("x", "/blog/adminx", "blog"),
        ("", "/blog/1", "blog"),
        ("a.example", "/blog", "a"),
        ("a.example", "/api/1", "api"),
        ("b.a.example", "/api/1", "site"),
        ("x", "//blog", "site"),
        ("x", "*", "site"),
    ],
)
def test_longest_prefix_of_whole_segments_and_named_hosts_first(host: str, path: str, function: str) -> None:
    route = TABLE.match(host, path)
    assert route is not None and route.function == function


def test_nothing_matches() -> None:
    routes = Routes([{"host": "a", "prefix": "/x", "function": "f"}])
    assert routes.match("b", "/x") is None
    assert routes.match("a", "/y") is None


def test_sole() -> None:
    assert Routes([Route(None, "", "f")]).sole
    assert not Routes([Route("a", "", "f")]).sole
    assert not Routes([Route(None, "/x", "f")]).sole
    assert not TABLE.sole


@given(st.permutations(TABLE.routes), st.sampled_from(["/blog/admin/x", "/blog", "/", "/api"]))
def test_order_of_the_table_does_not_matter(routes: list[Route], path: str) -> None:
    assert Routes(routes).match("a.example", path) == TABLE.match("a.example", path)

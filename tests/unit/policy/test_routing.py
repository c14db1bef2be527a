"""Routes, weights and limits of deployed functions, held to a plain reading of what they say."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from snapfork.runner.http.routes import below
from snapfork.runner.policy.routing import Quota, Table, concerned, draw, is_sticky
from snapfork.runner.units import UnitRoute

HOSTS = st.sampled_from([None, "a.localhost", "b.localhost"])
SEGMENTS = st.sampled_from(["x", "y", "xy"])
PREFIXES = st.lists(SEGMENTS, max_size=3).map(lambda parts: "".join(f"/{part}" for part in parts))
METHODS = st.sampled_from([(), ("GET",), ("POST", "PUT")])
UNITS = st.sampled_from(["u:1", "u:2", "v:1"])
ROUTES = st.lists(
    st.builds(
        lambda host, prefix, unit, methods: UnitRoute(host, prefix, ((unit, 1.0),), "f", methods=methods),
        HOSTS,
        PREFIXES,
        UNITS,
        METHODS,
    ),
    max_size=6,
)
REQUESTS = st.tuples(
    st.sampled_from(["a.localhost", "b.localhost", "127.0.0.1", ""]),
    st.lists(SEGMENTS, max_size=4).map(lambda parts: "/" + "/".join(parts)),
    st.sampled_from(["GET", "POST"]),
)


def plainly(routes: list[UnitRoute], host: str, path: str, method: str) -> UnitRoute | None:
    """The route as the words say it."""
    fitting = [
        one
        for one in routes
        if one.host in (None, host) and below(path, one.prefix) and (not one.methods or method in one.methods)
    ]
    return min(fitting, key=lambda one: (one.host is None, -len(one.prefix)), default=None)


@given(ROUTES, REQUESTS)
def test_finds_what_a_plain_reading_finds(routes: list[UnitRoute], request: tuple[str, str, str]) -> None:
    assert Table(routes).find(*request).route is plainly(routes, *request)


@given(ROUTES, REQUESTS, REQUESTS)
def test_a_sole_place_has_no_request_of_another(
    routes: list[UnitRoute], first: tuple[str, str, str], second: tuple[str, str, str]
) -> None:
    table = Table(routes)
    route = table.find(*first).route
    if route is None or not is_sticky(route) or not table.is_sole(first[0], route):
        return
    if second[0] == first[0] and below(second[1], route.prefix):
        assert table.find(*second).route is route


@given(ROUTES, ROUTES, REQUESTS)
def test_a_change_concerns_everybody_whose_requests_it_moves(
    old: list[UnitRoute], new: list[UnitRoute], request: tuple[str, str, str]
) -> None:
    units = concerned(old, new)
    before, after = Table(old).find(*request).route, Table(new).find(*request).route
    if before != after and units is not None:
        for route in (before, after):
            assert route is None or {unit for unit, _ in route.choices} <= units


def test_methods_that_no_route_has_are_told() -> None:
    table = Table([UnitRoute(None, "/x", (("u:1", 1.0),), "f", methods=("GET", "PUT"))])
    found = table.find("h", "/x/y", "POST")
    assert found.route is None
    assert found.allowed == {"GET", "PUT"}
    assert table.find("h", "/z", "POST").allowed == frozenset()


def test_many_slashes_cost_no_more_than_the_deepest_route() -> None:
    table = Table([UnitRoute(None, "/a/b", (("u:1", 1.0),), "f")])
    assert table.find("h", "/a/b" + "/c" * 30_000, "GET").route is table.routes[0]
    assert table.find("h", "/" * 60_000, "GET").route is None


@pytest.mark.parametrize("seed", range(3))
def test_ten_thousand_draws_split_by_the_weights(seed: int) -> None:
    chance = random.Random(seed).random
    choices = (("u:1", 0.9), ("u:2", 0.1))
    taken = [draw(choices, chance()) for _ in range(10_000)]
    assert abs(taken.count("u:2") / 10_000 - 0.1) <= 0.015


@given(st.lists(st.tuples(UNITS, st.floats(0, 1)), min_size=1, max_size=4), st.floats(0, 1, exclude_max=True))
def test_a_draw_takes_nobody_without_weight(choices: list[tuple[str, float]], chance: float) -> None:
    taken = draw(tuple(choices), chance)
    weights = {unit: weight for unit, weight in choices if weight > 0}
    assert taken in weights or not weights


def test_nothing_to_draw_from() -> None:
    assert draw((), 0.5) == ""


@given(st.lists(st.booleans(), max_size=60), st.integers(0, 4))
def test_never_more_in_progress_than_reserved(steps: list[bool], limit: int) -> None:
    quota = Quota()
    quota.limit = limit
    running = 0
    for begins in steps:
        if begins:
            took = quota.take()
            assert took == (running < limit)
            running += took
        elif running:
            quota.give_back()
            running -= 1
        assert quota.used == running <= limit


def test_an_exact_route_is_for_its_own_path_only_and_goes_before_what_is_below_the_same_prefix() -> None:
    table = Table(
        [
            UnitRoute("shop.example", "/login", (("login:1", 1.0),), "login", strip=False, exact=True),
            UnitRoute("shop.example", "/login", (("rest:1", 1.0),), "rest", strip=False),
        ]
    )
    assert [table.find("shop.example", path, "GET").route.function for path in ("/login", "/login/x")] == [
        "login",
        "rest",
    ]
    assert not is_sticky(table.routes[0]) and is_sticky(table.routes[1])

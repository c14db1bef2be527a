"""Function URLs, triggers, custom domains: what may be, where they lead, and who may pass."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from registering import CONFIGURATION, FakeGateway, code, registry
from snapfork.runner.registry import directories
from snapfork.runner.registry.errors import AlreadyExists, Invalid, LimitExceeded, NotFound
from snapfork.runner.registry.operations import Operations, Site

Scenario = Callable[[Operations, FakeGateway], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario on a registry with function shop, version 1 and alias live."""

    def go(scenario: Scenario) -> None:
        async def whole() -> None:
            async with registry(tmp_path / "data", site=Site(region="r1")) as (operations, gateway):
                await operations.create("shop", CONFIGURATION, code(1), publish=True)
                await operations.alias_create("shop", "live", "1")
                await scenario(operations, gateway)

        asyncio.run(whole())

    return go


def test_functions_of_the_apis_are_open_to_everybody_only_if_they_say_so(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        await operations.create("own", replace(CONFIGURATION, dialect="runner"), code(1))
        assert (gateway.route("/shop").auth, gateway.route("/own").auth) == ("signed", "none")
        await operations.set_url("shop", "live", "NONE", create=True)  # of an alias: not of the function
        assert gateway.route("/shop").auth == "signed"
        await operations.set_url("shop", "", "NONE", create=True)
        assert gateway.route("/shop").auth == "none"
        await operations.set_url("shop", "", "AWS_IAM", create=False)
        assert gateway.route("/shop").auth == "signed"
        await operations.set_url("own", "", "AWS_IAM", create=True)
        assert gateway.route("/own").auth == "signed"

    run(scenario)


def test_urls(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        with pytest.raises(Invalid):
            await operations.set_url("shop", create=True)
        with pytest.raises(Invalid):
            await operations.set_url("shop", "", "OPEN", create=True)
        with pytest.raises(Invalid):
            await operations.set_url("shop", "1", "NONE", create=True)
        with pytest.raises(NotFound) as missing:
            await operations.set_url("shop", "", "NONE", create=False)
        assert missing.value.kind == "url"
        made = await operations.set_url("shop", "live", "AWS_IAM", {"AllowOrigins": ["*"]}, create=True)
        with pytest.raises(AlreadyExists):
            await operations.set_url("shop", "live", "NONE", create=True)
        for place in ((f"{made.id}.lambda-url.r1.localhost", ""), (None, f"/lambda-url/{made.id}")):
            route = gateway.route(place[1], place[0])
            assert (route.choices, route.auth, route.strip) == ((("shop:1", 1.0),), "signed", True)
        after = await operations.set_url("shop", "live", "NONE", invoke_mode="RESPONSE_STREAM", create=False)
        assert (after.id, after.cors, after.invoke_mode) == (
            made.id,
            {"AllowOrigins": ["*"]},
            "RESPONSE_STREAM",
        )
        owner = operations.http_owner(f"{made.id}.lambda-url.r1.localhost", "/x")
        assert owner is not None and (owner.function, owner.qualifier, owner.kind) == ("shop", "live", "url")
        assert operations.http_owner("nobody.localhost", "/") is None
        await operations.delete_url("shop", "live")
        assert operations.http_owner("x", f"/lambda-url/{made.id}") is None

    run(scenario)


def test_http_triggers_of_fc(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        trigger = await operations.trigger_create(
            "shop", "web", "http", {"authType": "anonymous", "methods": ["GET", "POST"]}, "live"
        )
        route = gateway.route("", f"{trigger.id}.r1.fcapp.localhost")
        assert (route.auth, route.methods, route.choices) == ("none", ("GET", "POST"), (("shop:1", 1.0),))
        with pytest.raises(AlreadyExists):
            await operations.trigger_create("shop", "web2", "http", {}, "live")
        closed = {"authType": "anonymous", "methods": ["GET"], "disableURLInternet": True}
        await operations.trigger_update("shop", "web", closed)
        owner = operations.http_owner("x", f"/fcapp/{trigger.id}/y")
        assert owner is not None and owner.closed and owner.route.auth == "signed"
        await operations.trigger_update("shop", "web", enabled=False)
        assert operations.http_owner("x", f"/fcapp/{trigger.id}/y") is None

    run(scenario)


GOOD_TRIGGERS: list[tuple[str, dict[str, Any], dict[str, Any]]] = [
    ("http", {}, {"authType": "function", "disableURLInternet": False}),
    ("timer", {"cronExpression": "0 0 4 * * *"}, {"payload": "", "enable": True}),
    ("timer", {"cronExpression": "CRON_TZ=Asia/Shanghai 0 0 4 1 * *", "payload": "x"}, {"payload": "x"}),
    ("oss", {"directory": "/srv/In Box/"}, {"directory": "/srv/In Box", "bucket": "in-box"}),
    (
        "s3",
        {
            "directory": "/srv/box",
            "filter": {"key": {"prefix": "in/"}},
            "events": ["s3:ObjectRemoved:Delete"],
        },
        {"filter": {"key": {"prefix": "in/", "suffix": ""}}},
    ),
]
BAD_TRIGGERS: list[tuple[str, dict[str, Any], str]] = [
    ("http", {"authType": "jwt"}, "authType"),
    ("http", {"methods": ["FETCH"]}, "methods"),
    ("http", {"disableURLInternet": "yes"}, "disableURLInternet"),
    ("timer", {}, "cronExpression"),
    ("timer", {"cronExpression": "0 4 * * *"}, "cronExpression"),
    ("timer", {"cronExpression": "@every 1x"}, "cronExpression"),
    ("timer", {"cronExpression": "CRON_TZ=Moon/Crater 0 0 4 * * *"}, "cronExpression"),
    ("timer", {"cronExpression": "@every 1m", "payload": "x" * (128 * 1024 + 1)}, "payload"),
    ("timer", {"cronExpression": "@every 1m", "enable": 1}, "enable"),
    ("oss", {}, "directory"),
    ("oss", {"directory": "box"}, "directory"),
    ("oss", {"directory": "/box", "events": ["s3:ObjectCreated:*"]}, "events"),
    ("oss", {"directory": "/box", "filter": {"key": {"prefix": 1}}}, "filter"),
    ("s3", {"directory": "/", "events": []}, "bucket"),
    ("eventbridge", {}, "kind"),
]


@pytest.mark.parametrize(("kind", "config", "shown"), GOOD_TRIGGERS)
def test_triggers_that_may_be(
    kind: str, config: dict[str, Any], shown: dict[str, Any], run: Callable[[Scenario], None]
) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        made = await operations.trigger_create("shop", "t", kind, config, "live", "why")
        assert made.config.items() >= shown.items()
        assert operations.trigger_get("shop", "t") == made and operations.triggers(kind) == [made]
        changed = await operations.trigger_update("shop", "t", description="other", qualifier="LATEST")
        assert (changed.description, changed.qualifier, changed.id) == ("other", "", made.id)
        await operations.trigger_delete("shop", "t")
        with pytest.raises(NotFound) as missing:
            operations.trigger_get("shop", "t")
        assert missing.value.kind == "trigger"

    run(scenario)


@pytest.mark.parametrize(("kind", "config", "member"), BAD_TRIGGERS)
def test_triggers_that_may_not_be(
    kind: str, config: dict[str, Any], member: str, run: Callable[[Scenario], None]
) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        with pytest.raises(Invalid) as caught:
            await operations.trigger_create("shop", "t", kind, config)
        assert caught.value.member == member and operations.trigger_list("shop")[0] == []

    run(scenario)


def test_a_function_has_fifty_triggers(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        for number in range(50):
            await operations.trigger_create("shop", f"t{number}", "timer", {"cronExpression": "@every 1h"})
        with pytest.raises(LimitExceeded):
            await operations.trigger_create("shop", "more", "timer", {"cronExpression": "@every 1h"})
        with pytest.raises(Invalid):
            await operations.trigger_create("shop", "1", "timer", {"cronExpression": "@every 1h"})

    run(scenario)


def test_domains_lead_by_exact_path_then_by_the_longest(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        await operations.create("login", CONFIGURATION, code(2))
        await operations.create("pages", CONFIGURATION, code(3))
        routes = [
            {"path": "/*", "function": "pages"},
            {"path": "/login", "function": "login", "methods": ["get"]},
            {"path": "/login/*", "function": "shop", "qualifier": "live"},
        ]
        made = await operations.domain_create("Shop.Example", "HTTP", routes)
        assert made.name == "shop.example"

        def function(path: str, method: str = "GET") -> str:
            owner = operations.http_owner("shop.example", path, method)
            return owner.function if owner is not None else ""

        paths = ("/", "/login", "/login/x", "/loginx", "/a/b")
        assert [function(path) for path in paths] == ["pages", "login", "shop", "pages", "pages"]
        assert function("/login", "POST") == "shop"
        route = gateway.route("/login", "shop.example")
        assert not route.strip and route.auth == "none"
        await operations.domain_update(
            "shop.example", routes=routes[:1], extra={"authConfig": {"authType": "function"}}
        )
        owner = operations.http_owner("shop.example", "/login")
        assert owner is not None and (owner.function, owner.auth) == ("pages", "signed")
        await operations.delete("pages")
        assert all(one.host != "shop.example" for one in gateway.table)
        await operations.domain_delete("shop.example")
        with pytest.raises(NotFound):
            operations.domain_get("shop.example")

    run(scenario)


BAD_ROUTES = [
    [{"path": "login", "function": "shop"}],
    [{"path": "/a*", "function": "shop"}],
    [{"path": "/a/*/b", "function": "shop"}],
    [{"path": "/a?b", "function": "shop"}],
    [{"path": "/a b", "function": "shop"}],
    [{"path": "/a"}],
    [{"path": "/a", "function": "shop", "methods": ["FETCH"]}],
    [{"path": "/a", "function": "shop"}, {"path": "/a", "function": "shop"}],
    [{"path": "/a", "function": "shop", "rewrite": {"equalRules": [{"match": "/a", "replacement": "/b"}]}}],
]


@pytest.mark.parametrize("routes", BAD_ROUTES)
def test_routes_that_may_not_be(routes: list[dict[str, Any]], run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        with pytest.raises(Invalid):
            await operations.domain_create("shop.example", "HTTP", routes)

    run(scenario)


def test_domains_that_may_not_be(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        route = [{"path": "/*", "function": "shop"}]
        for name, protocol in (
            ("a b", "HTTP"),
            ("-a", "HTTP"),
            ("a..b", "HTTP"),
            ("a.b", "FTP"),
            ("x" * 254, "HTTP"),
        ):
            with pytest.raises(Invalid):
                await operations.domain_create(name, protocol, route)
        with pytest.raises(NotFound):
            await operations.domain_create("a.b", "HTTP", [{"path": "/*", "function": "none"}])
        await operations.domain_create("a.b", "HTTP,HTTPS", route)
        with pytest.raises(AlreadyExists):
            await operations.domain_create("A.B", "HTTP", route)

    run(scenario)


def test_two_functions_that_are_one_host_name(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        await operations.create("SHOP", CONFIGURATION, code(2))
        assert gateway.choices("/SHOP") == {"SHOP:LATEST": 1.0} and gateway.choices("/shop") == {
            "shop:LATEST": 1.0
        }
        hosts = [one.host for one in gateway.table if one.host == "shop.localhost"]
        assert len(hosts) == 1

    run(scenario)


def test_tags_and_statements(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        await operations.tag("shop", {"a": "1", "b": "2"})
        await operations.untag("shop", ["a", "none"])
        assert operations.tags("shop") == {"b": "2"}
        with pytest.raises(Invalid):
            await operations.tag("shop", {f"t{n}": "" for n in range(51)})
        await operations.untag("shop", None)
        assert operations.tags("shop") == {}
        await operations.statement_add("function/shop", "live", "one", {"Effect": "Allow"})
        with pytest.raises(AlreadyExists):
            await operations.statement_add("function/shop", "live", "one", {})
        found, revision = operations.statement_list("function/shop", "live")
        assert [one.sid for one in found] == ["one"] and operations.statement_list("function/shop")[0] == []
        with pytest.raises(LimitExceeded):
            await operations.statement_add("function/shop", "live", "two", {"x": "y" * 21000}, revision)
        with pytest.raises(NotFound):
            await operations.statement_remove("function/shop", "live", "two")
        await operations.statement_remove("function/shop", "live", "one", revision)
        with pytest.raises(NotFound):
            await operations.statement_add("layer/none", "1", "one", {})

    run(scenario)


def test_a_directory_that_is_too_large_is_not_watched(
    run: Callable[[Scenario], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(directories, "MOST_ENTRIES", 3)
    large, small = tmp_path / "large", tmp_path / "small"
    (large / "below").mkdir(parents=True)
    small.mkdir()
    for name in ("a", "below/b", "below/c"):
        (large / name).write_text(name)

    async def scenario(operations: Operations, _gateway: FakeGateway) -> None:
        for kind in ("oss", "s3"):
            config = {"directory": str(large)}
            with pytest.raises(Invalid, match=f"^{large} holds more than 3 files and .*: watch a directory"):
                await operations.trigger_create("shop", kind, kind, config)
            await operations.trigger_create("shop", kind, kind, {"directory": str(small)})
            with pytest.raises(Invalid, match="holds more than 3"):
                await operations.trigger_update("shop", kind, config)
            await operations.trigger_update("shop", kind, {"directory": str(large / "below")})

    run(scenario)

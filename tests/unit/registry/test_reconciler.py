"""The gateway follows the registry in an order in which nothing is lost, and again when it was away."""

from __future__ import annotations

import asyncio
from pathlib import Path

from registering import CONFIGURATION, FakeGateway, code, registry
from snapfork.runner.registry.operations import Operations, Site

IMPATIENT = Site(settle=0.05)
"""A change may return before the gateway has followed it."""


async def until(condition: object) -> None:
    """Wait for something that the loop will bring about."""
    while not condition():  # type: ignore[operator]
        await asyncio.sleep(0.001)


async def two_versions(operations: Operations) -> str:
    """shop:1 and shop:2, and an alias of the first with a URL; the prefix of that."""
    await operations.create("shop", CONFIGURATION, code(1), publish=True)
    await operations.update_code("shop", code(2), publish=True)
    await operations.alias_create("shop", "live", "1")
    url = await operations.set_url("shop", "live", "NONE", create=True)
    prefix = f"/lambda-url/{url.id}"
    gateway = operations.gateway
    await until(lambda: gateway.choices(prefix) == {"shop:1": 1.0} and "shop:2" in gateway.units)
    return prefix


def test_an_alias_moves_when_the_new_version_is_up_and_not_before(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data", site=IMPATIENT) as (operations, gateway):
            prefix = await two_versions(operations)
            gateway.may_come_up.clear()
            await operations.alias_update("shop", "live", "2")
            assert operations.resolve("shop", "live").unit == "shop:2"
            assert gateway.choices(prefix) == {"shop:1": 1.0}
            await operations.set_reserved("shop", 7)  # what else a route says is not held back
            await until(lambda: gateway.route(prefix).reserved == 7)
            assert gateway.choices(prefix) == {"shop:1": 1.0}
            await operations.create("other", CONFIGURATION, code(3))  # nor are others
            await until(lambda: gateway.choices("/other") == {"other:LATEST": 1.0})
            gateway.may_come_up.set()
            await until(lambda: gateway.choices(prefix) == {"shop:2": 1.0})
            waits = [what for kind, what in gateway.log if kind == "wait"]
            assert waits == ["shop:2"]

    asyncio.run(whole())


def test_a_canary_is_up_before_it_gets_its_share(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data", site=IMPATIENT) as (operations, gateway):
            prefix = await two_versions(operations)
            gateway.may_come_up.clear()
            await operations.alias_update("shop", "live", weights={"2": 0.1})
            assert gateway.choices(prefix) == {"shop:1": 1.0}
            gateway.may_come_up.set()
            await until(lambda: gateway.choices(prefix) == {"shop:1": 0.9, "shop:2": 0.1})
            before = len(gateway.log)
            await operations.alias_update("shop", "live", weights={"2": 0.5})  # both are up: at once
            await until(lambda: gateway.choices(prefix) == {"shop:1": 0.5, "shop:2": 0.5})
            assert [kind for kind, _ in gateway.log[before:]] == ["routes"]

    asyncio.run(whole())


def test_a_version_that_does_not_come_up_gets_its_requests_all_the_same(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data") as (operations, gateway):
            prefix = await two_versions(operations)
            gateway.broken.add("shop:2")
            await operations.alias_update("shop", "live", "2")
            assert gateway.choices(prefix) == {"shop:2": 1.0}

    asyncio.run(whole())


def test_the_old_version_is_dropped_only_when_no_route_leads_there(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data", site=IMPATIENT) as (operations, gateway):
            prefix = await two_versions(operations)
            gateway.may_come_up.clear()
            await operations.alias_update("shop", "live", "2")
            await operations.delete("shop", "1")
            assert gateway.choices(prefix) == {"shop:1": 1.0} and "shop:1" in gateway.units
            gateway.may_come_up.set()
            await until(lambda: "shop:1" not in gateway.units)
            assert gateway.choices(prefix) == {"shop:2": 1.0}

    asyncio.run(whole())


def test_new_code_of_latest_is_a_reload_of_the_same_unit(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data") as (operations, gateway):
            await operations.create("shop", CONFIGURATION, code(1))
            revision = gateway.units["shop:LATEST"].revision
            before = len(gateway.log)
            await operations.update_code("shop", code(2))
            assert gateway.log[before:] == [("put", (["shop:LATEST"], []))]
            assert gateway.units["shop:LATEST"].revision != revision

    asyncio.run(whole())


def test_a_gateway_that_was_away_is_told_everything_again(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data", site=IMPATIENT) as (operations, gateway):
            await operations.create("shop", CONFIGURATION, code(1))
            await until(lambda: gateway.choices("/shop"))
            gateway.down = True
            await operations.create("other", CONFIGURATION, code(2))  # acknowledged: it is on disk
            assert operations.resolve("other").unit == "other:LATEST"
            await until(lambda: operations.reconciler.problem == "ConnectionError: The gateway is gone.")
            gateway.units, gateway.table = {}, []
            gateway.down = False
            await until(lambda: len(gateway.units) == 2 and len(gateway.table) == 4)
            await until(lambda: operations.reconciler.problem == "")
            gateway.units, gateway.table = {}, []
            await operations.resync()
            await until(lambda: len(gateway.units) == 2 and len(gateway.table) == 4)

    asyncio.run(whole())


def test_an_alias_that_moves_to_what_cannot_be_served_keeps_its_route(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data", site=IMPATIENT) as (operations, gateway):
            prefix = await two_versions(operations)
            stored = operations.packages.path(operations.package(operations.version("shop", "2").package))
        stored.unlink()
        for path in (tmp_path / "data" / "code" / stored.stem).iterdir():
            path.unlink()
        (tmp_path / "data" / "code" / stored.stem).rmdir()
        async with registry(tmp_path / "data", site=IMPATIENT) as (operations, gateway):
            await until(lambda: operations.reconciler.failed.keys() == {"shop:2", "shop:LATEST"})
            await until(lambda: gateway.choices(prefix) == {"shop:1": 1.0})
            assert "is gone" in operations.reconciler.failed["shop:2"]
            await operations.alias_update("shop", "live", "2")
            assert gateway.choices(prefix) == {"shop:1": 1.0}

    asyncio.run(whole())


def test_disabled_and_reserved_are_limits_of_every_route(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data") as (operations, gateway):
            prefix = await two_versions(operations)

            def limits() -> set[int | None]:
                return {gateway.route(one).reserved for one in ("/shop", prefix)}

            await operations.set_reserved("shop", 5)
            assert limits() == {5}
            await operations.set_disabled("shop", "a leak")
            assert limits() == {0} and operations.function("shop").disabled == "a leak"
            await operations.set_disabled("shop", None)
            await operations.set_reserved("shop", None)
            assert limits() == {None}

    asyncio.run(whole())


def test_minimums_of_the_same_unit_are_no_reload(tmp_path: Path) -> None:
    async def whole() -> None:
        from snapfork.runner.registry.model import ProvisionConfig

        async with registry(tmp_path / "data") as (operations, gateway):
            await two_versions(operations)
            before = len(gateway.log)
            await operations.set_provision(ProvisionConfig("shop", "live", 3))
            await operations.set_provision(ProvisionConfig("shop", "1", 2))
            assert gateway.log[before:] == [("provision", ("shop:1", 3))]
            await operations.alias_update("shop", "live", weights={"2": 0.5})
            assert {name: unit.minimum for name, unit in gateway.units.items()} == {
                "shop:LATEST": 0,
                "shop:1": 2,
                "shop:2": 1,
            }
            await operations.delete_provision("shop", "live")
            await operations.delete_provision("shop", "1")
            assert {unit.minimum for unit in gateway.units.values()} == {0}

    asyncio.run(whole())


def test_a_fake_gateway_is_what_operations_ask_for() -> None:
    from snapfork.runner.registry.core import Gateway

    gateway: Gateway = FakeGateway()
    assert gateway is not None


def test_a_function_without_anything_to_call_has_its_route_all_the_same(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data", site=IMPATIENT) as (operations, _):
            await two_versions(operations)
            stored = operations.packages.path(operations.package(operations.version("shop", "2").package))
        stored.unlink()
        for path in (tmp_path / "data" / "code" / stored.stem).iterdir():
            path.unlink()
        (tmp_path / "data" / "code" / stored.stem).rmdir()
        gateway = FakeGateway()
        async with registry(tmp_path / "data", gateway) as (operations, _):
            assert gateway.choices("/shop") == {}
            gateway.may_come_up.clear()  # the first request starts it: nothing is waited for
            await operations.update_code("shop", code(3))
            assert gateway.choices("/shop") == {"shop:LATEST": 1.0}

    asyncio.run(whole())

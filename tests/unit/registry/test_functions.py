"""Operations on functions, versions and aliases, on a real store, with a gateway that keeps what it hears."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from registering import CONFIGURATION, EVENT, FakeGateway, code, configured, registry, zip_of
from snapfork.runner.registry.environments import BuildFailed, Environments
from snapfork.runner.registry.errors import (
    AlreadyExists,
    BadPackage,
    Conflict,
    Invalid,
    NotFound,
    OperationError,
    PreconditionFailed,
    TooLarge,
)
from snapfork.runner.registry.model import LATEST, Hook
from snapfork.runner.registry.operations import Operations
from snapfork.runner.registry.places import places

Scenario = Callable[[Operations, FakeGateway], Awaitable[None]]


@pytest.fixture
def run(tmp_path: Path) -> Callable[[Scenario], None]:
    """Run a scenario on a fresh registry."""

    def go(scenario: Scenario) -> None:
        async def whole() -> None:
            async with registry(tmp_path / "data") as (operations, gateway):
                await scenario(operations, gateway)

        asyncio.run(whole())

    return go


def test_a_created_function_is_served_at_once_and_again_after_a_restart(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data") as (operations, gateway):
            made = await operations.create("shop", CONFIGURATION, code(1), "lambda", tags={"team": "a"})
            assert (made.version, made.state, made.update_state) == (LATEST, "active", "active")
            assert made.package == hashlib.sha256(code(1)).hexdigest() == made.serving
            assert gateway.choices("/shop") == {"shop:LATEST": 1.0}
            assert Path(gateway.units["shop:LATEST"].app_dir, "index.py").read_text().startswith("NUMBER = 1")
            unit = gateway.units["shop:LATEST"]
            assert (unit.target, unit.overrides["timeout"], unit.overrides["memory"]) == (
                "index:handler",
                3.0,
                128 << 20,
            )
        async with registry(tmp_path / "data") as (operations, again):
            assert again.units == gateway.units and again.table == gateway.table
            assert operations.tags("shop") == {"team": "a"} and operations.latest("shop") == made

    asyncio.run(whole())


def test_names_are_taken_once_and_checked(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        await operations.create("shop", CONFIGURATION, code(1))
        with pytest.raises(AlreadyExists):
            await operations.create("shop", CONFIGURATION, code(2))
        for name in ("", "a b", "a/b", "..", "ä", "a" * 65):
            with pytest.raises(Invalid) as caught:
                await operations.create(name, CONFIGURATION, code(1))
            assert caught.value.member == "name"

    run(scenario)


BAD = {
    "handler": configured(handler="a b"),
    "timeout": configured(timeout=0),
    "memory": configured(memory=8),
    "concurrency": configured(concurrency=0),
    "env": configured(env={"AWS_REGION": "x"}),
    "layers": configured(layers=("nonsense",)),
    "initializer": configured(initializer=Hook("index.init", 301)),
    "pre_stop": configured(pre_stop=Hook("index.stop", 0)),
    "settings": configured(settings={"nonesuch": 1}),
    "runtime": configured(runtime="nodejs20"),
}


@pytest.mark.parametrize("member", BAD)
def test_bad_values_are_refused_by_their_member_and_change_nothing(
    member: str, run: Callable[[Scenario], None]
) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        with pytest.raises(Invalid) as caught:
            await operations.create("shop", BAD[member], code(1))
        assert caught.value.member == member
        assert operations.list()[0] == [] and gateway.units == {}

    run(scenario)


def test_a_python_that_is_not_here_is_refused_with_those_that_are(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        with pytest.raises(
            Invalid, match=r"There is no Python 3.9 for 'python3.9' here; there are python3, python3"
        ):
            await operations.create("shop", configured(runtime="python3.9"), code(1))

    run(scenario)


def test_bad_code_is_refused(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        with pytest.raises(BadPackage):
            await operations.create("shop", CONFIGURATION, b"not a zip")
        with pytest.raises(TooLarge):
            await operations.create("shop", CONFIGURATION, b"x" * (50 * 2**20 + 1))
        assert list(operations.packages.places.packages.iterdir()) == []

    run(scenario)


def test_versions_are_numbered_immutable_and_not_made_of_nothing_new(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        await operations.create("shop", CONFIGURATION, code(1))
        one = await operations.publish("shop", "first")
        assert (one.version, one.description) == ("1", "first")
        assert await operations.publish("shop") == one
        await operations.update_configuration("shop", {"timeout": 5.0})
        two = await operations.publish("shop")
        assert (two.version, two.configuration.timeout) == ("2", 5.0)
        await operations.update_code("shop", code(3))
        three = await operations.publish("shop")
        assert operations.get("shop", "1")[1] == one
        assert {Path(gateway.units[f"shop:{n}"].app_dir).name for n in "12"} == {one.package}
        assert [one.version for one in operations.versions("shop")[0]] == [LATEST, "1", "2", "3"]
        await operations.delete("shop", "3")
        assert "shop:3" not in gateway.units
        assert (await operations.publish("shop")).version == "4"  # no number is given twice
        assert three.version == "3"

    run(scenario)


def test_publish_and_updates_are_guarded(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        made = await operations.create("shop", CONFIGURATION, code(1))
        for call in (
            operations.publish("shop", revision="other"),
            operations.publish("shop", code_sha256="0" * 64),
            operations.update_code("shop", code(2), revision="other"),
            operations.update_configuration("shop", {"timeout": 9.0}, "other"),
        ):
            with pytest.raises(PreconditionFailed):
                await call
        await operations.publish("shop", revision=made.revision, code_sha256=made.package)
        after = await operations.update_code("shop", code(2), revision=made.revision)
        assert after.revision != made.revision
        tried = await operations.update_code("shop", code(3), dry_run=True)
        assert tried.package == hashlib.sha256(code(3)).hexdigest()
        assert operations.latest("shop") == after
        with pytest.raises(Invalid):
            await operations.update_configuration("shop", {"nonesuch": 1})

    run(scenario)


def test_create_and_update_can_publish(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        assert (await operations.create("shop", CONFIGURATION, code(1), publish=True)).version == "1"
        assert (await operations.update_code("shop", code(2), publish=True)).version == "2"
        assert (await operations.update_code("shop", code(2), publish=True)).version == "2"

    run(scenario)


def test_code_and_configuration_change_in_one_step(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        await operations.create("shop", CONFIGURATION, code(1))
        before = len(gateway.log)
        await operations.update("shop", code(2), {"handler": "other.handler", "env": {"A": "b"}})
        puts = [entry for entry in gateway.log[before:] if entry[0] == "put"]
        assert len(puts) == 1
        assert gateway.units["shop:LATEST"].target == "other:handler"
        assert gateway.units["shop:LATEST"].overrides["env"] == {"A": "b"}

    run(scenario)


def test_what_does_not_concern_the_gateway_is_not_told(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        await operations.create("shop", CONFIGURATION, code(1))
        before = list(gateway.log)
        await operations.update_configuration("shop", {"description": "a shop"})
        await operations.tag("shop", {"a": "b"})
        await operations.update_code("shop", code(1))
        assert gateway.log == before

    run(scenario)


def test_deleting_a_function_takes_all_of_it_along(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        await operations.create("shop", CONFIGURATION, code(1), publish=True)
        await operations.alias_create("shop", "live", "1")
        await operations.set_url("shop", "live", "NONE", create=True)
        await operations.trigger_create("shop", "tick", "timer", {"cronExpression": "@every 5m"})
        await operations.statement_add("function/shop", "", "s", {"Effect": "Allow"})
        await operations.delete("shop")
        assert gateway.units == {} and gateway.table == []
        for call in (operations.latest, operations.list_urls, operations.trigger_list, operations.versions):
            with pytest.raises(NotFound) as caught:
                call("shop")
            assert (caught.value.kind, caught.value.name) == ("function", "shop")
        again = await operations.create("shop", CONFIGURATION, code(2), publish=True)
        assert again.version == "1" and operations.list_urls("shop")[0] == []
        assert operations.statement_list("function/shop")[0] == []

    run(scenario)


def test_a_version_in_use_stays(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        await operations.create("shop", CONFIGURATION, code(1), publish=True)
        await operations.update_code("shop", code(2), publish=True)
        await operations.alias_create("shop", "live", "1", {"2": 0.1})
        for number in ("1", "2"):
            with pytest.raises(Conflict, match="in use by alias live"):
                await operations.delete("shop", number)
        with pytest.raises(Invalid):
            await operations.delete("shop", "live")
        with pytest.raises(NotFound):
            await operations.delete("shop", "3")
        await operations.alias_update("shop", "live", weights={})
        await operations.delete("shop", "2")

    run(scenario)


def test_aliases(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        await operations.create("shop", CONFIGURATION, code(1), publish=True)
        await operations.update_code("shop", code(2), publish=True)
        live = await operations.alias_create("shop", "live", "1", description="for all")
        with pytest.raises(AlreadyExists):
            await operations.alias_create("shop", "live", "1")
        for name in ("1", "a b", "", LATEST):
            with pytest.raises(Invalid):
                await operations.alias_create("shop", name, "1")
        with pytest.raises(NotFound) as missing:
            await operations.alias_create("shop", "next", "9")
        assert missing.value.kind == "version"
        with pytest.raises(Invalid) as same:
            await operations.alias_update("shop", "live", weights={"1": 0.5})
        assert (same.value.member, same.value.kind) == ("weights", "additional_is_main")
        for weights in ({"2": 1.5}, {"2": -0.1}, {"LATEST": 0.1}, {"$LATEST": 0.1}, {"2": 0.1, "1": 0.1}):
            with pytest.raises((Invalid, NotFound)):
                await operations.alias_update("shop", "live", weights=weights)
        with pytest.raises(PreconditionFailed):
            await operations.alias_update("shop", "live", "2", revision="other")
        await operations.set_url("shop", "live", "NONE", create=True)
        after = await operations.alias_update("shop", "live", "2", {"1": 0.25}, revision=live.revision)
        assert (after.version, after.description) == ("2", "for all")
        url = operations.get_url("shop", "live")
        assert gateway.choices(f"/lambda-url/{url.id}") == {"shop:2": 0.75, "shop:1": 0.25}
        await operations.alias_create("shop", "latest", "$LATEST")
        assert [one.name for one in operations.alias_list("shop")[0]] == ["latest", "live"]
        assert [one.name for one in operations.alias_list("shop", version="1")[0]] == ["live"]
        await operations.alias_delete("shop", "live")
        with pytest.raises(NotFound):
            operations.get_url("shop", "live")

    run(scenario)


def test_an_alias_that_something_leads_to_stays(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        await operations.create("shop", CONFIGURATION, code(1), publish=True)
        await operations.alias_create("shop", "live", "1")
        await operations.trigger_create("shop", "tick", "timer", {"cronExpression": "@every 5m"}, "live")
        with pytest.raises(Conflict, match="trigger tick"):
            await operations.alias_delete("shop", "live")
        await operations.trigger_delete("shop", "tick")
        await operations.domain_create(
            "shop.example", "HTTP", [{"path": "/*", "function": "shop", "qualifier": "live"}]
        )
        with pytest.raises(Conflict, match=r"domain shop\.example"):
            await operations.alias_delete("shop", "live")

    run(scenario)


def test_resolving_draws_the_weights(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        await operations.create("shop", CONFIGURATION, code(1), publish=True)
        await operations.update_code("shop", code(2), publish=True)
        await operations.alias_create("shop", "live", "1", {"2": 0.1})
        for spelling in ("", LATEST, "$LATEST"):
            assert operations.resolve("shop", spelling).unit == "shop:LATEST"
        assert operations.resolve("shop", "2").unit == "shop:2"
        drawn = [operations.resolve("shop", "live", lambda n=n: n / 1000).unit for n in range(1000)]  # type: ignore[misc]
        assert drawn.count("shop:2") == 100
        found = operations.resolve("shop", "live", lambda: 0.5)
        assert (found.qualifier, found.alias and found.alias.name, found.version.version) == (
            "live",
            "live",
            "1",
        )
        for name, qualifier, kind in (
            ("x", "", "function"),
            ("shop", "7", "version"),
            ("shop", "x", "alias"),
        ):
            with pytest.raises(NotFound) as caught:
                operations.resolve(name, qualifier)
            assert caught.value.kind == kind
        assert operations.unit_names("shop") == ["shop:LATEST", "shop:1", "shop:2"]

    run(scenario)


def test_lists_come_in_pages(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        for number in range(5):
            await operations.create(f"shop{number}", CONFIGURATION, code(1))
        await operations.create("other", CONFIGURATION, code(1))
        seen, start = [], ""
        while True:
            found, start = operations.list("shop", start, 2)
            seen += [function.name for function, _ in found]
            if not start:
                break
            if len(seen) == 2:
                await operations.delete("shop1")  # the one that the token names
        assert seen == ["shop0", "shop1", "shop2", "shop3", "shop4"]
        assert operations.list("nothing") == ([], "")
        with pytest.raises(Invalid):
            operations.list(limit=0)

    run(scenario)


def test_subscribers_hear_after_the_change_is_there(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        heard: list[tuple[str, str, bool]] = []

        def told(kind: str, name: str) -> None:
            heard.append((kind, name, any(one.name == name for one, _ in operations.list()[0])))

        operations.subscribe(told)
        await operations.create("shop", CONFIGURATION, code(1))
        await operations.delete("shop")
        assert heard == [("function", "shop", True), ("function", "shop", False)]

    run(scenario)


def test_one_package_is_stored_once_and_goes_when_nothing_has_it(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data") as (operations, _):
            await operations.create("a", CONFIGURATION, code(1))
            await operations.create("b", CONFIGURATION, code(1))
            await operations.create("c", CONFIGURATION, operations.latest("a").package)  # by its hash
            stored = operations.packages.places.packages
            assert len(list(stored.iterdir())) == 1
            await operations.update_code("a", code(2))
            await operations.sweep()
            assert len(list(stored.iterdir())) == 2
            await operations.update_code("a", code(3))
            await operations.sweep(at_once=False)
            assert len(list(stored.iterdir())) == 3  # instances of the old code may still drain
            await operations.sweep(at_once=False)
            assert len(list(stored.iterdir())) == 2
            await operations.update_code("a", code(2))
            await operations.delete("b")
            await operations.delete("c")
        async with registry(tmp_path / "data") as (operations, _):
            where = operations.packages.places
            assert [path.stem for path in where.packages.iterdir()] == [operations.latest("a").package]
            assert [path.name for path in where.code.iterdir()] == [operations.latest("a").package]
            assert [path.name.split(".")[0] for path in (where.public / "homes").iterdir()] == ["a"]
            assert Path(operations.code("a")).read_bytes() == code(2)
            with pytest.raises(Invalid):
                await operations.create("d", CONFIGURATION, "0" * 64)

    asyncio.run(whole())


def test_code_that_was_unpacked_comes_back_from_its_zip(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data") as (operations, gateway):
            await operations.create("shop", CONFIGURATION, code(1))
        directory = Path(gateway.units["shop:LATEST"].app_dir)
        (directory / "index.py").unlink()
        directory.rmdir()
        async with registry(tmp_path / "data") as (_, again):
            assert Path(again.units["shop:LATEST"].app_dir, "index.py").exists()

    asyncio.run(whole())


def test_changes_at_the_same_time_are_all_made(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        await asyncio.gather(*(operations.create(f"f{n}", CONFIGURATION, code(n)) for n in range(20)))
        results = await asyncio.gather(
            *(operations.create("same", CONFIGURATION, code(n)) for n in range(8)), return_exceptions=True
        )
        assert sum(isinstance(one, AlreadyExists) for one in results) == 7
        published = await asyncio.gather(*(operations.publish("same") for _ in range(8)))
        assert {one.version for one in published} == {"1"}
        assert len(operations.list()[0]) == 21 and len(gateway.units) == 22

    run(scenario)


def test_a_caller_who_is_gone_leaves_memory_and_disk_alike(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data") as (operations, _):
            for number in range(30):
                task = asyncio.create_task(operations.create(f"f{number}", CONFIGURATION, code(1)))
                for _ in range(number):
                    await asyncio.sleep(0)
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
            there = [one.name for one, _ in operations.list()[0]]
        async with registry(tmp_path / "data") as (operations, _):
            assert [one.name for one, _ in operations.list()[0]] == there

    asyncio.run(whole())


def test_a_full_disk_is_one_sentence_and_changes_nothing(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        await operations.create("shop", CONFIGURATION, code(1))
        used = await operations.store.write(lambda db: db.execute("PRAGMA page_count").fetchone()[0])
        await operations.store.write(lambda db: db.execute(f"PRAGMA max_page_count={used}").fetchone())
        with pytest.raises(OperationError, match="full"):
            for number in range(200):
                before = operations.latest("shop")
                await operations.update_configuration("shop", {"extra": {"x": "y" * 1000 * number}})
        assert operations.latest("shop") == before
        await operations.store.write(lambda db: db.execute("PRAGMA max_page_count=1073741823").fetchone())
        await operations.update_configuration("shop", {"timeout": 7.0})

    run(scenario)


def test_layers_are_laid_under_the_code_and_outlive_their_deletion(tmp_path: Path) -> None:
    async def whole() -> None:
        async with registry(tmp_path / "data") as (operations, gateway):
            first = await operations.layer_publish(
                "tools", zip_of({"python/tool.py": "A = 1\n", "bin/t": "", "lib/l": ""})
            )
            second = await operations.layer_publish(
                "tools", zip_of({"python/tool.py": "A = 2\n"}), runtimes=["python3"]
            )
            more = await operations.layer_publish(
                "more", zip_of({"python/lib/python3.99/site-packages/x.py": ""})
            )
            assert (first.version, second.version, more.version) == (1, 2, 1)
            assert [one.version for one in operations.layer_versions("tools")[0]] == [2, 1]
            assert [(one.layer, one.version) for one in operations.layer_list()[0]] == [
                ("more", 1),
                ("tools", 2),
            ]
            with pytest.raises(BadPackage):
                await operations.layer_publish("tools", b"no zip")
            with pytest.raises(NotFound) as missing:
                await operations.create("shop", configured(layers=("tools:9",)), code(1))
            assert missing.value.kind == "layer"
            arns = ("arn:aws:lambda:local:0:layer:tools:1", "acs:fc:local:0:layers/more/versions/1")
            await operations.create("shop", configured(layers=arns), code(1))
            unit = gateway.units["shop:LATEST"]
            # Lambda's last layer wins, FC's first.
            assert [Path(path).name for path in unit.opt] == [more.package, first.package]
            assert [Path(path).parts[-2:] for path in unit.paths] == [
                (more.package, "python"),
                (first.package, "python"),
            ]
            assert unit.environment is not None
            assert unit.environment["PATH"].startswith(unit.paths[1].replace("python", "bin"))
            assert unit.environment["LD_LIBRARY_PATH"] == unit.paths[1].replace("python", "lib")
            await operations.create("other", configured(layers=arns, dialect="fc"), code(1))
            assert gateway.units["other:LATEST"].opt == unit.opt[::-1]
            await operations.delete("other")
            with pytest.raises(Invalid):
                await operations.create("two", configured(layers=("tools:1", "tools:2")), code(1))
            await operations.layer_delete("tools", 1)
            await operations.layer_delete("tools", 1)
            with pytest.raises(NotFound):
                await operations.create("two", configured(layers=("tools:1",)), code(1))
            await operations.update_configuration("shop", {"timeout": 9.0})
            await operations.layer_share("tools", True)
            assert operations.layer_get("tools", 2).public
        async with registry(tmp_path / "data") as (operations, again):
            assert again.units["shop:LATEST"].paths == unit.paths
            assert Path(unit.paths[1], "tool.py").read_text() == "A = 1\n"
            await operations.delete("shop")
            await operations.sweep()
            assert not Path(unit.paths[1]).exists()
            assert (await operations.layer_publish("tools", zip_of(EVENT))).version == 3

    asyncio.run(whole())


def test_the_environment_holds_nothing_of_the_runners(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_OF_THE_RUNNER", "x")

    async def scenario(operations: Operations, gateway: FakeGateway) -> None:
        for dialect, names in (
            ("lambda", {"AWS_LAMBDA_FUNCTION_NAME", "AWS_LAMBDA_FUNCTION_VERSION", "AWS_REGION", "_HANDLER"}),
            ("fc", {"FC_FUNCTION_NAME", "FC_FUNCTION_HANDLER", "FC_ACCOUNT_ID", "FC_REGION"}),
            ("runner", {"SNAPFORK_FUNCTION_NAME", "SNAPFORK_FUNCTION_VERSION"}),
        ):
            await operations.create(f"of-{dialect}", replace(CONFIGURATION, dialect=dialect), code(1))  # type: ignore[arg-type]
            environment = gateway.units[f"of-{dialect}:LATEST"].environment
            assert environment is not None
            assert {"PATH", "LANG", "TZ", "HOME", "TMPDIR"} | names <= environment.keys()
            assert "SECRET_OF_THE_RUNNER" not in environment
            home = Path(environment["HOME"])
            assert home.name.startswith(f"of-{dialect}.") and home.stat().st_mode & 0o777 == 0o700
        assert gateway.units["of-lambda:LATEST"].environment["AWS_LAMBDA_FUNCTION_VERSION"] == "$LATEST"  # type: ignore[index]

    run(scenario)


def test_who_updates_is_told_of_what_is_his(
    run: Callable[[Scenario], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(operations: Operations, _: FakeGateway) -> None:
        settle = operations.settle

        async def another_comes() -> None:
            monkeypatch.setattr(operations, "settle", settle)
            await operations.update_code("shop", code(9))
            await settle()

        monkeypatch.setattr(operations, "settle", another_comes)
        made = await operations.create("shop", CONFIGURATION, code(1))
        assert made.package == hashlib.sha256(code(1)).hexdigest()
        monkeypatch.setattr(operations, "settle", another_comes)
        made = await operations.update_code("shop", code(2))
        assert made.package == hashlib.sha256(code(2)).hexdigest()
        assert operations.latest("shop").package == hashlib.sha256(code(9)).hexdigest()

    run(scenario)


class Talkative(Environments):
    """Says a line for each of many packages, and installs none."""

    async def build(
        self, package: str, directory: Path, requirements: str, runtime: str, progress: Callable[[str], None]
    ) -> str:
        for number in range(200):
            progress(f" + thing-{number}==1.0")
        raise BuildFailed("no room")


def test_all_that_an_installer_says_is_shown(tmp_path: Path) -> None:
    async def whole() -> None:
        environments = Talkative(places(tmp_path / "data"))
        async with registry(tmp_path / "data", environments=environments) as (operations, _):
            package = zip_of({**EVENT, "requirements.txt": "things\n"})
            await operations.create("shop", CONFIGURATION, package)
            assert (await operations.wait_built("shop")).reason == "no room"
            assert len(operations.build_progress("shop")) == 200

    asyncio.run(whole())

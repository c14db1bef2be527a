"""Packages that ask for others: installed with the real uv, from wheels in a directory, without a network."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import io
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from registry_writer import CONFIGURATION, Nowhere
from snapfork.runner.processes import borrow
from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.errors import Conflict
from snapfork.runner.registry.installer import find_uv
from snapfork.runner.registry.operations import Operations, Site
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.places import places
from snapfork.runner.registry.store import Store
from snapfork.runner.units import Unit, UnitRoute

pytestmark = pytest.mark.once

HANDLER = "import thing\n\ndef handler(event, context):\n    return thing.VERSION\n"
Scenario = Callable[[Operations, "Kept"], Awaitable[None]]


class Kept(Nowhere):
    """A gateway that keeps units and routes."""

    def __init__(self) -> None:
        self.units: dict[str, Unit] = {}
        self.table: list[UnitRoute] = []

    async def put(self, units: list[Unit], drop: list[str]) -> None:  # type: ignore[override]
        self.units |= {unit.name: unit for unit in units}

    async def routes(self, routes: list[UnitRoute]) -> None:  # type: ignore[override]
        self.table = routes


def wheel(directory: Path, version: str) -> None:
    """thing-VERSION, with a module that knows its version and a script."""
    files = {
        "thing.py": f"VERSION = {version!r}\n",
        f"thing-{version}.dist-info/METADATA": f"Metadata-Version: 2.1\nName: thing\nVersion: {version}\n",
        f"thing-{version}.dist-info/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"thing-{version}.dist-info/entry_points.txt": "[console_scripts]\nthing = thing:main\n",
    }

    def line(name: str, content: str) -> str:
        digest = base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).rstrip(b"=").decode()
        return f"{name},sha256={digest},{len(content)}"

    record = f"thing-{version}.dist-info/RECORD"
    lines = "\n".join([*(line(*one) for one in files.items()), f"{record},,"])
    with zipfile.ZipFile(directory / f"thing-{version}-py3-none-any.whl", "w") as archive:
        for name, content in {**files, record: f"{lines}\n"}.items():
            archive.writestr(name, content)


def package(requirements: str, handler: str = HANDLER, name: str = "requirements.txt") -> bytes:
    raw = io.BytesIO()
    with zipfile.ZipFile(raw, "w") as archive:
        archive.writestr("index.py", handler)
        archive.writestr(name, requirements)
    return raw.getvalue()


@pytest.fixture
def wheels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """thing 1.0 and 2.0; uv sees nothing else, and keeps its cache to this test."""
    directory = tmp_path / "wheels"
    directory.mkdir()
    for version in ("1.0", "2.0"):
        wheel(directory, version)
    monkeypatch.setenv("UV_CACHE_DIR", str(tmp_path / "cache"))
    return directory


@pytest.fixture
def run(tmp_path: Path, wheels: Path) -> Callable[[Scenario], None]:
    """Run a scenario on the registry of this test; again goes on with it."""

    def go(scenario: Scenario, find: Callable[[], str] = find_uv) -> None:
        async def whole() -> None:
            where = places(tmp_path / "data")
            options = (["--no-index", "--find-links", str(wheels)], {})
            environments = Environments(where, find, lambda: options)
            store = Store(where.data)
            gateway = Kept()
            operations = Operations(store, Packages(where), environments, gateway, Site(settle=30))
            try:
                await operations.start()
                await scenario(operations, gateway)
            finally:
                await operations.close()
                store.close()

        asyncio.run(whole())

    return go


def runs(unit: Unit) -> str:
    """What the handler of a unit gives, run by its own Python with what it is lent."""
    script = f"import sys; sys.path.insert(0, {unit.app_dir!r}); import index; print(index.handler(0, 0))"
    done = subprocess.run(
        [unit.python, "-I", "-c", script], capture_output=True, text=True, env=unit.environment, check=True
    )
    return done.stdout.strip()


def made(operations: Operations) -> list[str]:
    return sorted(path.name for path in operations.packages.places.environments.iterdir())


def test_versions_of_one_app_with_different_packages_live_at_once(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: Kept) -> None:
        heard: list[str] = []
        operations.subscribe(lambda kind, name: heard.append(kind))
        first = await operations.create("shop", CONFIGURATION, package("thing<2"), publish=True)
        assert (first.version, first.state, gateway.units) == ("1", "pending", {})
        with pytest.raises(Conflict, match="in progress"):
            await operations.update_code("shop", package("thing==2.0"))
        assert (await operations.wait_built("shop", "1")).state == "active"
        assert (await operations.wait_built("shop")).state == "active"
        assert operations.build_progress("shop")[0] == "resolving requirements.txt for Python 3.11".replace(
            "3.11", f"{sys.version_info[0]}.{sys.version_info[1]}"
        )
        assert " + thing==1.0" in operations.build_progress("shop") and "progress" in heard
        after = await operations.update_code("shop", package("thing==2.0"))
        assert (after.state, after.update_state) == ("active", "pending")
        assert runs(gateway.units["shop:LATEST"]) == "1.0"  # the old one goes on
        await operations.wait_built("shop")
        said = operations.build_progress("shop")
        assert " + thing==2.0" in said and " + thing==1.0" not in said  # only what this build has said
        assert {name: runs(unit) for name, unit in gateway.units.items()} == {
            "shop:1": "1.0",
            "shop:LATEST": "2.0",
        }
        assert len(made(operations)) == 2

    run(scenario)


def test_an_environment_is_shared_by_all_that_resolve_to_the_same_and_goes_with_the_last(
    run: Callable[[Scenario], None],
) -> None:
    project = '[project]\nname = "app"\nversion = "0"\ndependencies = ["thing>=1"]\n'

    async def scenario(operations: Operations, gateway: Kept) -> None:
        asked = [package("thing"), package("# all\nthing>=2"), package(project, HANDLER, "pyproject.toml")]
        await asyncio.gather(*(operations.create(f"f{n}", CONFIGURATION, one) for n, one in enumerate(asked)))
        states = [(await operations.wait_built(f"f{n}")).state for n in range(3)]
        assert states == ["active"] * 3 and len(made(operations)) == 1
        assert len({unit.python for unit in gateway.units.values()}) == 1
        assert (await operations.create("again", CONFIGURATION, asked[0])).state == "active"  # it is there

    run(scenario)

    async def later(operations: Operations, gateway: Kept) -> None:
        assert {runs(unit) for unit in gateway.units.values()} == {"2.0"}
        for name in ("f0", "f1", "f2", "again"):
            await operations.delete(name)

    run(later)

    async def at_last(operations: Operations, gateway: Kept) -> None:
        assert made(operations) == [] and gateway.units == {}

    run(at_last)


def test_what_cannot_be_installed_is_a_failed_state_with_the_installers_words_and_the_old_version_goes_on(
    run: Callable[[Scenario], None],
) -> None:
    async def scenario(operations: Operations, gateway: Kept) -> None:
        await operations.create("shop", CONFIGURATION, package("thing==1.0"))
        await operations.wait_built("shop")
        await operations.update("shop", package("thing==9.0"), {"handler": "other.handler", "timeout": 9.0})
        failed = await operations.wait_built("shop")
        assert (failed.state, failed.update_state, failed.reason_code) == (
            "active",
            "failed",
            "EnvironmentFailed",
        )
        assert (
            failed.reason.startswith("requirements.txt cannot be resolved:\n")
            and "thing==9.0" in failed.reason
        )
        unit = gateway.units["shop:LATEST"]
        assert (runs(unit), unit.target, unit.overrides["timeout"]) == ("1.0", "index:handler", 3.0)
        with pytest.raises(Conflict, match="failed"):
            await operations.publish("shop")
        first = await operations.create("new", CONFIGURATION, package("nonesuch"))
        assert first.state == "pending"
        assert (await operations.wait_built("new")).state == "failed" and "new:LATEST" not in gateway.units

    run(scenario)

    async def later(operations: Operations, gateway: Kept) -> None:
        unit = gateway.units["shop:LATEST"]
        assert (runs(unit), unit.target) == ("1.0", "index:handler")
        await operations.update("shop", package("thing==2.0"), {"handler": "index.handler"})
        good = await operations.wait_built("shop")
        assert (good.update_state, good.reason) == ("active", "")
        assert (runs(gateway.units["shop:LATEST"]), (await operations.publish("shop")).version) == (
            "2.0",
            "1",
        )

    run(later)


def test_secrets_in_a_packages_own_index_are_not_told(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, _: Kept) -> None:
        text = "--extra-index-url https://me:s3cret@127.0.0.1:9/simple\nnonesuch==1\n"
        await operations.create("shop", CONFIGURATION, package(text))
        failed = await operations.wait_built("shop")
        assert failed.state == "failed"
        assert "s3cret" not in failed.reason + "\n".join(operations.build_progress("shop"))

    run(scenario)


def test_without_uv_it_says_what_to_install(run: Callable[..., None]) -> None:
    async def scenario(operations: Operations, _: Kept) -> None:
        await operations.create("shop", CONFIGURATION, package("thing"))
        failed = await operations.wait_built("shop")
        assert (failed.state, failed.reason_code) == ("failed", "UvMissing")
        assert failed.reason == (
            "requirements.txt asks for packages, and uv, which installs them, is not here: "
            "pip install 'snapfork[environments]'"
        )

    run(scenario, lambda: "")


def test_half_made_environments_are_never_used(run: Callable[[Scenario], None], tmp_path: Path) -> None:
    async def scenario(operations: Operations, _: Kept) -> None:
        await operations.create("shop", CONFIGURATION, package("thing==1.0"))
        while not any("installing" in line for line in operations.build_progress("shop")):
            await asyncio.sleep(0.001)
        # The runner ends here, in the middle of it.

    run(scenario)
    (tmp_path / "data" / "environments" / ".work-left" / "environment").mkdir(parents=True)

    async def later(operations: Operations, gateway: Kept) -> None:
        assert (await operations.wait_built("shop")).state == "active"
        assert runs(gateway.units["shop:LATEST"]) == "1.0"
        assert all(not name.startswith(".") for name in made(operations))

    run(later)


def test_an_environment_that_is_gone_is_made_again(run: Callable[[Scenario], None], tmp_path: Path) -> None:
    async def scenario(operations: Operations, _: Kept) -> None:
        await operations.create("shop", CONFIGURATION, package("thing==1.0"))
        await operations.wait_built("shop")

    run(scenario)
    subprocess.run(["rm", "-r", *(tmp_path / "data" / "environments").iterdir()], check=True)

    async def later(operations: Operations, gateway: Kept) -> None:
        await operations.wait_built("shop")
        assert runs(gateway.units["shop:LATEST"]) == "1.0"

    run(later)


def test_an_environment_is_lent_what_the_instance_side_needs(run: Callable[[Scenario], None]) -> None:
    async def scenario(operations: Operations, gateway: Kept) -> None:
        await operations.create("shop", CONFIGURATION, package("thing==1.0"))
        await operations.wait_built("shop")
        unit = gateway.units["shop:LATEST"]
        assert unit.borrow and any(one.startswith("snapfork=") for one in unit.borrow)
        script = (
            f"import importlib.util as u, json, sys\n"
            f"s = u.spec_from_file_location('b', {borrow.__file__!r})\n"
            "m = u.module_from_spec(s); s.loader.exec_module(m); m.install(json.loads(sys.argv[1]))\n"
            "import snapfork.runner.processes.boot, httptools, thing; print(thing.VERSION)"
        )
        command = [unit.python, "-I", "-c", script, json.dumps(unit.borrow)]
        assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "1.0\n"
        script_file = Path(unit.python).parent / "thing"
        assert os.access(script_file, os.X_OK) and ".work-" not in script_file.read_text()

    run(scenario)

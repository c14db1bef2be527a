"""A runner of root whose functions are another user's: they read their code and reach nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
from registry_writer import CONFIGURATION, Nowhere, code
from snapfork.runner.errors import UserError
from snapfork.runner.processes import as_user
from snapfork.runner.registry.environments import Environments
from snapfork.runner.registry.keys import Keys
from snapfork.runner.registry.operations import Operations
from snapfork.runner.registry.packages import Packages
from snapfork.runner.registry.places import User, places
from snapfork.runner.registry.store import Store

pytestmark = pytest.mark.once

NOBODY = User(65534, 65534)
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run functions as another user")


def as_nobody(script: str) -> str:
    """What a shell of that user says."""
    done = subprocess.run(
        ["/bin/sh", "-c", script],
        capture_output=True,
        text=True,
        user=NOBODY.uid,
        group=NOBODY.gid,
        extra_groups=[],
        cwd="/",
        env={"PATH": os.defpath},
    )
    return done.stdout + done.stderr


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A directory that everybody may pass, as /srv is."""
    path = Path(f"/tmp/snapfork-test-{os.getpid()}")
    path.mkdir(mode=0o755)
    path.chmod(0o755)
    yield path  # type: ignore[misc]
    subprocess.run(["rm", "-rf", str(path)], check=True)


@needs_root
def test_code_is_read_and_registry_keys_and_packages_are_not(site: Path) -> None:
    async def whole() -> None:
        where = places(site / "data", NOBODY)
        assert where.public == site / "data.public"
        Keys(site / "data")
        store = Store(site / "data")
        operations = Operations(store, Packages(where), Environments(where), Nowhere())
        await operations.start()
        await operations.create("shop", CONFIGURATION, code("the code"))
        await operations.create("other", CONFIGURATION, code("other code"))
        (other, shop) = operations.deduction.units()
        await operations.close()
        store.close()
        assert as_nobody(f"cat {shop.app_dir}/index.py") == "the code"
        assert shop.environment is not None and other.environment is not None
        home = shop.environment["HOME"]
        assert as_nobody(f"echo mine > {home}/x && cat {home}/x") == "mine\n"
        assert stat.S_IMODE(os.stat(home).st_mode) == 0o700
        for path in (
            site / "data",
            site / "data" / "registry.sqlite3",
            site / "data" / "keys",
            where.packages,
        ):
            assert "Permission denied" in as_nobody(f"cat {path} || ls {path}")
        for place in (shop.app_dir, where.code, where.public, where.environments):
            assert "Permission denied" in as_nobody(f"echo x > {place}/new")
        assert "Permission denied" in as_nobody(f"echo x >> {shop.app_dir}/index.py")
        assert "Permission denied" in as_nobody(f"ls {where.code}")  # nor does it find what else is deployed

    asyncio.run(whole())


@needs_root
def test_where_the_data_directory_lies_in_something_private_code_is_elsewhere(site: Path) -> None:
    private = site / "root"
    private.mkdir(mode=0o700)
    where = places(private / "data", NOBODY)
    try:
        assert where.public.parent == Path("/var/lib/snapfork")
        assert places(private / "data", NOBODY).public == where.public
    finally:
        subprocess.run(["rm", "-rf", str(where.public)], check=True)


@needs_root
def test_a_place_that_others_could_swap_is_refused(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snapfork.runner.registry import places as module

    (site / "open").mkdir()
    (site / "open").chmod(0o777)
    monkeypatch.setattr(module, "SHARED", site / "open" / "shared")
    with pytest.raises(UserError, match="no place for code that user 65534 could read"):
        places(site / "open" / "data", NOBODY)


def test_functions_of_the_runners_own_user_have_it_all_in_the_data_directory(tmp_path: Path) -> None:
    where = places(tmp_path / "data", User(os.geteuid(), os.getegid()))
    assert (where.public, where.user) == (where.data, None)
    assert {path.name for path in where.public.iterdir()} >= {"code", "environments", "homes", "packages"}


@needs_root
def test_packages_are_built_by_the_functions_user(site: Path) -> None:
    """Building one from its source runs its code."""
    source = site / "src" / "thing"
    source.mkdir(parents=True)
    (source / "pyproject.toml").write_text(
        '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
        '[project]\nname = "thing"\nversion = "1"\n'
    )
    (source / "backend.py").write_text(BACKEND)
    subprocess.run(["chmod", "-R", "a+rX", str(site / "src")], check=True)

    async def whole() -> None:
        where = places(site / "data", NOBODY)
        environments = Environments(
            where, options=lambda: (["--no-index"], {"UV_CACHE_DIR": str(site / "cache")})
        )
        (site / "cache").mkdir()
        os.chown(site / "cache", NOBODY.uid, NOBODY.gid)
        (site / "app").mkdir()
        (site / "app" / "requirements.txt").write_text(f"thing @ file://{source}\n")
        key = await environments.build("p" * 64, site / "app", "requirements.txt", "python3", lambda _: None)
        made = where.environments / key
        (built,) = made.glob("lib/python3*/site-packages/thing.py")
        assert built.read_text() == f"UID = {NOBODY.uid}\n"
        assert built.stat().st_uid == 0 and "denied" in as_nobody(f"echo >> {built}")
        program = [str(made / "bin" / "python"), "-c", "import thing; print(thing.UID)"]
        # The Python that it stands on may be where only root gets to.
        ran = as_user.command((NOBODY.uid, NOBODY.gid, "nobody"), [], program)
        done = subprocess.run(ran, capture_output=True, text=True, check=False)
        assert (done.stdout, done.stderr) == (f"{NOBODY.uid}\n", "")

    asyncio.run(whole())


BACKEND = """
import os, zipfile

def get_requires_for_build_wheel(config_settings=None):
    return []

def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    name = "thing-1-py3-none-any.whl"
    info = "thing-1.dist-info"
    with zipfile.ZipFile(os.path.join(wheel_directory, name), "w") as archive:
        archive.writestr("thing.py", f"UID = {os.getuid()}\\n")
        archive.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\\nName: thing\\nVersion: 1\\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{info}/RECORD", "")
    return name
"""


@needs_root
def test_homes_stay_where_they_are_when_a_mode_changes(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from snapfork.runner.registry import places as module

    monkeypatch.setattr(module, "SHARED", site / "shared")
    parent = site / "parent"
    parent.mkdir(mode=0o700)
    first = places(parent / "data", NOBODY)
    assert first.public.parent == site / "shared"
    parent.chmod(0o755)
    assert places(parent / "data", NOBODY).public == first.public


@needs_root
def test_a_move_is_told(
    site: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from snapfork.runner.registry import places as module

    monkeypatch.setattr(module, "SHARED", site / "shared")
    parent = site / "parent"
    parent.mkdir(mode=0o755)
    assert places(parent / "data", NOBODY).public == parent / "data.public"
    parent.chmod(0o700)
    moved = places(parent / "data", NOBODY).public
    assert f"in {moved} from now on" in capsys.readouterr().err


@needs_root
def test_what_a_data_directory_that_is_gone_has_left_is_removed(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from snapfork.runner.registry import places as module

    monkeypatch.setattr(module, "SHARED", site / "shared")
    private = site / "private"
    private.mkdir(mode=0o700)
    gone, kept, unmounted = (places(private / name, NOBODY) for name in ("gone", "kept", "unmounted"))
    unknown = site / "shared" / "unknown"
    unknown.mkdir()
    note = unmounted.public / "data_dir"
    note.write_text(note.read_text().replace('"device": ', '"device": 1'))
    for one in (gone, unmounted):
        shutil.rmtree(one.data)
    module.tidy(kept)
    left = {path for path in (site / "shared").iterdir()}
    assert left == {kept.public, unmounted.public, unknown}


@needs_root
def test_a_function_has_a_temporary_directory_of_its_own(site: Path) -> None:
    home = places(site / "data", NOBODY).home("shop", 1.0)
    assert as_nobody(f"echo x > {home}/tmp/x && cat {home}/tmp/x") == "x\n"
    assert stat.S_IMODE(os.stat(home / "tmp").st_mode) == 0o700

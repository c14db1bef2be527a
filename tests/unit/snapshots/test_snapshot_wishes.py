"""What users ask of a snapshot, and what it tells them: caches, placeholders, hooks, warnings, sizes."""

from __future__ import annotations

import datetime
import functools
import importlib.machinery
import os
import socket
import subprocess
import sys
import time
import types
import uuid
from pathlib import Path
from typing import Any

import numpy
import pytest
from holder import NAME, gave_back
from snapfork.adapter import (
    SettingError,
    SnapshotError,
    hooks,
    placeholder,
    register_reducer,
    serverless,
    snapshot,
)
from snapfork.adapter.snapshots import reducers
from snapfork.adapter.snapshots.ownership import Ownership
from snapfork.adapter.snapshots.snapshot import take


def test_a_placeholder_says_what_it_stands_for(module: types.ModuleType) -> None:
    sock = socket.socket()
    register_reducer(socket.socket, placeholder)
    try:
        back = gave_back(module, {"sock": sock})["sock"]
    finally:
        sock.close()
        del reducers._users[socket.socket]
        reducers._resolved.clear()
    assert repr(back) == "<placeholder of a socket>"
    with pytest.raises(SnapshotError, match=r"Here was a socket.*its \.sendall is asked for.*after_fork"):
        back.sendall(b"")
    assert not hasattr(back, "__len__")


def _holding(typed: bool, size: int | None) -> Any:
    @functools.lru_cache(size, typed)
    def given(*arguments: Any, **named: Any) -> Any:
        return (arguments, tuple(named.items()))

    for arguments in ((1,), (1, 2), ("a",), ((1, 2),), (), (1.0,)):
        given(*arguments)
        given(*arguments, x=1, y="z")
    return given


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("size", [None, 3, 100])
def test_what_a_cache_holds_travels_where_it_is_asked_for(
    typed: bool, size: int | None, module: types.ModuleType
) -> None:
    empty = gave_back(module, _holding(typed, size))
    assert empty.cache_info().currsize == 0
    cache = hooks.captured(_holding(typed, size))
    back = gave_back(sys.modules[NAME], cache)
    info = back.cache_info()
    assert back is not cache and info.currsize == cache.cache_info().currsize > 0
    for arguments, named in [((1.0,), {}), ((1.0,), {"x": 1, "y": "z"})]:  # which also the small one holds
        assert back(*arguments, **named) == (arguments, tuple(named.items()))
    assert back.cache_info()[:2] == (2, info.misses)
    assert back(7, 8) == ((7, 8), ()), "what it does not hold, it asks for"
    assert back.__name__ == "given"


def test_only_caches_hold_something_to_capture() -> None:
    with pytest.raises(SettingError, match=r"for functools\.lru_cache"):
        hooks.captured(len)


def test_secrets_random_values_and_times_are_named(module: types.ModuleType) -> None:
    module.STATE["deep"][0] |= {
        "api_key": "hunter2",
        "id": uuid.uuid4(),
        "made": datetime.datetime.now(datetime.UTC),
        "stamp": time.time(),
        "drawn": "a value that was drawn",
        "birthday": datetime.datetime(1970, 1, 1),
        "size": 4711.5,
        "token_count": 3,
    }
    made = take(module.app, notes={"a value that was drawn": "drawn at random (secrets.token_hex, x.py:1)"})
    at = f'{NAME}.STATE["deep"][0]'
    assert set(made.header.warnings) == {
        f'{at}["api_key"] is a secret by its name',
        f'{at}["id"] is a random id',
        f'{at}["made"] is a time of this initialisation',
        f'{at}["stamp"] is a time of this initialisation',
        f'{at}["drawn"] was drawn at random (secrets.token_hex, x.py:1)',
    }


def test_sizes_are_told_by_object(module: types.ModuleType) -> None:
    module.TABLE = numpy.zeros(1000)
    module.NAMES = ["x" * 10_000]
    sizes = snapshot(module.app).header.sizes
    assert list(sizes) == [f"{NAME}.NAMES", f"{NAME}.TABLE"]
    assert 8000 < sizes[f"{NAME}.TABLE"] < 8500


def test_hooks_are_run_around_a_snapshot(module: types.ModuleType) -> None:
    """The app here goes on: what before_snapshot has closed, after_fork opens again."""
    module.STATE["sock"] = socket.socket()
    said = []

    def close() -> None:
        module.STATE.pop("sock").close()
        said.append("closed")

    app = serverless(
        module.app, interface="wsgi", before_snapshot=close, after_fork=lambda: said.append("opened")
    )
    snapshot(app)
    assert said == ["closed", "opened"]


def test_lazy_objects_of_libraries_are_left_alone(module: types.ModuleType) -> None:
    class Lazy:
        @property
        def __class__(self) -> Any:
            raise AssertionError("asked what it stands for")

    library = types.ModuleType("lazy_library")
    library.__file__ = "/usr/lib/python3/dist-packages/lazy_library.py"
    library.settings = Lazy()  # type: ignore[attr-defined]
    sys.modules["lazy_library"] = library
    try:
        assert gave_back(module, 1) == 1
    finally:
        del sys.modules["lazy_library"]


def test_modules_of_c_code_go_by_reference(tmp_path: Path) -> None:
    compiled = types.ModuleType("compiled_for_a_test")
    compiled.__file__ = str(tmp_path / f"compiled{importlib.machinery.EXTENSION_SUFFIXES[0]}")
    sys.modules[compiled.__name__] = compiled
    try:
        rule = Ownership(str(tmp_path))
        assert not rule.is_users(compiled) and compiled.__name__ in rule.referred()
    finally:
        del sys.modules[compiled.__name__]


def test_what_is_nested_too_deeply_is_named(module: types.ModuleType) -> None:
    for _ in range(100_000):
        module.STATE = {"next": module.STATE}
    with pytest.raises(SnapshotError, match=rf"^{NAME}\.STATE leads to something that is nested too deeply"):
        snapshot(module.app)


def test_modules_that_no_import_would_find_go_by_value(module: types.ModuleType) -> None:
    made_up = types.ModuleType("made_up_for_a_test")
    made_up.VALUE = [3]  # type: ignore[attr-defined]
    sys.modules[made_up.__name__] = made_up
    try:
        back = gave_back(module, made_up)
        assert back is sys.modules[made_up.__name__] is not made_up
        assert back.VALUE == [3]
    finally:
        del sys.modules[made_up.__name__]


def test_what_an_app_sets_for_its_process_is_set_again(tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        """
import contextvars, logging, os, sys, threading, types
os.environ["SHOP_ADDED"] = "by me"
os.environ["SHOP_ADDED_TOO"] = "by me"
os.environ["SHOP_CHANGED"] += " and me"
del os.environ["SHOP_REMOVED"]
logging.addLevelName(25, "NOTICE")
logging.captureWarnings(True)

class Logger(logging.Logger):
    def notice(self):
        return self.name

logging.setLoggerClass(Logger)
log = logging.getLogger("shop.deep")
variable = contextvars.ContextVar("variable")
variable.set("set")

class Module(types.ModuleType):
    @property
    def computed(self):
        return "computed"

class Local(threading.local):
    def __init__(self, given, *, named):
        self.both = given + named

sys.modules[__name__].__class__ = Module
local = Local("a", named="b")

def of_another_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(local.both))
    thread.start()
    thread.join()
    return found[0]

def app(environ, start_response):
    return []

def tell():
    names = ("SHOP_ADDED", "SHOP_ADDED_TOO", "SHOP_CHANGED", "SHOP_REMOVED")
    levels = [logging.getLevelName(25), log.notice(), log is logging.getLogger(log.name)]
    own = [variable.get("not set"), sys.modules[__name__].computed, local.both, of_another_thread()]
    return [*map(os.environ.get, names), *levels, logging._warnings_showwarning is not None, *own]
"""
    )
    code = """
import subprocess
import sys
from snapfork.adapter import restore, snapshot
if sys.argv[1] == "make":
    sys.path.insert(0, ".")
    import shop
    made = snapshot(shop.app)
    made.write("shop.snap")
    print([one for one in made.header.warnings if "ADDED" in one])
else:
    restore("shop.snap")
    print(sys.modules["shop"].tell())
"""
    env = {
        **os.environ,
        "SHOP_CHANGED": "you",
        "SHOP_REMOVED": "x",
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
    }

    def run(mode: str, **more: str) -> str:
        command = [sys.executable, "-c", code, mode]
        return subprocess.run(
            command, cwd=tmp_path, env=env | more, check=True, stdout=subprocess.PIPE, text=True, timeout=150
        ).stdout.strip()

    assert run("make") == "[]"
    said = ["by me", "by you", "you and me", None, "NOTICE", "shop.deep", True, True]
    said += ["set", "computed", "ab", "ab"]
    assert run("back", SHOP_ADDED_TOO="by you") == str(said)

"""Loading an app in a fresh interpreter: what is found, and one sentence for each way to miss it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

LOADER = """
import json, os, sys
from snapfork.runner.processes.load import LoadError, load
order = json.loads(sys.argv[1])
try:
    loaded = load(order)
except LoadError as error:
    print("\\n" + json.dumps({"sentence": error.sentence, "traceback": error.traceback_text}))
else:
    print("\\n" + json.dumps({
        "app": repr(loaded.app), "type": type(loaded.app).__name__, "interface": loaded.interface,
        "settings": loaded.settings, "target": loaded.target, "cwd": os.getcwd(), "path": sys.path[0],
        "hooks": {name: [hook.__name__ for hook in found] for name, found in loaded.hooks.items()},
        "env": {name: value for name, value in os.environ.items() if name.startswith("SHOP_")},
        "flask": os.environ.get("FLASK_RUN_FROM_CLI"),
        "OMP": os.environ.get("OMP_NUM_THREADS"), "threads": order.get("setup", {}).get("threads"),
    }))
"""

WSGI = "def {name}(environ, start_response):\n    start_response('200 OK', [])\n    return [b'']\n"
SHOP = WSGI.format(name="app")


class Loader:
    """Writes an app's files and loads targets from them, each in a process of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def write(self, **files: str) -> Loader:
        """`shop=text` is shop.py, `pkg__wsgi=text` is pkg/wsgi.py in a package."""
        for name, text in files.items():
            path = self.directory.joinpath(*name.split("__")).with_suffix(".py")
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.parent != self.directory and "__" in name:
                path.parent.joinpath("__init__.py").touch()
            path.write_text(text)
        return self

    def load(self, target: str, overrides: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
        """What the child printed."""
        order = {"target": target, "app_dir": str(self.directory), "overrides": overrides or {}} | more
        done = subprocess.run(
            [sys.executable, "-P", "-c", LOADER, json.dumps(order)],
            capture_output=True,
            text=True,
            cwd="/",
            env=os.environ | {"OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0, done.stderr
        result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return result

    def sentence(self, target: str, overrides: dict[str, Any] | None = None, **more: Any) -> str:
        """The one sentence with which loading `target` fails."""
        result = self.load(target, overrides, **more)
        assert "sentence" in result, result
        assert "\n" not in result["sentence"] and result["sentence"].endswith((".", "?"))
        return str(result["sentence"])


@pytest.fixture
def app(tmp_path: Path) -> Loader:
    return Loader(tmp_path)


# -- what is found -------------------------------------------------------------------------------------------


def test_an_undecorated_app_with_defaults(app: Loader) -> None:
    loaded = app.write(shop=SHOP).load("shop:app")
    assert (loaded["interface"], loaded["target"]) == ("wsgi", "shop:app")
    assert loaded["settings"]["concurrency"] == 1
    assert loaded["settings"]["timeout"] == 60.0
    assert loaded["hooks"] == {"initializer": [], "before_snapshot": [], "after_fork": [], "pre_stop": []}
    assert (loaded["path"], loaded["cwd"]) == (str(app.directory), "/")


def test_asgi_has_its_own_concurrency(app: Loader) -> None:
    loaded = app.write(shop="async def app(scope, receive, send): ...\n").load("shop:app")
    assert (loaded["interface"], loaded["settings"]["concurrency"]) == ("asgi", 32)


def test_decorated_settings_below_overrides(app: Loader) -> None:
    app.write(
        shop="from snapfork.adapter import serverless\n"
        "def connect(): ...\n"
        "@serverless(timeout=5, spares=3, after_fork=connect)\n" + SHOP
    )
    loaded = app.load("shop:app", {"timeout": 7.0, "concurrency": 2})
    chosen = loaded["settings"]
    assert (chosen["timeout"], chosen["spares"], chosen["concurrency"]) == (7.0, 3, 2)
    assert loaded["hooks"]["after_fork"] == ["connect"]


@pytest.mark.parametrize(
    ("code", "found"),
    [
        (WSGI.format(name="app") + WSGI.format(name="application"), "shop:application"),
        (WSGI.format(name="app") + "def create_app(): raise SystemExit\n", "shop:app"),
        (WSGI.format(name="inner") + "def create_app(): return inner\n", "shop:create_app"),
        (WSGI.format(name="inner") + "app = None\ndef make_app(): return inner\n", "shop:make_app"),
    ],
)
def test_a_bare_module(app: Loader, code: str, found: str) -> None:
    assert app.write(shop=code).load("shop")["target"] == found


@pytest.mark.parametrize(
    ("target", "shown"),
    [
        ("shop:create_app", "None"),
        ("shop:create_app()", "None"),
        ("shop:create_app('live', debug=True)", "('live', True)"),
        ("shop:Shop", "default"),
        ("shop:Shop('x')", "x"),
        ("shop:made.inner", "inner"),
        ("shop:made.build", "built"),
    ],
)
def test_factories_classes_and_dotted_names(app: Loader, target: str, shown: str) -> None:
    app.write(
        shop="""
class Shop:
    def __init__(self, name="default"): self.name = name
    def __repr__(self): return str(self.name)
    def __call__(self, environ, start_response): ...
    def build(self): return Shop("built")
def create_app(mode=None, *, debug=False): return Shop((mode, debug) if mode else None)
made = Shop()
made.inner = Shop("inner")
"""
    )
    loaded = app.load(target)
    assert (loaded["app"], loaded["type"], loaded["target"]) == (shown, "Shop", target)


def test_a_factory_is_called_once(app: Loader) -> None:
    app.write(
        shop="from snapfork.adapter import serverless\n"
        "import os\n"
        "@serverless\n"
        "def create_app():\n"
        "    os.environ['SHOP_CALLS'] = os.environ.get('SHOP_CALLS', '') + 'x'\n"
        "    return app\n"
        "def app(environ, start_response): ...\n"
    )
    assert app.load("shop:create_app")["env"] == {"SHOP_CALLS": "x"}


def test_a_module_in_a_package_with_relative_imports(app: Loader) -> None:
    app.write(site__wsgi="from .parts import app as application\n", site__parts=SHOP)
    # "site" is a module of Python, imported before any user code.
    assert "give yours another name" in app.sentence("site.wsgi")
    app.write(mysite__wsgi="from .parts import app as application\n", mysite__parts=SHOP)
    assert app.load("mysite.wsgi")["target"] == "mysite.wsgi:application"


def test_env_of_overrides_is_set_before_the_import_that_of_the_decorator_after_it(app: Loader) -> None:
    app.write(
        shop="import os\n"
        "from snapfork.adapter import serverless\n"
        "os.environ['SHOP_SEEN'] = os.environ.get('SHOP_A', '')\n"
        "os.environ['SHOP_B'] = 'changed by the app'\n"
        "@serverless(env={'SHOP_A': 'decorator', 'SHOP_C': 'c'})\n" + SHOP
    )
    loaded = app.load("shop:app", {"env": {"SHOP_A": "flag", "SHOP_B": "flag"}})
    assert loaded["env"] == {
        "SHOP_SEEN": "flag",
        "SHOP_A": "flag",
        "SHOP_B": "changed by the app",
        "SHOP_C": "c",
    }


def test_thread_numbers_stay_at_one_until_the_fork(app: Loader) -> None:
    app.write(
        shop="from snapfork.adapter import serverless\n@serverless(env={'OMP_NUM_THREADS': '4'})\n" + SHOP
    )
    loaded = app.load("shop:app", setup={"threads": {"OMP_NUM_THREADS": None}})
    assert (loaded["OMP"], loaded["threads"]) == ("1", {"OMP_NUM_THREADS": "4"})


def test_the_apps_own_runner_and_adapter_modules(app: Loader) -> None:
    app.write(
        runner="mine = 1\n",
        adapter__parts="mine = 2\n",
        shop="import runner, adapter.parts\nassert runner.mine + adapter.parts.mine == 3\n" + SHOP,
    )
    assert app.load("shop:app")["interface"] == "wsgi"


def test_a_flask_app_that_would_serve_at_import(app: Loader) -> None:
    app.write(shop="from flask import Flask\napp = Flask(__name__)\napp.run(port=0)\n")
    loaded = app.load("shop:app")
    assert (loaded["type"], loaded["flask"]) == ("Flask", None)


def test_a_django_project(app: Loader) -> None:
    app.write(
        mysite__settings="SECRET_KEY = 's'\nROOT_URLCONF = 'mysite.urls'\nALLOWED_HOSTS = ['*']\n",
        mysite__urls="urlpatterns = []\n",
        mysite__wsgi="import os\n"
        "from django.core.wsgi import get_wsgi_application\n"
        "os.environ.setdefault('DJANGO_SETTINGS_MODULE', 'mysite.settings')\n"
        "application = get_wsgi_application()\n",
    )
    loaded = app.load("mysite.wsgi:application")
    assert (loaded["type"], loaded["interface"]) == ("WSGIHandler", "wsgi")


# -- what is missed ------------------------------------------------------------------------------------------


def test_targets_that_are_none(app: Loader) -> None:
    app.write(shop=SHOP)
    assert "type shop:app" in app.sentence("shop.py:app")
    assert "--app-dir src shop" in app.sentence("src/shop.py")
    assert "MODULE:ATTRIBUTE" in app.sentence("shop-1:app")
    assert "plain values" in app.sentence("shop:create_app(os.environ)")
    assert "plain values" in app.sentence("shop:app[0]")


def test_a_missing_module(app: Loader) -> None:
    app.write(shop=SHOP, pkg__wsgi=SHOP)
    assert "did you mean 'shop'?" in app.sentence("shopp:app")
    assert "There are pkg, shop." in app.sentence("zzz:app")
    assert "There are wsgi." in app.sentence("pkg.zzz:app")
    assert "is not a directory" in app.sentence("shop:app", app_dir=str(app.directory / "nowhere"))


def test_a_module_in_another_directory(app: Loader, tmp_path: Path) -> None:
    source = Loader(tmp_path / "src").write(shop=SHOP)
    assert f"type --app-dir {tmp_path / 'src'}" in app.sentence("shop:app")
    above = Loader(tmp_path / "src" / "deep")
    above.directory.mkdir()
    assert f"type --app-dir {source.directory}" in above.sentence("shop:app")


def test_a_missing_dependency_names_it_the_line_and_the_interpreter(app: Loader) -> None:
    app.write(shop="import os\nimport no_such_thing.part\n", web="import shop\n")
    sentence = app.sentence("web:app")
    assert "web could not be imported: it needs 'no_such_thing'" in sentence
    assert sys.executable in sentence and "(shop.py, line 2)" in sentence
    assert "'pkg.zzz', which does not exist" in app.write(pkg__a="", x="import pkg.zzz\n").sentence("x")


def test_a_module_that_imports_itself_missing_is_not_a_missing_target(app: Loader) -> None:
    result = app.write(shop="import importlib\nimportlib.import_module('shop.part')\n").load("shop:app")
    assert "shop could not be imported" in result["sentence"]


def test_a_traceback_is_the_users_part_of_it(app: Loader) -> None:
    app.write(shop="import parts\n", parts="def run():\n    return 1 / 0\nrun()\n")
    result = app.load("shop:app")
    assert result["sentence"] == (
        "shop could not be imported: ZeroDivisionError: division by zero (parts.py, line 2)."
    )
    assert "parts.py" in result["traceback"] and "shop.py" in result["traceback"]
    assert "importlib" not in result["traceback"] and "load.py" not in result["traceback"]
    assert result["traceback"].startswith("Traceback")


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("import sys\nsys.exit(3)\n", "sys.exit(3) (shop.py, line 2)"),
        ("raise KeyboardInterrupt\n", "KeyboardInterrupt (shop.py, line 1)"),
        ("class Odd(BaseException): ...\nraise Odd('a\\nb')\n", "Odd: a (shop.py, line 2)"),
        ("def app(:\n", "(shop.py, line 1)"),
        ("from .models import x\n", "put '"),
        ("from os import nothing\n", "ImportError: cannot import name 'nothing'"),
        ("raise ExceptionGroup('several', [ValueError('a')])\n", "ExceptionGroup: several"),
        (
            "from snapfork.adapter import serverless\n\n@serverless(timeot=5)\n" + SHOP,
            "shop.py, line 3: @serverless: There is no setting or hook 'timeot': did you mean 'timeout'?",
        ),
    ],
)
def test_what_user_code_raises_at_import(app: Loader, code: str, says: str) -> None:
    assert says in app.write(shop=code).sentence("shop:app")


def test_a_near_miss_lists_what_the_module_holds(app: Loader) -> None:
    app.write(
        shop="from flask import Flask, request, redirect\n"
        "from pathlib import Path\n"
        "api = Flask(__name__)\n"
        "def build(): return api\n"
        "class Cart: ...\n"
        "db = object()\n"
    )
    sentence = app.sentence("shop")
    assert "none of application, app, create_app and make_app" in sentence
    assert "it holds api (a WSGI app), build (a function), Cart (a class). Type shop:api." in sentence
    assert "Type shop:build." in app.sentence("shop:buidl")
    assert "(shop.py)" in sentence and "redirect" not in sentence and "Path" not in sentence


def test_an_empty_module_and_a_package(app: Loader) -> None:
    app.write(shop="", pkg__wsgi=SHOP)
    assert app.sentence("shop").endswith("create_app and make_app.")
    assert "Did you mean pkg.wsgi?" in app.sentence("pkg")
    assert "Type pkg.wsgi:ATTRIBUTE" in app.sentence("pkg:wsgi")


@pytest.mark.parametrize(
    ("code", "target", "says"),
    [
        ("app = 3\n", "shop:app", "3 is neither an app nor"),
        ("import os\n", "shop:os", "is a module"),
        (SHOP, "shop:app()", "is an app, not a factory: type shop:app without '()'"),
        (SHOP, "shop:app.inner", "app has no attribute 'inner'"),
        ("def create_app(): ...\n", "shop:create_app", "shop:create_app() returned None"),
        ("def create_app(): return 'x'\n", "shop:create_app", "'x' is not an app"),
        ("async def create_app(): ...\n", "shop:create_app", "async factory"),
        ("async def create_app(): ...\n", "shop:create_app()", "is async"),
        ("def create_app(config): ...\n", "shop:create_app", "missing a required argument: 'config'"),
        ("def create_app(): ...\n", "shop:create_app(1)", "too many positional arguments"),
        ("def create_app(): return 1 / 0\n", "shop:create_app", "create_app() failed: ZeroDivisionError"),
        ("def create_app(): raise SystemExit('no config')\n", "shop:create_app", "sys.exit('no config')"),
        ("def create_app(): import zzz\n", "shop:create_app", "it needs 'zzz'"),
        ("def app(*args): ...\n", "shop:app", "interface='wsgi'"),
        ("def app(scope): ...\n", "shop:app", "ASGI 2"),
        ("app = 3\n", "shop:app()", "cannot be called; it is 3"),
        ("def __getattr__(name): raise OSError('dead')\n", "shop:app", "could not be read: OSError: dead"),
    ],
)
def test_what_is_no_app(app: Loader, code: str, target: str, says: str) -> None:
    assert says in app.write(shop=code).sentence(target)


def test_settings_that_contradict_each_other_across_layers(app: Loader) -> None:
    app.write(shop="from snapfork.adapter import serverless\n@serverless(max_instances=2)\n" + SHOP)
    assert "shop:app: min_instances is 5" in app.sentence("shop:app", {"min_instances": 5})

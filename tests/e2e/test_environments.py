"""Apps whose names or environments could meet the runner's own."""

from __future__ import annotations

import subprocess
import sys
import venv
from pathlib import Path

from server import Serve

APPS = Path(__file__).resolve().parents[1] / "apps"
OLDER = ["starlette==0.37.2", "click==8.1.3"]
APP = """
import importlib.metadata, importlib.util, json, sys
import click, starlette
from starlette.applications import Starlette
from starlette.responses import JSONResponse
from starlette.routing import Route

async def versions(request):
    found = importlib.metadata.version
    return JSONResponse({
        "starlette": found("starlette"), "click": found("click"), "prefix": sys.prefix,
        "files": [starlette.__file__, click.__file__],
        "typer": importlib.util.find_spec("typer") is not None,
    })

app = Starlette(routes=[Route("/", versions)])
"""


def test_an_app_with_a_runner_and_an_adapter_of_its_own() -> None:
    with Serve("main:app", app_dir=APPS / "clash") as server:
        assert server.get("/").text == "the app's own runner, the app's own adapter"
    with Serve("main:app", "--app-dir", ".", cwd=APPS / "clash") as server:
        assert server.get("/").text == "the app's own runner, the app's own adapter"


def test_an_app_in_an_environment_of_its_own(tmp_path: Path) -> None:
    """Without snapfork, with older packages than the runner's: it gets its own."""
    environment = tmp_path / ".venv"
    venv.create(environment, with_pip=False)
    install = [sys.executable, "-m", "pip", "--python", str(environment / "bin" / "python"), "install", "-q"]
    subprocess.run([*install, *OLDER], check=True)
    (tmp_path / "versions.py").write_text(APP)
    with Serve("versions:app", app_dir=tmp_path, python=None) as server:
        assert any(".venv beside the app" in line for line in server.output)
        seen = server.get("/").json()
        assert [f"starlette=={seen['starlette']}", f"click=={seen['click']}"] == OLDER
        assert seen["prefix"] == str(environment)
        assert all(file.startswith(str(environment)) for file in seen["files"])
        assert not seen["typer"]
        assert server.function()["mode"] == "fork"

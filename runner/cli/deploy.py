"""`runner deploy`: a directory, a file, a zip or a snapshot becomes a function."""

from __future__ import annotations

import json
import re
import tempfile
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from snapfork.runner.cli import flags
from snapfork.runner.cli.functions import show_addresses
from snapfork.runner.cli.overrides import function_overrides
from snapfork.runner.cli.remote import Json, Remote, Url, connect, show_json
from snapfork.runner.console import print_user_error, size_text
from snapfork.runner.errors import UserError

POLL_S = 0.2
FAILED = 1
"""Exit status when the code does not start, or cannot be installed."""
CODE = "The code"
MODULES = ("app", "main", "wsgi", "asgi", "application", "index", "lambda_function", "handler")
"""Where a function's app or handler usually is, in this order."""
HANDLERS = {"index": "index.handler", "lambda_function": "lambda_function.lambda_handler"}
MARKS = re.compile(r"^(?:async )?def (?:handler|lambda_handler|main)\(", re.MULTILINE)


@dataclass
class Parcel:
    """What is sent: the package's bytes, and what was found out about it."""

    package: bytes
    name: str
    handler: str
    files: int


@flags.with_settings
def deploy(
    path: Annotated[
        str,
        typer.Argument(
            metavar="PATH", help="A directory, a .py file, a .zip, or a .snap of `runner snapshot`."
        ),
    ] = ".",
    name: Annotated[
        str | None,
        typer.Option(
            metavar="NAME", show_default=False, help="The function (default: the directory's name)."
        ),
    ] = None,
    handler: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            show_default=False,
            help="module:attr of a web app, or of a handler(event, context) (default: what is found).",
        ),
    ] = None,
    runtime: Annotated[
        str | None,
        typer.Option(
            metavar="RUNTIME", show_default=False, help="python3.11 or the like (default: python3)."
        ),
    ] = None,
    layer: Annotated[
        list[str] | None,
        typer.Option(metavar="ARN", show_default=False, help="A layer version under the code. Repeatable."),
    ] = None,
    description: Annotated[str | None, typer.Option(metavar="TEXT", show_default=False)] = None,
    tag: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", show_default=False, help="Of a new function. Repeatable."),
    ] = None,
    publish: Annotated[bool, typer.Option("--publish", help="Also freeze it as the next version.")] = False,
    alias: Annotated[
        str | None,
        typer.Option(
            metavar="ALIAS", show_default=False, help="Publish, and move this alias to the version."
        ),
    ] = None,
    wait: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long to wait until it is installed and started.")
    ] = 600.0,
    url: Url = None,
    as_json: Json = False,
    **settings: Any,
) -> None:
    """Upload code as a function, new or changed, to a runner that serves what is deployed (`runner serve`).

    A requirements.txt or pyproject.toml in it is installed there, in an environment of its own. Requests
    under way are finished by the code before, which goes on should the new one not start: the exit code is
    1 then.

    Settings of [tool.snapfork] in the directory's pyproject.toml hold where no option is given. Of
    @serverless(...), all but the timeout: that is stored with the function.

    [bold]Examples[/bold]

      runner deploy

      runner deploy ./shop --name shop --handler shop:app --alias live

      runner deploy thumbnail.py --timeout 20 --memory 512MB --env QUALITY=80

      runner deploy shop.snap
    """
    parcel = pack(Path(path), name, handler)
    chosen = flags.overrides(settings)
    if Path(path).is_dir():
        chosen = function_overrides(path, parcel.name, chosen)
    configuration = _configuration(parcel, runtime, layer, description, chosen)
    about = {
        "configuration": configuration,
        "tags": dict(_pair(one) for one in tag or ()),
    }
    remote = connect(url)
    if not as_json:
        typer.echo(
            f"{parcel.name}: sending {parcel.files} file{'s' if parcel.files != 1 else ''}, "
            f"{size_text(len(parcel.package))}, as {parcel.handler or 'a snapshot'}"
        )
    body = _body(about, parcel.package)
    made = remote.call(
        "POST", "functions", parcel.name, body=body, content_type="application/octet-stream"
    ).json()
    made["version"] = _wait(remote, parcel.name, made["version"], wait, quiet=as_json)
    made["alias"] = None
    if publish or alias is not None:  # only now: nobody is to be sent to what does not start
        revision = json.dumps({"revision": made["version"]["revision"]}).encode()
        published = remote.call("POST", "functions", parcel.name, "versions", body=revision).json()
        made["version"] = _wait(remote, parcel.name, published, wait, quiet=True)
    if alias is not None:
        body = json.dumps({"version": made["version"]["version"]}).encode()
        made["alias"] = remote.call("PUT", "functions", parcel.name, "aliases", alias, body=body).json()
    if as_json:
        show_json(made)
        return
    _report(remote, parcel.name, made)


def pack(path: Path, name: str | None, handler: str | None) -> Parcel:
    """The package of what lies at `path`. Raises UserError."""
    path = path.expanduser()
    chosen = name or _name_of(path)
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_-]{0,63}", chosen):
        raise UserError(
            f"'{chosen}' is no name for a function: at most 64 letters, digits, - and _, a letter first.",
            "Name it: --name shop",
        )
    if not path.exists():
        raise UserError(f"{path}: there is no such file or directory.")
    if path.suffix in (".zip", ".snap"):
        if path.suffix == ".zip" and not handler:
            handler = _found_in(_modules(path), None, path)
        return Parcel(path.read_bytes(), chosen, handler or "", 1)
    if not handler:
        modules = [path.stem] if path.is_file() else [one.stem for one in path.glob("*.py")]
        handler = _found_in(modules, path, path)
    package, files = _zipped(path)
    return Parcel(package, chosen, handler, files)


def _modules(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return [one.removesuffix(".py") for one in archive.namelist() if one.endswith(".py")]
    except (zipfile.BadZipFile, OSError):
        raise UserError(f"{path} is not a zip that can be read.") from None


def _zipped(path: Path) -> tuple[bytes, int]:
    from snapfork.runner.registry.bundles import bundle

    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory) / "package.zip"
        files = bundle(path, output)
        return output.read_bytes(), files


def _name_of(path: Path) -> str:
    resolved = path.resolve()
    return resolved.stem if resolved.is_file() or path.suffix in (".zip", ".snap") else resolved.name


def _found_in(modules: list[str], directory: Path | None, path: Path) -> str:
    """The target to serve, by the usual names of modules."""
    if directory is not None and directory.is_dir():
        from snapfork.runner.cli import django_project

        project = django_project.find(str(directory))
        if project:
            return project
    known = [one for one in MODULES if one in modules]
    found = known[0] if known else modules[0] if len(modules) == 1 else ""
    if not found:
        raise UserError(
            f"{path} has none of {', '.join(one + '.py' for one in MODULES[:4])}: what is its app?",
            "Say it: --handler module:attribute",
        )
    if directory is None:
        return HANDLERS.get(found, found)
    file = directory if directory.is_file() else directory / f"{found}.py"
    handlers = MARKS.findall(file.read_text("utf-8", "replace"))
    if handlers:
        name = handlers[0].removeprefix("async ").removeprefix("def ").removesuffix("(")
        return f"{found}:{name}"
    return found


def _configuration(
    parcel: Parcel,
    runtime: str | None,
    layers: list[str] | None,
    description: str | None,
    typed: dict[str, Any],
) -> dict[str, Any]:
    given: dict[str, Any] = {"handler": parcel.handler} if parcel.handler else {}
    for member, value in (("runtime", runtime), ("layers", layers), ("description", description)):
        if value is not None:
            given[member] = value
    for member in ("timeout", "concurrency", "env"):
        if member in typed:
            given[member] = typed.pop(member)
    if "memory" in typed:
        size = typed["memory"]
        given["memory"] = None if size is None else max(1, size >> 20)
        if size is not None:  # "off" overrules what the app itself says
            del typed["memory"]
    if typed:
        given["settings"] = typed
    return given


def _body(about: dict[str, Any], package: bytes) -> bytes:
    from snapfork.runner.faces.native import pack_deploy

    return pack_deploy(about, package)


def _wait(remote: Remote, name: str, version: dict[str, Any], limit: float, *, quiet: bool) -> dict[str, Any]:
    """The version when nothing of it is pending; the installer's lines are shown as they come."""
    deadline = time.monotonic() + limit
    number, revision = version["version"], version["revision"]
    shown = 0
    while "pending" in (version["state"], version["update_state"]):
        if time.monotonic() > deadline:
            raise UserError(
                f"{name}: it is still being installed and started after {limit:g} s; that goes on there."
            )
        time.sleep(POLL_S)
        version = remote.call("GET", "functions", name, query={"qualifier": number}).json()["version"]
        if version["revision"] != revision:
            raise UserError(f"{name}: another deployment has taken the place of this one.")
        lines = remote.call("GET", "functions", name, "progress").json()["lines"]
        if not quiet:
            for line in lines[shown:]:
                typer.echo(f"  {line}")
        shown = len(lines)
    if "failed" in (version["state"], version["update_state"]):
        before = "\nThe code before goes on." if version["state"] == "active" else ""
        print_user_error(f"{name}: {version['reason'] or 'it could not be installed'}{before}")
        raise typer.Exit(FAILED)
    return version


def _report(remote: Remote, name: str, made: dict[str, Any]) -> None:
    version = made["version"]
    what = "created" if made["created"] else "updated"
    typer.echo(f"{name}: {what}, version {version['version']}")
    if made.get("alias"):
        typer.echo(f"{name}: alias {made['alias']['name']} is version {made['alias']['version']}")
    show_addresses(name, remote.call("GET", "functions", name, "addresses").json(), "  ")
    typer.echo(f"call it: runner invoke {name} '{{}}'")


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--tag {text}: a name, '=' and a value are needed.")
    return name, value

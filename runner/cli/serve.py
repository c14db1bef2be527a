"""`runner serve`: from what was typed to a ServeConfig, and on to the gateway."""

from __future__ import annotations

import ipaddress
import os
import socket
from typing import Annotated, Any

import typer

from snapfork.runner import interpreter, runtime_dir
from snapfork.runner.cli import django_project, flags, listeners, targets
from snapfork.runner.console import Console
from snapfork.runner.errors import UserError
from snapfork.runner.serve_config import FunctionConfig, ServeConfig
from snapfork.runner.version import version

NETWORK = "Where it listens"
TRUSTED = ["127.0.0.1", "::1", "unix"]
TLS = (
    "TLS ends in a proxy in front of the runner: nginx, Caddy or a load balancer holds the certificate.",
    "Let it forward to http://127.0.0.1:8000 and send X-Forwarded-Proto; see the nginx block in the README.",
)


@flags.with_settings
def serve(
    target: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TARGET...",
            show_default=False,
            help="module:attr, module:factory(), a bare module, or NAME=module:attr.",
        ),
    ] = None,
    app_dir: Annotated[str, typer.Option(metavar="DIR", help="Where the app's modules are.")] = ".",
    mount: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PLACE=FUNCTION",
            show_default=False,
            help="A function's place: /prefix=TARGET, host=TARGET or host/prefix=NAME. Repeatable.",
        ),
    ] = None,
    python: Annotated[
        str | None,
        typer.Option(
            metavar="PYTHON",
            show_default=False,
            help="The app's interpreter or virtual environment. Else VIRTUAL_ENV, .venv beside the app, our own.",
        ),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Swap in a new template when files change.")
    ] = False,
    reload_dir: Annotated[
        list[str] | None,
        typer.Option(
            metavar="DIR", show_default=False, help="What --reload watches (default: --app-dir). Repeatable."
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(metavar="ADDRESS", rich_help_panel=NETWORK, help="0.0.0.0 lets other machines in.")
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(metavar="PORT", rich_help_panel=NETWORK, help="0 takes a free one.")
    ] = 8000,
    uds: Annotated[
        str | None,
        typer.Option(
            metavar="PATH",
            rich_help_panel=NETWORK,
            show_default=False,
            help="A Unix socket instead of a port.",
        ),
    ] = None,
    trusted_proxies: Annotated[
        str,
        typer.Option(
            metavar="LIST",
            rich_help_panel=NETWORK,
            help="Peers whose X-Forwarded-* count: addresses, networks, 'unix', '*'.",
        ),
    ] = ",".join(TRUSTED),
    control: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT|off",
            rich_help_panel=NETWORK,
            help="TCP address of /status, /metrics and /healthz; loopback only.",
        ),
    ] = "127.0.0.1:0",
    certfile: Annotated[str | None, typer.Option(hidden=True)] = None,
    keyfile: Annotated[str | None, typer.Option(hidden=True)] = None,
    access_log: Annotated[
        bool, typer.Option("--access-log/--no-access-log", help="One line per request.")
    ] = True,
    json_log: Annotated[
        bool, typer.Option("--json-log", help="Everything as JSON, one object a line.")
    ] = False,
    **settings: Any,
) -> None:
    """Serve a WSGI or ASGI app from instances forked out of a warmed template.

    [bold]Examples[/bold]

      runner serve shop:app

      runner serve --app-dir src 'shop:create_app()' --port 0 --reload

      runner serve shop:app --mount /blog=blog:application --mount api.example.com=api:app

      runner serve                     beside a manage.py: that Django project
    """
    if certfile or keyfile:
        raise UserError(*TLS)
    console = Console(json=json_log)
    overrides = flags.overrides(settings)
    directory = existing_directory("--app-dir", app_dir)
    chosen = targets.resolve(target or default_target(directory, mount or [], console), mount or [])
    reload_dirs = [existing_directory("--reload-dir", entry) for entry in reload_dir or []] or [directory]
    proxies = check_proxies(trusted_proxies)
    control_address = check_control(control)
    python_choice = interpreter.choose(directory, python, console.info)
    functions = [
        FunctionConfig(
            name=entry.name,
            target=entry.target,
            app_dir=directory,
            prefixes=entry.prefixes,
            overrides=function_overrides(directory, entry.name, overrides),
            interpreter=python_choice,
        )
        for entry in chosen
    ]
    sockets, urls = listeners.open_listeners(host, port, uds)
    config = ServeConfig(
        functions=functions,
        listeners=sockets,
        urls=urls,
        reload=reload,
        reload_dirs=reload_dirs,
        trusted_proxies=proxies,
        access_log=("json" if json_log else "text") if access_log else "off",
        control=control_address,
        version=version(),
        runtime_dir=runtime_dir.create(
            {
                "version": version(),
                "urls": urls,
                "functions": {f.name: f.target for f in functions},
            }
        ),
    )
    raise typer.Exit(run(config, console))


def run(config: ServeConfig, console: Console) -> int:
    """Run the gateway and clean up after it; the exit code."""
    from snapfork.runner.gateway.main import run as run_gateway  # late: uvloop is not for `--help`

    try:
        return run_gateway(config, console)
    finally:
        runtime_dir.remove(config.runtime_dir)
        for sock in config.listeners:
            _forget(sock)
        console.flush()


def _forget(sock: socket.socket) -> None:
    """Remove a Unix socket's file unless a later server has put its own there."""
    if sock.fileno() < 0 or sock.family != socket.AF_UNIX:
        return
    path = sock.getsockname()
    sock.close()
    if not isinstance(path, str) or not path.startswith("/"):
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        if probe.connect_ex(path) != 0 and os.path.exists(path):
            os.unlink(path)


def default_target(directory: str, mounts: list[str], console: Console) -> list[str]:
    """What to serve when no target was typed. Raises UserError when nothing suggests itself."""
    if mounts:
        return []
    found = django_project.find(directory)
    if found:
        console.info(f"no target was given; found manage.py: serving this Django project ({found})")
        return [found]
    if os.path.exists(os.path.join(directory, "manage.py")):
        raise UserError(
            f"manage.py in {directory} names no settings with an application beside them.",
            "Name the application: runner serve mysite.wsgi:application",
        )
    raise UserError(
        "What shall be served? No target was given, and there is no manage.py here.", targets.TEACH
    )


def existing_directory(option: str, path: str) -> str:
    """The absolute path of a directory. Raises UserError."""
    absolute = os.path.abspath(os.path.expanduser(path))
    if os.path.isdir(absolute):
        return absolute
    if os.path.exists(absolute):
        raise UserError(f"{option} {path}: is a file, not a directory.")
    raise UserError(f"{option} {path}: no such directory.", f"It would be {absolute}.")


def function_overrides(app_dir: str, name: str, typed: dict[str, Any]) -> dict[str, Any]:
    """The settings of pyproject.toml with those of the command line on top. Raises UserError."""
    from snapfork.adapter.settings import SettingError
    from snapfork.runner import config

    try:
        return config.overrides(app_dir, name, typed)
    except SettingError as error:
        raise UserError(str(error)) from None


def check_proxies(text: str) -> list[str]:
    """A comma-separated list of addresses, networks, "unix" and "*". Raises UserError."""
    proxies = [part.strip() for part in text.split(",") if part.strip()]
    for proxy in proxies:
        if proxy in ("unix", "*"):
            continue
        try:
            ipaddress.ip_network(proxy, strict=False)
        except ValueError:
            raise UserError(
                f"--trusted-proxies: '{proxy}' is not an address or network.",
                "For example: --trusted-proxies 127.0.0.1,10.0.0.0/8,unix",
            ) from None
    return proxies


def check_control(text: str) -> tuple[str, int] | None:
    """HOST:PORT on loopback, or None for "off". Raises UserError; tries the address once."""
    if text == "off":
        return None
    host, colon, digits = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]").lower()
    if not colon or not digits.isdigit() or int(digits) > 65535:
        raise UserError(
            f"--control {text}: HOST:PORT or off is needed.", "For example: --control 127.0.0.1:9100"
        )
    address = "127.0.0.1" if host == "localhost" else host
    try:
        loopback = ipaddress.ip_address(address).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise UserError(
            f"--control {text}: the control address must be on loopback, as it answers everybody who reaches it.",
            "Use 127.0.0.1:PORT, and a proxy with authentication or an SSH tunnel for other machines.",
        )
    _try_bind(text, address, int(digits))
    return address, int(digits)


def _try_bind(text: str, host: str, port: int) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((host, port))
        except OSError as error:
            raise UserError(
                f"--control {text}: {error.strerror}.", "Use --control 127.0.0.1:0 for any free port, or off."
            ) from None

"""`runner serve`: from what was typed to a ServeConfig, and on to the gateway."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer
from snapfork.runner import interpreter, runtime_dir
from snapfork.runner.cli import checks, deployment, flags, listeners, targets
from snapfork.runner.cli.overrides import function_overrides, warn_of_strangers
from snapfork.runner.console import Console
from snapfork.runner.kept.store import default_directory
from snapfork.runner.serve_config import FunctionConfig, ServeConfig
from snapfork.runner.version import version

NETWORK = "Where it listens"
DEPLOYED = "Deployed functions (without a target)"
TRUSTED = ["127.0.0.1", "::1", "unix"]


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
    app_dir: Annotated[
        str | None, typer.Option(metavar="DIR", show_default=".", help="Where the app's modules are.")
    ] = None,
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
            help="The app's interpreter or environment. Else VIRTUAL_ENV, .venv beside the app, our own.",
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
    snapshot: Annotated[
        bool,
        typer.Option(
            "--snapshot/--no-snapshot",
            help="Keep a snapshot of the initialised app, and start from it while nothing has changed.",
        ),
    ] = True,
    data_dir: Annotated[
        str | None,
        typer.Option(
            metavar="DIR",
            show_default="~/.local/share/snapfork",
            help="Where snapshots, and what is deployed, are kept.",
        ),
    ] = None,
    host: Annotated[
        str | None,
        typer.Option(
            metavar="ADDRESS",
            rich_help_panel=NETWORK,
            show_default=listeners.HOST,
            help="0.0.0.0 lets other machines in.",
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            metavar="PORT",
            rich_help_panel=NETWORK,
            show_default=str(listeners.PORT),
            help="0 takes a free one.",
        ),
    ] = None,
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
        str | None,
        typer.Option(
            metavar="HOST:PORT|off",
            rich_help_panel=NETWORK,
            show_default="127.0.0.1, any port; 9000 without a target",
            help="TCP address of /status, /metrics, /healthz and the APIs; loopback only.",
        ),
    ] = None,
    control_auth: Annotated[
        str,
        typer.Option(
            metavar="keys|none",
            rich_help_panel=DEPLOYED,
            help="none: whoever reaches the control address may do everything; to emulate a cloud in tests.",
        ),
    ] = "keys",
    user: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=DEPLOYED,
            show_default="nobody, where the runner is started as root",
            help="Whom deployed functions run as.",
        ),
    ] = None,
    template_memory: Annotated[
        str | None,
        typer.Option(
            metavar="SIZE",
            rich_help_panel=DEPLOYED,
            show_default="a quarter of the machine's",
            help="Memory that templates may take; those that nobody has called for longest go first.",
        ),
    ] = None,
    region: Annotated[
        str,
        typer.Option(metavar="NAME", rich_help_panel=DEPLOYED, help="As functions and ARNs show it."),
    ] = "us-east-1",
    account: Annotated[
        str,
        typer.Option(metavar="NUMBER", rich_help_panel=DEPLOYED, help="As functions and ARNs show it."),
    ] = "000000000000",
    access_log: Annotated[
        bool, typer.Option("--access-log/--no-access-log", help="One line per request.")
    ] = True,
    json_log: Annotated[
        bool, typer.Option("--json-log", help="Everything as JSON, one object a line.")
    ] = False,
    **settings: Any,
) -> None:
    """Serve a WSGI or ASGI app from instances forked out of a warmed template; without one, what is deployed.

    [bold]Examples[/bold]

      runner serve shop:app

      runner serve --app-dir src 'shop:create_app()' --port 0 --reload

      runner serve shop:app --mount /blog=blog:application --mount api.example.com=api:app

      runner serve index:handler   (a handler of Lambda or FC: POST /invoke calls it with the body)

      runner serve   (beside a manage.py: that Django project; else the functions of `runner deploy`)
    """
    console = Console(json=json_log)
    overrides = flags.overrides(settings)
    directory = checks.app_directory(app_dir, needed=bool(target or mount))
    words = target or checks.default_target(directory, mount or [], console)
    deployed = not words and not mount
    chosen = [] if deployed else targets.resolve(words, mount or [])
    apart = deployment.check(deployed, control_auth, user, template_memory, region, account)
    reload_dirs = [checks.existing_directory("--reload-dir", entry) for entry in reload_dir or []] or [
        directory
    ]
    proxies = checks.check_proxies(trusted_proxies)
    control_address = checks.check_control(control or (deployment.CONTROL if deployed else "127.0.0.1:0"))
    sockets, urls = listeners.open_listeners(host, port, uds)
    own_file = listeners.own_file(sockets, uds)
    try:
        functions = configure(chosen, directory, python, overrides, console) if chosen else []
        data = os.path.abspath(data_dir or default_directory())
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
                note(urls, functions) | {"deployed": deployed, "data_dir": data, "region": region}
            ),
            data_dir=data,
            keeps_snapshots=snapshot,
            deployed=deployed,
            **apart,
        )
        if deployed:
            deployment.tell(config, console)
            config.lesson = deployment.lesson(config)
        raise typer.Exit(run(config, console))
    finally:
        if own_file:
            listeners.remove_file(own_file)


def configure(
    chosen: list[targets.Target],
    app_dir: str,
    python: str | None,
    overrides: dict[str, Any],
    console: Console,
) -> list[FunctionConfig]:
    """The functions with their interpreter and settings. Raises UserError."""
    settings = {entry.name: function_overrides(app_dir, entry.name, overrides) for entry in chosen}
    warn_of_strangers(app_dir, list(settings), console.warn)
    choice = interpreter.choose(app_dir, python, console.info)
    return [
        FunctionConfig(entry.name, entry.target, app_dir, settings[entry.name], entry.prefixes, choice)
        for entry in chosen
    ]


def note(urls: list[str], functions: list[FunctionConfig]) -> dict[str, Any]:
    """What a runner leaves in its directory for `runner ps`."""
    return {"version": version(), "urls": urls, "functions": {one.name: one.target for one in functions}}


def run(config: ServeConfig, console: Console) -> int:
    """Run the gateway and clean up after it; the exit code."""
    from snapfork.runner.gateway.main import run as run_gateway  # late: uvloop is not for `--help`

    try:
        return run_gateway(config, console)
    finally:
        runtime_dir.remove(config.runtime_dir)
        console.flush()

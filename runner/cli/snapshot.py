"""`runner snapshot`: an initialised app into a file, compared with the live one before it is offered."""

from __future__ import annotations

import os
import sys
import time
from typing import Annotated, Any

import typer
from snapfork.adapter.snapshots.likeness import all_differences
from snapfork.runner.cli import flags
from snapfork.runner.cli.examination import Broken, Report, config_of, run
from snapfork.runner.console import Console, ms_text, print_user_error, size_text
from snapfork.runner.errors import UserError
from snapfork.runner.serve_config import FunctionConfig

_MOST_SHOWN = 10


@flags.with_settings
def snapshot(
    target: Annotated[
        str | None,
        typer.Argument(metavar="[TARGET]", show_default=False, help="The app, as for `runner serve`."),
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "-o", "--output", metavar="FILE", show_default=False, help="Where to (default: NAME.snap here)."
        ),
    ] = None,
    app_dir: Annotated[str, typer.Option(metavar="DIR", help="Where the app's modules are.")] = ".",
    python: Annotated[
        str | None,
        typer.Option(metavar="PYTHON", show_default=False, help="The app's interpreter or environment."),
    ] = None,
    by_value: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE", show_default=False, help="Put this module or package into the file. Repeatable."
        ),
    ] = None,
    by_reference: Annotated[
        list[str] | None,
        typer.Option(
            metavar="MODULE", show_default=False, help="Import this one where it is restored. Repeatable."
        ),
    ] = None,
    **settings: Any,
) -> None:
    """Start an app once and keep what it is then in a file, from which `runner serve FILE` goes on.

    The app is imported and initialised; its own modules, with everything they hold, go into the file, and
    packages are named with their versions. Before the file is offered, it is restored in a fresh process,
    and both answer the app's warm-up requests. The file is signed with your key (`runner key`).

    [bold]Examples[/bold]

      runner snapshot shop:app -o shop.snap

      runner serve shop.snap

      runner inspect shop.snap
    """
    console = Console(fd=2)
    config = config_of(target, app_dir, python, settings, console)
    path = os.path.abspath(output or f"{config.name}.snap")
    if not path.endswith(".snap"):
        raise UserError(f"--output {output}: a snapshot's name ends in .snap.", f"Type: -o {output}.snap")
    draft = f"{path.removesuffix('.snap')}.{os.getpid()}.snap"
    try:
        _make(config, path, draft, {"by_value": by_value or [], "by_reference": by_reference or []}, console)
    except Broken as broken:
        if broken.traceback:
            sys.stderr.write(broken.traceback.rstrip() + "\n")
        print_user_error(broken.sentence)
        raise typer.Exit(2) from None
    finally:
        if os.path.exists(draft):
            os.unlink(draft)


def _make(config: FunctionConfig, path: str, draft: str, wish: dict[str, Any], console: Console) -> None:
    console.info(f"{config.name}: starting the app with {config.interpreter.path}")
    live = run(config, {"capture": wish | {"output": draft}}, _report(config))["done"]
    captured = live["captured"]
    console.info(
        f"{config.name}: ready in {ms_text(live['ready_ms'])}, captured in {ms_text(captured['ms'])}"
    )
    begun = time.perf_counter()
    restored = run(config, {"capture": {}}, _report(config), draft)["done"]
    if found := all_differences(live["answers"], restored["answers"][0]):
        more = f" and {len(found) - _MOST_SHOWN} more" if len(found) > _MOST_SHOWN else ""
        raise Broken(
            "The restored app does not answer as the live one does, so no snapshot is kept: "
            f"{'; '.join(found[:_MOST_SHOWN])}{more}.",
            None,
        )
    os.replace(draft, path)
    took = (time.perf_counter() - begun) * 1000
    count = len(restored["answers"][0])
    requests = "one request" if count == 1 else f"{count} requests"
    console.info(
        f"{config.name}: restored in {ms_text(restored['ready_ms'])}, and {requests} compared, "
        f"in a fresh process ({ms_text(took)} in all)"
    )
    if captured["needs"]:
        console.warn(
            f"{config.name}: these modules are not in the file and must be there when it is restored: "
            f"{', '.join(captured['needs'])}."
        )
    for one in captured["warnings"]:
        console.warn(f"{config.name}: captured: {one}")
    inside = f"{len(captured['modules'])} modules inside"
    typer.echo(f"{path}: {size_text(captured['bytes'])}, {inside}; serve it: runner serve {path}")


def _report(config: FunctionConfig) -> Report:
    return Report(config.name, config.target, config.interpreter.path)

"""One command-line flag per setting, made from the adapter's own table of settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer

from snapfork.adapter import settings
from snapfork.runner.errors import UserError

LISTS = {"warmup", "env"}
PANEL = "Settings (also in @serverless(...) and \\[tool.snapfork]; the command line wins)"


def with_settings(command: Callable[..., None]) -> Callable[..., None]:
    """Replace `command`'s last parameter, `**flags`, by an option for each setting."""
    signature = inspect.signature(command, eval_str=True)
    fixed = [p for p in signature.parameters.values() if p.kind is not inspect.Parameter.VAR_KEYWORD]
    extra = [_parameter(setting) for setting in settings.SETTINGS]
    command.__signature__ = signature.replace(parameters=fixed + extra)  # type: ignore[attr-defined]
    return command


def overrides(flags: dict[str, Any]) -> dict[str, Any]:
    """The settings among `flags` that were typed, parsed. Raises UserError naming the flag."""
    chosen: dict[str, Any] = {}
    for name, raw in flags.items():
        if raw is None or raw == []:
            continue
        try:
            chosen[name] = settings.parse(name, _shape(name, raw))
        except settings.SettingError as error:
            raise UserError(f"{flag(name)}: {error}") from None
    return chosen


def flag(name: str) -> str:
    """The flag of a setting: "idle_timeout" -> "--idle-timeout"."""
    return "--" + name.replace("_", "-")


def _parameter(setting: Any) -> inspect.Parameter:
    many = setting.name in LISTS
    option = typer.Option(
        flag(setting.name),
        help=_help(setting),
        rich_help_panel=PANEL,
        metavar=_metavar(setting.name),
        show_default=False,
    )
    annotation: Any = Annotated[list[str] | None, option] if many else Annotated[str | None, option]
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _help(setting: Any) -> str:
    if setting.name == "warmup":
        return f"{setting.help} Repeatable; 'none' for none."
    if setting.name == "env":
        return f"{setting.help} Repeatable."
    return str(setting.help)


def _metavar(name: str) -> str:
    return {
        "env": "NAME=VALUE",
        "warmup": "PATH",
        "lifespan": "MODE",
        "memory": "SIZE",
        "max_body": "SIZE",
    }.get(name, "VALUE")


def _shape(name: str, raw: Any) -> Any:
    if name == "env":
        return dict(_pair(text) for text in raw)
    if name == "warmup":
        return [] if raw == ["none"] else list(raw)
    return raw


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--env {text}: a name, '=' and a value are needed.", "For example: --env DEBUG=1")
    return name, value

"""One command-line flag per setting, made from the adapter's own table of settings."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Annotated, Any

import typer
from snapfork.adapter import settings
from snapfork.runner.errors import UserError

REPEATED = {"warmup": " Repeatable; 'none' for none.", "env": " Repeatable."}
METAVARS = {
    "count": "NUMBER",
    "seconds": "SECONDS",
    "size": "SIZE",
    "warmup": "PATH",
    "lifespan": "WHERE",
    "env": "NAME=VALUE",
}
PANEL = "Settings, also in @serverless(...) and \\[tool.snapfork]"


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
            raise UserError(flag(name) + str(error).removeprefix(name)) from None
    return chosen


def flag(name: str) -> str:
    """The flag of a setting: "idle_timeout" -> "--idle-timeout"."""
    return "--" + name.replace("_", "-")


def _parameter(setting: settings.Setting) -> inspect.Parameter:
    option = typer.Option(
        flag(setting.name),
        help=setting.help + _default_text(setting) + REPEATED.get(setting.name, ""),
        rich_help_panel=PANEL,
        metavar=METAVARS[setting.kind],
        show_default=False,
    )
    kind: Any = list[str] if setting.name in REPEATED else str
    annotation: Any = Annotated[kind | None, option]
    return inspect.Parameter(
        setting.name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation
    )


def _default_text(setting: settings.Setting) -> str:
    if "(default:" in setting.help or isinstance(setting.default, (list, dict)):
        return ""
    if setting.kind == "size":
        return f" (default: {setting.default // 1024}KB)"
    return (
        f" (default: {setting.default:g})" if setting.kind != "lifespan" else f" (default: {setting.default})"
    )


def _shape(name: str, raw: Any) -> Any:
    if name == "env":
        return dict(_pair(text) for text in raw)
    if name == "warmup":
        return [] if raw in (["none"], ["[]"]) else list(raw)
    return raw


def _pair(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise UserError(f"--env {text}: a name, '=' and a value are needed.", "For example: --env DEBUG=1")
    return name, value

"""From what was typed to a list of functions: names, targets and where each is mounted."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field

from snapfork.runner.errors import UserError
from snapfork.runner.processes import target as grammar

NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,63}")
TARGET = re.compile(r"(?P<module>[^\W\d]\w*(\.[^\W\d]\w*)*)(:(?P<attr>[^\W\d]\w*(\.[^\W\d]\w*)*)(\(.*\))?)?")
HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:.]+\]")
DULL = {"wsgi", "asgi", "main", "app", "application", "server", "web"}
TEACH = "Type MODULE:ATTRIBUTE, for example: runner serve shop:app"


@dataclass
class Target:
    """One function as typed: its name, its "module:attr" and its mounts (empty: not mounted by hand)."""

    name: str
    target: str
    named: bool
    prefixes: list[tuple[str | None, str]] = field(default_factory=list)


def parse_target(text: str) -> Target:
    """`NAME=module:attr`, `module:attr`, `module:factory("x")` or `module`. Raises UserError."""
    name, equals, target = text.partition("=")
    if not equals or "(" in name:  # the "=" of an argument names nothing
        name, target = "", text
    elif not NAME.fullmatch(name):
        raise UserError(
            f"'{name}' cannot name a function: letters, digits, '_' and '-', not starting with a digit.",
            f"For example: runner serve shop={target or 'shop:app'}",
        )
    if grammar.is_snapshot(target):
        shown = name or derive_name(_identifier(os.path.basename(target)))
        return Target(shown, _existing(target), bool(name))
    match = TARGET.fullmatch(target)
    if match is None or match["module"].endswith(".py"):
        raise _not_a_target(target)
    try:
        grammar.parse(target)
    except grammar.TargetError as error:
        raise UserError(str(error), TEACH) from None
    return Target(name or derive_name(match["module"]), target, bool(name))


def _existing(path: str) -> str:
    if not os.path.isfile(path):
        raise UserError(f"There is no snapshot {path}.", "Make one: runner snapshot shop:app -o shop.snap")
    return os.path.abspath(path)


def _identifier(file: str) -> str:
    return re.sub(r"\W", "_", file.removesuffix(grammar.SNAPSHOT))


def derive_name(module: str) -> str:
    """A function's name from its module: "shop" -> "shop", "mysite.wsgi" -> "mysite", "a.b" -> "b"."""
    parts = [part for part in module.split(".") if NAME.fullmatch(part)]
    while len(parts) > 1 and parts[-1] in DULL:
        parts.pop()
    return parts[-1][:64] if parts else "app"


def parse_mount(text: str) -> tuple[str | None, str, str]:
    """`/prefix=X`, `host=X` or `host/prefix=X` as (host or None, prefix without its last "/", X).

    X is the name of a function or a target. Raises UserError.
    """
    place, equals, what = text.partition("=")
    if not equals or not place or not what:
        raise UserError(
            f"--mount {text}: a place, '=' and a function are needed.",
            "For example: --mount /blog=blog:application or --mount api.example.com=api:app",
        )
    host, slash, rest = place.partition("/")
    prefix = (slash + rest).rstrip("/")
    if any(mark in prefix for mark in "?# %") or "//" in prefix:
        raise UserError(f"--mount {text}: '{prefix}' is not a plain path such as /blog.")
    host = re.sub(r":\d+$", "", host.lower())
    if host and not HOST.fullmatch(host):
        raise UserError(
            f"--mount {text}: '{host}' is not a host name; a prefix starts with '/'.",
            f"For example: --mount /{place.strip('/')}={what}",
        )
    return host or None, prefix, what


def resolve(targets: list[str], mounts: list[str]) -> list[Target]:
    """All functions with their mounts; a single one without a mount takes the whole listener.

    Raises UserError for wrong or doubled names, places and mounts, and when two functions want everything.
    """
    functions: list[Target] = []
    for text in targets:
        _add(functions, parse_target(text))
    taken: dict[tuple[str | None, str], str] = {}
    for text in mounts:
        host, prefix, what = parse_mount(text)
        function = next((f for f in functions if f.name == what or (not f.named and f.target == what)), None)
        if function is None:
            function = _add(functions, parse_target(what))
        if (host, prefix) in taken:
            place = f"{host or ''}{prefix or '/'}"
            raise UserError(f"{place} is mounted twice: {taken[host, prefix]} and {function.name}.")
        taken[host, prefix] = function.name
        function.prefixes.append((host, prefix))
    _whole_listener(functions, taken)
    return functions


def _whole_listener(functions: list[Target], taken: dict[tuple[str | None, str], str]) -> None:
    loose = [function for function in functions if not function.prefixes]
    if len(loose) > 1 or (loose and (None, "") in taken):
        names = [function.name for function in loose]
        raise UserError(
            f"{' and '.join(names + ([taken[None, '']] if (None, '') in taken else []))} "
            "all want the whole listener: say where each belongs.",
            f"For example: --mount /{names[-1]}={names[-1]}",
        )
    for function in loose:
        function.prefixes.append((None, ""))


def _add(functions: list[Target], new: Target) -> Target:
    names = {function.name for function in functions}
    if new.name in names and not new.named and ":" in new.target:
        attribute = new.target.partition(":")[2].partition("(")[0].replace(".", "-")
        new.name = f"{new.name}-{attribute}"
    if new.name in names:
        raise UserError(
            f"Two functions would be called '{new.name}': give one of them another name.",
            f"For example: {new.name}2={new.target}",
        )
    functions.append(new)
    return new


def _not_a_target(text: str) -> UserError:
    path, _, attr = text.partition(":")
    if path.endswith(".py"):
        directory, _, file = path.rpartition("/")
        app_dir = f"--app-dir {directory} " if directory else ""
        tail = f":{attr}" if attr else ""
        return UserError(
            f"'{path}' is a file; a target names a module.",
            f"Type: runner serve {app_dir}{file.removesuffix('.py')}{tail}",
        )
    if "/" in text:
        hint = "Use --app-dir DIRECTORY MODULE:ATTRIBUTE."
        return UserError(f"'{text}' is a path; a target names a module.", hint)
    return UserError(f"'{text}' is not a target.", TEACH)

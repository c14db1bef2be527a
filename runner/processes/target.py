"""The grammar of targets: `module`, `module:attr.attr`, `module:factory()`, `module:factory("text", x=1)`."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from typing import Any

SNAPSHOT = ".snap"


class TargetError(ValueError):
    """A target that cannot be read; the message is one sentence for the user."""


@dataclass
class Target:
    """A target's parts. attr: dotted, "" for a bare module. called: whether it had parentheses."""

    module: str
    attr: str = ""
    called: bool = False
    args: list[Any] = field(default_factory=list)
    kwargs: dict[str, Any] = field(default_factory=dict)
    call_text: str = ""

    def __str__(self) -> str:
        return f"{self.module}:{self.attr}{self.call_text}" if self.attr else self.module


def is_snapshot(text: str) -> bool:
    """Whether a target is the file of a snapshot, and not something to import."""
    return text.endswith(SNAPSHOT)


def parse(text: str) -> Target:
    """The parts of `text`. Raises TargetError."""
    module, colon, expression = text.strip().partition(":")
    if module.endswith(".py") or "/" in module:
        raise TargetError(_file_sentence(module, expression))
    if not module or not all(part.isidentifier() for part in module.split(".")):
        raise TargetError(f"'{text}' is not a target: write MODULE:ATTRIBUTE, such as shop:app.")
    if not colon:
        return Target(module)
    try:
        node = ast.parse(expression.strip(), mode="eval").body
        if not isinstance(node, ast.Call):
            return Target(module, _dotted(node))
        return Target(
            module,
            _dotted(node.func),
            True,
            [ast.literal_eval(argument) for argument in node.args],
            {_keyword(keyword): ast.literal_eval(keyword.value) for keyword in node.keywords},
            "(" + ", ".join(ast.unparse(part) for part in (*node.args, *node.keywords)) + ")",
        )
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        raise TargetError(
            f"'{text}' is not a target: after ':' comes a name, such as shop:app, or a call with plain "
            "values, such as shop:create_app('production')."
        ) from None


def _dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    raise ValueError("not a name")


def _keyword(keyword: ast.keyword) -> str:
    if keyword.arg is None:
        raise ValueError("** has no plain value")
    return keyword.arg


def _file_sentence(path: str, expression: str) -> str:
    directory, _, file = path.rpartition("/")
    typed = file.removesuffix(".py") + (f":{expression}" if expression else "")
    place = f"--app-dir {directory} " if directory else ""
    return f"'{path}' names a file, and a target a module: type {place}{typed}."

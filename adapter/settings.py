"""The settings of a function: one table behind the decorator, pyproject.toml and the command line.

A layer is a dict of some settings. Values are parsed one by one (`parse`), layers are put on top of each
other (`resolve`); both say what is wrong in one sentence, as a SettingError. Parsed values are plain data
(JSON), and parsing a parsed value changes nothing.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

KB = 1024
SIZES = {"": 1, "b": 1, "kb": KB, "kib": KB, "mb": KB**2, "mib": KB**2, "gb": KB**3, "gib": KB**3}
SECONDS = {"": 1.0, "s": 1.0, "ms": 0.001, "m": 60.0, "h": 3600.0}
OFF = ("off", "none")
LIFESPANS = ("auto", "template", "instance", "off")
WARMUP_KEYS = ("method", "path", "headers", "body")
LARGEST = 2**53  # every whole number up to here survives JSON and float


class SettingError(ValueError):
    """A wrong name or value; the message is one sentence for the user."""


class Setting:
    """One setting: its name, default, kind (a key of PARSERS), one line of help, and bounds.

    low, high: of counts, sizes (bytes) and durations (seconds). optional: None ("off") is a value.
    above: the value must be greater than `low`, not equal.
    """

    __slots__ = ("above", "default", "help", "high", "kind", "low", "name", "optional")

    def __init__(
        self,
        name: str,
        default: Any,
        kind: str,
        help: str,
        *,
        low: int = 0,
        high: int = LARGEST,
        optional: bool = False,
        above: bool = False,
    ) -> None:
        self.name = name
        self.default = default
        self.kind = kind
        self.help = help
        self.low = low
        self.high = high
        self.optional = optional
        self.above = above


SETTINGS: tuple[Setting, ...] = (
    Setting(
        "concurrency",
        None,
        "count",
        "Requests that one instance serves at a time (default: 1 for WSGI, 32 for ASGI).",
        low=1,
        optional=True,
    ),
    Setting(
        "timeout", 60.0, "seconds", "Seconds from a complete head to the first response byte.", above=True
    ),
    Setting(
        "memory",
        None,
        "size",
        "Resident memory of one instance, such as 512MB; above it the instance is replaced (default: off).",
        low=KB**2,
        optional=True,
    ),
    Setting("min_instances", 0, "count", "Instances kept whatever the load, busy ones included."),
    Setting(
        "max_instances",
        None,
        "count",
        "Most instances at a time (default: 4 times the cores for WSGI, the cores for ASGI).",
        low=1,
        optional=True,
    ),
    Setting("spares", 1, "count", "Started instances kept waiting for the next request."),
    Setting("idle_timeout", 60.0, "seconds", "Seconds without a request after which an instance leaves."),
    Setting(
        "max_requests",
        None,
        "count",
        "Requests after which an instance is replaced; 1 is a fresh process per request (default: off).",
        low=1,
        optional=True,
    ),
    Setting("queue_size", 1000, "count", "Requests that may wait for an instance; the next gets 429."),
    Setting("queue_timeout", 30.0, "seconds", "Seconds that a request may wait for an instance, then 429."),
    Setting(
        "max_body",
        None,
        "size",
        "Largest request body, such as 10MB; above it 413 (default: off).",
        optional=True,
    ),
    Setting("head_size", 64 * KB, "size", "Largest request head; above it 431.", low=KB, high=128 * KB),
    Setting("head_timeout", 10.0, "seconds", "Seconds that a request head may take, then 408.", above=True),
    Setting(
        "drain_timeout", 30.0, "seconds", "Seconds that a replaced version may take to finish its requests."
    ),
    Setting(
        "warmup",
        [{"method": "GET", "path": "/"}],
        "warmup",
        "Request made once in the template before the first fork (default: GET /).",
    ),
    Setting(
        "lifespan",
        "auto",
        "lifespan",
        "Where ASGI start-up code runs: auto, template (once), instance (in each) or off.",
    ),
    Setting("env", {}, "env", "Environment variable of this function."),
)
BY_NAME = {setting.name: setting for setting in SETTINGS}


def parse(name: str, value: Any) -> Any:
    """The value of setting `name` in its plain form.

    Raises SettingError for an unknown name or a value that the setting cannot take.
    """
    setting = BY_NAME.get(name)
    if setting is None:
        raise SettingError(unknown(name, list(BY_NAME), "setting"))
    if setting.optional and (value is None or (isinstance(value, str) and value.strip().lower() in OFF)):
        return None
    return PARSERS[setting.kind](setting, value)


def parse_all(layer: Mapping[str, Any]) -> dict[str, Any]:
    """`layer` with every value parsed. Raises SettingError."""
    return {name: parse(name, value) for name, value in layer.items()}


def merge(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """The layers' settings, parsed; later layers win, variable by variable in `env`. Raises SettingError."""
    merged: dict[str, Any] = {}
    for layer in layers:
        parsed = parse_all(layer)
        if "env" in parsed:
            parsed["env"] = {**merged.get("env", {}), **parsed["env"]}
        merged.update(parsed)
    return merged


def resolve(*layers: Mapping[str, Any]) -> dict[str, Any]:
    """Every setting: the layers on top of the defaults, later layers win. Raises SettingError."""
    defaults = {setting.name: setting.default for setting in SETTINGS}
    resolved = merge(defaults, *layers)
    most = resolved["max_instances"]
    if most is not None and resolved["min_instances"] > most:
        raise SettingError(
            f"min_instances is {resolved['min_instances']} and max_instances {most}: "
            "the least cannot be more than the most."
        )
    return resolved


def unknown(name: object, known: list[str], what: str) -> str:
    """The sentence for a name that does not exist, with the one that was probably meant."""
    from difflib import get_close_matches  # late: only mistakes need it

    text = str(name).strip().lower().replace("-", "_")
    near = get_close_matches(text, known, 1, 0.6)
    if near:
        return f"There is no {what} {_show(name)}: did you mean '{near[0]}'?"
    return f"There is no {what} {_show(name)}; there are {', '.join(known)}."


def _show(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _wrong(setting: Setting, value: object, wanted: str) -> SettingError:
    off = ", or 'off'" if setting.optional else ""
    return SettingError(f"{setting.name} must be {wanted}{off}, not {_show(value)}.")


def _count(setting: Setting, value: Any) -> int:
    number = value
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit():
        number = int(value.strip()[:20])
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise _wrong(setting, value, f"a whole number of at least {setting.low}")
    return int(_bounded(setting, number, value, f"a whole number of at least {setting.low}"))


def _seconds(setting: Setting, value: Any) -> float:
    least = "of more than 0" if setting.above else "of at least 0"
    wanted = f"a number of seconds {least}, such as 30, or a text such as '500ms' or '5m'"
    number = _with_unit(value, SECONDS)
    if number is None:
        raise _wrong(setting, value, wanted)
    return float(_bounded(setting, number, value, wanted))


def _size(setting: Setting, value: Any) -> int:
    number = _with_unit(value, SIZES)
    if number is None:
        raise _wrong(setting, value, "a size such as '512MB', '1.5GB' or '64KB', or a number of bytes")
    size = round(number)
    if size < setting.low or size > setting.high:
        limits = f"at least {size_text(setting.low)}"
        if setting.high < LARGEST:
            limits += f" and at most {size_text(setting.high)}"
        raise _wrong(setting, value, f"a size of {limits}, with its unit, such as '{_example(setting)}'")
    return size


def _example(setting: Setting) -> str:
    return "32KB" if setting.high < KB**2 else "512MB"


def size_text(size: int) -> str:
    """A number of bytes as a text that `parse` reads: 65536 -> "64KB"."""
    for unit, scale in (("GB", KB**3), ("MB", KB**2), ("KB", KB)):
        if size >= scale and size % scale == 0:
            return f"{size // scale}{unit}"
    return f"{size}B"


def _bounded(setting: Setting, number: float, value: object, wanted: str) -> float:
    if number < setting.low or number > setting.high or (setting.above and number <= setting.low):
        raise _wrong(setting, value, wanted)
    return number


def _with_unit(value: Any, units: dict[str, float] | dict[str, int]) -> float | None:
    """A number, or a text of a number and a unit, in the base unit; None if it is neither."""
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        return None
    if isinstance(value, str):
        text = value.strip().lower()
        digits = text.rstrip("abcdefghijklmnopqrstuvwxyz ")
        scale = units.get(text[len(digits) :].strip())
        plain = digits.replace(".", "", 1)
        if scale is None or len(digits) > 20 or not (plain.isascii() and plain.isdigit()):
            return None
        number = float(digits) * scale
    else:
        number = value
    return number if -LARGEST <= number <= LARGEST else None


def _lifespan(setting: Setting, value: Any) -> str:
    if isinstance(value, str) and value.strip().lower() in LIFESPANS:
        return value.strip().lower()
    raise _wrong(setting, value, "one of 'auto', 'template', 'instance' and 'off'")


def _env(setting: Setting, value: Any) -> dict[str, str]:
    if not isinstance(value, dict):
        raise _wrong(setting, value, "a table of names and texts, such as {'DEBUG': '1'}")
    env = {}
    for name, text in value.items():
        if not isinstance(name, str) or not name or "=" in name or "\0" in name:
            raise SettingError(f"env: {_show(name)} cannot be the name of an environment variable.")
        if isinstance(text, int) and not isinstance(text, bool):
            text = str(text)
        if not isinstance(text, str) or "\0" in text:
            raise SettingError(f"env: the value of {name} must be a text, not {_show(text)}.")
        env[name] = text
    return env


def _warmup(setting: Setting, value: Any) -> list[dict[str, Any]]:
    if isinstance(value, (str, dict)):
        value = [value]
    if not isinstance(value, (list, tuple)):
        raise _wrong(setting, value, "a list of requests, such as ['/'], or [] for none")
    return [_warmup_request(entry) for entry in value]


def _warmup_request(entry: Any) -> dict[str, Any]:
    if isinstance(entry, str):
        entry = {"path": entry}
    if not isinstance(entry, dict):
        raise SettingError(
            f"warmup: a request is a path, or a table of method, path, headers and body, not {_show(entry)}."
        )
    for key in entry:
        if key not in WARMUP_KEYS:
            raise SettingError("warmup: " + unknown(key, list(WARMUP_KEYS), "part of a request"))
    request: dict[str, Any] = {
        "method": _method(entry.get("method", "GET")),
        "path": _path(entry.get("path", "/")),
    }
    if entry.get("headers"):
        request["headers"] = _headers(entry["headers"])
    if entry.get("body"):
        request["body"] = _body(entry["body"])
    return request


def _method(method: Any) -> str:
    if not isinstance(method, str) or not (method.isascii() and method.replace("-", "").isalpha()):
        raise SettingError(f"warmup: {_show(method)} is not an HTTP method.")
    return method.upper()


def _path(path: Any) -> str:
    if not isinstance(path, str) or not path.startswith("/") or not all("!" <= mark <= "~" for mark in path):
        raise SettingError(
            "warmup: a path starts with '/' and is percent-encoded, such as '/search?q=a%20b', "
            f"not {_show(path)}."
        )
    return path


def _headers(headers: Any) -> dict[str, str]:
    if not isinstance(headers, dict):
        raise SettingError(f"warmup: headers are a table of names and texts, not {_show(headers)}.")
    for name, text in headers.items():
        if not isinstance(name, str) or not name or not all("!" <= m <= "~" and m != ":" for m in name):
            raise SettingError(f"warmup: {_show(name)} is not the name of a header.")
        if not isinstance(text, str) or any(ord(mark) < 32 or ord(mark) > 255 for mark in text):
            raise SettingError(f"warmup: the header {name} must be one line of text, not {_show(text)}.")
    return dict(headers)


def _body(body: Any) -> str:
    if isinstance(body, bytes):
        try:
            body = body.decode()
        except UnicodeDecodeError:
            raise SettingError("warmup: a body must be text in UTF-8; these bytes are not.") from None
    if not isinstance(body, str):
        raise SettingError(f"warmup: a body is a text, not {_show(body)}.")
    return body


PARSERS: dict[str, Callable[[Setting, Any], Any]] = {
    "count": _count,
    "seconds": _seconds,
    "size": _size,
    "lifespan": _lifespan,
    "env": _env,
    "warmup": _warmup,
}

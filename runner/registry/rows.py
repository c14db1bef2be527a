"""Things of the registry as rows: which table and key each kind has, and its JSON."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from snapfork.runner.registry.model import (
    Alias,
    AsyncConfig,
    Configuration,
    CustomDomain,
    Function,
    FunctionUrl,
    Hook,
    LayerVersion,
    ProvisionConfig,
    Statement,
    Trigger,
    Version,
)

Key = tuple[Any, ...]


@dataclass(frozen=True)
class Package:
    """One object of the content store. hash: SHA-256 (hex) of its bytes. kind: "zip" or "snap".

    unpacked: bytes. requirements: the file that says what it needs installed, "" for none.
    """

    hash: str
    size: int
    kind: str = "zip"
    unpacked: int = 0
    requirements: str = ""
    created: float = 0.0


@dataclass(frozen=True)
class Counter:
    """The last number given out for `name`: "function/shop", "layer/pillow"."""

    name: str
    value: int


@dataclass(frozen=True)
class Lock:
    """The environment of a package on a Python ("3.11"): its key in the environments' store."""

    package: str
    python: str
    environment: str


@dataclass(frozen=True)
class Fallback:
    """The configuration that LATEST goes on with while, or because, an update of it is not there yet.

    With `package` it is what LATEST goes back to, should the code that is being tried not start; until then
    it is not in force.
    """

    function: str
    configuration: Configuration
    package: str = ""


@dataclass(frozen=True)
class GoneLayer:
    """A layer version that was deleted while functions have it: theirs goes on, and nobody else gets it."""

    layer: str
    version: int
    package: str


@dataclass(frozen=True)
class Table:
    """Where a kind lies. key: fields that are the primary key; columns: those that the database checks."""

    name: str
    key: tuple[str, ...]
    columns: tuple[str, ...] = ()
    build: Callable[[dict[str, Any]], Any] = field(default=dict)


def _tuples(kind: Any, *names: str) -> Callable[[dict[str, Any]], Any]:
    def build(data: dict[str, Any]) -> Any:
        return kind(**{key: tuple(value) if key in names else value for key, value in data.items()})

    return build


def _hook(data: dict[str, Any] | None) -> Hook | None:
    return Hook(**data) if data else None


def configuration(data: dict[str, Any]) -> Configuration:
    """Inverse of `asdict`, after JSON."""
    about = {"layers": tuple(data["layers"])}
    hooks = {name: _hook(data[name]) for name in ("initializer", "pre_stop")}
    return Configuration(**{**data, **about, **hooks})


def _version(data: dict[str, Any]) -> Version:
    return Version(**{**data, "configuration": configuration(data["configuration"])})


def _layer(data: dict[str, Any]) -> LayerVersion:
    lists = {name: tuple(data.get(name, ())) for name in ("runtimes", "architectures")}
    return LayerVersion(**{**data, **lists})


# Parents stand before children, which is the order to write and, backwards, to delete in.
TABLES: dict[type, Table] = {
    Package: Table("packages", ("hash",), (), lambda data: Package(**data)),
    Counter: Table("counters", ("name",), (), lambda data: Counter(**data)),
    Function: Table("functions", ("name",), (), lambda data: Function(**data)),
    Version: Table("versions", ("function", "version"), ("package", "serving"), _version),
    Fallback: Table(
        "fallbacks",
        ("function",),
        (),
        lambda data: Fallback(
            data["function"], configuration(data["configuration"]), data.get("package", "")
        ),
    ),
    Alias: Table("aliases", ("function", "name"), ("version",), lambda data: Alias(**data)),
    AsyncConfig: Table("async_configs", ("function", "qualifier"), (), _tuples(AsyncConfig, "retry_delays")),
    ProvisionConfig: Table(
        "provision_configs", ("function", "qualifier"), (), _tuples(ProvisionConfig, "scheduled", "tracking")
    ),
    FunctionUrl: Table("urls", ("function", "qualifier"), ("id",), lambda data: FunctionUrl(**data)),
    Trigger: Table("triggers", ("function", "name"), ("id",), lambda data: Trigger(**data)),
    CustomDomain: Table("domains", ("name",), (), _tuples(CustomDomain, "routes")),
    LayerVersion: Table("layer_versions", ("layer", "version"), ("package",), _layer),
    GoneLayer: Table("gone_layers", ("layer", "version"), ("package",), lambda data: GoneLayer(**data)),
    Statement: Table("statements", ("resource", "qualifier", "sid"), (), lambda data: Statement(**data)),
    Lock: Table("locks", ("package", "python"), (), lambda data: Lock(**data)),
}
_ORDER = {kind: number for number, kind in enumerate(TABLES)}


def key_of(thing: Any) -> Key:
    """A thing's key among its kind."""
    return tuple(getattr(thing, name) for name in TABLES[type(thing)].key)


def write(connection: sqlite3.Connection, puts: Iterable[Any], deletes: Iterable[Any]) -> None:
    """Delete, then insert or replace, in an order that foreign keys allow. Raises sqlite3.Error."""
    for thing in sorted(deletes, key=lambda one: -_ORDER[type(one)]):
        table = TABLES[type(thing)]
        where = " AND ".join(f"{name} = ?" for name in table.key)
        connection.execute(f"DELETE FROM {table.name} WHERE {where}", key_of(thing))
    for thing in sorted(puts, key=lambda one: _ORDER[type(one)]):
        table = TABLES[type(thing)]
        names = (*table.key, *table.columns, "body")
        body = json.dumps(asdict(thing), ensure_ascii=False, separators=(",", ":"))
        # Not REPLACE, which deletes the row first, and with it what refers to it.
        kept = ", ".join(f"{name} = excluded.{name}" for name in (*table.columns, "body"))
        connection.execute(
            f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({', '.join('?' * len(names))}) "
            f"ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET {kept}",
            (*key_of(thing), *(getattr(thing, name) or None for name in table.columns), body),
        )


def read(connection: sqlite3.Connection) -> list[Any]:
    """Everything there is."""
    return [
        table.build(json.loads(body))
        for table in TABLES.values()
        for (body,) in connection.execute(f"SELECT body FROM {table.name}")
    ]

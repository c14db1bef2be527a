"""Is there a snapshot for this order? Asked in a child of its own: what it imports, forks would pay for."""

from __future__ import annotations

import datetime
import hashlib
import os
import time
from collections.abc import Mapping
from typing import Any

from snapfork.runner.kept import gathering
from snapfork.runner.kept.inputs import Inputs, change
from snapfork.runner.kept.store import Record, Store, StoreError, app_key

NONE_YET = "no snapshot of it yet"


def look(order: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """{"found": {path, name, created, init_ms, modules}} if one may be restored, else {"fresh": why not}.

    `environ` is the environment that the app would be initialised in.
    """
    try:
        store = Store(order["data_dir"])
        store.sweep()
        if order["forget"]:
            store.forget(app_key(order), os.path.basename(order["forget"]).removesuffix(".snap"))
            return {"fresh": "the snapshot did not come back"}
        records = store.records(app_key(order))
        if not records:
            return {"fresh": NONE_YET}
        reasons = []
        for record in records:
            reason = _change(record, order, environ, store.salt())
            if reason is None:
                return _use(store, record, app_key(order))
            reasons.append(reason)
        return {"fresh": reasons[0]}
    except StoreError as error:
        return {"fresh": str(error)}


def _change(record: Record, order: dict[str, Any], environ: Mapping[str, str], salt: str) -> str | None:
    then = record.inputs
    now = gathering.gather(order, environ, then.variables, then.every_variable, then.files, salt)
    return change(then, now, os.path.abspath(order["app_dir"]))


def _use(store: Store, record: Record, app: str) -> dict[str, Any]:
    if record.refused:
        return {"fresh": f"no snapshot can be kept: {record.refused}", "refused": True}
    from snapfork.adapter.snapshots import file
    from snapfork.adapter.snapshots.errors import SnapshotError

    path = store.object_path(record.object)
    try:
        opened = file.read(path)
    except SnapshotError as error:
        store.forget(app, record.object)
        return {"fresh": str(error)}
    return {"found": _found(path, opened, record.created, record.init_ms)}


def _found(path: str, opened: Any, created: float, init_ms: float) -> dict[str, Any]:
    own = set(opened.header.needs)
    return {
        "path": path,
        "created": created,
        "init_ms": init_ms,
        "modules": [name for name in opened.header.by_reference if name not in own],
    }


def enter(order: dict[str, Any]) -> dict[str, Any]:
    """Have the snapshot file that `order` names in the store, checked whole.

    {"found": as for `look`, with "check_ms" if all of it was checked now, and "unstored" if it could not be
    copied}, or {"refused": one sentence}.
    """
    from snapfork.adapter.snapshots import file
    from snapfork.adapter.snapshots.errors import SnapshotError

    path = os.path.abspath(order["target"])
    begun = time.perf_counter()
    try:
        trusted = _trusted(order)
        opened = file.read(path, trusted)
        try:
            there, is_new = _take(Store(order["data_dir"]), path, opened, order["forget"], trusted)
            about: dict[str, Any] = {}
        except (StoreError, OSError) as error:
            opened.verify_buffers()
            there, is_new = path, True
            about = {"unstored": str(error)}
        if is_new:
            about["check_ms"] = (time.perf_counter() - begun) * 1000
    except SnapshotError as error:
        return {"refused": str(error)}
    return {"found": _found(there, opened, _created(opened), 0.0) | about}


def _trusted(order: dict[str, Any]) -> set[bytes]:
    """The public keys that count: this user's, and of a deployed function the one that signed it anew."""
    from snapfork.adapter.snapshots import keys

    return keys.trusted() | ({bytes.fromhex(order["signer"])} if order.get("signer") else set())


def _take(store: Store, path: str, opened: Any, mistrusted: str, trusted: set[bytes]) -> tuple[str, bool]:
    """(where the store has the file, whether it came there now)."""
    from snapfork.adapter.snapshots import file

    name = address(opened)
    there = store.object_path(name)
    if there == mistrusted:
        store.discard(name)
    if os.path.exists(there):
        file.read(there, trusted)
        return there, False
    with store.copy_of(path) as draft:
        copy = file.read(draft, trusted)
        copy.path = path  # what is wrong with it is told of the file that the user knows
        copy.verify_buffers()
        if address(copy) != name:
            raise OSError(f"{path} was replaced while it was copied")
        store.publish(draft, name)
    store.keep(path, Record(Inputs(), _created(opened), name))
    return there, True


def address(opened: Any) -> str:
    """The name of a file's content: header, stream, hashes of the buffers, and whose signature it bears."""
    return hashlib.sha256(opened.message + opened.signer).hexdigest()


def _created(opened: Any) -> float:
    return datetime.datetime.fromisoformat(opened.header.created).timestamp()

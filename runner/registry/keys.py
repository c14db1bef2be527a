"""Access keys of the APIs, in DATA_DIR/keys (0600): who may deploy, who may only invoke.

The first start makes one that may do everything. They are in a file of their own, not in the registry: the
command line finds its key without opening a database that a runner writes.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import stat
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Literal

from snapfork.runner.errors import UserError
from snapfork.runner.registry.errors import Conflict, Invalid, NotFound
from snapfork.runner.registry.model import Key
from snapfork.runner.registry.store import private_directory

FILE = "keys"
ROLES = ("manage", "invoke")
_ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"


class Keys:
    """The keys of one data directory; `get` is from memory. Raises UserError if the file cannot be used.

    A file that others have written to (another command of the same user) is read again by `reload`.
    """

    def __init__(self, data_dir: str | os.PathLike[str], clock: Callable[[], float] = time.time) -> None:
        self._path = private_directory(data_dir) / FILE
        self._clock = clock
        self._writing = threading.Lock()
        self._keys: dict[str, Key] = {}
        self.reload()
        if not self._keys:
            self.create("manage", None, "made by the first start")

    def get(self, id: str) -> Key | None:
        return self._keys.get(id)

    def list(self) -> list[Key]:
        """All keys, oldest first."""
        return sorted(self._keys.values(), key=lambda one: one.created)

    def create(
        self, role: Literal["manage", "invoke"], functions: Iterable[str] | None = None, description: str = ""
    ) -> Key:
        """A new key; `functions` are those it is for, None for all. On disk when this returns."""
        if role not in ROLES:
            raise Invalid(f"A key's role is manage or invoke, not {role!r}.", "role")
        limits = None if functions is None else tuple(functions)
        key = Key(_random(20, "SF"), secrets.token_urlsafe(30), role, limits, description, self._clock())
        with self._writing:
            self._write({**self._keys, key.id: key})
        return key

    def delete(self, id: str) -> None:
        """Raises NotFound; Conflict for the last key that may manage."""
        with self._writing:
            if id not in self._keys:
                raise NotFound(f"There is no key {id}.", "key", id)
            rest = {name: key for name, key in self._keys.items() if name != id}
            if not any(key.role == "manage" and key.functions is None for key in rest.values()):
                raise Conflict(
                    "This is the last key that may manage everything; make another one first.", "key", id
                )
            self._write(rest)

    def reload(self) -> None:
        """Read the file again."""
        try:
            about = os.stat(self._path)
            if stat.S_IMODE(about.st_mode) & 0o077:
                raise UserError(f"{self._path} can be read by others; type: chmod 600 {self._path}")
            entries = json.loads(self._path.read_text())["keys"]
            self._keys = {one["id"]: _key(one) for one in entries}
        except FileNotFoundError:
            self._keys = {}
        except OSError as error:
            raise UserError(f"{self._path} cannot be read: {error.strerror}.") from None
        except (ValueError, TypeError, KeyError, AttributeError):
            raise UserError(
                f"{self._path} is damaged.",
                "Remove it: the next start makes a new key, and the old ones end.",
            ) from None

    def _write(self, keys: dict[str, Key]) -> None:
        draft = Path(f"{self._path}.{os.getpid()}.{secrets.token_hex(4)}")
        try:
            fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with open(fd, "w") as file:
                json.dump({"keys": [asdict(key) for key in keys.values()]}, file, indent=1)
                file.flush()
                os.fsync(fd)
            os.replace(draft, self._path)
            directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            os.fsync(directory)
            os.close(directory)
        except OSError as error:
            with contextlib.suppress(OSError):
                os.unlink(draft)
            raise UserError(
                f"{self._path} cannot be written, and the keys are as they were: {error.strerror}."
            ) from None
        self._keys = keys


def first(data_dir: str | os.PathLike[str]) -> Key | None:
    """The oldest key of a data directory that may do everything, for commands on the same machine; None where
    this user may not read them."""
    try:
        entries = json.loads((Path(data_dir) / FILE).read_text())["keys"]
        keys = sorted((_key(one) for one in entries), key=lambda one: one.created)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return next((one for one in keys if one.role == "manage" and one.functions is None), None)


def _key(entry: dict[str, object]) -> Key:
    functions = entry["functions"]
    limits = tuple(str(one) for one in functions) if isinstance(functions, list) else None
    return Key(**{**entry, "functions": limits})  # type: ignore[arg-type]


def _random(length: int, prefix: str) -> str:
    return prefix + "".join(secrets.choice(_ALPHABET) for _ in range(length - len(prefix)))

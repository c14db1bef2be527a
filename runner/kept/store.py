"""Where snapshots lie: files by the hash of their content, and records of what each was made from.

    DIR/snapshots/objects/SHA256.snap    as `adapter.snapshots.file` wrote it; read-only
    DIR/snapshots/records/SHA256.json    per app: its newest records
    DIR/snapshots/drafts/PID-*.snap      being written or compared
    DIR/snapshots/salt                   of the digests in the records

DIR is the data directory: private to its user (0700), because who writes there decides what code runs.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from snapfork.runner.kept.inputs import Inputs

MOST_RECORDS = 3
"""Per app, so that a source tree that is put back finds its snapshot."""


class StoreError(Exception):
    """The store cannot be used; one sentence."""


@dataclass
class Record:
    """inputs: what it depends on. object: the name of its file, "" where none could be made: `refused` says
    why. init_ms: what initialising took. created: seconds since the epoch."""

    inputs: Inputs
    created: float
    object: str = ""
    init_ms: float = 0.0
    refused: str = ""


def default_directory() -> str:
    """The data directory where none is named."""
    home = os.environ.get("XDG_DATA_HOME") or os.path.join(os.path.expanduser("~"), ".local", "share")
    return os.path.join(home, "snapfork")


def config_home() -> str:
    """Where the user's own key is, as XDG_CONFIG_HOME."""
    return os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")


class Store:
    """One data directory's snapshots. Raises StoreError if it cannot be made, or is not private."""

    def __init__(self, data_dir: str) -> None:
        self.root = Path(data_dir) / "snapshots"
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _verify(self.root)
            for name in ("objects", "records", "drafts"):
                (self.root / name).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.root} cannot be used: {error.strerror}") from None

    def draft(self) -> str:
        """A path for a file that is being made."""
        return str(self.root / "drafts" / f"{os.getpid()}-{secrets.token_hex(4)}.snap")

    def object_path(self, name: str) -> str:
        return str(self.root / "objects" / f"{name}.snap")

    def salt(self) -> str:
        """This store's own; made on first use."""
        path = self.root / "salt"
        if not path.exists():
            draft = Path(self.draft())
            draft.write_text(secrets.token_hex(16))
            with contextlib.suppress(FileExistsError):  # another runner has just made one
                os.link(draft, path)
            draft.unlink()
        return path.read_text()

    def publish(self, draft: str, name: str) -> str:
        """Move a finished file to its place; its path there."""
        os.chmod(draft, 0o400)
        os.replace(draft, self.object_path(name))
        return self.object_path(name)

    def discard(self, name: str) -> None:
        """Remove object `name`, which is damaged."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.object_path(name))

    @contextlib.contextmanager
    def copy_of(self, path: str) -> Iterator[str]:
        """A draft with the content of the file at `path`; it goes away unless it is published."""
        draft = self.draft()
        try:
            shutil.copyfile(path, draft)
            with open(draft, "rb") as file:
                os.fsync(file.fileno())
            yield draft
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(draft)

    def records(self, app: str) -> list[Record]:
        """The records of an app, newest first; one that cannot be read is none."""
        try:
            entries = json.loads(self._record_path(app).read_text())
            return [Record(**(entry | {"inputs": Inputs(**entry["inputs"])})) for entry in entries]
        except (OSError, ValueError, TypeError, KeyError):
            return []

    def keep(self, app: str, record: Record) -> None:
        """Add a record in the place of one with equal inputs; let go of the oldest, and of what it held."""
        with self._locked():
            others = [one for one in self.records(app) if one.inputs != record.inputs]
            self._write(app, [record, *others][:MOST_RECORDS])
            self._tidy()

    def forget(self, app: str, name: str) -> None:
        """Take out the records of object `name`, which does not do what it should."""
        with self._locked():
            self._write(app, [one for one in self.records(app) if one.object != name])
            self._tidy()

    def _record_path(self, app: str) -> Path:
        return _record_path(self.root, app)

    def _write(self, app: str, records: list[Record]) -> None:
        handle, draft = tempfile.mkstemp(dir=self.root / "drafts", prefix=f"{os.getpid()}-")
        with open(handle, "w") as file:
            json.dump([asdict(one) for one in records], file)
        os.replace(draft, self._record_path(app))

    def _tidy(self) -> None:
        """Remove objects without a record, and drafts."""
        held = set()
        for path in (self.root / "records").glob("*.json"):
            with contextlib.suppress(OSError, ValueError, TypeError, KeyError):
                held |= {entry["object"] for entry in json.loads(path.read_text())}
        for path in (self.root / "objects").glob("*.snap"):
            if path.stem not in held:
                path.unlink(missing_ok=True)
        self.sweep()

    def sweep(self) -> None:
        """Remove drafts of processes that are gone."""
        for path in (self.root / "drafts").iterdir():
            pid = path.name.partition("-")[0]
            if not (pid.isdigit() and os.path.exists(f"/proc/{pid}")):
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with open(self.root / "lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield


def _verify(root: Path) -> None:
    about = os.lstat(root)
    if not stat.S_ISDIR(about.st_mode):
        raise OSError(None, "it is not a directory")
    if about.st_uid != os.getuid():
        raise OSError(None, "it belongs to another user")
    if stat.S_IMODE(about.st_mode) & 0o077:
        raise OSError(None, f"others may enter it; type: chmod 700 {root}")


def record_path(data_dir: str, app: str) -> Path:
    """Where the records of an app are, if there are any."""
    return _record_path(Path(data_dir) / "snapshots", app)


def _record_path(root: Path, app: str) -> Path:
    return root / "records" / f"{hashlib.sha256(app.encode()).hexdigest()}.json"


def app_key(order: dict[str, Any]) -> str:
    """Which app an order is for: whatever else differs, its records lie together.

    What is a handler in one runtime can be a web app in another.
    """
    kind = [order["kind"]] if order.get("kind") == "handler" else []
    return json.dumps([os.path.abspath(order["app_dir"]), order["target"], order["function"], *kind])

"""Where the registry's files lie, and who may reach them.

    DATA_DIR/            0700: the registry, keys, packages as they came (packages/, drafts/)
    PUBLIC/code/HASH/    unpacked packages            read-only for functions
    PUBLIC/environments/ installed packages           read-only for functions
    PUBLIC/homes/NAME.N/ a function's HOME            its own; N is nobody else's to guess

PUBLIC is DATA_DIR itself as long as functions run as the runner's own user. Functions of another user (a
runner that was started as root) could not pass through a directory of mode 0700, and nobody should have to
open it: for them PUBLIC is a directory of its own beside the private one, or, where that lies in something
private too (/root), below /var/lib. It belongs to root, and others may enter and read it, not list or write.
So a function, which runs as the same user as all, does not find another's HOME: N comes from a secret.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import json
import os
import secrets
import shutil
import stat
import sys
from dataclasses import dataclass, field
from pathlib import Path

from snapfork.runner.errors import UserError
from snapfork.runner.registry.store import private_directory

SHARED = Path("/var/lib/snapfork")
TEMPORARY = "tmp"
"""The directory in a function's HOME that its TMPDIR names."""
CHOICE, OWNER = "public", "data_dir"
"""Files: in DATA_DIR where PUBLIC is; in a PUBLIC of its own whose it is."""
BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class User:
    """Whom functions run as, where that is not the runner's own user."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Places:
    """See the module; made by `places`."""

    data: Path
    public: Path
    user: User | None
    secret: bytes = field(default=b"", repr=False)

    @property
    def packages(self) -> Path:
        return self.data / "packages"

    @property
    def drafts(self) -> Path:
        return self.data / "drafts"

    @property
    def code(self) -> Path:
        return self.public / "code"

    @property
    def environments(self) -> Path:
        return self.public / "environments"

    def home(self, function: str, created: float) -> Path:
        """A function's HOME, made if need be: private to the user it runs as."""
        path = self.public / "homes" / self.home_name(function, created)
        if not path.is_dir():
            path.mkdir(mode=0o700)
            self._give(path)
        with contextlib.suppress(OSError):  # what lies there is the function's own affair
            (path / TEMPORARY).mkdir(mode=0o700)
            self._give(path / TEMPORARY)
        return path

    def _give(self, path: Path) -> None:
        if self.user is not None:
            os.chown(path, self.user.uid, self.user.gid, follow_symlinks=False)

    def home_name(self, function: str, created: float) -> str:
        """The name of a function's HOME; another for a later function of that name."""
        which = f"{function} {int(created * 1000):x}".encode()
        return f"{function}.{hmac.digest(self.secret, which, 'sha256').hex()[:24]}"

    def keep_homes(self, names: set[str]) -> None:
        """Remove all homes but those of these names."""
        for path in (self.public / "homes").iterdir():
            if path.name not in names:
                remove(path)


def places(data_dir: str | os.PathLike[str], user: User | None = None) -> Places:
    """Make what is missing. Raises UserError if directories cannot be what they must."""
    data = private_directory(data_dir).resolve()
    other = user if user is not None and user.uid != os.geteuid() else None
    public = data if other is None else _public(data, other)
    made = Places(data, public, other, _secret(data / "homes.secret"))
    for path in (made.packages, made.drafts):
        path.mkdir(mode=0o700, exist_ok=True)
    for path in (made.code, made.environments, public / "homes"):
        path.mkdir(mode=0o711, exist_ok=True)
        path.chmod(0o711)
    return made


def tidy(made: Places) -> None:
    """Remove what a killed runner left half-made; for the one that holds the data directory's lock."""
    for draft in [*made.drafts.iterdir(), *made.code.glob(".*")]:
        remove(draft)
    _forget_after_boot(made)
    if made.public != made.data:
        _remove_orphans()


def remove(path: Path) -> None:
    """Remove a file or a tree; one that is gone is fine."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def _secret(path: Path) -> bytes:
    """What only this runner knows; made at its first start."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        secret = secrets.token_bytes(32)
    draft = path.with_suffix(".new")
    draft.touch(mode=0o600)
    draft.write_bytes(secret)
    draft.replace(path)
    return secret


def _public(data: Path, user: User) -> Path:
    tag = hashlib.sha256(os.fsencode(data)).hexdigest()[:12]
    candidates = [SHARED / tag]
    if _passable(data.parent, user):
        candidates.insert(0, data.with_name(f"{data.name}.public"))
    # Not elsewhere only because a mode has changed: HOMEs and code would be gone.
    before = _chosen(data)
    candidates.sort(key=lambda path: (path != before, not (path / "homes").is_dir()))
    refused = []
    for path in candidates:
        try:
            path.mkdir(mode=0o711, parents=True, exist_ok=True)
            about = path.lstat()
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
                raise OSError(None, "it is not a directory of ours")
            if not _passable(path.parent, user):
                raise OSError(None, f"user {user.uid} may not pass through what it is in")
            path.chmod(0o711)
        except OSError as error:
            refused.append(f"{path} ({error.strerror})")
            continue
        if before not in (None, path):
            why = refused[0] if refused else f"{before} is not where it could be"
            print(
                f"Code and HOMEs of functions are in {path} from now on: {why}.", file=sys.stderr, flush=True
            )
        _write(data / CHOICE, str(path))
        _write(path / OWNER, json.dumps({"path": str(data), "device": data.stat().st_dev}))
        return path
    raise UserError(
        f"There is no place for code that user {user.uid} could read: {', '.join(refused)}.",
        "Name a --data-dir whose parent that user may enter, such as /srv/snapfork.",
    )


def _chosen(data: Path) -> Path | None:
    try:
        return Path((data / CHOICE).read_text())
    except OSError:
        return None


def _write(path: Path, text: str) -> None:
    if path.is_file() and path.read_text() == text:
        return
    draft = path.with_name(f".{path.name}.new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _remove_orphans() -> None:
    """Remove what data directories that are gone have left in SHARED; one that is only not mounted is not."""
    for path in SHARED.iterdir() if SHARED.is_dir() else ():
        try:
            about = json.loads((path / OWNER).read_text())
            data, device = Path(about["path"]), int(about["device"])
        except (OSError, ValueError, KeyError, TypeError):
            continue  # nobody can say whose it is
        there = next(one for one in (data, *data.parents) if one.exists())
        if there != data and there.stat().st_dev == device and path.lstat().st_uid == os.geteuid():
            remove(path)


def _passable(path: Path, user: User) -> bool:
    """Whether `user` may pass through `path`, and nobody but root can put something else in its place."""
    for one in (path, *path.parents):
        about = one.stat()
        mode = about.st_mode
        owner, group = about.st_uid == user.uid, about.st_gid == user.gid
        if not mode & (0o100 if owner else 0o010 if group else 0o001):
            return False
        if about.st_uid not in (0, os.geteuid()) or (mode & 0o022 and not mode & stat.S_ISVTX):
            return False
    return True


def _forget_after_boot(made: Places) -> None:
    """Unpacked code is not synced to disk; after a start of the machine it is unpacked anew."""
    note = made.data / "booted"
    try:
        now = BOOT_ID.read_text()
    except OSError:
        return
    if note.exists() and note.read_text() == now:
        return
    for path in made.code.iterdir():
        remove(path)
    note.write_text(now)

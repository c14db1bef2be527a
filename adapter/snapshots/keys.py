"""The Ed25519 key that snapshots are signed with, and the keys of others that are trusted.

The own key is made on first use, in the user's configuration directory ($XDG_CONFIG_HOME/snapfork, mode 0700;
the key itself 0600). Public keys are written as "snapfork-ed25519 BASE64 [COMMENT]", one file each under
trusted/.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import os
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from snapfork.adapter.snapshots.errors import SnapshotError

KIND = "snapfork-ed25519"
PUBLIC_BYTES, PRIVATE_BYTES, SIGNATURE_BYTES = 32, 32, 64
_BEGIN, _END = b"-----BEGIN PRIVATE KEY-----".split(), b"-----END PRIVATE KEY-----".split()
_PKCS8 = bytes.fromhex("302e020100300506032b657004220420")


def directory() -> Path:
    """Where keys are kept."""
    home = os.environ.get("XDG_CONFIG_HOME") or os.path.join(os.path.expanduser("~"), ".config")
    return Path(home) / "snapfork"


def own_key() -> Ed25519PrivateKey:
    """The user's key, made now if there is none. Raises SnapshotError."""
    path = directory() / "key.pem"
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return _make(path)
    except OSError as error:
        raise SnapshotError(f"The key {path} cannot be read: {error.strerror}.") from None
    if path.stat().st_mode & 0o077:
        raise SnapshotError(f"The key {path} can be read by others; type: chmod 600 {path}")
    key = _parse(data)
    if key is None:
        raise SnapshotError(f"{path} is not an Ed25519 key; without it, the next snapshot makes a new one.")
    return key


def _parse(pem: bytes) -> Ed25519PrivateKey | None:
    """The key in a PEM file of PKCS 8, whose one form for Ed25519 is short.

    cryptography's own function comes with SSH's formats and their imports, at each start of an app.
    """
    lines = pem.split()
    if lines[:3] != _BEGIN or lines[-3:] != _END or len(lines) != 7:
        return None
    with contextlib.suppress(binascii.Error):
        der = base64.b64decode(lines[3], validate=True)
        if der[:-PRIVATE_BYTES] == _PKCS8:
            return Ed25519PrivateKey.from_private_bytes(der[-PRIVATE_BYTES:])
    return None


def _make(path: Path) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key = Ed25519PrivateKey.generate()
    data = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        handle, draft = tempfile.mkstemp(dir=path.parent)  # 0600
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        try:
            os.link(draft, path)  # not over a key that another process has just made
        except FileExistsError:
            return own_key()
        finally:
            os.unlink(draft)
    except OSError as error:
        raise SnapshotError(f"No key can be made in {path.parent}: {error.strerror}.") from None
    return key


def public_bytes(key: Ed25519PrivateKey) -> bytes:
    """The raw public half."""
    return key.public_key().public_bytes_raw()


def describe(public: bytes) -> str:
    """A public key as people compare it: "SHA256:..." of 16 characters."""
    digest = hashlib.sha256(public).digest()
    return "SHA256:" + base64.urlsafe_b64encode(digest)[:16].decode()


def line(public: bytes, comment: str = "") -> str:
    """A public key as one line of text, for `runner key trust`."""
    return " ".join(part for part in (KIND, base64.b64encode(public).decode(), comment) if part)


def parse_line(text: str) -> bytes:
    """Inverse of `line`. Raises SnapshotError."""
    words = text.split()
    if len(words) >= 2 and words[0] == KIND:
        with contextlib.suppress(binascii.Error, ValueError):
            raw = base64.b64decode(words[1], validate=True)
            if len(raw) == PUBLIC_BYTES:
                return raw
    raise SnapshotError(f"This is not a public key of snapfork, which is a line '{KIND} ...' (`runner key`).")


def trust(text: str) -> bytes:
    """Trust snapshots signed by the key in `text` from now on; returns it. Raises SnapshotError."""
    raw = parse_line(text)
    folder = directory() / "trusted"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        name = hashlib.sha256(raw).hexdigest()[:32]
        draft = folder / f".{name}.{os.getpid()}"
        draft.write_text(text.strip() + "\n")
        draft.replace(folder / f"{name}.pub")
    except OSError as error:
        raise SnapshotError(f"{folder} cannot be written to: {error.strerror}.") from None
    return raw


def trusted() -> set[bytes]:
    """The public keys whose snapshots are loaded: one's own, if it has been made, and those added."""
    found = set()
    if (directory() / "key.pem").exists():
        found.add(public_bytes(own_key()))
    for path in sorted((directory() / "trusted").glob("*.pub")):
        with contextlib.suppress(OSError, UnicodeDecodeError, SnapshotError):
            found.add(parse_line(path.read_text()))  # one that cannot be read is trusted by nobody
    return found


def is_signed(public: bytes, signature: bytes, message: bytes) -> bool:
    """Whether `signature` of `message` is by the holder of `public`."""
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True

"""Signatures of control requests: AWS Signature Version 4 and Alibaba Cloud's ACS3-HMAC-SHA256. Pure.

Both hash a canonical form of the request. They differ in the path (SigV4 encodes what was sent once more,
ACS3 takes it as it is), in the key (SigV4 derives one per day, region and service) and in what must be
signed: of SigV4 host and every x-amz-*, of ACS3 host, every x-acs-* and x-fc-* (AWS General Reference,
"Create a signed request"; Alibaba Cloud, "V3 request body and signature mechanism"). SigV4 has a second form,
a presigned URL. `open_claim` judges what needs no body, so that nothing is read for a stranger; the rest is
`Claim.verify`'s.
"""

from __future__ import annotations

import calendar
import hashlib
import hmac
import re
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, Protocol
from urllib.parse import quote, unquote_to_bytes

from snapfork.runner.faces.canonical import canonical_query, canonical_request, encoded_twice
from snapfork.runner.faces.exchange import Head, Headers
from snapfork.runner.faces.replay import Replays
from snapfork.runner.registry.model import Key

SKEW = 900.0
"""Seconds that a client's clock may be off; both services refuse beyond 15 minutes."""
LONGEST = 604_800
"""Seconds that a presigned URL may be good for."""
EMPTY = hashlib.sha256(b"").hexdigest()
SIGV4 = "AWS4-HMAC-SHA256"
ACS3 = "ACS3-HMAC-SHA256"

Code = Literal["missing", "malformed", "unknown_key", "expired", "mismatch", "body_hash", "replay"]
_SIGV4_FIELD = re.compile(
    r"AWS4-HMAC-SHA256 +Credential=([^/, ]{1,128})/([0-9]{8})/([A-Za-z0-9-]{1,64})/([a-z0-9-]{1,64})/"
    r"aws4_request, *SignedHeaders=([a-z0-9;!#$%&'*+.^_`|~-]+), *Signature=([0-9a-f]{64})"
)
_ACS3_FIELD = re.compile(
    r"ACS3-HMAC-SHA256 +Credential=([^,/ ]{1,128}), *SignedHeaders=([a-z0-9;!#$%&'*+.^_`|~-]+), *"
    r"Signature=([0-9a-f]{64})"
)
_SCOPE = re.compile(r"([^/]{1,128})/([0-9]{8})/([A-Za-z0-9-]{1,64})/([a-z0-9-]{1,64})/aws4_request")


class SignatureError(Exception):
    """The request is not what a holder of a key signed. `code` says how, the text is one sentence without
    secrets."""

    def __init__(self, code: Code, message: str) -> None:
        super().__init__(message)
        self.code: Code = code
        self.message = message


class KeySource(Protocol):
    """Who knows the keys: `registry.keys.Keys`."""

    def get(self, id: str) -> Key | None: ...


@dataclass(slots=True)
class Claim:
    """A request that says to come from `key`, in time and with all that must be signed; not yet proved.

    mark: see `Replays.admit`. lifetime: of a presigned URL, 0 else. declared: the body's hash as a signed
    header or "" for what the caller hashed.
    """

    key: Key
    scheme: str
    canonical: str
    scope: str
    dated: float
    stamp: str
    signature: str
    declared: str = ""
    mark: str = ""
    lifetime: float = 0.0

    def verify(self, body_sha256: str, now: float, replays: Replays | None = None) -> Key:
        """The key, once the signature holds for a body of this hash (hex). Raises SignatureError."""
        if self.declared and not hmac.compare_digest(self.declared.encode(), body_sha256.encode()):
            raise SignatureError("body_hash", "The hash in the signed header is not that of the body.")
        if self.scheme == SIGV4:
            wanted = _sigv4(self.key.secret, self.stamp, self.scope, self.canonical + body_sha256)
        else:
            wanted = _acs3(self.key.secret, self.canonical + body_sha256)
        if not hmac.compare_digest(wanted, self.signature):
            raise SignatureError("mismatch", "The signature does not match the request.")
        if replays and not replays.admit(self.signature, self.mark, self.dated, now, self.lifetime):
            raise SignatureError("replay", "This signature was used before.")
        return self.key


def open_claim(head: Head, keys: KeySource, now: float) -> Claim:
    """What the request says of itself, whichever of the schemes it uses. Raises SignatureError."""
    field = head.get(b"authorization")
    if field is None:
        if b"X-Amz-Algorithm=" in head.query:
            return _open_presigned(head, keys, now)
        raise SignatureError("missing", "The request is not signed.")
    text = field.decode("latin-1")
    if text.startswith(SIGV4):
        return _open_sigv4(head, text, keys, now)
    if text.startswith(ACS3):
        return _open_acs3(head, text, keys, now)
    raise SignatureError("malformed", "Authorization names no scheme that is known here.")


def sign_sigv4(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Headers,
    body_sha256: str,
    key: Key,
    now: float,
    region: str = "us-east-1",
    service: str = "lambda",
) -> Headers:
    """Headers to add to a request whose `headers` hold host. All of `headers` are signed, and a nonce, so
    that each signature is good for one use."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    added = [(b"x-amz-date", stamp.encode()), (b"amz-sdk-invocation-id", _nonce().encode())]
    head = Head(method, raw_path, raw_query, [*headers, *added])
    names = sorted({name.decode("latin-1") for name, _ in head.headers})
    scope = f"{stamp[:8]}/{region}/{service}/aws4_request"
    canonical = (
        canonical_request(head, encoded_twice(raw_path), canonical_query(raw_query), names) + body_sha256
    )
    signature = _sigv4(key.secret, stamp, scope, canonical)
    field = f"{SIGV4} Credential={key.id}/{scope}, SignedHeaders={';'.join(names)}, Signature={signature}"
    return [*added, (b"authorization", field.encode())]


def presign_sigv4(
    raw_path: bytes, query: str, host: str, key: Key, now: float, lifetime: int, region: str = "us-east-1"
) -> str:
    """The query string (with `query`, already encoded) by which `raw_path` can be fetched for `lifetime`
    seconds."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
    scope = f"{stamp[:8]}/{region}/lambda/aws4_request"
    parts = [query] if query else []
    parts += [
        f"X-Amz-Algorithm={SIGV4}",
        f"X-Amz-Credential={quote(f'{key.id}/{scope}', safe='')}",
        f"X-Amz-Date={stamp}",
        f"X-Amz-Expires={lifetime}",
        "X-Amz-SignedHeaders=host",
    ]
    whole = "&".join(parts)
    head = Head("GET", raw_path, whole.encode(), [(b"host", host.encode())])
    canonical = (
        canonical_request(head, encoded_twice(raw_path), canonical_query(head.query), ["host"]) + EMPTY
    )
    return f"{whole}&X-Amz-Signature={_sigv4(key.secret, stamp, scope, canonical)}"


def sign_acs3(
    method: str,
    raw_path: bytes,
    raw_query: bytes,
    headers: Headers,
    body_sha256: str,
    key: Key,
    now: float,
) -> Headers:
    """Headers to add to a request whose `headers` hold host. All of `headers` are signed."""
    added = [
        (b"x-acs-date", time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)).encode()),
        (b"x-acs-signature-nonce", _nonce().encode()),
        (b"x-acs-content-sha256", body_sha256.encode()),
    ]
    head = Head(method, raw_path, raw_query, [*headers, *added])
    names = sorted({name.decode("latin-1") for name, _ in head.headers})
    canonical = (
        canonical_request(head, raw_path.decode("latin-1"), canonical_query(raw_query), names, False)
        + body_sha256
    )
    signature = _acs3(key.secret, canonical)
    field = f"{ACS3} Credential={key.id},SignedHeaders={';'.join(names)},Signature={signature}"
    return [*added, (b"authorization", field.encode())]


def _open_sigv4(head: Head, field: str, keys: KeySource, now: float) -> Claim:
    match = _SIGV4_FIELD.fullmatch(field)
    if match is None:
        raise SignatureError(
            "malformed", "Authorization needs Credential, SignedHeaders and Signature parameters."
        )
    id, day, region, service, signed, signature = match.groups()
    names = signed.split(";")
    stamp = head.text(b"x-amz-date")
    dated = _moment(stamp, "%Y%m%dT%H%M%SZ")
    if not stamp.startswith(day):
        raise SignatureError("malformed", "The day in Credential is not that of X-Amz-Date.")
    _check_signed(head, names, (b"x-amz-",), ("host", "x-amz-date"))
    key = _known(keys, id)
    _check_time(dated, now)
    declared = head.text(b"x-amz-content-sha256")
    mark = ""
    if "amz-sdk-invocation-id" not in names and (call := head.get(b"amz-sdk-invocation-id")):
        mark = f"{call!r}{head.get(b'amz-sdk-request')!r}"
    canonical = canonical_request(head, encoded_twice(head.path), canonical_query(head.query), names)
    scope = f"{day}/{region}/{service}/aws4_request"
    return Claim(key, SIGV4, canonical, scope, dated, stamp, signature, declared, mark)


def _open_presigned(head: Head, keys: KeySource, now: float) -> Claim:
    fields: dict[str, str] = {}
    rest: list[bytes] = []
    for pair in head.query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name.startswith(b"X-Amz-"):
            if name.decode("latin-1") in fields:
                raise SignatureError("malformed", "A parameter of the signature comes twice.")
            fields[name.decode("latin-1")] = unquote_to_bytes(value).decode("latin-1")
        if name != b"X-Amz-Signature":
            rest.append(pair)
    scope = _SCOPE.fullmatch(fields.get("X-Amz-Credential", ""))
    lifetime = fields.get("X-Amz-Expires", "")
    stamp = fields.get("X-Amz-Date", "")
    signature = fields.get("X-Amz-Signature", "")
    names = fields.get("X-Amz-SignedHeaders", "").split(";")
    proper = scope is not None and fields.get("X-Amz-Algorithm") == SIGV4 and stamp.startswith(scope[2])
    if scope is None or not proper or not re.fullmatch(r"[0-9a-f]{64}", signature):
        raise SignatureError("malformed", "The query string has no complete signature.")
    if not re.fullmatch(r"[0-9]{1,6}", lifetime) or not 1 <= int(lifetime) <= LONGEST:
        raise SignatureError("malformed", f"X-Amz-Expires must be 1 to {LONGEST} seconds.")
    dated = _moment(stamp, "%Y%m%dT%H%M%SZ")
    _check_signed(head, names, (b"x-amz-",), ("host",))
    key = _known(keys, scope[1])
    if dated > now + SKEW:
        raise SignatureError("expired", f"The signature is not yet current: it is dated {stamp}.")
    if now > dated + int(lifetime):
        raise SignatureError("expired", f"The signature of {stamp} has expired.")
    canonical = canonical_request(head, encoded_twice(head.path), canonical_query(b"&".join(rest)), names)
    return Claim(
        key,
        SIGV4,
        canonical,
        scope[0].partition("/")[2],
        dated,
        stamp,
        signature,
        lifetime=float(lifetime),
    )


def _open_acs3(head: Head, field: str, keys: KeySource, now: float) -> Claim:
    match = _ACS3_FIELD.fullmatch(field)
    if match is None:
        raise SignatureError(
            "malformed", "Authorization needs Credential, SignedHeaders and Signature parameters."
        )
    id, signed, signature = match.groups()
    names = signed.split(";")
    needed = ("host", "x-acs-date", "x-acs-signature-nonce", "x-acs-content-sha256")
    _check_signed(head, names, (b"x-acs-", b"x-fc-"), needed)
    dated = _moment(head.text(b"x-acs-date"), "%Y-%m-%dT%H:%M:%SZ")
    key = _known(keys, id)
    _check_time(dated, now)
    canonical = canonical_request(
        head, head.path.decode("latin-1"), canonical_query(head.query), names, False
    )
    return Claim(key, ACS3, canonical, "", dated, "", signature, head.text(b"x-acs-content-sha256"))


def _known(keys: KeySource, id: str) -> Key:
    key = keys.get(id)
    if key is None:
        raise SignatureError("unknown_key", "The access key of the request is not known here.")
    return key


def _check_time(dated: float, now: float) -> None:
    if abs(now - dated) > SKEW:
        clock = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(now))
        day = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime(dated))
        raise SignatureError("expired", f"The request is dated {day}, more than 15 min. from {clock}.")


def _check_signed(head: Head, names: list[str], prefixes: tuple[bytes, ...], needed: Iterable[str]) -> None:
    """Raise unless `names` are in order, hold `needed`, and every header that has an effect is among them."""
    if sorted(set(names)) != names:
        raise SignatureError("malformed", "SignedHeaders must be sorted and name each header once.")
    missing = [name for name in needed if name not in names or head.get(name.encode()) is None]
    if missing:
        raise SignatureError("malformed", f"These headers must be there and signed: {', '.join(missing)}.")
    for name, _ in head.headers:
        if name.startswith(prefixes) and name.decode("latin-1") not in names:
            raise SignatureError("mismatch", f"Header {name.decode('latin-1')} is not signed.")


def _sigv4(secret: str, stamp: str, scope: str, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    text = f"{SIGV4}\n{stamp}\n{scope}\n{digest}"
    return hmac.digest(_day_key(secret, scope), text.encode(), "sha256").hex()


@lru_cache(maxsize=256)
def _day_key(secret: str, scope: str) -> bytes:
    """The key of a day, region and service: four rounds that the same client need not pay per request."""
    key = b"AWS4" + secret.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def _acs3(secret: str, canonical: str) -> str:
    digest = hashlib.sha256(canonical.encode("latin-1")).hexdigest()
    return hmac.digest(secret.encode(), f"{ACS3}\n{digest}".encode(), "sha256").hex()


@lru_cache(maxsize=64)
def _moment(stamp: str, form: str) -> float:
    """Seconds since the epoch of a UTC time in exactly this form."""
    wrong = SignatureError("malformed", "The request has no date in the form that its scheme asks.")
    try:
        moment = time.strptime(stamp, form)
    except ValueError:
        raise wrong from None
    if time.strftime(form, moment) != stamp:
        raise wrong
    return float(calendar.timegm(moment))


def _nonce() -> str:
    return secrets.token_hex(16)

"""Signatures against the signers of the real clients, and every byte of a request that may not change."""

from __future__ import annotations

import hashlib
import string
import time
from types import SimpleNamespace
from urllib.parse import quote, urlsplit

import pytest
from alibabacloud_tea_openapi.utils import Utils
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given, settings
from hypothesis import strategies as st
from snapfork.runner.faces import signing
from snapfork.runner.faces.exchange import Head, Headers
from snapfork.runner.faces.replay import GRACE, Replays
from snapfork.runner.faces.signing import ACS3, SIGV4, SignatureError, open_claim
from snapfork.runner.registry.model import Key

KEY = Key("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
KEYS = SimpleNamespace(get=lambda id: KEY if id == KEY.id else None)
HOST = (b"host", b"127.0.0.1:9000")

# botocore resolves dot segments before it signs; what is sent is then not what is signed.
segments = st.lists(st.text(min_size=1, max_size=8).filter(lambda part: part not in (".", "..")), max_size=3)
queries = st.dictionaries(
    st.text(string.ascii_letters, min_size=1, max_size=6), st.text(max_size=8), max_size=4
)
bodies = st.binary(max_size=40)
methods = st.sampled_from(["GET", "POST", "PUT", "DELETE"])


def digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def path_of(parts: list[str]) -> str:
    return "/" + "/".join(quote(part, safe="~") for part in parts)


def botocore_signed(
    method: str, parts: list[str], query: dict[str, str], body: bytes, signer: type = SigV4Auth
) -> tuple[Head, bytes]:
    """A request as botocore would send it."""
    request = AWSRequest(
        method,
        f"http://127.0.0.1:9000{path_of(parts)}",
        headers={"X-Amz-Invocation-Type": "Event", "X-Amz-Client-Context": "a  b "},
        data=body,
        params=query,
    )
    signer(Credentials(KEY.id, KEY.secret), "lambda", "eu-west-1").add_auth(request)
    sent = request.prepare()
    url = urlsplit(sent.url)
    headers: Headers = [HOST]
    for name, value in sent.headers.items():
        headers.append((name.lower().encode(), value.encode() if isinstance(value, str) else value))
    return Head(method, url.path.encode(), url.query.encode(), headers), body


def verify(
    head: Head, body: bytes, replays: Replays | None = None, now: float | None = None, scheme: str = SIGV4
) -> Key:
    moment = time.time() if now is None else now
    claim = open_claim(head, KEYS, moment)
    assert claim.scheme == scheme
    return claim.verify(digest(body), moment, replays)


@given(methods, segments, queries, bodies)
@settings(max_examples=150)
def test_botocore_header_form(method: str, parts: list[str], query: dict[str, str], body: bytes) -> None:
    head, body = botocore_signed(method, parts, query, body)
    assert verify(head, body) is KEY


@given(segments, queries)
@settings(max_examples=100)
def test_botocore_query_form(parts: list[str], query: dict[str, str]) -> None:
    request = AWSRequest("GET", f"http://127.0.0.1:9000{path_of(parts)}", params=query)
    SigV4QueryAuth(Credentials(KEY.id, KEY.secret), "lambda", "us-east-1", expires=60).add_auth(request)
    url = urlsplit(request.url)
    head = Head("GET", url.path.encode(), url.query.encode(), [HOST])
    assert verify(head, b"") is KEY
    with pytest.raises(SignatureError) as late:
        verify(head, b"", now=time.time() + 62)
    assert late.value.code == "expired"


@given(methods, segments, queries, bodies, st.text(string.ascii_letters + " ", max_size=8))
@settings(max_examples=150)
def test_alibaba_signer(
    method: str, parts: list[str], query: dict[str, str], body: bytes, extra: str
) -> None:
    headers = {
        "host": "127.0.0.1:9000",
        "x-acs-date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "x-acs-signature-nonce": "0123456789abcdef",
        "x-acs-content-sha256": digest(body),
        "x-fc-log-type": extra,
        "user-agent": "AlibabaCloud (Linux)  x",
    }
    request = SimpleNamespace(method=method, pathname=path_of(parts), query=query, headers=headers)
    field = Utils.get_authorization(request, ACS3, digest(body), KEY.id, KEY.secret)
    wire = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items())
    sent = [(name.encode(), value.encode()) for name, value in {**headers, "authorization": field}.items()]
    head = Head(method, path_of(parts).encode(), wire.encode(), sent)
    assert verify(head, body, scheme=ACS3) is KEY


@given(methods, segments, queries, bodies)
@settings(max_examples=60)
def test_our_own_signers(method: str, parts: list[str], query: dict[str, str], body: bytes) -> None:
    path = path_of(parts).encode()
    wire = "&".join(f"{name}={quote(value, safe='')}" for name, value in query.items()).encode()
    base: Headers = [HOST, (b"x-amz-invocation-type", b"Event"), (b"x-fc-log-type", b"Tail")]
    now = time.time()
    for sign, scheme in ((signing.sign_sigv4, SIGV4), (signing.sign_acs3, ACS3)):
        headers = base + sign(method, path, wire, base, digest(body), KEY, now)
        head = Head(method, path, wire, headers)
        assert verify(head, body, None, now, scheme) is KEY
        replays = Replays()
        verify(head, body, replays, now, scheme)
        with pytest.raises(SignatureError) as again:
            verify(head, body, replays, now, scheme)
        assert again.value.code == "replay"


def test_our_presigned_url() -> None:
    query = signing.presign_sigv4(b"/downloads/a%20b", "x=1", "127.0.0.1:9000", KEY, 1e9, 600)
    head = Head("GET", b"/downloads/a%20b", query.encode(), [HOST])
    assert verify(head, b"", now=1e9 + 599) is KEY
    with pytest.raises(SignatureError, match="expired"):
        verify(head, b"", now=1e9 + 601)
    head.path = b"/downloads/other"
    with pytest.raises(SignatureError, match="does not match"):
        verify(head, b"", now=1e9)


@given(st.data())
@settings(max_examples=200)
def test_one_changed_byte_is_refused(data: st.DataObject) -> None:
    head, body = botocore_signed(
        "POST", ["2015-03-31", "functions", "f", "invocations"], {"Qualifier": "1"}, b"{}"
    )
    place = data.draw(st.sampled_from(["path", "query", "body", "header", "method"]))
    if place == "path":
        head.path = changed(data, head.path)
    elif place == "query":
        head.query = changed(data, head.query)
    elif place == "body":
        body = changed(data, body)
    elif place == "method":
        head.method = "PUT"
    else:
        signed = [b"x-amz-date", b"x-amz-invocation-type", b"x-amz-client-context", b"host"]
        name = data.draw(st.sampled_from(signed))
        head.headers = [(n, b"x" + v if n == name else v) for n, v in head.headers]
    with pytest.raises(SignatureError):
        verify(head, body)


@pytest.mark.parametrize("path", ["/a//b", "/a/./b", "/x/../a/b", "/a/b/", "//a/b", "/a/b/."])
def test_a_path_that_only_means_the_same_is_another(path: str) -> None:
    head, body = botocore_signed("GET", ["a", "b"], {}, b"")
    head.path = path.encode()
    with pytest.raises(SignatureError):
        verify(head, body)


def changed(data: st.DataObject, text: bytes) -> bytes:
    at = data.draw(st.integers(0, len(text) - 1))
    other = data.draw(st.sampled_from([c for c in b"abcXYZ019" if c != text[at]]))
    return text[:at] + bytes([other]) + text[at + 1 :]


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda h: [f for f in h if f[0] != b"authorization"], "missing"),
        (lambda h: [(n, b"Bearer x" if n == b"authorization" else v) for n, v in h], "malformed"),
        (lambda h: [(n, v[:-1] if n == b"authorization" else v) for n, v in h], "malformed"),
        (
            lambda h: [(n, v.replace(b"host;", b"") if n == b"authorization" else v) for n, v in h],
            "malformed",
        ),
        (lambda h: [(n, v.replace(b"AKIDEXAMPLE", b"OTHER")) for n, v in h], "unknown_key"),
        (lambda h: [f for f in h if f[0] != b"x-amz-date"], "malformed"),
        (lambda h: [*h, (b"x-amz-log-type", b"Tail")], "mismatch"),
        (lambda h: [*h, (b"x-amz-invocation-type", b"DryRun")], "mismatch"),
        (lambda h: [*h, (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")], "mismatch"),
    ],
)
def test_codes(change, code: str) -> None:
    head, body = botocore_signed("POST", ["a"], {}, b"{}")
    head.headers = change(head.headers)
    with pytest.raises(SignatureError) as refused:
        verify(head, body)
    assert refused.value.code == code
    assert KEY.secret not in str(refused.value)


TEXTS = st.text(st.characters(max_codepoint=255), max_size=30)
SCOPE = f"{KEY.id}/20270115/us-east-1/lambda/aws4_request"
FIELDS = TEXTS | st.sampled_from(
    [
        f"AWS4-HMAC-SHA256 Credential={SCOPE}, SignedHeaders=host;x-amz-date, Signature={'0' * 64}",
        f"ACS3-HMAC-SHA256 Credential={KEY.id},SignedHeaders=host;x-acs-date,Signature={'0' * 64}",
        "AWS4-HMAC-SHA256",
        "ACS3-HMAC-SHA256 Credential=",
    ]
)
NAMES = st.sampled_from(
    ["authorization", "host", "x-amz-date", "x-acs-date", "x-acs-signature-nonce", "x-amz-content-sha256"]
)
DATES = st.sampled_from(["20270115T080000Z", "2027-01-15T08:00:00Z", "20270199T000000Z", "00010101T000000Z"])
PRESIGNED = st.dictionaries(
    st.sampled_from(["Algorithm", "Credential", "Date", "Expires", "SignedHeaders", "Signature"]),
    st.sampled_from(
        ["AWS4-HMAC-SHA256", SCOPE, "20270115T080000Z", "600", "000000600", "host", "0" * 64, "", "%ff"]
    ),
).map(
    lambda fields: "&".join(
        f"{'a' if not value else ''}X-Amz-{name}={value}" for name, value in fields.items()
    )
)


@given(TEXTS, TEXTS | PRESIGNED, st.lists(st.tuples(NAMES, FIELDS | DATES), max_size=6))
@settings(max_examples=500)
def test_whatever_is_sent_is_refused_in_words(path: str, query: str, headers: list[tuple[str, str]]) -> None:
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    head = Head("GET", path.encode("latin-1"), query.encode("latin-1"), sent)
    with pytest.raises(SignatureError):
        open_claim(head, KEYS, 1.8e9).verify(signing.EMPTY, 1.8e9, Replays())


@pytest.mark.parametrize("expires", ["0", "604801", "0000000600", "-1", "x", "", "6e2"])
def test_lifetimes_that_cannot_be(expires: str) -> None:
    query = signing.presign_sigv4(b"/a", "", "127.0.0.1:9000", KEY, 1e9, 600).replace(
        "X-Amz-Expires=600", f"X-Amz-Expires={expires}"
    )
    with pytest.raises(SignatureError) as refused:
        verify(Head("GET", b"/a", query.encode(), [HOST]), b"", now=1e9)
    assert refused.value.code == "malformed"


def test_unsigned_payload_is_no_hash() -> None:
    """AWS takes it over TLS only, from S3 and streaming clients: here the body is always hashed."""
    base: Headers = [HOST, (b"x-amz-content-sha256", b"UNSIGNED-PAYLOAD")]
    headers = base + signing.sign_sigv4("POST", b"/a", b"", base, "UNSIGNED-PAYLOAD", KEY, 1e9)
    with pytest.raises(SignatureError) as refused:
        verify(Head("POST", b"/a", b"", headers), b"anything", now=1e9)
    assert refused.value.code == "body_hash"


@pytest.mark.parametrize(("off", "fine"), [(-899, True), (899, True), (-902, False), (902, False)])
def test_clock_skew(off: float, fine: bool) -> None:
    headers = [HOST, *signing.sign_sigv4("GET", b"/a", b"", [HOST], signing.EMPTY, KEY, 1e9 + off)]
    if fine:
        assert verify(Head("GET", b"/a", b"", headers), b"", now=1e9) is KEY
    else:
        with pytest.raises(SignatureError) as refused:
            verify(Head("GET", b"/a", b"", headers), b"", now=1e9)
        assert refused.value.code == "expired"


def test_scheme_of_the_other_dialect() -> None:
    headers = [HOST, *signing.sign_acs3("GET", b"/a", b"", [HOST], signing.EMPTY, KEY, 1e9)]
    assert verify(Head("GET", b"/a", b"", headers), b"", now=1e9, scheme=ACS3) is KEY


# Replays

SIGNATURE = "ab" * 32


def test_replay_equal_calls_of_one_second_are_told_apart_by_their_marks() -> None:
    replays = Replays()
    assert replays.admit(SIGNATURE, "call 1, attempt 1", 1000.0, 1000.2)
    assert replays.admit(SIGNATURE, "call 2, attempt 1", 1000.0, 1000.9)
    assert replays.admit(SIGNATURE, "call 1, attempt 2", 1000.0, 1001.0)
    assert not replays.admit(SIGNATURE, "call 1, attempt 1", 1000.0, 1001.1), "verbatim"
    assert not replays.admit(SIGNATURE, "", 1000.0, 1001.2)
    assert not replays.admit(SIGNATURE, "call 3", 1000.0, 1000.3 + GRACE), "a forged mark, later"


def test_replay_without_a_mark_once() -> None:
    replays = Replays()
    assert replays.admit(SIGNATURE, "", 1000.0, 1000.0)
    assert not replays.admit(SIGNATURE, "forged", 1000.0, 1000.1)


def test_replay_is_remembered_as_long_as_the_signature_is_valid() -> None:
    replays = Replays(window=900.0)
    assert replays.admit(SIGNATURE, "a", 1000.0, 1000.0)
    for now in range(1001, 1901, 3):
        replays.admit(f"{now:064x}", "a", float(now), float(now))
        assert not replays.admit(SIGNATURE, f"b{now}", 1000.0, max(float(now), 1000.1 + GRACE))
    replays.admit("cd" * 32, "a", 1905.0, 1905.0)
    assert len(replays._seconds) < 310, "what is no longer valid is forgotten"


def test_replay_of_a_presigned_url_until_its_end() -> None:
    replays = Replays(window=900.0)
    assert replays.admit(SIGNATURE, "", 1000.0, 1000.0, 5000.0)
    for now in (2000.0, 4000.0, 5990.0):
        replays.admit(f"{int(now):064x}", "", now, now)
        assert not replays.admit(SIGNATURE, "", 1000.0, now, 5000.0)


def test_replay_of_what_the_process_before_may_have_seen() -> None:
    replays = Replays(since=1000.7)
    assert not replays.admit(SIGNATURE, "a", 999.0, 1001.0)
    assert replays.admit(SIGNATURE, "a", 1000.0, 1001.0)

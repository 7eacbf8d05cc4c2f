"""Signatures are checked as published vectors and the official library require."""

import base64
import hashlib
import hmac
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from cold_transfer.auth.signature import (
    MAX_SIGNATURES,
    TOLERANCE_SECONDS,
    SignedMessage,
    is_signature_attempt,
    looks_like_signing_secret,
    signing_key,
    single_value,
)

# The vector that Svix and every Standard Webhooks library publish in their tests.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
WEBHOOK_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="

OTHER_SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


def sign(secret: str, webhook_id: str, timestamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = b".".join([webhook_id.encode(), timestamp.encode(), body])
    return "v1," + base64.b64encode(hmac.digest(key, content, "sha256")).decode()


@dataclass(frozen=True)
class Request:
    """A correctly signed request, of which a test spoils one part.

    ``headers`` replaces a header after signing, or removes it if the value is None.
    """

    webhook_id: str = WEBHOOK_ID
    timestamp: str = str(TIMESTAMP)
    body: bytes = BODY
    now: float = TIMESTAMP
    signature: str = ""
    headers: dict[str, list[str] | None] = field(default_factory=dict)

    def accepted(self, secret: str = SECRET) -> bool:
        signature = self.signature or sign(SECRET, self.webhook_id, self.timestamp, self.body)
        all_headers = {
            "webhook-id": [self.webhook_id],
            "webhook-timestamp": [self.timestamp],
            "webhook-signature": [signature],
        } | self.headers
        headers = {name: values for name, values in all_headers.items() if values is not None}
        message = SignedMessage.read(headers, self.body, self.now)
        key = signing_key(secret)
        assert key is not None
        return message is not None and message.is_signed_with(key)


VALID = Request()


def test_the_published_vector_is_accepted() -> None:
    assert replace(VALID, signature=SIGNATURE).accepted()


def test_the_published_vector_is_refused_with_another_secret() -> None:
    assert not replace(VALID, signature=SIGNATURE).accepted(OTHER_SECRET)


@pytest.mark.parametrize(
    ("key", "data", "digest"),
    [
        pytest.param(
            b"\x0b" * 20,
            b"Hi There",
            "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7",
            id="case 1",
        ),
        pytest.param(
            b"Jefe",
            b"what do ya want for nothing?",
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843",
            id="case 2",
        ),
        pytest.param(
            b"\xaa" * 20,
            b"\xdd" * 50,
            "773ea91e36800e46854db8ebd09181a72959098b3ef8c122d9635514ced565fe",
            id="case 3",
        ),
        pytest.param(
            bytes(range(1, 26)),
            b"\xcd" * 50,
            "82558a389a443c0ea4cc819899f2083a85f0faa3e578f8077a2e3ff46729665b",
            id="case 4",
        ),
        pytest.param(
            b"\xaa" * 131,
            b"Test Using Larger Than Block-Size Key - Hash Key First",
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54",
            id="case 6",
        ),
        pytest.param(
            b"\xaa" * 131,
            b"This is a test using a larger than block-size key and a larger than block-size data."
            b" The key needs to be hashed before being used by the HMAC algorithm.",
            "9b09ffa71b942fcb27635fbcd5b0e944bfdc63644f0713938a7f51535c3a35e2",
            id="case 7",
        ),
    ],
)
def test_the_hmac_is_that_of_rfc_4231(key: bytes, data: bytes, digest: str) -> None:
    signature = base64.b64encode(bytes.fromhex(digest))

    assert SignedMessage("any", 1, data, (signature,)).is_signed_with(key)
    assert not SignedMessage("any", 1, data + b".", (signature,)).is_signed_with(key)


def test_a_signature_of_the_official_library_is_accepted() -> None:
    moment = datetime.fromtimestamp(TIMESTAMP, UTC)
    body = '{"to": "+14155550123", "note": "naïve"}'
    signature = Webhook(SECRET).sign("msg-1", moment, body)

    assert Request("msg-1", body=body.encode(), signature=signature).accepted()


def test_the_official_library_agrees() -> None:
    # The library reads the clock itself, so this one test has to use the real one.
    now = time.time()
    request = Request("msg-1", str(int(now)), now=now)
    signature = sign(SECRET, "msg-1", request.timestamp, BODY)
    headers = {
        "webhook-id": "msg-1",
        "webhook-timestamp": request.timestamp,
        "webhook-signature": signature,
    }

    assert request.accepted()
    assert Webhook(SECRET).verify(BODY, headers) == {"test": 2432232314}
    assert not request.accepted(OTHER_SECRET)
    with pytest.raises(WebhookVerificationError):
        Webhook(OTHER_SECRET).verify(BODY, headers)


def test_the_signature_covers_the_body_byte_for_byte() -> None:
    assert replace(VALID, body=b"\xff\x00\xfe not UTF-8").accepted()
    assert replace(VALID, body=b"").accepted()
    assert not replace(VALID, body=BODY + b"\n", signature=SIGNATURE).accepted()
    assert not replace(VALID, body=base64.b64encode(BODY), signature=SIGNATURE).accepted()


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("values", [None, []], ids=["absent", "no value"])
def test_a_missing_header_is_refused(name: str, values: list[str] | None) -> None:
    assert not replace(VALID, headers={name: values}).accepted()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("webhook-id", WEBHOOK_ID),
        ("webhook-timestamp", str(TIMESTAMP)),
        ("webhook-signature", SIGNATURE),
    ],
)
def test_a_repeated_header_is_refused_even_if_both_are_valid(name: str, value: str) -> None:
    assert not replace(VALID, headers={name: [value, value]}).accepted()


@pytest.mark.parametrize(
    "webhook_id",
    [
        pytest.param("", id="empty"),
        pytest.param("msg.1", id="dot"),
        pytest.param("msg 1", id="space"),
        pytest.param(" msg1", id="leading space"),
        pytest.param("msg1\n", id="trailing newline"),
        pytest.param("msg\x001", id="NUL"),
        pytest.param("msg/1", id="slash"),
        pytest.param("mság1", id="latin-1"),
        pytest.param("msg１", id="fullwidth digit"),  # noqa: RUF001 - the test needs this look-alike
        pytest.param("m" * 256, id="256 characters"),
    ],
)
def test_a_malformed_id_is_refused_although_its_signature_is_valid(webhook_id: str) -> None:
    assert not replace(VALID, webhook_id=webhook_id).accepted()


@pytest.mark.parametrize("webhook_id", ["m", "m" * 255, "Az09_:-"])
def test_a_well_formed_id_is_accepted(webhook_id: str) -> None:
    assert replace(VALID, webhook_id=webhook_id).accepted()


def test_an_id_with_lone_surrogates_is_refused() -> None:
    assert not replace(VALID, headers={"webhook-id": ["msg\udcff"]}).accepted()


@pytest.mark.parametrize(
    ("timestamp", "now"),
    [
        pytest.param("", 0, id="empty"),
        pytest.param("+16", 16, id="plus"),
        pytest.param("-16", -16, id="minus"),
        pytest.param(" 16", 16, id="leading space"),
        pytest.param("16 ", 16, id="trailing space"),
        pytest.param("16\n", 16, id="trailing newline"),
        pytest.param("16.0", 16, id="decimal point"),
        pytest.param("1e9", 1e9, id="exponent"),
        pytest.param("1_6", 16, id="underscore"),
        pytest.param("0x10", 16, id="hex"),
        pytest.param("016", 16, id="leading zero"),
        pytest.param("0", 0, id="zero"),
        pytest.param("１６", 16, id="fullwidth digits"),  # noqa: RUF001 - the test needs this look-alike
        pytest.param("1٦", 16, id="arabic digit behind an ASCII one"),
        pytest.param("nan", 16, id="nan"),
        pytest.param("inf", 16, id="inf"),
        pytest.param("9" * 12, 999999999999, id="12 digits"),
        pytest.param("1" * 5000, 16, id="more digits than int() takes"),
        pytest.param("1614265330000", TIMESTAMP, id="milliseconds"),
    ],
)
def test_a_timestamp_that_is_not_a_plain_integer_is_refused(timestamp: str, now: float) -> None:
    assert not replace(VALID, timestamp=timestamp, now=now).accepted()


def test_a_timestamp_with_lone_surrogates_is_refused() -> None:
    assert not replace(VALID, headers={"webhook-timestamp": ["16\udc80"]}).accepted()


@pytest.mark.parametrize("distance", [-TOLERANCE_SECONDS, -1, 0, 1, TOLERANCE_SECONDS])
def test_a_timestamp_within_five_minutes_is_accepted(distance: float) -> None:
    assert replace(VALID, now=TIMESTAMP + distance).accepted()


@pytest.mark.parametrize("distance", [-86400, -300.5, 300.5, 86400])
def test_a_timestamp_more_than_five_minutes_away_is_refused(distance: float) -> None:
    assert not replace(VALID, now=TIMESTAMP + distance).accepted()


def test_the_tolerance_is_five_minutes() -> None:
    assert TOLERANCE_SECONDS == 300


@pytest.mark.parametrize(
    "signature",
    [
        pytest.param(" ", id="space"),
        pytest.param("v1", id="no comma"),
        pytest.param("v1,", id="empty signature"),
        pytest.param(SIGNATURE.removeprefix("v1,"), id="no version"),
        pytest.param(SIGNATURE.replace("v1", "v2"), id="another version"),
        pytest.param(SIGNATURE.replace("v1", "V1"), id="version in capitals"),
        pytest.param(SIGNATURE.replace("v1", "v1a"), id="asymmetric version"),
        pytest.param(SIGNATURE.rstrip("="), id="without padding"),
        pytest.param(SIGNATURE + "=", id="more padding"),
        pytest.param(SIGNATURE.replace("+", "-").replace("/", "_"), id="base64url"),
        pytest.param(SIGNATURE.replace("OE=", "OF="), id="unused bits set"),
        pytest.param("v1,!!!!", id="no base64"),
        pytest.param("v1," + "A" * 43 + "=", id="other signature"),
        pytest.param(SIGNATURE[:27], id="truncated"),
        pytest.param("v1,g0hM9SsE\n+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=", id="newline inside"),
        pytest.param(SIGNATURE + "\n", id="trailing newline"),
        pytest.param(SIGNATURE + " ", id="trailing space"),
        pytest.param(SIGNATURE + "  " + SIGNATURE, id="two spaces"),
        pytest.param(SIGNATURE + "," + SIGNATURE, id="separated by commas"),
        pytest.param(SIGNATURE + " v1,!!!!", id="beside one that is no base64"),
        pytest.param(SIGNATURE + " garbage", id="beside one without version"),
        pytest.param("v1,\xe9" + SIGNATURE[4:], id="latin-1"),
        pytest.param("v1,\udcff" + SIGNATURE[4:], id="lone surrogate"),
        pytest.param(SIGNATURE + " v2," + "A" * 3000, id="oversized"),
        pytest.param(SIGNATURE + " v1," + "A" * 1_000_000, id="huge"),
    ],
)
def test_a_malformed_or_wrong_signature_is_refused(signature: str) -> None:
    assert not replace(VALID, signature=signature).accepted()


def test_a_signature_in_hex_is_refused() -> None:
    key = base64.b64decode(SECRET.removeprefix("whsec_"))
    content = f"{WEBHOOK_ID}.{TIMESTAMP}.".encode() + BODY
    digest = hmac.new(key, content, hashlib.sha256).hexdigest()

    assert not replace(VALID, signature=f"v1,{digest}").accepted()


def test_the_key_is_the_decoded_secret_not_its_text() -> None:
    content = f"{WEBHOOK_ID}.{TIMESTAMP}.".encode() + BODY
    for text in (SECRET, SECRET.removeprefix("whsec_")):
        digest = hmac.digest(text.encode(), content, "sha256")
        signature = "v1," + base64.b64encode(digest).decode()
        assert not replace(VALID, signature=signature).accepted()


@pytest.mark.parametrize("position", [0, 1, 2])
def test_one_valid_signature_among_several_is_enough_at_any_position(position: int) -> None:
    entries = ["v1," + "A" * 43 + "=", "v1a," + "B" * 86 + "=="]
    entries.insert(position, SIGNATURE)

    assert replace(VALID, signature=" ".join(entries)).accepted()


def test_the_number_of_signatures_is_limited() -> None:
    others = ["v1," + "A" * 43 + "="] * MAX_SIGNATURES

    assert replace(VALID, signature=" ".join([*others[1:], SIGNATURE])).accepted()
    assert not replace(VALID, signature=" ".join([*others, SIGNATURE])).accepted()


def test_the_longest_legitimate_header_is_accepted() -> None:
    asymmetric = ["v1a," + "B" * 86 + "=="] * (MAX_SIGNATURES - 1)

    assert replace(VALID, signature=" ".join([*asymmetric, SIGNATURE])).accepted()


@pytest.mark.parametrize(
    "spoilt",
    [
        pytest.param(replace(VALID, webhook_id="msg_other"), id="id"),
        pytest.param(replace(VALID, timestamp=str(TIMESTAMP + 1)), id="timestamp"),
        pytest.param(replace(VALID, body=b"{}"), id="body"),
    ],
)
def test_the_signature_covers_id_timestamp_and_body(spoilt: Request) -> None:
    assert spoilt.accepted()
    assert not replace(spoilt, signature=SIGNATURE).accepted()


@pytest.mark.parametrize("size", [24, 32, 64])
def test_a_signing_secret_is_the_base64_of_24_to_64_bytes(size: int) -> None:
    key = bytes(range(size))

    assert signing_key("whsec_" + base64.b64encode(key).decode()) == key


@pytest.mark.parametrize(
    "secret",
    [
        pytest.param("", id="empty"),
        pytest.param("whsec_", id="prefix alone"),
        pytest.param(SECRET.removeprefix("whsec_"), id="no prefix"),
        pytest.param(SECRET.replace("whsec_", "WHSEC_"), id="prefix in capitals"),
        pytest.param("whsk_" + SECRET.removeprefix("whsec_"), id="an asymmetric key"),
        pytest.param("whsec_" + base64.b64encode(bytes(23)).decode(), id="23 bytes"),
        pytest.param("whsec_" + base64.b64encode(bytes(65)).decode(), id="65 bytes"),
        pytest.param("whsec_" + base64.b64encode(bytes(32)).decode().rstrip("="), id="no padding"),
        pytest.param("whsec_" + base64.urlsafe_b64encode(b"\xff" * 24).decode(), id="base64url"),
        pytest.param("whsec_" + "A" * 42 + "B=", id="unused bits set"),
        pytest.param(SECRET + "\n", id="trailing newline"),
        pytest.param("whsec_" + "!" * 32, id="no base64"),
        pytest.param("whsec_" + "é" * 32, id="not ASCII"),
        pytest.param("whsec_" + "\ud800" * 32, id="lone surrogates"),
    ],
)
def test_anything_else_is_not_a_signing_secret(secret: str) -> None:
    assert signing_key(secret) is None


def test_a_signing_secret_is_recognised_by_its_prefix() -> None:
    assert looks_like_signing_secret(SECRET)
    assert not looks_like_signing_secret(SECRET.removeprefix("whsec_"))


@pytest.mark.parametrize(
    "name",
    ["webhook-id", "webhook-timestamp", "webhook-signature", "webhook-attempt", "webhook-"],
)
def test_any_webhook_header_counts_as_a_signature_attempt(name: str) -> None:
    assert is_signature_attempt({"host": ["a"], name: []})


@pytest.mark.parametrize("name", ["authorization", "x-webhook-id", "webhook", "svix-id"])
def test_other_headers_do_not_count_as_a_signature_attempt(name: str) -> None:
    assert not is_signature_attempt({name: ["a"]})


def test_a_header_counts_only_if_it_has_one_value() -> None:
    assert single_value({"a": ["1"]}, "a") == "1"
    assert single_value({"a": []}, "a") is None
    assert single_value({"a": ["1", "1"]}, "a") is None
    assert single_value({"b": ["1"]}, "a") is None


def test_the_repr_has_neither_content_nor_signature() -> None:
    message = SignedMessage("msg-1", 1, b"+14155550123", (b"signature",))

    assert repr(message) == "SignedMessage(webhook_id='msg-1', timestamp=1)"

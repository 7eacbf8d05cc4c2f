"""On any input, authentication returns an identity or raises one of its own two errors."""

import base64
import hashlib
import hmac
import json
import time

import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from cold_transfer.auth import clients_secret
from cold_transfer.errors import SecretInvalid, Unauthorized

SECRETS = ["whsec_" + base64.b64encode(bytes([n]) * 32).decode() for n in range(3)]
UNKNOWN_SECRET = "whsec_" + base64.b64encode(b"?" * 32).decode()
TOKEN = "the-one-token-0123456789-abcdefghij"
NOW = 1_790_000_000

CLIENTS = clients_secret.parse(
    json.dumps(
        {
            "clients": {
                "crm": {"signing_secrets": SECRETS[:2]},
                "erp": {"signing_secrets": SECRETS[2:], "tokens": [TOKEN]},
            }
        }
    )
)


def signature(secret: str, webhook_id: str, timestamp: str, body: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    content = f"{webhook_id}.{timestamp}.".encode("utf-8", "surrogatepass") + body
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


# Any header value that a Python string can hold, with lone surrogates, and near misses.
ANY_TEXT = st.text(st.characters(codec=None), max_size=80)
NEAR_AUTHORIZATION = st.builds(
    "{}{}{}".format,
    st.sampled_from(["Bearer", "basic", "BASIC", "Digest", "ba\u017fic", ""]),
    st.sampled_from([" ", "  ", "\t", "", "\u00a0"]),
    st.one_of(
        ANY_TEXT,
        st.just(TOKEN),
        st.binary(max_size=60).map(lambda raw: base64.b64encode(raw).decode()),
    ),
)
NEAR_ID = st.one_of(
    st.from_regex(r"[A-Za-z0-9_:-]+", fullmatch=True),
    st.from_regex(r"[A-Za-z0-9._:-]+\n?"),
    ANY_TEXT,
)
NEAR_TIMESTAMP = st.one_of(
    st.integers(NOW - 400, NOW + 400).map(str),
    st.floats().map(str),
    st.integers().map(str),
    st.text("0123456789+-._eE １６٣", max_size=12),
)
NEAR_SIGNATURE = st.lists(
    st.one_of(
        ANY_TEXT,
        st.builds("{},{}".format, st.sampled_from(["v1", "v1a", "v2", "V1", ""]), ANY_TEXT),
        st.binary(min_size=30, max_size=34).map(lambda raw: "v1," + base64.b64encode(raw).decode()),
    ),
    max_size=20,
).map(" ".join)


def values(value: st.SearchStrategy[str]) -> st.SearchStrategy[list[str]]:
    return st.one_of(value.map(lambda one: [one]), st.lists(value, max_size=3))


HEADERS = st.fixed_dictionaries(
    {},
    optional={
        "webhook-id": values(NEAR_ID),
        "webhook-timestamp": values(st.one_of(ANY_TEXT, NEAR_TIMESTAMP)),
        "webhook-signature": values(st.one_of(ANY_TEXT, NEAR_SIGNATURE)),
        "webhook-other": values(ANY_TEXT),
        "authorization": values(st.one_of(ANY_TEXT, NEAR_AUTHORIZATION)),
        "host": values(ANY_TEXT),
    },
)


@settings(deadline=None)
@given(headers=HEADERS, body=st.binary(max_size=200), now=st.floats(0, 1e11))
@example(headers={"authorization": ["Basic \ud800"]}, body=b"", now=0)
@example(headers={"authorization": ["Bearer " + "\xe9" * 40]}, body=b"", now=0)
@example(headers={"webhook-id": ["\udcff"]}, body=b"\xff", now=0)
def test_without_a_credential_any_headers_are_refused(
    headers: dict[str, list[str]], body: bytes, now: float
) -> None:
    known = [f"Bearer {TOKEN}", f"Bearer  {TOKEN}"]
    assume(
        not any(
            value.lower() in map(str.lower, known) for value in headers.get("authorization", [])
        )
    )

    with pytest.raises(Unauthorized) as refused:
        CLIENTS.authenticate(headers, body, now)

    assert str(refused.value) == "no valid credential"
    assert refused.value.__context__ is None


@settings(deadline=None)
@given(
    headers=HEADERS,
    webhook_id=NEAR_ID,
    timestamp=NEAR_TIMESTAMP,
    body=st.binary(max_size=200),
    secret=st.sampled_from([*SECRETS, UNKNOWN_SECRET]),
)
def test_a_valid_signature_is_accepted_only_with_well_formed_headers(
    headers: dict[str, list[str]], webhook_id: str, timestamp: str, body: bytes, secret: str
) -> None:
    """Any id and timestamp, correctly signed: exactly the well-formed ones are accepted."""
    headers = headers | {
        "webhook-id": [webhook_id],
        "webhook-timestamp": [timestamp],
        "webhook-signature": [signature(secret, webhook_id, timestamp, body)],
    }
    id_characters = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_:-")
    acceptable = (
        secret in SECRETS
        and 1 <= len(webhook_id) <= 255
        and set(webhook_id) <= id_characters
        and timestamp in map(str, range(NOW - 300, NOW + 301))
    )

    try:
        identity = CLIENTS.authenticate(headers, body, NOW)
    except Unauthorized:
        assert not acceptable
    else:
        assert acceptable
        assert identity.webhook_id == webhook_id
        assert identity.client.name == ("erp" if secret == SECRETS[2] else "crm")


@settings(deadline=None)
@given(
    webhook_id=st.from_regex(r"[A-Za-z0-9_:-]{1,40}", fullmatch=True),
    distance=st.one_of(st.integers(-290, 290), st.integers(310, 900), st.integers(-900, -310)),
    body=st.text(st.characters(codec="utf-8"), max_size=80),
    secret=st.sampled_from([*SECRETS, UNKNOWN_SECRET]),
    prefix=st.lists(st.sampled_from([f"v1,{'A' * 43}=", "v2,AAAA"]), max_size=3),
)
def test_on_well_formed_requests_the_official_library_agrees(
    webhook_id: str, distance: int, body: str, secret: str, prefix: list[str]
) -> None:
    # The library reads the real clock; no distance is close to the limit of 300 s.
    now = time.time()
    timestamp = str(int(now) + distance)
    one = signature(secret, webhook_id, timestamp, body.encode())
    flat = {
        "webhook-id": webhook_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join([*prefix, one]),
    }

    assert _accepts_here(flat, body.encode(), now) == any(
        _library_accepts(known, flat, body) for known in SECRETS
    )


def _accepts_here(headers: dict[str, str], body: bytes, now: float) -> bool:
    try:
        CLIENTS.authenticate({name: [value] for name, value in headers.items()}, body, now)
    except Unauthorized:
        return False
    return True


def _library_accepts(secret: str, headers: dict[str, str], body: str) -> bool:
    # On well-formed input the library raises no other error.
    try:
        Webhook(secret).verify(body, headers, json_parse=False)
    except WebhookVerificationError:
        return False
    return True


@settings(deadline=None)
@given(
    position=st.integers(0, 10_000),
    bit=st.integers(0, 7),
    body=st.binary(min_size=1, max_size=60),
    part=st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature", "body"]),
)
def test_a_request_with_any_bit_flipped_is_refused(
    position: int, bit: int, body: bytes, part: str
) -> None:
    parts = {
        "webhook-id": b"msg-1",
        "webhook-timestamp": str(NOW).encode(),
        "webhook-signature": signature(SECRETS[0], "msg-1", str(NOW), body).encode(),
        "body": body,
    }
    flipped = bytearray(parts[part])
    flipped[position % len(flipped)] ^= 1 << bit
    parts[part] = bytes(flipped)
    body = parts.pop("body")

    with pytest.raises(Unauthorized):
        CLIENTS.authenticate(
            {name: [value.decode("latin-1")] for name, value in parts.items()}, body, NOW
        )


JSON_VALUES = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), ANY_TEXT),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(ANY_TEXT, inner, max_size=3)
    ),
    max_leaves=8,
)
CREDENTIALS = [TOKEN, *SECRETS, UNKNOWN_SECRET]


def near_list(valid: st.SearchStrategy[str]) -> st.SearchStrategy[object]:
    """Mostly a list of valid values; also an invalid list, or another value."""
    return st.one_of(
        st.lists(valid, min_size=1, max_size=3),
        st.lists(st.one_of(valid, JSON_VALUES), max_size=3),
        JSON_VALUES,
    )


NEAR_ENTRY = st.fixed_dictionaries(
    {},
    optional={
        "signing_secrets": near_list(st.sampled_from([*SECRETS, UNKNOWN_SECRET])),
        "tokens": near_list(st.one_of(st.just(TOKEN), st.text("ab! é", min_size=31, max_size=34))),
        "phlo_ids": near_list(st.sampled_from(["a" * 24, "A" * 24, "a" * 25])),
    },
)
NEAR_DOCUMENT = st.dictionaries(st.sampled_from(["crm", "erp"]), NEAR_ENTRY, min_size=1).map(
    lambda clients: {"clients": clients}
)


@settings(deadline=None)
@given(secret=st.one_of(ANY_TEXT, JSON_VALUES.map(json.dumps)))
@example(secret='{"clients": {"a": {"tokens": ["\\ud800"]}}}')
@example(secret="[" * 200_000)
@example(secret="9" * 5_000)
def test_any_other_text_or_json_is_refused_as_a_secret(secret: str) -> None:
    with pytest.raises(SecretInvalid) as refused:
        clients_secret.parse(secret)

    assert refused.value.__context__ is None


@settings(deadline=None)
@given(document=NEAR_DOCUMENT)
def test_a_nearly_valid_secret_is_parsed_or_refused_without_a_value(
    document: object,
) -> None:
    refused, some = None, None
    try:
        some = clients_secret.parse(json.dumps(document))
    except SecretInvalid as error:
        refused = error
    if some is not None:
        # Even then, a request without a credential is refused.
        with pytest.raises(Unauthorized):
            some.authenticate({}, b"", NOW)
    if refused is not None:
        assert refused.__context__ is None
        assert not any(credential in str(refused) for credential in CREDENTIALS)


NAMES = st.from_regex(r"[A-Za-z0-9._-]{1,64}", fullmatch=True)
TOKENS = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=32, max_size=40)


@settings(deadline=None)
@given(
    st.dictionaries(NAMES, st.lists(TOKENS, min_size=1, max_size=3), min_size=1, max_size=4),
    st.data(),
)
def test_a_token_identifies_its_own_client_and_under_its_own_name_only(
    tokens: dict[str, list[str]], data: st.DataObject
) -> None:
    every_token = [token for several in tokens.values() for token in several]
    assume(len(every_token) == len(set(every_token)))
    assume(not any(token.startswith("whsec_") for token in every_token))
    some = clients_secret.parse(
        json.dumps({"clients": {name: {"tokens": several} for name, several in tokens.items()}})
    )
    name = data.draw(st.sampled_from(sorted(tokens)))
    token = data.draw(st.sampled_from(sorted(every_token)))
    owner = next(owner for owner, several in tokens.items() if token in several)

    identity = some.authenticate({"authorization": [f"Bearer {token}"]}, b"", NOW)
    assert identity.client.name == owner

    pair = base64.b64encode(f"{name}:{token}".encode()).decode()
    basic = {"authorization": [f"Basic {pair}"]}
    if name == owner:
        assert some.authenticate(basic, b"", NOW).client.name == owner
    else:
        with pytest.raises(Unauthorized):
            some.authenticate(basic, b"", NOW)

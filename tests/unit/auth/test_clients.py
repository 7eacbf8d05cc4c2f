"""Which client sent a request, what it may do, and which clients secrets are refused."""

import base64
import hashlib
import hmac
import json
from collections.abc import Callable

import pytest

from cold_transfer.action import ActionName
from cold_transfer.auth import clients_secret
from cold_transfer.auth.clients import Client, Clients, Identity
from cold_transfer.auth.signature import SignedMessage
from cold_transfer.errors import SecretInvalid, Unauthorized

NOW = 1_790_000_000.0
BODY = b'{"to": "+14155550123", "trigger_source": "+14155550100"}'

CRM_SECRET = "whsec_" + base64.b64encode(b"crm signing secret, the new one.").decode()
CRM_OLD_SECRET = "whsec_" + base64.b64encode(b"crm signing secret, the old one.").decode()
ERP_SECRET = "whsec_" + base64.b64encode(b"erp signing secret, its only one").decode()
PHLO_TOKEN = "phlo-token-new-0123456789abcdefghijk"
PHLO_OLD_TOKEN = "phlo-token-old-0123456789abcdefghijk"
SDK_TOKEN = 'sdk:token/+=~.!"-0123456789abcdefghijk'
SDK_NAME = "MALOCALSDKCLIENT0001"
PHLO_ID = "8E05AEB1-1e3a-4fcf-8c2a-1c2ae2ffbe3d"
OLD_PHLO_ID = "5d41402ABC4b2a76b9719d91"

SECRET = {
    "clients": {
        "crm": {"signing_secrets": [CRM_SECRET, CRM_OLD_SECRET]},
        "erp": {
            "signing_secrets": [ERP_SECRET],
            "tokens": ["erp-token-0123456789-abcdefghijk"],
        },
        "phlo": {"tokens": [PHLO_TOKEN, PHLO_OLD_TOKEN], "phlo_ids": [PHLO_ID, OLD_PHLO_ID]},
        SDK_NAME: {"tokens": [SDK_TOKEN]},
    }
}

type Headers = dict[str, list[str]]


def clients() -> Clients:
    return clients_secret.parse(json.dumps(SECRET))


def signed(*secrets: str, webhook_id: str = "msg-1", body: bytes = BODY) -> Headers:
    """The headers of a request signed with each of ``secrets``."""
    entries = []
    for secret in secrets:
        content = f"{webhook_id}.{NOW:.0f}.".encode() + body
        entries.append(_signature(secret, content))
    return {
        "webhook-id": [webhook_id],
        "webhook-timestamp": [f"{NOW:.0f}"],
        "webhook-signature": [" ".join(entries)],
    }


def _signature(secret: str, content: bytes) -> str:
    key = base64.b64decode(secret.removeprefix("whsec_"))
    return "v1," + base64.b64encode(hmac.new(key, content, hashlib.sha256).digest()).decode()


def bearer(token: str) -> Headers:
    return {"authorization": [f"Bearer {token}"]}


def basic(name: str, token: str) -> Headers:
    return {"authorization": ["Basic " + base64.b64encode(f"{name}:{token}".encode()).decode()]}


def identity_of(headers: Headers, body: bytes = BODY, now: float = NOW) -> Identity | None:
    """Who sent the request; None if it is refused."""
    try:
        return clients().authenticate({"host": ["api.example"], **headers}, body, now)
    except Unauthorized:
        return None


def name_of(headers: Headers) -> str | None:
    identity = identity_of(headers)
    return identity.client.name if identity else None


def test_a_signature_identifies_the_client_the_id_and_the_time() -> None:
    signed_at = int(NOW) * 1000
    assert identity_of(signed(CRM_SECRET)) == Identity(Client("crm", None), "msg-1", signed_at)
    other = identity_of(signed(ERP_SECRET, webhook_id="m:2"), now=NOW + 9)
    assert other == Identity(Client("erp", None), "m:2", signed_at)


def test_the_old_signing_secret_stays_valid_beside_the_new_one() -> None:
    assert name_of(signed(CRM_OLD_SECRET)) == "crm"
    assert name_of(signed(CRM_OLD_SECRET, CRM_SECRET)) == "crm"


def test_a_second_signature_with_an_unknown_secret_does_no_harm() -> None:
    unknown = "whsec_" + base64.b64encode(bytes(32)).decode()

    assert name_of(signed(unknown, CRM_SECRET)) == "crm"
    assert name_of(signed(unknown)) is None


def test_a_bearer_token_identifies_its_client() -> None:
    assert identity_of(bearer(PHLO_TOKEN)) == Identity(
        Client("phlo", frozenset({PHLO_ID.lower(), OLD_PHLO_ID.lower()})), None
    )
    assert name_of(bearer(SDK_TOKEN)) == SDK_NAME


def test_the_old_token_stays_valid_beside_the_new_one() -> None:
    assert name_of(bearer(PHLO_OLD_TOKEN)) == "phlo"
    assert name_of(basic("phlo", PHLO_OLD_TOKEN)) == "phlo"


def test_name_and_token_in_basic_identify_the_client() -> None:
    assert identity_of(basic(SDK_NAME, SDK_TOKEN)) == Identity(Client(SDK_NAME, None), None)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEaReR"])
def test_the_scheme_is_case_insensitive(scheme: str) -> None:
    assert name_of({"authorization": [f"{scheme} {PHLO_TOKEN}"]}) == "phlo"
    basic_value = basic("phlo", PHLO_TOKEN)["authorization"][0].removeprefix("Basic ")
    as_basic = {"Bearer": "Basic", "bearer": "basic", "BEARER": "BASIC", "bEaReR": "bAsIc"}[scheme]
    assert name_of({"authorization": [f"{as_basic} {basic_value}"]}) == "phlo"


def test_several_spaces_may_follow_the_scheme() -> None:
    assert name_of({"authorization": [f"Bearer   {PHLO_TOKEN}"]}) == "phlo"


def test_the_longest_name_and_token_are_accepted() -> None:
    name, token = "n" * 64, "t" * 512
    some = clients_secret.parse(json.dumps({"clients": {name: {"tokens": [token]}}}))

    assert some.authenticate(basic(name, token), b"", NOW).client.name == name
    assert some.authenticate(bearer(token), b"", NOW).client.name == name


REFUSED: dict[str, Callable[[], Headers]] = {
    "no credential": dict,
    "empty authorization": lambda: {"authorization": [""]},
    "authorization without a value": lambda: {"authorization": []},
    "scheme only": lambda: {"authorization": ["Bearer"]},
    "scheme and a space": lambda: {"authorization": ["Bearer "]},
    "token only": lambda: {"authorization": [PHLO_TOKEN]},
    "another scheme": lambda: {"authorization": [f"Token {PHLO_TOKEN}"]},
    "scheme that folds to ASCII": lambda: {"authorization": [f"ba\u017fic {PHLO_TOKEN}"]},
    "tab for a space": lambda: {"authorization": [f"Bearer\t{PHLO_TOKEN}"]},
    "leading space": lambda: {"authorization": [f" Bearer {PHLO_TOKEN}"]},
    "very many spaces": lambda: {"authorization": [f"Bearer{' ' * 1024}{PHLO_TOKEN}"]},
    "trailing newline": lambda: {"authorization": [f"Bearer {PHLO_TOKEN}\n"]},
    "two tokens in one value": lambda: {"authorization": [f"Bearer {PHLO_TOKEN} {SDK_TOKEN}"]},
    "token and a comma": lambda: {"authorization": [f"Bearer {PHLO_TOKEN}, Bearer {PHLO_TOKEN}"]},
    "repeated": lambda: {"authorization": [f"Bearer {PHLO_TOKEN}"] * 2},
    "unknown token": lambda: bearer("x" * 36),
    "token in another case": lambda: bearer(PHLO_TOKEN.upper()),
    "start of a token": lambda: bearer(PHLO_TOKEN[:-1]),
    "token and more": lambda: bearer(PHLO_TOKEN + "x"),
    "latin-1": lambda: bearer(PHLO_TOKEN + "\xe9"),
    "beyond latin-1": lambda: bearer("\U0001f600" * 36),
    "lone surrogate": lambda: bearer(PHLO_TOKEN + "\udcff"),
    "NUL": lambda: bearer(PHLO_TOKEN + "\x00"),
    "huge token": lambda: bearer("x" * 5_000_000),
    "signing secret as a token": lambda: bearer(CRM_SECRET),
    "Basic's pair as a token": lambda: bearer(f"phlo:{PHLO_TOKEN}"),
    "Basic that is no base64": lambda: {"authorization": ["Basic !!!!"]},
    "Basic with characters beside base64": lambda: {
        "authorization": [basic("phlo", PHLO_TOKEN)["authorization"][0] + "!"]
    },
    "Basic with padding missing": lambda: {
        "authorization": [basic("phlo1", PHLO_TOKEN)["authorization"][0].rstrip("=")]
    },
    "Basic of nothing": lambda: {"authorization": ["Basic ===="]},
    "Basic without a colon": lambda: {
        "authorization": ["Basic " + base64.b64encode(PHLO_TOKEN.encode()).decode()]
    },
    "Basic without a name": lambda: basic("", PHLO_TOKEN),
    "Basic without a token": lambda: basic("phlo", ""),
    "Basic of an unknown client": lambda: basic("nobody", PHLO_TOKEN),
    "Basic with another client's token": lambda: basic("phlo", SDK_TOKEN),
    "Basic with a wrong token": lambda: basic("phlo", "x" * 36),
    "Basic with the name in another case": lambda: basic("PHLO", PHLO_TOKEN),
    "Basic with a signing secret": lambda: basic("crm", CRM_SECRET),
    "Basic that is not UTF-8": lambda: {
        "authorization": ["Basic " + base64.b64encode(b"phlo:\xff\xfe" * 9).decode()]
    },
    "huge Basic": lambda: basic("phlo", "x" * 5_000_000),
    "signed with an unknown secret": lambda: signed(
        "whsec_" + base64.b64encode(b"s" * 32).decode()
    ),
    "signed, the body changed": lambda: signed(CRM_SECRET, body=b"{}"),
    "signed, without its id": lambda: {
        name: values for name, values in signed(CRM_SECRET).items() if name != "webhook-id"
    },
    "signed with a token": lambda: {**signed(CRM_SECRET), "webhook-signature": [PHLO_TOKEN]},
    "id only, beside a valid token": lambda: {"webhook-id": ["msg-1"], **bearer(PHLO_TOKEN)},
    "any webhook- header, beside a valid token": lambda: {
        "webhook-attempt": ["1"],
        **bearer(PHLO_TOKEN),
    },
    "bad signature, beside a valid token": lambda: {
        **signed(CRM_SECRET),
        "webhook-signature": ["v1," + "A" * 43 + "="],
        **bearer(PHLO_TOKEN),
    },
}


@pytest.mark.parametrize("make", REFUSED.values(), ids=REFUSED.keys())
def test_every_invalid_credential_gets_the_same_refusal(
    make: Callable[[], Headers],
) -> None:
    with pytest.raises(Unauthorized) as refused:
        clients().authenticate(make(), BODY, NOW)

    assert refused.value.args == ("no valid credential",)
    assert refused.value.__cause__ is None
    assert refused.value.__context__ is None


def test_a_valid_signature_is_enough_whatever_authorization_contains() -> None:
    assert name_of({**signed(CRM_SECRET), **bearer(PHLO_TOKEN)}) == "crm"
    assert name_of({**signed(CRM_SECRET), "authorization": ["nonsense", "nonsense"]}) == "crm"


def test_a_signature_is_valid_for_five_minutes_around_the_given_time() -> None:
    assert identity_of(signed(CRM_SECRET), now=NOW + 299) is not None
    assert identity_of(signed(CRM_SECRET), now=NOW + 301) is None
    assert identity_of(signed(CRM_SECRET), now=NOW - 301) is None


def test_a_client_without_a_list_may_use_every_phlo() -> None:
    assert Client("crm").may_use(PHLO_ID)
    assert not Client("crm", frozenset()).may_use(PHLO_ID)


def test_a_client_with_a_list_may_use_those_phlos_only_in_any_case() -> None:
    identity = identity_of(bearer(PHLO_TOKEN))
    assert identity is not None

    assert identity.client.may_use(PHLO_ID.upper())
    assert identity.client.may_use(PHLO_ID.lower())
    assert identity.client.may_use(OLD_PHLO_ID)
    assert not identity.client.may_use("00000000-0000-0000-0000-000000000000")
    assert not identity.client.may_use("")


def client_with(**members: object) -> Client:
    some = clients_secret.parse(entry(tokens=TOKENS, **members))
    return some.authenticate(bearer(HIDDEN), b"", NOW).client


def test_a_client_without_a_list_of_actions_may_request_the_cold_transfer_only() -> None:
    client = client_with()

    assert [name for name in ActionName if client.may_request(name)] == ["cold_transfer"]


def test_a_client_with_a_list_of_actions_may_request_those_only() -> None:
    client = client_with(actions=["hold", "unhold"])

    assert [name for name in ActionName if client.may_request(name)] == ["hold", "unhold"]


def test_a_star_means_every_action() -> None:
    client = client_with(actions=["*"])

    assert all(client.may_request(name) for name in ActionName)


def test_a_client_must_send_a_key_if_its_entry_requires_one() -> None:
    assert client_with(require_key=True).require_key
    assert not client_with(require_key=False).require_key
    assert not client_with().require_key


def test_a_secret_without_clients_is_valid_and_refuses_every_request() -> None:
    none = clients_secret.parse('{"clients": {}}')

    for headers in (bearer(PHLO_TOKEN), basic("phlo", PHLO_TOKEN), signed(CRM_SECRET), {}):
        with pytest.raises(Unauthorized):
            none.authenticate(headers, BODY, NOW)


def test_a_client_may_have_the_same_credential_twice() -> None:
    twice = clients_secret.parse(
        json.dumps({"clients": {"crm": {"tokens": [PHLO_TOKEN, PHLO_TOKEN]}}})
    )

    assert twice.authenticate(bearer(PHLO_TOKEN), b"", NOW).client.name == "crm"


HIDDEN = "hidden-Value-that-must-not-be-shown-0123456789"
HIDDEN_KEY = base64.b64encode(b"hidden key of a signing secret..").decode()


def entry(**members: object) -> str:
    return json.dumps({"clients": {"crm": members}})


TOKENS = [HIDDEN]

INVALID: dict[str, tuple[str, str]] = {
    # what is wrong: the secret, and how its message must begin after "the clients secret: ";
    # faults that both secrets may have are in test_secret_document.py
    "without clients": ("{}", "clients is missing"),
    "clients misspelt": (json.dumps({"Clients": {}}), "clients is missing"),
    "a member beside clients": (json.dumps({**SECRET, HIDDEN: 1}), "the document has members"),
    "clients is a list": (json.dumps({"clients": [HIDDEN]}), "clients must be a JSON object"),
    "clients is null": (json.dumps({"clients": None}), "clients must be a JSON object"),
    "clients as the console's key and value": (
        json.dumps({"clients": json.dumps(SECRET["clients"])}),
        "clients is a string that contains JSON",
    ),
    "entry as a text": (
        json.dumps({"clients": {"crm": json.dumps({"tokens": TOKENS})}}),
        "clients.crm is a string that contains JSON",
    ),
    "name with a colon": (
        json.dumps({"clients": {"crm:" + HIDDEN: {"tokens": TOKENS}}}),
        "the name of client 1",
    ),
    "empty name": (json.dumps({"clients": {"": {"tokens": TOKENS}}}), "the name of client 1"),
    "name with a newline": (
        json.dumps({"clients": {"ok": {"tokens": ["o" * 32]}, "crm\n": {"tokens": TOKENS}}}),
        "the name of client 2",
    ),
    "name of 65 characters": (
        json.dumps({"clients": {"n" * 65: {"tokens": TOKENS}}}),
        "the name of client 1",
    ),
    "name not ASCII": (
        json.dumps({"clients": {"crmé": {"tokens": TOKENS}}}),
        "the name of client 1",
    ),
    "entry is a string": (json.dumps({"clients": {"crm": HIDDEN}}), "clients.crm must"),
    "entry is null": (json.dumps({"clients": {"crm": None}}), "clients.crm must"),
    "no credential": (entry(), "clients.crm has"),
    "rights alone": (entry(phlo_ids=[PHLO_ID]), "clients.crm has"),
    "unknown member": (entry(tokens=TOKENS, token=HIDDEN), "clients.crm has an unknown member"),
    "credential for a member's name": (
        json.dumps({"clients": {"crm": {HIDDEN: []}}}),
        "clients.crm has an unknown member",
    ),
    "phlo_ids misspelt": (
        entry(tokens=TOKENS, phlo_id=[PHLO_ID]),
        "clients.crm has an unknown member",
    ),
    "tokens is a string": (entry(tokens=HIDDEN), "clients.crm.tokens must"),
    "tokens is null": (entry(tokens=None), "clients.crm.tokens must"),
    "tokens is an object": (entry(tokens={HIDDEN: HIDDEN}), "clients.crm.tokens must"),
    "tokens is empty": (entry(tokens=[]), "clients.crm.tokens must"),
    "tokens is empty beside a secret": (
        entry(tokens=[], signing_secrets=[CRM_SECRET]),
        "clients.crm.tokens must",
    ),
    "token is a number": (entry(tokens=[int("7" * 40)]), "clients.crm.tokens must"),
    "token is null": (entry(tokens=[HIDDEN, None]), "clients.crm.tokens must"),
    "token of 31 characters": (entry(tokens=[HIDDEN, "s" * 31]), "clients.crm.tokens[1]"),
    "token of 513 characters": (entry(tokens=["s" * 513]), "clients.crm.tokens[0]"),
    "token with a space": (entry(tokens=[HIDDEN + " x"]), "clients.crm.tokens[0]"),
    "token with a newline": (entry(tokens=[HIDDEN + "\n"]), "clients.crm.tokens[0]"),
    "token not ASCII": (entry(tokens=[HIDDEN + "é"]), "clients.crm.tokens[0]"),
    "token with a lone surrogate": (entry(tokens=[HIDDEN + "\ud800"]), "clients.crm.tokens[0]"),
    "token is a signing secret": (entry(tokens=["whsec_" + HIDDEN_KEY]), "clients.crm.tokens[0]"),
    "signing_secrets is empty": (
        entry(signing_secrets=[], tokens=TOKENS),
        "clients.crm.signing_secrets must",
    ),
    "signing secret without prefix": (
        entry(signing_secrets=[CRM_SECRET, HIDDEN_KEY]),
        "clients.crm.signing_secrets[1]",
    ),
    "signing secret of 23 bytes": (
        entry(signing_secrets=["whsec_" + base64.b64encode(b"h" * 23).decode()]),
        "clients.crm.signing_secrets[0]",
    ),
    "phlo_ids is empty": (entry(tokens=TOKENS, phlo_ids=[]), "clients.crm.phlo_ids must"),
    "phlo_ids is null": (entry(tokens=TOKENS, phlo_ids=None), "clients.crm.phlo_ids must"),
    "phlo_ids is a string": (entry(tokens=TOKENS, phlo_ids=PHLO_ID), "clients.crm.phlo_ids must"),
    "phlo_ids is a wildcard": (entry(tokens=TOKENS, phlo_ids=["*"]), "clients.crm.phlo_ids[0]"),
    "phlo id with a newline": (
        entry(tokens=TOKENS, phlo_ids=[PHLO_ID, PHLO_ID + "\n"]),
        "clients.crm.phlo_ids[1]",
    ),
    "phlo id of 25 hex digits": (
        entry(tokens=TOKENS, phlo_ids=["a" * 25]),
        "clients.crm.phlo_ids[0]",
    ),
    "phlo id of fullwidth digits": (
        entry(tokens=TOKENS, phlo_ids=["１" * 24]),  # noqa: RUF001 - the test needs this look-alike
        "clients.crm.phlo_ids[0]",
    ),
    "token under two clients": (
        json.dumps({"clients": {"crm": {"tokens": TOKENS}, "erp": {"tokens": ["e" * 32, HIDDEN]}}}),
        "clients.erp shares a credential with clients.crm",
    ),
    "signing secret under two clients": (
        json.dumps(
            {
                "clients": {
                    "crm": {"signing_secrets": [CRM_SECRET, CRM_OLD_SECRET]},
                    "erp": {"signing_secrets": [ERP_SECRET, CRM_OLD_SECRET]},
                }
            }
        ),
        "clients.erp shares a credential with clients.crm",
    ),
    "signing secret under two clients, once with a zero at its end": (
        json.dumps(
            {
                "clients": {
                    name: {"signing_secrets": ["whsec_" + base64.b64encode(key).decode()]}
                    for name, key in (("crm", b"h" * 31), ("erp", b"h" * 31 + b"\0"))
                }
            }
        ),
        "clients.erp shares a credential with clients.crm",
    ),
    "one client's token is what another's secret decodes to": (
        json.dumps(
            {
                "clients": {
                    "crm": {
                        "signing_secrets": ["whsec_" + base64.b64encode(HIDDEN.encode()).decode()]
                    },
                    "erp": {"tokens": TOKENS},
                }
            }
        ),
        "clients.erp shares a credential with clients.crm",
    ),
    "actions as a text": (
        entry(tokens=TOKENS, actions="*"),
        "clients.crm.actions must be a non-empty list",
    ),
    "an action in capitals": (
        entry(tokens=TOKENS, actions=["Hold"]),
        "clients.crm.actions[0] must be an action",
    ),
    "a star beside an action": (
        entry(tokens=TOKENS, actions=["hold", "*"]),
        "clients.crm.actions[1] must be an action",
    ),
    **{
        f"require_key is {value!r}": (
            entry(tokens=TOKENS, require_key=value),
            "clients.crm.require_key must be true or false",
        )
        for value in ("true", 1, None, [True])
    },
    "token for a name": (
        json.dumps({"clients": {HIDDEN: {"signing_secrets": TOKENS}}}),
        "clients.(46 characters).signing_secrets[0]",
    ),
}


@pytest.mark.parametrize(("secret", "begins"), INVALID.values(), ids=INVALID.keys())
def test_an_invalid_secret_is_refused_with_field_and_rule_but_without_a_value(
    secret: str, begins: str
) -> None:
    with pytest.raises(SecretInvalid) as refused:
        clients_secret.parse(secret)

    message = str(refused.value)
    assert message.startswith(f"the clients secret: {begins}")
    assert refused.value.__context__ is None
    for value in (HIDDEN, HIDDEN_KEY, CRM_SECRET, CRM_OLD_SECRET, PHLO_TOKEN, PHLO_ID, "7777"):
        assert value not in message


@pytest.mark.parametrize("name", ["c", "n" * 64, "Az09._-", SDK_NAME])
def test_a_valid_name_is_accepted_and_works_in_basic(name: str) -> None:
    some = clients_secret.parse(json.dumps({"clients": {name: {"tokens": TOKENS}}}))

    assert some.authenticate(basic(name, HIDDEN), b"", NOW).client.name == name


@pytest.mark.parametrize("token", ["s" * 32, "s" * 512, "!" + "~" * 31, "=" * 40, ":" * 40])
def test_a_token_of_32_to_512_visible_characters_is_accepted(token: str) -> None:
    some = clients_secret.parse(json.dumps({"clients": {"crm": {"tokens": [token]}}}))

    assert some.authenticate(bearer(token), b"", NOW).client.name == "crm"
    assert some.authenticate(basic("crm", token), b"", NOW).client.name == "crm"


def test_no_repr_has_a_credential() -> None:
    some = clients()
    message = SignedMessage.read(signed(CRM_SECRET), BODY, NOW)

    shown = repr(some) + repr(identity_of(bearer(PHLO_TOKEN))) + repr(message)

    assert "Clients" in shown
    assert "proof" not in shown
    for credential in (PHLO_TOKEN, CRM_SECRET, "crm signing secret"):
        assert credential not in shown

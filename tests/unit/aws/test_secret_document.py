"""The error for an unreadable secret says what is wrong with it, and quotes nothing of it.

Both secrets are read in the same way. The rules for the clients secret's entries are tested in
test_clients.py.
"""

import json
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cold_transfer.auth import clients_secret
from cold_transfer.auth.clients import Clients
from cold_transfer.errors import SecretInvalid
from cold_transfer.plivo import credentials
from cold_transfer.plivo.client import PlivoCredentials

#: No message contains any of its characters. All but the last are valid in a client's name.
TOKEN = "QWZKQWZKQWZKQWZKQWZKQWZKQWZKQWZK~"
PLIVO = json.dumps({"auth_id": TOKEN, "auth_token": TOKEN})
CLIENTS = json.dumps({"clients": {"crm": {"tokens": [TOKEN]}}})

READ: dict[str, tuple[Callable[[str], object], str]] = {
    "the Plivo secret": (credentials.parse, PLIVO),
    "the clients secret": (clients_secret.parse, CLIENTS),
}
every_secret = pytest.mark.parametrize("secret", READ)


def refusal(parse: Callable[[str], object], text: str) -> str:
    """The parser's message about ``text``; the exception must not contain anything else."""
    with pytest.raises(SecretInvalid) as refused:
        parse(text)

    error = refused.value
    assert error.args == (str(error),)
    assert vars(error) == {}
    assert error.__cause__ is None
    assert error.__context__ is None
    return str(error)


# what was done to a valid document, and the message about it
MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "nothing stored": (lambda _: "", "is empty"),
    "a line break stored": (lambda _: "\r\n", "is empty"),
    "byte order mark": (lambda valid: "\ufeff" + valid, "begins with a byte order mark: save"),
    "typographic quotes": (
        lambda valid: valid.replace('"', "\u201c", 1).replace('"', "\u201d", 1),
        "cannot be parsed, near character 2 (it has typographic quotes;",
    ),
    "typographic quotes further on": (
        lambda valid: "\u201d".join(valid.rsplit('"', 1)),
        "cannot be parsed, near character ",
    ),
    "single quotes": (
        lambda valid: valid.replace('"', "'"),
        "cannot be parsed, near character 2 (not JSON: Expecting property name",
    ),
    "no quotes, as a shell leaves it": (
        lambda valid: valid.replace('"', ""),
        "cannot be parsed, near character 2 (not JSON: Expecting property name",
    ),
    "trailing comma": (
        lambda valid: valid[:-1] + ",}",
        "cannot be parsed, near character {end} (not JSON: Illegal trailing comma",
    ),
    "cut off": (
        lambda valid: valid[:-1],
        "cannot be parsed, near character {end} (not JSON: Expecting ',' delimiter)",
    ),
    "cut off in a string": (
        lambda valid: valid[: valid.index(TOKEN) + 5],
        "cannot be parsed, near character {token} (not JSON: Unterminated string)",
    ),
    "line break in a string": (
        lambda valid: valid.replace(TOKEN, TOKEN[:5] + "\n" + TOKEN[5:]),
        "cannot be parsed, near character {break} (not JSON: Invalid control character)",
    ),
    "backslash in a string": (
        lambda valid: valid.replace(TOKEN, "\\" + TOKEN),
        "cannot be parsed, near character {escape} (not JSON: Invalid \\escape)",
    ),
    "two documents": (
        lambda valid: valid + "\n" + valid,
        "cannot be parsed, near character {more} (not JSON: Extra data)",
    ),
    "the token alone": (
        lambda _: TOKEN,
        "cannot be parsed, near character 1 (not JSON: Expecting value)",
    ),
    "nested too deeply": (lambda _: "[" * 100_000, "cannot be parsed: it is nested too deeply"),
    "a number without end": (
        lambda _: "1" * 5_000,
        "cannot be parsed: a number in it has too many digits",
    ),
    "a list": (lambda valid: f"[{valid}]", "must be a JSON object"),
    "null": (lambda _: "null", "must be a JSON object"),
    "the token in quotes": (lambda _: json.dumps(TOKEN), "must be a JSON object"),
    "as a string": (json.dumps, "is a string that contains JSON: store"),
    "as a string with a line break": (
        lambda valid: json.dumps(f"\n{valid}"),
        "is a string that contains JSON: store",
    ),
    "as the console's value": (
        lambda valid: json.dumps({TOKEN: valid}),
        ": a key or value is a string that contains JSON: store",
    ),
    "as the console's key": (
        lambda valid: json.dumps({valid: ""}),
        ": a key or value is a string that contains JSON: store",
    ),
    "a member twice": (
        lambda valid: valid.replace("{", '{"a": 1, "a": 2, ', 1),
        ": an object in it has two members of the same name",
    ),
    "a member twice further in": (
        lambda valid: valid.replace("{", '{"a": {"b": 1, "b": 2}, ', 1),
        ": an object in it has two members of the same name",
    ),
}


@every_secret
@pytest.mark.parametrize(("mistake", "expected"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_common_mistake_has_its_own_message(
    secret: str, mistake: Callable[[str], str], expected: str
) -> None:
    parse, valid = READ[secret]
    token = valid.index(TOKEN)
    begins = expected.format_map(
        {
            "end": len(valid),
            "token": token,  # the position of its quotation mark, from 1
            "break": token + 6,
            "escape": token + 1,
            "more": len(valid) + 2,
        }
    )

    message = refusal(parse, mistake(valid))

    assert message.startswith(secret + begins if begins[0] == ":" else f"{secret} {begins}")
    assert set(TOKEN).isdisjoint(message)


def test_valid_documents_are_read() -> None:
    assert credentials.parse(PLIVO) == PlivoCredentials(TOKEN, TOKEN)
    assert isinstance(clients_secret.parse(f"\n {CLIENTS}\r\n"), Clients)


def test_a_plivo_secret_may_have_further_members() -> None:
    text = '{"auth_id": "MA1", "auth_token": "t:{t", "note": "{}"}'

    assert credentials.parse(text) == PlivoCredentials("MA1", "t:{t")


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"auth_token": TOKEN}, "auth_id is missing"),
        ({"AUTH_ID": TOKEN, "auth_token": TOKEN}, "auth_id is missing"),
        ({"auth_id": TOKEN}, "auth_token is missing"),
        ({"auth_id": TOKEN, TOKEN: TOKEN}, "auth_token is missing"),
        ({"auth_id": f"{TOKEN}:1", "auth_token": TOKEN}, "auth_id must be a string of 1 to 128"),
        ({"auth_id": 7, "auth_token": TOKEN}, "auth_id must be a string of 1 to 128"),
        ({"auth_id": TOKEN, "auth_token": None}, "auth_token must be a string of 1 to 256"),
        ({"auth_id": TOKEN, "auth_token": ""}, "auth_token must be a string of 1 to 256"),
        ({"auth_id": TOKEN, "auth_token": f"{TOKEN}\n"}, "auth_token must be a string of 1 to 256"),
        ({"auth_id": TOKEN, "auth_token": f"{TOKEN}é"}, "auth_token must be a string of 1 to 256"),
        ({"auth_id": TOKEN, "auth_token": "t" * 257}, "auth_token must be a string of 1 to 256"),
    ],
)
def test_a_wrong_field_of_the_plivo_secret_is_named(document: object, message: str) -> None:
    found = refusal(credentials.parse, json.dumps(document))

    assert found.startswith(f"the Plivo secret: {message}")
    assert set(TOKEN).isdisjoint(found)


#: What a typing or pasting error may insert. No message contains any of these characters.
SLIPS = st.sampled_from([*'"{}[]:,\\\n\t \u201c\u201d\xa0', "\ufeff", "\0", "\ud800", TOKEN, "~"])


@st.composite
def spoilt(draw: st.DrawFn, valid: str) -> str:
    """A valid document with a few errors, sometimes pasted into a string."""
    text = valid
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(text)))
        until = draw(st.integers(at, min(len(text), at + 3)) | st.just(len(text)))
        text = text[:at] + draw(SLIPS | st.just("")) + text[until:]
    if draw(st.integers(0, 4)) == 0:
        text = json.dumps(draw(st.sampled_from([text, {TOKEN: text}, {text: TOKEN}, [text]])))
    return text


@every_secret
@settings(deadline=None, max_examples=200)
@given(st.data())
def test_no_character_of_a_credential_is_in_the_message_about_a_spoilt_secret(
    secret: str, data: st.DataObject
) -> None:
    parse, valid = READ[secret]
    text = data.draw(spoilt(valid))
    try:
        parse(text)
    except SecretInvalid:
        pass
    else:
        return

    message = refusal(parse, text)

    assert set(TOKEN).isdisjoint(message)
    assert message.startswith(secret)


@every_secret
@settings(deadline=None)
@given(text=st.text(st.characters(exclude_characters='"'), min_size=1))
@example(text="clients")
@example(text="\ud800")
def test_a_text_that_is_not_a_document_is_never_quoted(secret: str, text: str) -> None:
    """The message is the same for two texts that differ only in their beginning."""
    parse, _ = READ[secret]

    messages = {refusal(parse, f"{before}{text}") for before in ("QWZK", "ZKQW")}

    assert len(messages) == 1

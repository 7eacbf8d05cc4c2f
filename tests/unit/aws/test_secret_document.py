"""What an operator is told about a secret that cannot be read: what is wrong with it, and no more.

Both secrets are read in the same way. What is asked of the clients secret's entries is in
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

#: Its characters stand in no sentence of ours, and all but the last are of a client's name too.
TOKEN = "QWZKQWZKQWZKQWZKQWZKQWZKQWZKQWZK~"
PLIVO = json.dumps({"auth_id": TOKEN, "auth_token": TOKEN})
CLIENTS = json.dumps({"clients": {"crm": {"tokens": [TOKEN]}}})

READ: dict[str, tuple[Callable[[str], object], str]] = {
    "the Plivo secret": (credentials.parse, PLIVO),
    "the clients secret": (clients_secret.parse, CLIENTS),
}
every_secret = pytest.mark.parametrize("secret", READ)


def refusal(parse: Callable[[str], object], text: str) -> str:
    """What the parser says to ``text``, after a look at all that travels with the exception."""
    with pytest.raises(SecretInvalid) as refused:
        parse(text)

    error = refused.value
    assert error.args == (str(error),)
    assert vars(error) == {}
    assert error.__cause__ is None
    assert error.__context__ is None
    return str(error)


# what somebody did to a right document, and what is said about it
MISTAKES: dict[str, tuple[Callable[[str], str], str]] = {
    "nothing stored": (lambda _: "", "is empty"),
    "a line break stored": (lambda _: "\r\n", "is empty"),
    "byte order mark": (lambda right: "\ufeff" + right, "begins with a byte order mark: save"),
    "typographic quotes": (
        lambda right: right.replace('"', "\u201c", 1).replace('"', "\u201d", 1),
        "cannot be parsed, near character 2 (it has typographic quotes;",
    ),
    "typographic quotes further on": (
        lambda right: "\u201d".join(right.rsplit('"', 1)),
        "cannot be parsed, near character ",
    ),
    "single quotes": (
        lambda right: right.replace('"', "'"),
        "cannot be parsed, near character 2 (not JSON: Expecting property name",
    ),
    "no quotes, as a shell leaves it": (
        lambda right: right.replace('"', ""),
        "cannot be parsed, near character 2 (not JSON: Expecting property name",
    ),
    "trailing comma": (
        lambda right: right[:-1] + ",}",
        "cannot be parsed, near character {end} (not JSON: Illegal trailing comma",
    ),
    "cut off": (
        lambda right: right[:-1],
        "cannot be parsed, near character {end} (not JSON: Expecting ',' delimiter)",
    ),
    "cut off in a string": (
        lambda right: right[: right.index(TOKEN) + 5],
        "cannot be parsed, near character {token} (not JSON: Unterminated string)",
    ),
    "line break in a string": (
        lambda right: right.replace(TOKEN, TOKEN[:5] + "\n" + TOKEN[5:]),
        "cannot be parsed, near character {break} (not JSON: Invalid control character)",
    ),
    "backslash in a string": (
        lambda right: right.replace(TOKEN, "\\" + TOKEN),
        "cannot be parsed, near character {escape} (not JSON: Invalid \\escape)",
    ),
    "two documents": (
        lambda right: right + "\n" + right,
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
    "a list": (lambda right: f"[{right}]", "must be a JSON object"),
    "null": (lambda _: "null", "must be a JSON object"),
    "the token in quotes": (lambda _: json.dumps(TOKEN), "must be a JSON object"),
    "as a string": (json.dumps, "is a string that contains JSON: store"),
    "as a string with a line break": (
        lambda right: json.dumps(f"\n{right}"),
        "is a string that contains JSON: store",
    ),
    "as the console's value": (
        lambda right: json.dumps({TOKEN: right}),
        ": a key or value is a string that contains JSON: store",
    ),
    "as the console's key": (
        lambda right: json.dumps({right: ""}),
        ": a key or value is a string that contains JSON: store",
    ),
    "a member twice": (
        lambda right: right.replace("{", '{"a": 1, "a": 2, ', 1),
        ": an object in it has two members of the same name",
    ),
    "a member twice further in": (
        lambda right: right.replace("{", '{"a": {"b": 1, "b": 2}, ', 1),
        ": an object in it has two members of the same name",
    ),
}


@every_secret
@pytest.mark.parametrize(("mistake", "said"), MISTAKES.values(), ids=MISTAKES.keys())
def test_each_common_mistake_has_its_own_message(
    secret: str, mistake: Callable[[str], str], said: str
) -> None:
    parse, right = READ[secret]
    token = right.index(TOKEN)
    begins = said.format_map(
        {
            "end": len(right),
            "token": token,  # its quotation mark, counted from 1
            "break": token + 6,
            "escape": token + 1,
            "more": len(right) + 2,
        }
    )

    message = refusal(parse, mistake(right))

    assert message.startswith(secret + begins if begins[0] == ":" else f"{secret} {begins}")
    assert set(TOKEN).isdisjoint(message)


def test_right_documents_are_read() -> None:
    assert credentials.parse(PLIVO) == PlivoCredentials(TOKEN, TOKEN)
    assert isinstance(clients_secret.parse(f"\n {CLIENTS}\r\n"), Clients)


def test_a_plivo_secret_may_have_further_members() -> None:
    text = '{"auth_id": "MA1", "auth_token": "t:{t", "note": "{}"}'

    assert credentials.parse(text) == PlivoCredentials("MA1", "t:{t")


@pytest.mark.parametrize(
    ("document", "said"),
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
def test_a_wrong_field_of_the_plivo_secret_is_named(document: object, said: str) -> None:
    message = refusal(credentials.parse, json.dumps(document))

    assert message.startswith(f"the Plivo secret: {said}")
    assert set(TOKEN).isdisjoint(message)


#: What a slip of the keyboard or of a clipboard puts in; nothing that stands in a sentence of ours.
SLIPS = st.sampled_from([*'"{}[]:,\\\n\t \u201c\u201d\xa0', "\ufeff", "\0", "\ud800", TOKEN, "~"])


@st.composite
def spoilt(draw: st.DrawFn, right: str) -> str:
    """A right document after some slips; now and then pasted into a string."""
    text = right
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
def test_no_character_of_a_credential_is_in_what_is_said_about_a_spoilt_secret(
    secret: str, data: st.DataObject
) -> None:
    parse, right = READ[secret]
    text = data.draw(spoilt(right))
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
    """Whatever the text is: what is said about it is said about others of its kind as well."""
    parse, _ = READ[secret]

    said = {refusal(parse, f"{before}{text}") for before in ("QWZK", "ZKQW")}

    assert len(said) == 1

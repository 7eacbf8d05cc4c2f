"""A webhook's body: from API Gateway's event to a mapping of fields.

Only the form is checked here; the contract checks the fields.
"""

import base64
import json
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple, NoReturn
from urllib.parse import parse_qsl

from cold_transfer.entrypoints import field_faults
from cold_transfer.errors import (
    BodyMalformed,
    BodyTooLarge,
    Fault,
    MediaTypeUnsupported,
)

MAX_BODY_BYTES = 10_240

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"

_MAX_BASE64_CHARACTERS = (MAX_BODY_BYTES + 2) // 3 * 4
_BOM = b"\xef\xbb\xbf"
_JSON_SPACE = " \t\r\n"

# RFC 9110, sections 5.6.6 and 8.3.1. Possessive throughout: a hostile header costs linear time.
_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]++"  # noqa: S105 - a regular expression, not a credential
_PARAMETER = rf'({_TOKEN})=({_TOKEN}|"(?:[^"\\]|\\.)*+")'
_CONTENT_TYPE = re.compile(rf"({_TOKEN}/{_TOKEN})((?:[ \t]*+;[ \t]*+(?:{_PARAMETER})?+)*+)[ \t]*+")
#: What a form's charset may be called: UTF-8, or the part of it that is ASCII.
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii", "ascii"})
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


def read_raw(body: str | None, is_base64: bool) -> bytes:  # noqa: FBT001 - the event's own pair
    """Return the bytes that the client sent, which a signature covers.

    Raises
    ------
    BodyTooLarge
        There are more than 10,240; checked before base64 is decoded.
    BodyMalformed
        The base64 is invalid, or the text cannot be encoded in UTF-8.
    """
    text = body or ""
    if len(text) > (_MAX_BASE64_CHARACTERS if is_base64 else MAX_BODY_BYTES):
        raise BodyTooLarge(f"the body is longer than {MAX_BODY_BYTES} bytes")
    try:
        raw = base64.b64decode(text, validate=True) if is_base64 else text.encode()
    except ValueError:
        raise BodyMalformed("the body cannot be decoded") from None
    if len(raw) > MAX_BODY_BYTES:
        raise BodyTooLarge(f"the body is longer than {MAX_BODY_BYTES} bytes")
    return raw


class Body(NamedTuple):
    """The content of a body.

    doubled
        A fault for each field that occurs more than once.
    is_form
        Whether it was decoded as a form, where an unescaped ``+`` is a space.
    """

    fields: dict[str, object]
    doubled: list[Fault]
    is_form: bool


def parse(raw: bytes, content_type: Sequence[str], content_encoding: Sequence[str] = ()) -> Body:
    """Read the fields of a body.

    A form that begins with ``{`` is read as JSON, because curl sends JSON with the form's type.

    Parameters
    ----------
    raw
        The body's bytes.
    content_type, content_encoding
        All values of these headers.

    Raises
    ------
    MediaTypeUnsupported
        The body is compressed, its type is not given exactly once or is neither JSON nor a form,
        or the form is not in UTF-8.
    BodyMalformed
        The body is empty, is not UTF-8, or is not one JSON object or a form.
    """
    codings = ",".join(content_encoding).lower().split(",")
    if not {coding.strip(" \t") for coding in codings} <= {"", "identity"}:
        raise MediaTypeUnsupported(
            "a body with a Content-Encoding is not supported; do not compress it"
        )
    media_type = _media_type(content_type)
    if raw.startswith(_BOM):
        raise BodyMalformed("the body begins with a byte order mark; leave it out")
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        raise BodyMalformed("the body is not UTF-8") from None
    if not text.strip(_JSON_SPACE):
        raise BodyMalformed("the body is empty")
    is_form = media_type == FORM and not text.lstrip(_JSON_SPACE).startswith("{")
    fields, doubled = _from_form(text) if is_form else _from_json(text)
    # Ambiguous, because parsers differ in which of the two values they take.
    return Body(
        fields, [field_faults.about_name(name, "occurs twice") for name in doubled], is_form
    )


def _media_type(values: Sequence[str]) -> str:
    if len(values) != 1:
        raise MediaTypeUnsupported("there must be exactly one Content-Type header")
    match = _CONTENT_TYPE.fullmatch(values[0].strip(" \t"))
    media_type = match[1].lower() if match else ""
    if match is None or media_type not in (JSON, FORM):
        raise MediaTypeUnsupported(f"the media type is neither {JSON} nor {FORM}")
    if media_type == FORM:  # for JSON, a charset has no meaning (RFC 8259, section 11)
        for name, value in re.findall(_PARAMETER, match[2]):
            if name.lower() == "charset" and value.strip('"').lower() not in _UTF_8:
                raise MediaTypeUnsupported("the charset of the form is not utf-8")
    return media_type


def _from_json(text: str) -> tuple[dict[str, object], Iterable[str]]:
    doubled: dict[str, None] = {}

    def members(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            doubled.update(_doubled(pairs))
        return found

    try:
        value = json.loads(text, object_pairs_hook=members, parse_constant=_refuse_constant)
    except json.JSONDecodeError as error:
        where = f"line {error.lineno} column {error.colno}"
        raise BodyMalformed(f"the body is not JSON: {where}") from None
    except RecursionError:
        raise BodyMalformed("the body is nested too deeply") from None
    except ValueError:
        raise BodyMalformed("the body has a number that is not valid JSON") from None
    if not isinstance(value, dict):
        raise BodyMalformed("the body is not a JSON object")
    return value, doubled


def _from_form(text: str) -> tuple[dict[str, object], Iterable[str]]:
    if _BAD_PERCENT.search(text):
        raise BodyMalformed("the form has a % that is not followed by two hex digits")
    # Empty parts are skipped, as by the URL standard's parser: some senders end each part with "&".
    text = "&".join(filter(None, text.split("&")))
    try:
        pairs = parse_qsl(text, keep_blank_values=True, strict_parsing=True, errors="strict")
    except UnicodeDecodeError:
        raise BodyMalformed("the form has an escape that is not UTF-8") from None
    except ValueError:
        raise BodyMalformed("the form has a part without =") from None
    return dict(pairs), _doubled(pairs)


def _refuse_constant(_: str) -> NoReturn:
    """Refuse NaN and the infinities, which Python's parser accepts but JSON does not have."""
    raise ValueError


def _doubled(pairs: Sequence[tuple[str, object]]) -> dict[str, None]:
    """The names that occur more than once, in order."""
    seen: set[str] = set()
    doubled: dict[str, None] = {}
    for name, _ in pairs:
        if name in seen:
            doubled[name] = None
        seen.add(name)
    return doubled

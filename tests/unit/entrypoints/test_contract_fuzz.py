"""Any input is either a valid action or a refusal that reveals no value."""

import json
import re
from typing import Any

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cold_transfer.action import ActionName
from cold_transfer.entrypoints import body, contract
from cold_transfer.errors import ContractViolated, RequestRefused
from tests.support.builders import FIELDS, NODE_ID, PHLO_ID, detail

NOW_MS = 1_773_500_966_535
TYPES = ("application/json", "application/x-www-form-urlencoded")
ADDRESS = re.compile(
    r"\+?[1-9][0-9]{6,14}|sip:[A-Za-z0-9._+-]{1,64}@[A-Za-z0-9.-]{1,253}", re.ASCII
)

# The number of examples comes from the profile. There is no deadline, because a shared machine may
# be slow.
fuzz = settings(deadline=None)

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text()
values: st.SearchStrategy[Any] = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
near_addresses = st.from_regex(r"\A ?(sip:|\+)?[+0-9a-z@. \u0660-\u0669\n-]{0,20}\Z")
FIELDS_OF_BOTH = {*contract.ON_NODE.fields, *contract.ON_MEMBER.fields}
names = st.sampled_from([*sorted(FIELDS_OF_BOTH), "To", "_to", "caller_id"]) | st.text()
MEMBER = {"phlo_id": PHLO_ID, "node_id": NODE_ID, "member_address": "+14152223333"}
documents = st.builds(
    lambda example, changes: {**example, **changes},
    st.sampled_from([detail(), MEMBER]),
    st.dictionaries(names, values | near_addresses, max_size=8),
)
PATHS = (
    {"phlo_id": PHLO_ID, "node_id": NODE_ID},
    MEMBER,
)


def accepted(
    document: object, name: ActionName = ActionName.COLD_TRANSFER
) -> contract.Validated | None:
    try:
        return contract.from_event(name, document, now_ms=NOW_MS)
    except RequestRefused as error:
        assert str(error).isascii()  # noqa: PT017 - a refusal is one of the two valid results
        assert str(error).isprintable()  # noqa: PT017 - as above
        return None


@fuzz
@given(
    raw=st.binary() | st.text().map(str.encode),
    content_type=st.sampled_from(TYPES) | st.text(),
    path=st.sampled_from(PATHS),
)
@example(raw=b"\x00=%00", content_type=TYPES[1], path=PATHS[0])
@example(raw=b'{"a": 1e999}', content_type=TYPES[0], path=PATHS[1])
def test_any_bytes_are_parsed_or_refused(
    raw: bytes, content_type: str, path: dict[str, str]
) -> None:
    try:
        sent = body.parse(raw, [content_type])
        contract.from_webhook(sent.fields, path, now_ms=NOW_MS, is_form=sent.is_form)
    except RequestRefused as error:
        assert str(error).isascii()  # noqa: PT017 - a refusal is one of the two valid results


@fuzz
@given(text=st.text(), is_base64=st.booleans())
def test_any_text_is_a_body_or_refused(text: str, is_base64: bool) -> None:  # noqa: FBT001 - drawn by hypothesis
    try:
        raw = body.read_raw(text, is_base64)
    except RequestRefused:
        return
    assert len(raw) <= body.MAX_BODY_BYTES


@fuzz
@given(fields=st.dictionaries(st.text(), values, max_size=5))
def test_json_is_parsed_unchanged(fields: dict[str, Any]) -> None:
    try:
        raw = json.dumps(fields, allow_nan=False).encode()
    except ValueError:
        return
    assert body.parse(raw, [TYPES[0]]) == (json.loads(raw), [], False)


@fuzz
@given(document=documents | values, name=st.sampled_from(ActionName))
def test_any_detail_is_an_action_or_refused(document: Any, name: ActionName) -> None:
    validated = accepted(document, name)
    if validated is not None:
        action = validated.action
        read = {field for field in document if not field.startswith("_")}
        assert read <= FIELDS_OF_BOTH
        assert action.name is name
        assert action.role in ("agent", "customer")
        addresses = (action.to, action.trigger_source, action.member_address)
        kept = [ADDRESS.fullmatch(address) is not None for address in addresses if address]
        assert kept == ([True, True] if name.dials else [True])


@fuzz
@given(address=near_addresses)
def test_the_schema_accepts_the_same_addresses_as_this_files_pattern(address: str) -> None:
    validated = accepted(detail(to=address))
    assert (validated is not None) == (ADDRESS.fullmatch(address) is not None)


@fuzz
@given(name=st.text(), digits=st.from_regex(r"\A[1-9][0-9]{6,14}\Z"))
def test_no_number_in_a_name_or_a_value_is_logged(name: str, digits: str) -> None:
    fields = {**FIELDS, "to": f"{name} {digits}", name + digits: digits, digits: name}
    try:
        contract.from_webhook(fields, {**MEMBER, "member_address": digits}, now_ms=NOW_MS)
    except ContractViolated as error:
        logged = str(error) + repr(error.faults)
        assert digits not in logged
    else:
        raise AssertionError("an unknown field passed")


@fuzz
@given(key=st.text() | st.from_regex(r'\A"?[A-Za-z0-9._:-]{0,300}"?\n?\Z'))
def test_any_key_is_well_formed_or_refused(key: str) -> None:
    try:
        checked = contract.check_key(key)
    except RequestRefused:
        return
    assert re.fullmatch(r"[A-Za-z0-9._:-]{1,255}", checked)
    assert key in (checked, f'"{checked}"')

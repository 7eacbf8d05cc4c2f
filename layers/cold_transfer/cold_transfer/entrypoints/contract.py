"""The contract of an action: from what came in to a ``Action``, or to every faulty field.

``action.schema.json`` is the contract, for both entry points. A request that keeps it costs one
call of the compiled schema; only one that breaks it is looked at field by field.
"""

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import fastjsonschema

from cold_transfer.action import Action
from cold_transfer.entrypoints import field_faults
from cold_transfer.errors import BodyMalformed, Fault

SCHEMA: dict[str, Any] = json.loads(
    Path(__file__).with_name("action.schema.json").read_text(encoding="utf-8")
)

#: What a webhook's body may have: the key of a webhook is a header.
WEBHOOK_FIELDS = tuple(name for name in SCHEMA["properties"] if name != "idempotency_key")

#: The clocks of two machines differ; a request from further ahead has a wrong time in it.
FUTURE_TOLERANCE_MS = 30_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Formats are off: the date-time of fastjsonschema takes the digits of every script. Defaults are
# off: filling them in would change the client's mapping. Plain exceptions carry no value.
_keeps_contract = fastjsonschema.compile(
    SCHEMA, use_default=False, use_formats=False, detailed_exceptions=False
)


class Validated(NamedTuple):
    """What a body that keeps the contract asks for.

    requested_at
        When the client asked, in epoch milliseconds, if it said so.
    idempotency_key
        The event entry point's key, if the detail has one; at the webhook always None.
    """

    action: Action
    requested_at: int | None = None
    idempotency_key: str | None = None


def from_webhook(
    fields: Mapping[str, object],
    phlo_id: str,
    node_id: str,
    *,
    now_ms: int,
    is_form: bool = False,
) -> Validated:
    """Validate a webhook's body together with the ids of its path; the path's ids are sent.

    ``now_ms`` is the time in epoch milliseconds; ``is_form`` says that a form was decoded, which
    the faults then speak of.

    Raises
    ------
    ContractViolated
        With every faulty field: of the body, of the path, and body ids that differ from the path.
    """
    repeated = [
        _fault_of_repeated(name, fields[name], of_path)
        for name, of_path in (("phlo_id", phlo_id), ("node_id", node_id))
        if name in fields
    ]
    found = [fault for fault in repeated if fault is not None]
    document = {**fields, "phlo_id": phlo_id, "node_id": node_id}
    if "idempotency_key" in document:
        del document["idempotency_key"]
        found.append(
            field_faults.about_name(
                "idempotency_key",
                "is a field of events only; a webhook has the header Idempotency-Key",
            )
        )
    return _validated(document, found, WEBHOOK_FIELDS, now_ms, is_form=is_form)


def from_event(detail: object, *, now_ms: int) -> Validated:
    """Validate an event's detail; ``now_ms`` is the time in epoch milliseconds.

    Members that begin with ``_`` are no fields: tracing tools add them to events on their way.

    Raises
    ------
    BodyMalformed
        The detail is not an object.
    ContractViolated
        With every faulty field.
    """
    if not isinstance(detail, dict):
        raise BodyMalformed("the detail of the event is not an object")
    document = {name: value for name, value in detail.items() if not name.startswith("_")}
    return _validated(document, [], tuple(SCHEMA["properties"]), now_ms)


def check_key(value: str) -> str:
    """Return the key that an Idempotency-Key header holds, one pair of quotes stripped.

    The draft standard of the header quotes the key, most senders do not.

    Raises
    ------
    ContractViolated
        The key is empty, longer than 255 characters, or has a character outside its set.
    """
    key = value
    if len(value) > 1 and value[0] == value[-1] == '"':
        key = value[1:-1]
    definition = _definition("idempotency_key")
    if re.fullmatch(definition["pattern"], key) is None:
        raise field_faults.violation(
            [
                field_faults.about_value(
                    "Idempotency-Key", value, definition["x-rule"], definition["x-fault"]
                )
            ]
        )
    return key


def _validated(
    document: dict[str, Any],
    found: list[Fault],
    offered: tuple[str, ...],
    now_ms: int,
    *,
    is_form: bool = False,
) -> Validated:
    try:
        _keeps_contract(document)
    except fastjsonschema.JsonSchemaValueException:
        broken = True
    else:
        broken = False
    if broken:
        found = [*found, *_faults_of(document, offered, is_form=is_form)]
    requested_at = None
    if "requested_at" in document and all(fault.field != "requested_at" for fault in found):
        requested_at, late_faults = _epoch_ms(document["requested_at"], now_ms)
        found = [*found, *late_faults]
    if found:
        raise field_faults.violation(found)
    return Validated(
        Action(
            phlo_id=document["phlo_id"],
            node_id=document["node_id"],
            to=document["to"],
            trigger_source=document["trigger_source"],
            role=document.get("role", _definition("role")["default"]),
        ),
        requested_at=requested_at,
        idempotency_key=document.get("idempotency_key"),
    )


def _faults_of(document: dict[str, Any], offered: tuple[str, ...], *, is_form: bool) -> list[Fault]:
    """Every fault: known fields in the order of the schema, then the unknown ones as they came."""
    faulty: set[str] = set()
    try:
        _thorough()(document)
    except fastjsonschema.JsonSchemaValuesException as error:
        # A path is ["data", field], or ["data"] for what is missing or unknown.
        faulty = {each.path[1] for each in error.errors if len(each.path) > 1}
    found = []
    for name in offered:
        if name in faulty:
            found.append(_fault_of_value(name, document[name], is_form=is_form))
        elif name in SCHEMA["required"] and name not in document:
            rule = _definition(name)["x-rule"]
            found.append(Fault(name, f"is missing; it {rule}"))
    for name in document:
        if name not in offered:
            finding = "is not a field of an action"
            shown = f"{field_faults.quoted(name)} {finding}; the fields are {', '.join(offered)}"
            found.append(replace(field_faults.about_name(name, finding), shown=shown))
    return found


def _fault_of_value(name: str, value: object, *, is_form: bool) -> Fault:
    definition = _definition(name)
    kind = _fault_of_kind(name, value, optional=name not in SCHEMA["required"])
    if kind is not None:
        return kind
    if is_form and _lost_a_plus(str(value), definition.get("pattern")):
        return field_faults.about_value(
            name,
            value,
            f"{definition['x-rule']}; an unescaped + of a form arrives as a space: write %2B",
            "has a space where a + belongs; in a form a + has to be written %2B",
        )
    return field_faults.about_value(name, value, definition["x-rule"], definition["x-fault"])


def _fault_of_kind(name: str, value: object, *, optional: bool) -> Fault | None:
    """The fault of a value that is nothing, or no string: its content is not looked at then."""
    if optional and value in (None, ""):
        return field_faults.about_value(
            name,
            value,
            "may be left out, but must not be null or empty",
            f"is not a value; {name} may be left out",
        )
    if isinstance(value, str):
        return None
    rule = _definition(name)["x-rule"] if value is None else "must be a string, in quotes"
    return field_faults.about_value(name, value, rule, f"is not a string; {name} {rule}")


def _fault_of_repeated(name: str, value: object, of_path: str) -> Fault | None:
    """The fault of an id in a body, which may repeat the path's in letters of either case."""
    kind = _fault_of_kind(name, value, optional=True)
    if kind is not None or str(value).lower() == of_path.lower():
        return kind
    return field_faults.about_value(
        name, value, "must equal the path's", f"is not the {name} of the path"
    )


def _lost_a_plus(value: str, pattern: str | None) -> bool:
    """Whether a form's decoding made a space of a plus: of a number, a SIP user or an offset."""
    if pattern is None or " " not in value:
        return False
    leading = re.match(r" [0-9]", value) is not None
    return leading or re.fullmatch(pattern, value.replace(" ", "+")) is not None


def _epoch_ms(text: str, now_ms: int) -> tuple[int | None, list[Fault]]:
    definition = _definition("requested_at")
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:  # the form is right and the day is not in the calendar
        return None, [
            field_faults.about_value(
                "requested_at", text, definition["x-rule"], definition["x-fault"]
            )
        ]
    epoch_ms = (moment - _EPOCH) // timedelta(milliseconds=1)
    if epoch_ms > now_ms + FUTURE_TOLERANCE_MS:
        return None, [
            field_faults.about_value(
                "requested_at",
                text,
                "must not lie more than 30 seconds in the future",
                "lies more than 30 seconds in the future",
            )
        ]
    return epoch_ms, []


def _definition(name: str) -> dict[str, Any]:
    """Give the subschema of a field, its reference followed."""
    definition: dict[str, Any] = SCHEMA["properties"][name]
    reference: str | None = definition.get("$ref")
    if reference is None:
        return definition
    resolved: dict[str, Any] = SCHEMA["definitions"][reference.removeprefix("#/definitions/")]
    return resolved


@functools.cache
def _thorough() -> fastjsonschema.Validator:
    """Compile the schema once more, to go on after the first fault; most processes never do."""
    return fastjsonschema.compile(SCHEMA, use_default=False, use_formats=False, fast_fail=False)

"""The contract of a request: turns fields into an ``Action``, or names every faulty field.

There are two shapes of request, each with a JSON Schema for both entry points: actions on the node,
which dial someone, and actions on a member. A valid request takes one call of the compiled schema;
only an invalid one is examined field by field.
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

from cold_transfer.action import Action, ActionName
from cold_transfer.entrypoints import field_faults
from cold_transfer.errors import BodyMalformed, Fault

_FUTURE_TOLERANCE_MS = 30_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _read(name: str) -> dict[str, Any]:
    document: dict[str, Any] = json.loads(Path(__file__).with_name(name).read_text("utf-8"))
    return document


DEFINITIONS = _read("definitions.json")


class Shape:
    """One of the two shapes of a request.

    schema
        Its JSON Schema.
    fields
        The names of its fields, in the schema's order.
    webhook_fields
        The same for a webhook, whose key is a header.
    """

    def __init__(self, name: str) -> None:
        self.schema = {**_read(f"{name}.schema.json"), "definitions": DEFINITIONS}
        self.fields = tuple(self.schema["properties"])
        self.webhook_fields = tuple(name for name in self.fields if name != "idempotency_key")

    @functools.cached_property
    def check(self) -> fastjsonschema.Validator:
        """The compiled schema."""
        # Formats are off: fastjsonschema's date-time accepts the digits of every script. Defaults
        # are off: they would be written into the client's mapping. Plain exceptions hold no value.
        return fastjsonschema.compile(
            self.schema, use_default=False, use_formats=False, detailed_exceptions=False
        )

    @functools.cached_property
    def check_thoroughly(self) -> fastjsonschema.Validator:
        """The schema compiled to continue after the first fault; rarely needed."""
        return fastjsonschema.compile(
            self.schema, use_default=False, use_formats=False, fast_fail=False
        )

    def definition(self, name: str) -> dict[str, Any]:
        """The subschema of a field, with its reference resolved."""
        definition: dict[str, Any] = self.schema["properties"][name]
        if "$ref" in definition:
            definition = DEFINITIONS[definition["$ref"].removeprefix("#/definitions/")]
        return definition

    def requires(self, name: str) -> bool:
        return name in self.schema["required"]


ON_NODE = Shape("node_action")
ON_MEMBER = Shape("member_action")

ON_NODE.check  # noqa: B018  compiled at start-up; the rarer shape waits for its first request

#: The fields of an action besides its ids and its name.
_CONTENT = ("to", "trigger_source", "role", "member_address")


class Validated(NamedTuple):
    """The content of a valid request.

    requested_at
        When the client requested the action, in epoch milliseconds; None if it did not say.
    idempotency_key
        An event's key, if its detail has one; always None for a webhook.
    reference
        The client's own name for the case, or empty.
    """

    action: Action
    requested_at: int | None = None
    idempotency_key: str | None = None
    reference: str = ""


def from_webhook(
    fields: Mapping[str, object], path: Mapping[str, str], *, now_ms: int, is_form: bool = False
) -> Validated:
    """Validate a webhook's body together with the fields of its path. The path's values are sent.

    path
        ``phlo_id`` and ``node_id``, and ``member_address`` for an action on a member.
    now_ms
        The time in epoch milliseconds.
    is_form
        Whether the body was a form: the faults then explain how to encode a plus.

    Raises
    ------
    ContractViolated
        With every faulty field of the body and the path, and every field in which they differ.
    """
    shape = ON_MEMBER if "member_address" in path else ON_NODE
    repeated = [
        _fault_of_repeated(shape, name, fields[name], value, is_form=is_form)
        for name, value in path.items()
        if name in fields
    ]
    found = [fault for fault in repeated if fault is not None]
    document = {**fields, **path}
    if "idempotency_key" in document:
        del document["idempotency_key"]
        found.append(
            field_faults.about_name(
                "idempotency_key",
                "is a field of events only; a webhook uses the header Idempotency-Key",
            )
        )
    return _validated(shape, document, found, shape.webhook_fields, now_ms, is_form=is_form)


def check_ids(path: Mapping[str, str]) -> None:
    """Raise ``ContractViolated`` with every invalid id in ``path``."""
    rule = DEFINITIONS["id"]
    found = [
        field_faults.about_value(name, value, rule["x-rule"], rule["x-fault"])
        for name, value in path.items()
        if re.fullmatch(rule["pattern"], value) is None
    ]
    if found:
        raise field_faults.violation(found)


def from_event(name: ActionName, detail: object, *, now_ms: int) -> Validated:
    """Validate an event's detail; ``now_ms`` is the time in epoch milliseconds.

    ``name`` is the action of the detail-type. Members that begin with ``_`` are ignored: tracing
    tools add them to events in transit.

    Raises
    ------
    BodyMalformed
        The detail is not an object.
    ContractViolated
        With every faulty field.
    """
    if not isinstance(detail, dict):
        raise BodyMalformed("the detail of the event is not an object")
    document = {field: value for field, value in detail.items() if not field.startswith("_")}
    given = document.setdefault("action", name)
    found = []
    if given != name:
        document["action"] = name
        found.append(
            field_faults.about_value(
                "action",
                given,
                "must be the action of the detail-type, or be left out",
                "is not the action of the detail-type; action may be left out",
            )
        )
    shape = ON_NODE if name.dials else ON_MEMBER
    return _validated(shape, document, found, shape.fields, now_ms)


def check_key(value: str) -> str:
    """Return the key in an Idempotency-Key header, without a pair of quotes.

    The header's draft standard quotes the key, but most senders do not.

    Raises
    ------
    ContractViolated
        The key is empty, longer than 255 characters, or has an invalid character.
    """
    key = value
    if len(value) > 1 and value[0] == value[-1] == '"':
        key = value[1:-1]
    definition = DEFINITIONS["idempotency_key"]
    if re.fullmatch(definition["pattern"], key) is None:
        raise field_faults.violation(
            [
                field_faults.about_value(
                    "Idempotency-Key", value, definition["x-rule"], definition["x-fault"]
                )
            ]
        )
    return key


def _validated(  # noqa: PLR0913  what differs between the two entry points
    shape: Shape,
    document: dict[str, Any],
    found: list[Fault],
    offered: tuple[str, ...],
    now_ms: int,
    *,
    is_form: bool = False,
) -> Validated:
    try:
        shape.check(document)
    except fastjsonschema.JsonSchemaValueException:
        broken = True
    else:
        broken = False
    if broken:
        found = [*found, *_faults_of(shape, document, offered, is_form=is_form)]
    requested_at = None
    if "requested_at" in document and all(fault.field != "requested_at" for fault in found):
        requested_at, late_faults = _requested_at(document["requested_at"], now_ms)
        found = [*found, *late_faults]
    if found:
        raise field_faults.violation(found)
    return Validated(
        Action(
            phlo_id=document["phlo_id"],
            node_id=document["node_id"],
            name=ActionName(document.get("action", ActionName.COLD_TRANSFER)),
            **{name: document[name] for name in _CONTENT if name in document},
        ),
        requested_at=requested_at,
        idempotency_key=document.get("idempotency_key"),
        reference=document.get("reference", ""),
    )


def _faults_of(
    shape: Shape, document: dict[str, Any], offered: tuple[str, ...], *, is_form: bool
) -> list[Fault]:
    """Every fault: known fields in the schema's order, then unknown ones as received."""
    faulty: set[str] = set()
    try:
        shape.check_thoroughly(document)
    except fastjsonschema.JsonSchemaValuesException as error:
        # A path is ["data", field], or ["data"] for a missing or unknown field.
        faulty = {each.path[1] for each in error.errors if len(each.path) > 1}
    found = []
    for name in offered:
        if name in faulty:
            found.append(_fault_of_value(shape, name, document[name], is_form=is_form))
        elif shape.requires(name) and name not in document:
            rule = shape.definition(name)["x-rule"]
            found.append(Fault(name, f"is missing; it {rule}"))
    for name in document:
        if name not in offered:
            finding = "is not a field of an action"
            shown = f"{field_faults.quoted(name)} {finding}; the fields are {', '.join(offered)}"
            found.append(replace(field_faults.about_name(name, finding), shown=shown))
    return found


def _fault_of_value(shape: Shape, name: str, value: object, *, is_form: bool) -> Fault:
    definition = shape.definition(name)
    kind = _fault_of_kind(shape, name, value, optional=not shape.requires(name))
    if kind is not None:
        return kind
    if is_form and _lost_a_plus(str(value), definition.get("pattern")):
        return _fault_of_plus(name, value, definition["x-rule"])
    return field_faults.about_value(name, value, definition["x-rule"], definition["x-fault"])


def _fault_of_plus(name: str, value: object, rule: str) -> Fault:
    return field_faults.about_value(
        name,
        value,
        f"{rule}; in a form an unescaped + becomes a space: write %2B",
        "has a space where a + belongs; in a form a + must be written as %2B",
    )


def _fault_of_kind(shape: Shape, name: str, value: object, *, optional: bool) -> Fault | None:
    """The fault of a value that is null, empty or not a string; None for any other string."""
    if optional and value in (None, ""):
        return field_faults.about_value(
            name,
            value,
            "may be left out, but must not be null or empty",
            f"is not a value; {name} may be left out",
        )
    if isinstance(value, str):
        return None
    rule = shape.definition(name)["x-rule"] if value is None else "must be a string, in quotes"
    return field_faults.about_value(name, value, rule, f"is not a string; {name} {rule}")


def _fault_of_repeated(
    shape: Shape, name: str, value: object, of_path: str, *, is_form: bool
) -> Fault | None:
    """The fault of a body's field that is in the path too; ids are compared without case."""
    kind = _fault_of_kind(shape, name, value, optional=True)
    if kind is not None:
        return kind
    text = str(value)
    if text == of_path or (name != "member_address" and text.lower() == of_path.lower()):
        return None
    rule = "must equal the one in the path"
    if is_form and text.replace(" ", "+") == of_path:
        return _fault_of_plus(name, value, rule)
    return field_faults.about_value(name, value, rule, f"is not the {name} in the path")


def _lost_a_plus(value: str, pattern: str | None) -> bool:
    """Whether form decoding turned a plus into a space, in a number, a SIP user or an offset."""
    if pattern is None or " " not in value:
        return False
    leading = re.match(r" [0-9]", value) is not None
    return leading or re.fullmatch(pattern, value.replace(" ", "+")) is not None


def epoch_ms(text: str) -> int | None:
    """An RFC 3339 time in epoch milliseconds; None if ``text`` is not one."""
    try:
        moment = datetime.fromisoformat(text.upper())
    except ValueError:
        return None
    # not astimezone: it overflows for the first and the last day of the calendar
    return (moment - _EPOCH) // timedelta(milliseconds=1) if moment.tzinfo else None


def lies_ahead(moment: int, now_ms: int) -> bool:
    """Whether a moment is in the future by more than the tolerated clock skew."""
    return moment > now_ms + _FUTURE_TOLERANCE_MS


def _requested_at(text: str, now_ms: int) -> tuple[int | None, list[Fault]]:
    definition = DEFINITIONS["requested_at"]
    moment = epoch_ms(text)
    if moment is None:  # well-formed, but not in the calendar
        return None, [
            field_faults.about_value(
                "requested_at", text, definition["x-rule"], definition["x-fault"]
            )
        ]
    if lies_ahead(moment, now_ms):
        return None, [
            field_faults.about_value(
                "requested_at",
                text,
                "must not be more than 30 seconds in the future",
                "is more than 30 seconds in the future",
            )
        ]
    return moment, []

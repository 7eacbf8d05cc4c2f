"""The environment of a function, read once into one typed, validated value."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class SettingsInvalid(Exception):
    """A variable is missing or out of its bounds; the message names it."""


class Settings(NamedTuple):
    """What the template sets. Times are in the unit that the name says.

    Each field is the variable of the same name in capitals; a field with a default is optional.

    event_phlo_ids
        In lower case; empty for all.
    event_actions
        Names of actions; ``*`` among them means all.
    aws_endpoint_url
        Empty for AWS itself.
    """

    ledger_table: str
    plivo_base_url: str
    plivo_secret_name: str
    clients_secret_name: str
    event_source: str
    outcome_source: str
    event_bus_name: str = "default"
    event_phlo_ids: frozenset[str] = frozenset()
    event_actions: frozenset[str] = frozenset({"cold_transfer"})
    aws_endpoint_url: str = ""
    plivo_deadline_seconds: float = 10.0
    secrets_cache_seconds: int = 300
    unknown_window_seconds: int = 120
    duplicate_window_seconds: int = 5
    record_days: int = 15
    max_request_age_seconds: int = 60
    function_timeout_seconds: float = 25.0

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """Read the variables; one that is empty counts as not set.

        Raises
        ------
        SettingsInvalid
            A variable is missing, or not a number within its bounds.
        """
        given: dict[str, Any] = {}
        for field in cls._fields:
            name = field.upper()
            text = environment.get(name, "").strip()
            if text:
                given[field] = _READERS.get(field, _text)(name, text)
            elif field not in cls._field_defaults:
                raise SettingsInvalid(f"{name} is not set; the template sets it")
        return cls(**given)


type _Reader = Callable[[str, str], object]


def _text(_: str, text: str) -> str:
    return text


def _listed(name: str, text: str) -> frozenset[str]:
    found = frozenset(filter(None, (part.strip().lower() for part in text.split(","))))
    if not found:  # an empty list would mean the default
        raise SettingsInvalid(f"{name} lists nothing")
    return found


def _number[T: (int, float)](kind: Callable[[float], T], low: int, high: int) -> _Reader:
    def read(name: str, text: str) -> T:
        try:
            value = float(text)
        except ValueError:
            raise SettingsInvalid(f"{name} is {text!r}, not a number") from None
        if not low <= value <= high:
            raise SettingsInvalid(f"{name} is {text}, not between {low} and {high}")
        return kind(value)

    return read


#: How a variable is read that is not taken as it is. The bounds are the template's.
_READERS: Mapping[str, _Reader] = MappingProxyType(
    {
        "event_phlo_ids": _listed,
        "event_actions": _listed,
        "plivo_deadline_seconds": _number(float, 1, 15),
        "secrets_cache_seconds": _number(int, 1, 3600),
        "unknown_window_seconds": _number(int, 0, 3600),
        "duplicate_window_seconds": _number(int, 0, 3600),
        "record_days": _number(int, 15, 365),
        "max_request_age_seconds": _number(int, 1, 300),
        "function_timeout_seconds": _number(float, 5, 28),
    }
)

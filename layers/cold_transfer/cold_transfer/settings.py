"""A function's environment variables, read once and validated."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple


class SettingsInvalid(Exception):
    """A variable is missing or out of bounds; the message names it."""


class Settings(NamedTuple):
    """The variables that the template sets. A name ends in its unit.

    Each field is the variable of the same name in upper case; a field with a default is optional.

    event_phlo_ids
        In lower case; empty means all.
    event_actions
        Names of actions; ``*`` means all.
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
        """Read the variables. An empty one counts as not set.

        Raises
        ------
        SettingsInvalid
            A variable is missing, or is not a number within its bounds.
        """
        given: dict[str, Any] = {}
        for field in cls._fields:
            name = field.upper()
            text = environment.get(name, "").strip()
            if text:
                given[field] = _READERS.get(field, _text)(name, text)
            elif field not in cls._field_defaults:
                raise SettingsInvalid(f"{name} is not set: set it as the template does")
        return cls(**given)


type _Reader = Callable[[str, str], object]


def _text(_: str, text: str) -> str:
    return text


def _listed(name: str, text: str) -> frozenset[str]:
    found = frozenset(filter(None, (part.strip().lower() for part in text.split(","))))
    if not found:  # an empty list would mean the default
        raise SettingsInvalid(f"{name} is an empty list: give at least one value, or unset it")
    return found


def _number[T: (int, float)](kind: Callable[[float], T], low: int, high: int) -> _Reader:
    def read(name: str, text: str) -> T:
        try:
            value = float(text)
        except ValueError:
            raise SettingsInvalid(f"{name} must be a number, not {text!r}") from None
        if not low <= value <= high:
            raise SettingsInvalid(f"{name} must be from {low} to {high}, not {text}")
        return kind(value)

    return read


#: How to read the variables that are not plain text. The bounds are the template's.
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

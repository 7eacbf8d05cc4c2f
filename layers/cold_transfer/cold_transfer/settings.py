"""The environment of a function, read once into one typed, validated value."""

from collections.abc import Mapping
from typing import NamedTuple


class SettingsInvalid(Exception):
    """A variable is missing or out of its bounds; the message names it."""


class Settings(NamedTuple):
    """What the template sets. Times are in the unit that the name says.

    Each field is the variable of the same name in capitals; a field with a default is optional.
    ``event_phlo_ids`` and ``aws_endpoint_url`` may be empty: all PHLOs, and AWS itself.
    """

    ledger_table: str
    plivo_base_url: str
    plivo_secret_name: str
    clients_secret_name: str
    event_source: str
    event_bus_name: str = "default"
    event_phlo_ids: frozenset[str] = frozenset()
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
        """Read the variables.

        Raises
        ------
        SettingsInvalid
            A variable is missing, or not a number within its bounds.
        """

        def text(name: str, default: str | None = None) -> str:
            value = environment.get(name, "").strip() or default
            if value is None:
                raise SettingsInvalid(f"{name} is not set; the template sets it")
            return value

        def number(name: str, default: float, low: float, high: float) -> float:
            given = text(name, str(default))
            try:
                value = float(given)
            except ValueError:
                raise SettingsInvalid(f"{name} is {given!r}, not a number") from None
            if not low <= value <= high:
                raise SettingsInvalid(f"{name} is {given}, not between {low} and {high}")
            return value

        listed = text("EVENT_PHLO_IDS", "")
        phlo_ids = frozenset(filter(None, (part.strip().lower() for part in listed.split(","))))
        if listed and not phlo_ids:  # an empty list would mean "all"
            raise SettingsInvalid("EVENT_PHLO_IDS has no id in it")
        return cls(
            ledger_table=text("LEDGER_TABLE"),
            plivo_base_url=text("PLIVO_BASE_URL"),
            plivo_secret_name=text("PLIVO_SECRET_NAME"),
            clients_secret_name=text("CLIENTS_SECRET_NAME"),
            event_source=text("EVENT_SOURCE"),
            event_bus_name=text("EVENT_BUS_NAME", "default"),
            event_phlo_ids=phlo_ids,
            aws_endpoint_url=text("AWS_ENDPOINT_URL", ""),
            plivo_deadline_seconds=number("PLIVO_DEADLINE_SECONDS", 10, 1, 15),
            secrets_cache_seconds=int(number("SECRETS_CACHE_SECONDS", 300, 1, 3600)),
            unknown_window_seconds=int(number("UNKNOWN_WINDOW_SECONDS", 120, 0, 3600)),
            duplicate_window_seconds=int(number("DUPLICATE_WINDOW_SECONDS", 5, 0, 3600)),
            record_days=int(number("RECORD_DAYS", 15, 15, 365)),
            max_request_age_seconds=int(number("MAX_REQUEST_AGE_SECONDS", 60, 1, 300)),
            function_timeout_seconds=number("FUNCTION_TIMEOUT_SECONDS", 25, 5, 28),
        )

"""Settings are read from the environment; an error names the variable."""

import re
from pathlib import Path

import pytest

from cold_transfer.settings import Settings, SettingsInvalid

REQUIRED = {
    "LEDGER_TABLE": "ledger",
    "PLIVO_BASE_URL": "https://phlorunner.plivo.com",
    "PLIVO_SECRET_NAME": "plivo-cold-transfer/plivo",
    "CLIENTS_SECRET_NAME": "plivo-cold-transfer/clients",
    "EVENT_SOURCE": "plivo-cold-transfer.client",
    "OUTCOME_SOURCE": "plivo-cold-transfer",
}

#: Variable, field, minimum, maximum.
NUMBERS = [
    ("PLIVO_DEADLINE_SECONDS", "plivo_deadline_seconds", 1, 15),
    ("SECRETS_CACHE_SECONDS", "secrets_cache_seconds", 1, 3600),
    ("UNKNOWN_WINDOW_SECONDS", "unknown_window_seconds", 0, 3600),
    ("DUPLICATE_WINDOW_SECONDS", "duplicate_window_seconds", 0, 3600),
    ("RECORD_DAYS", "record_days", 15, 365),
    ("MAX_REQUEST_AGE_SECONDS", "max_request_age_seconds", 1, 300),
    ("FUNCTION_TIMEOUT_SECONDS", "function_timeout_seconds", 5, 28),
]

LISTS = {"EVENT_PHLO_IDS": "event_phlo_ids", "EVENT_ACTIONS": "event_actions"}

TEMPLATE = (Path(__file__).parents[2] / "template.yaml").read_text(encoding="utf-8")


def test_only_these_variables_are_required() -> None:
    settings = Settings.from_environment(REQUIRED)

    assert settings == Settings(
        ledger_table="ledger",
        plivo_base_url="https://phlorunner.plivo.com",
        plivo_secret_name="plivo-cold-transfer/plivo",
        clients_secret_name="plivo-cold-transfer/clients",
        event_source="plivo-cold-transfer.client",
        outcome_source="plivo-cold-transfer",
    )


@pytest.mark.parametrize("name", REQUIRED)
@pytest.mark.parametrize("value", [None, "", "  "])
def test_a_missing_variable_is_named(name: str, value: str | None) -> None:
    environment = {key: text for key, text in REQUIRED.items() if key != name}
    if value is not None:
        environment[name] = value

    with pytest.raises(SettingsInvalid, match=name):
        Settings.from_environment(environment)


@pytest.mark.parametrize(("name", "field", "low", "high"), NUMBERS)
def test_a_number_outside_its_bounds_is_refused(name: str, field: str, low: int, high: int) -> None:
    for value in (low, high):
        settings = Settings.from_environment({**REQUIRED, name: str(value)})
        assert getattr(settings, field) == value
    for wrong in (str(low - 1), str(high + 1), "many", "nan", "inf"):
        with pytest.raises(SettingsInvalid, match=name):
            Settings.from_environment({**REQUIRED, name: wrong})


def test_an_empty_variable_counts_as_not_set() -> None:
    empty = dict.fromkeys((name for name, *_ in NUMBERS), "")
    empty |= dict.fromkeys(("AWS_ENDPOINT_URL", "EVENT_BUS_NAME", *LISTS), "")

    assert Settings.from_environment({**REQUIRED, **empty}) == Settings.from_environment(REQUIRED)


@pytest.mark.parametrize(("name", "field"), LISTS.items())
def test_a_list_is_case_insensitive(name: str, field: str) -> None:
    settings = Settings.from_environment({**REQUIRED, name: " A1 ,b2,, "})

    assert getattr(settings, field) == {"a1", "b2"}


@pytest.mark.parametrize("name", LISTS)
def test_a_list_without_an_element_is_refused(name: str) -> None:
    with pytest.raises(SettingsInvalid, match=name):
        Settings.from_environment({**REQUIRED, name: " , "})


def test_the_template_sets_every_variable() -> None:
    globals_ = TEMPLATE.split("\nResources:")[0]
    for field in Settings._fields:
        assert re.search(rf"^ +{field.upper()}: ", globals_, re.MULTILINE), field


# FUNCTION_TIMEOUT_SECONDS, the last one, is not a parameter
@pytest.mark.parametrize(("name", "field"), [(name, field) for name, field, *_ in NUMBERS[:-1]])
def test_defaults_and_bounds_are_those_of_the_template(name: str, field: str) -> None:
    parameter = "".join(word.title() for word in field.split("_"))
    (found,) = re.findall(rf"\n  {parameter}:\n(.*?)\n  [A-Z\n]", TEMPLATE, re.DOTALL)
    declared = dict(re.findall(r"^    (Default|MinValue|MaxValue): (\d+)$", found, re.MULTILINE))
    bounds = {each: (low, high) for each, _, low, high in NUMBERS}[name]

    assert int(declared["Default"]) == Settings.from_environment(REQUIRED)._asdict()[field]
    assert (int(declared["MinValue"]), int(declared["MaxValue"])) == bounds

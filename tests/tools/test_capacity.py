"""The figures in docs/throughput.md: constants as in the code, and correct arithmetic."""

import pytest
from samcli.yamlhelper import yaml_parse  # type: ignore[import-untyped]  # ships no types

from cold_transfer.ledger.ledger import SHARDS
from local.build import ROOT
from local.simulator import RATE
from tools import capacity


def need(what: str) -> capacity.Need:
    return next(each for each in capacity.NEEDS if each.what.startswith(what))


def test_the_constants_are_those_of_code_and_template() -> None:
    parameters = yaml_parse((ROOT / "template.yaml").read_text())["Parameters"]

    assert len(SHARDS) == capacity.SHARDS
    assert parameters["StageRateLimit"]["Default"] == capacity.STAGE_RATE_LIMIT
    assert parameters["RecordDays"]["Default"] == capacity.RECORD_DAYS
    assert parameters["SecretsCacheSeconds"]["Default"] == capacity.SECRETS_CACHE_SECONDS
    assert need("POSTs to Plivo").limit == RATE[0] / RATE[1]


@pytest.mark.parametrize(
    ("what", "rate"),
    [
        ("POSTs to Plivo", 60),
        ("requests to the stage", 45),
        ("concurrent environments of an entry point", 2_000),
        ("writes to a new ledger", 1_000),
        ("writes to one key of its index", 4_000),
        ("events put on the bus", 10_000),
    ],
)
def test_each_default_is_enough_for_this_rate(what: str, rate: float) -> None:
    assert need(what).enough_for == rate


def test_needs_above_the_limit_are_in_bold() -> None:
    rows = capacity.written()["needs"].splitlines()

    (of_plivo,) = [row for row in rows if "POSTs to Plivo" in row]
    assert of_plivo.count("**") == 4  # 100 and 10,000 actions per second exceed 60

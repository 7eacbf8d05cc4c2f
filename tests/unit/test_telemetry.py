"""Telemetry's lines pass Lambda's log filter, and other packages log little."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cold_transfer.action import Answer, Verdict
from cold_transfer.causes import Cause
from cold_transfer.telemetry import Telemetry
from tests.support import fakes
from tests.support.log_filter import LEVELS, is_rfc_3339, passes

VERDICTS = {
    "accepted": fakes.ACCEPTED,
    "rejected": Verdict(Cause.REJECTED),
    "not_sent": Verdict(Cause.PLIVO_THROTTLED),
    "unknown": Verdict(Cause.PLIVO_TIMED_OUT),
}


@pytest.fixture
def telemetry() -> Telemetry:
    return Telemetry("webhook", fakes.Xray())


@pytest.mark.parametrize("outcome", VERDICTS)
def test_only_an_unknown_outcome_passes_every_log_level(telemetry: Telemetry, outcome: str) -> None:
    with fakes.emitted() as output, telemetry.invocation("c"):
        telemetry.answered(Answer("0" * 64, VERDICTS[outcome]))

    [logged] = [line for line in output.stdout.getvalue().splitlines() if "_aws" not in line]
    assert f'"message":"action {outcome}"' in logged
    assert passes(logged, "JSON", "FATAL") == (outcome == "unknown")


def test_metrics_pass_every_log_level_even_if_they_need_several_lines(
    telemetry: Telemetry,
) -> None:
    with fakes.emitted() as output, telemetry.invocation("c"):
        for _ in range(250):
            telemetry.count("ActionUnknown")

    lines = output.stdout.getvalue().splitlines()
    assert len(lines) == 3
    assert [line for line in lines if not passes(line, "JSON", "FATAL")] == []
    assert output.counted() == {"ColdStart": 1, "ActionUnknown": 250}


def test_every_line_has_a_level_and_a_time_that_lambda_understands(telemetry: Telemetry) -> None:
    with fakes.emitted() as output, telemetry.invocation("c"):
        for log in (telemetry.info, telemetry.warning, telemetry.error, telemetry.critical):
            log("a message", reason="a reason")
        logging.getLogger("cold_transfer.tracing").warning("from another module")

    logs = output.logs()
    assert [line["level"] for line in logs] == ["INFO", "WARN", "ERROR", "FATAL", "WARN"]
    for line in output.lines():
        assert line["level"] in LEVELS
        assert is_rfc_3339(line["timestamp"])
    for line in logs:
        assert (line["service"], line["function"], line["correlation_id"]) == (
            "plivo-cold-transfer",
            "webhook",
            "c",
        )


@contextmanager
def root_output(level: int) -> Iterator[io.StringIO]:
    """What Lambda's own handler writes with the root logger at ``level``."""
    text = io.StringIO()
    root, handler = logging.getLogger(), logging.StreamHandler(text)
    before = root.level
    root.addHandler(handler)
    root.setLevel(level)
    try:
        yield text
    finally:
        root.removeHandler(handler)
        root.setLevel(before)


@pytest.mark.parametrize("name", ["botocore.parsers", "urllib3", "aws_lambda_powertools", "x"])
def test_no_other_package_logs_below_info_whatever_its_level(name: str) -> None:
    logger = logging.getLogger(name)
    before, logger.propagate = (logger.level, logger.propagate), True
    logger.setLevel(logging.NOTSET + 1)
    try:
        with root_output(logging.NOTSET) as output:
            logger.debug("the body of an answer")
            logger.info("where credentials were found")
    finally:
        logger.setLevel(before[0])
        logger.propagate = before[1]

    assert output.getvalue() == "where credentials were found\n"


def test_lambdas_own_handler_does_not_repeat_our_lines(telemetry: Telemetry) -> None:
    with fakes.emitted(), root_output(logging.INFO) as output, telemetry.invocation("c"):
        telemetry.error("a message")

    assert output.getvalue() == ""


@pytest.mark.parametrize(
    ("variable", "service"), [("a-stack", "a-stack"), ("", "plivo-cold-transfer")]
)
def test_the_service_of_a_metric_is_the_stack_named_in_the_environment(
    monkeypatch: pytest.MonkeyPatch, variable: str, service: str
) -> None:
    monkeypatch.setenv("POWERTOOLS_SERVICE_NAME", variable)
    with fakes.emitted() as output, Telemetry("reconcile", fakes.Xray()).invocation("c"):
        pass

    (line,) = output.metrics()
    assert (line["service"], line["function"]) == (service, "reconcile")
